//! Settings of the process: what there is once, each with its default.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// `[server]`: how the process runs and stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Worker threads, 0 to 256; 0: one per core. Default 0.
    pub workers: usize,
    /// Whether each worker stays on a core of its own. Default true.
    pub pin: bool,
    /// How long after SIGTERM `/readyz` says "not ready" while new connections are still taken, 0s to 5m: the time
    /// that a load balancer needs to notice. Default 0s.
    pub shutdown_delay: Duration,
    /// How long requests in flight may still take after that, 0s to 1h. Default 30s.
    pub shutdown_grace: Duration,
}

/// `[admin]`: what operators and probes talk to; never on a public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where health and metrics are served over HTTP; `None` (`"off"`): nowhere. Default 127.0.0.1:9090.
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
    /// The database file of the embedded store; made on first start. Default `keyward-data/keyward.db`.
    pub path: PathBuf,
    /// How long one call to the store may take, 50ms to 30s. Default 2s.
    pub timeout: Duration,
}

/// The kinds of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// SQLite in this process: one instance, no server.
    #[default]
    Embedded,
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
    /// The request target, in bytes, 256B to 1MiB; `head` bounds it too. Default 16KiB.
    pub target: usize,
    /// The credential, in bytes, 256B to 1MiB; `head` bounds it too. Default 8KiB.
    pub token: usize,
    /// Client connections open at the same time in the whole process, 0 to 10000000; 0: what the limit of file
    /// descriptors allows, less 64 that are kept spare. Default 0.
    pub connections: usize,
    /// Verified tokens kept in memory, 0 to 100000000; 0: none. Default 1000000.
    pub cached_tokens: usize,
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
        Self { workers: 0, pin: true, shutdown_delay: Duration::ZERO, shutdown_grace: Duration::from_secs(30) }
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
            cached_tokens: 1_000_000,
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
