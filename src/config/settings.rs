//! Settings of the process: what there is once, each with its default.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// `[server]`: how the process runs and stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Worker threads, 0 to 256; 0: one per core. Default 0.
    pub workers: usize,
    /// Whether each worker stays on a core of its own. Default true.
    pub pin: bool,
    /// How long after SIGTERM `/readyz` says "not ready" while new connections are still taken, 0s
    /// to 5m: the time that a load balancer needs to notice. Default 0s.
    pub shutdown_delay: Duration,
    /// How long requests in flight may still take after that, 0s to 1h. Default 30s.
    pub shutdown_grace: Duration,
    /// How long tunnels (WebSockets) and endless streams may still go on in that time, 0s to 1h; no
    /// longer than `shutdown_grace`. Default 5s: container runtimes kill after 10s.
    pub tunnel_grace: Duration,
}

/// `[admin]`: what operators and probes talk to; never on a public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where health and metrics are served over HTTP; `None` (`"off"`): nowhere. Default
    /// 127.0.0.1:9090.
    pub address: Option<SocketAddr>,
    /// The Unix socket on which the command line talks to a running keyward, at most 107 bytes.
    /// Default `keyward-data/admin.sock`.
    pub socket: PathBuf,
}

/// `[store]`: where records live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Which store. Default embedded.
    pub kind: StoreKind,
    /// The database file of the embedded store; made on first start. Default
    /// `keyward-data/keyward.db`.
    pub path: PathBuf,
    /// How long one call to the store may take, 50ms to 30s. Default 2s.
    pub timeout: Duration,
    /// What kind `redis` needs; there with that kind and only then.
    pub redis: Option<RedisStore>,
}

/// The kinds of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// SQLite in this process: one instance, no server.
    #[default]
    Embedded,
    /// Redis: a fleet.
    Redis,
}

/// Where the fleet's Redis is, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisStore {
    /// Host and port of each `url`: the server, the sentinels, or nodes of the Cluster. At least
    /// one.
    pub servers: Vec<(String, u16)>,
    /// Whether they speak TLS (`rediss://`).
    pub tls: bool,
    /// What they are. Default single.
    pub topology: Topology,
    /// The name under which the sentinels watch the master; there with topology `sentinel` and only
    /// then.
    pub sentinel_master: Option<String>,
    /// The user at the sentinels.
    pub sentinel_username: Option<String>,
    /// Its password.
    pub sentinel_password: Option<Secret>,
    /// The ACL user; `None`: Redis's `default`.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// PEM certificates of the authorities that are trusted; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, in PEM.
    pub client_certificate_file: Option<PathBuf>,
    /// Its key, in PEM.
    pub client_key_file: Option<PathBuf>,
    /// The database, 0 to 65535. Default 0.
    pub database: u32,
    /// What the fleet's keys begin with, in braces. Default `keyward`.
    pub prefix: String,
    /// What becomes of requests while Redis is away. Default deny.
    pub on_outage: OnOutage,
    /// How old cached answers may become with `serve_cached`, 1s to 24h. Default 30s.
    pub max_staleness: Duration,
    /// How long an instance may use what it has cached without a sign of life from Redis, 200ms to
    /// 30s. Default 1s.
    pub coherence_lease: Duration,
    /// How long one look-up may take, 10ms to 30s. Default 250ms.
    pub read_timeout: Duration,
    /// How many replicas must have a revocation before it is acknowledged, 0 to 100. Default 0.
    pub revoke_acks: usize,
    /// How long to wait for them, 10ms to 30s and less than `timeout`. Default 1s, or half of
    /// `timeout`.
    pub revoke_acks_timeout: Duration,
    /// Whether Redis may lose all records at its restart. Default false.
    pub allow_volatile: bool,
}

/// What the servers of a Redis store are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// One server (the default).
    #[default]
    Single,
    /// Sentinels, which name the master.
    Sentinel,
    /// Nodes of a Redis Cluster.
    Cluster,
}

/// What becomes of requests while the store is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOutage {
    /// They are refused with 503 (the default).
    #[default]
    Deny,
    /// Tokens that are cached are accepted for `max_staleness`.
    ServeCached,
}

/// A password: wiped on drop, shown by nothing.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// `[keys]`: what signs our tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The folder of the keys; made on first start. Default `keyward-data/keys`.
    pub directory: PathBuf,
    /// The `iss` claim of the tokens that we sign. Default `keyward`.
    pub issuer: String,
}

/// `[log]`: what is said about the running process, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least important events that are still logged. Default info.
    pub level: LogLevel,
    /// How an event is written. Default json.
    pub format: LogFormat,
    /// Where the line about each request goes. Default stdout.
    pub access: AccessLog,
}

/// How important an event is, most important first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something needs attention.
    Warn,
    /// Start, stop, reload and the like (the default).
    #[default]
    Info,
    /// For finding out why.
    Debug,
    /// Everything.
    Trace,
}

/// How an event is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line (the default).
    #[default]
    Json,
    /// Words for a terminal.
    Human,
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// Standard output (the default).
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere.
    Off,
    /// Appended to this file.
    File(PathBuf),
}

/// `[limits]`: the bounds of what one client, or all of them, can make us hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The request line and headers together, in bytes, 1KiB to 1MiB. Default 32KiB.
    pub head: usize,
    /// Header fields of a request, 1 to 1000. Default 100.
    pub headers: usize,
    /// The request target, in bytes, 256B to 65534B, which is the most that the HTTP library reads;
    /// `head` bounds it too. Default 16KiB.
    pub target: usize,
    /// The credential, in bytes, 256B to 1MiB; `head` bounds it too. Default 8KiB.
    pub token: usize,
    /// Client connections open at the same time in the whole process, 0 to 10000000; 0: what the
    /// limit of file descriptors allows, less 64 that are kept spare. Default 0.
    pub connections: usize,
    /// Concurrent streams of one HTTP/2 connection of a client, 1 to 1000. Default 100.
    pub streams: usize,
    /// The status line and headers of an upstream's response together, in bytes, 1KiB to 1MiB.
    /// Default 64KiB.
    pub response_head: usize,
    /// Header fields of an upstream's response, 1 to 1000. Default 256: some servers send more than
    /// a hundred (FIELD.md, F28), and of this number hyper's tables have a size that is quick to
    /// allocate.
    pub response_headers: usize,
    /// Verified tokens kept in memory, 0 to 100000000; 0: none. Default 1000000.
    pub cached_tokens: usize,
}

/// `[logins]`: what passwords may cost us, and how often they may be tried; for all token APIs of
/// the style `accounts` together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logins {
    /// Threads that hash passwords, 0 to 64, each with some 19 MiB while it does, or twice as much
    /// while the cores are never idle; 0: half as many as cores, at least one. Default 0.
    pub hashing_threads: usize,
    /// How many passwords may wait for a thread, 1 to 10000. Default 64.
    pub hashing_queue: usize,
    /// How long failures count, 1m to 24h. Default 15m.
    pub window: Duration,
    /// Failures for one account from one address, 1 to 1000. Default 5.
    pub failures: u32,
    /// Failures from one address, whatever the account, 1 to 1000000. Default 50.
    pub failures_per_address: u32,
    /// Failures for one account from everywhere, from which on strangers are slowed, 1 to 1000000.
    /// Default 50.
    pub suspect_from: u32,
    /// What a stranger then has in the place of `failures`, if that is more, 1 to 1000. Default 1.
    pub failures_of_strangers: u32,
    /// How long registrations count, 1m to 24h. Default 1h.
    pub registration_window: Duration,
    /// Registrations from one address, 1 to 1000000. Default 20.
    pub registrations_per_address: u32,
}

/// `[timeouts]`: how long we wait for others; each 10ms to 1h.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From a new connection to its first byte. Default 10s.
    pub first_byte: Duration,
    /// From the first byte of a request to the end of its headers. Default 10s.
    pub head: Duration,
    /// A TLS handshake as a whole. Default 10s.
    pub tls_handshake: Duration,
    /// A kept connection without a request. Default 60s.
    pub idle: Duration,
    /// Between two pieces of a body, in either direction. Default 30s.
    pub body: Duration,
    /// Connecting to an endpoint. Default 2s.
    pub connect: Duration,
    /// From the end of a forwarded request to the headers of the response. Default 30s.
    pub response_head: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: 0,
            pin: true,
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(30),
            tunnel_grace: Duration::from_secs(5),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9090))),
            socket: PathBuf::from("keyward-data/admin.sock"),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kind: StoreKind::Embedded,
            path: PathBuf::from("keyward-data/keyward.db"),
            timeout: Duration::from_secs(2),
            redis: None,
        }
    }
}

impl Default for RedisStore {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            tls: false,
            topology: Topology::Single,
            sentinel_master: None,
            sentinel_username: None,
            sentinel_password: None,
            username: None,
            password: None,
            ca_file: None,
            client_certificate_file: None,
            client_key_file: None,
            database: 0,
            prefix: "keyward".to_owned(),
            on_outage: OnOutage::Deny,
            max_staleness: Duration::from_secs(30),
            coherence_lease: Duration::from_secs(1),
            read_timeout: Duration::from_millis(250),
            revoke_acks: 0,
            revoke_acks_timeout: Duration::from_secs(1),
            allow_volatile: false,
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self { directory: PathBuf::from("keyward-data/keys"), issuer: "keyward".to_owned() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 32 * 1024,
            headers: 100,
            target: 16 * 1024,
            token: 8 * 1024,
            connections: 0,
            streams: 100,
            response_head: 64 * 1024,
            response_headers: 256,
            cached_tokens: 1_000_000,
        }
    }
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            hashing_threads: 0,
            hashing_queue: 64,
            window: Duration::from_secs(15 * 60),
            failures: 5,
            failures_per_address: 50,
            suspect_from: 50,
            failures_of_strangers: 1,
            registration_window: Duration::from_secs(3600),
            registrations_per_address: 20,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(10),
            head: Duration::from_secs(10),
            tls_handshake: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(30),
            connect: Duration::from_secs(2),
            response_head: Duration::from_secs(30),
        }
    }
}
