//! The keys of `[store]`.

use std::path::PathBuf;
use std::time::Duration;

use super::files::{AUTHORITIES, PASSWORD_FILE, PEM};
use super::texts::{refused, visible_up_to};
use crate::config::redis_url::RedisUrl;
use crate::settings::Secret;
use crate::settings::describe::Order;
use crate::settings::key::KindExt as _;
use crate::settings::kind::{
    PASSWORD, PATH, Private, Text, boolean, duration, integer, text, words,
};
use crate::settings::list::{At, List, Placed, at, one_or_list};
use crate::settings::settings;
use crate::settings::units::{hours, milliseconds, seconds};

settings! {
    /// Where the records of tokens live: in an SQLite database in this process, or in a Redis that
    /// the instances of a fleet share. Redis must be version 6 or later, with `appendonly yes` and
    /// `maxmemory-policy noeviction`; `keyward store check` looks at it.
    pub(crate) struct StoreKeys {
        /// `"embedded"`: SQLite in this process, for one instance; `"redis"`: a fleet shares a
        /// Redis.
        pub(crate) kind: StoreKind = words(KINDS).or(StoreKind::Embedded),
        /// How long one call to the store may take.
        pub(crate) timeout: Duration = duration(milliseconds(50)..=seconds(30)).or(seconds(2)),
        /// The database file, made on first start.
        pub(crate) path: PathBuf =
            PATH.or("keyward-data/keyward.db".into()).only_with("kind", "embedded"),
        /// One server, several sentinels or several nodes of a Cluster: `redis://host:port`, or
        /// `rediss://host:port` for TLS. Without a port it is 6379, of sentinels 26379. The number
        /// of the database may follow, as in `redis://host/2`. A user and a password may stand in
        /// it, as in `redis://${USER}:${PASSWORD}@host` (percent-encoded; a password in clear is
        /// refused).
        pub(crate) url: Option<Vec<Placed<RedisUrl>>> = URLS.required().only_with("kind", "redis"),
        /// `"single"`: `url` is the server; `"sentinel"`: `url` lists the sentinels of a master;
        /// `"cluster"`: `url` lists some nodes of a Redis Cluster.
        pub(crate) topology: Topology =
            words(TOPOLOGIES).or(Topology::Single).only_with("kind", "redis"),
        /// The name under which the sentinels watch the master.
        pub(crate) sentinel_master: Option<String> =
            NAME.required().only_with("topology", "sentinel"),
        /// The user at the sentinels, where they ask for one.
        pub(crate) sentinel_username: Option<String> = NAME
            .optional()
            .only_with("topology", "sentinel")
            .needs(&["sentinel_password", "sentinel_password_file"]),
        /// Its password.
        pub(crate) sentinel_password: Option<Secret> =
            PASSWORD.optional().only_with("topology", "sentinel"),
        /// A file with that password in one line.
        pub(crate) sentinel_password_file: Option<Secret> = PASSWORD_FILE
            .optional()
            .only_with("topology", "sentinel")
            .excludes("sentinel_password"),
        /// The ACL user at the server, which needs a password; absent: Redis's default user.
        pub(crate) username: Option<String> = NAME.optional().only_with("kind", "redis"),
        /// Its password. Without this key and the next, none is sent.
        pub(crate) password: Option<Secret> = PASSWORD.optional().only_with("kind", "redis"),
        /// A file with that password in one line; a reload reads it again.
        pub(crate) password_file: Option<Secret> =
            PASSWORD_FILE.optional().only_with("kind", "redis").excludes("password"),
        /// The authorities that are trusted for `rediss://`, in PEM form; absent: those of the
        /// system.
        pub(crate) ca_file: Option<PathBuf> = AUTHORITIES.optional().only_with("kind", "redis"),
        /// Our certificate for `rediss://`, where the server asks for one, in PEM form: the chain,
        /// our own certificate first.
        pub(crate) client_certificate_file: Option<PathBuf> =
            PEM.optional().only_with("kind", "redis").needs(&["client_key_file"]),
        /// Its private key.
        pub(crate) client_key_file: Option<PathBuf> =
            PEM.optional().only_with("kind", "redis").needs(&["client_certificate_file"]),
        /// The number of the database; a Cluster has only 0.
        pub(crate) database: u32 = integer(0..=65_535).or(0).only_with("kind", "redis"),
        /// What the keys in Redis begin with, in braces: fleets with different ones can share a
        /// Redis.
        pub(crate) prefix: String = PREFIX.or("keyward".into()).only_with("kind", "redis"),
        /// What becomes of requests while Redis is away. `"deny"`: they are answered with 503;
        /// `"serve_cached"`: tokens that are cached are accepted until `max_staleness`, and a
        /// revocation may take as long.
        pub(crate) on_outage: OnOutage =
            words(OUTAGES).or(OnOutage::Deny).only_with("kind", "redis"),
        /// How old cached answers may become.
        pub(crate) max_staleness: Duration = duration(seconds(1)..=hours(24))
            .or(seconds(30))
            .only_with("on_outage", "serve_cached")
            .compared(Order::AtLeast, "coherence_lease"),
        /// How long an instance may use its cache without a sign of life from Redis. An instance
        /// that is cut off accepts a revoked token no longer than this, and with replicas
        /// `min-replicas-max-lag` in addition.
        pub(crate) coherence_lease: Duration =
            duration(milliseconds(200)..=seconds(30)).or(seconds(1)).only_with("kind", "redis"),
        /// How long one look-up may take.
        pub(crate) read_timeout: Duration = duration(milliseconds(10)..=seconds(30))
            .or(milliseconds(250))
            .only_with("kind", "redis")
            .compared(Order::AtMost, "timeout"),
        /// How many replicas must have a revocation before it is acknowledged, so that a failover
        /// does not undo it.
        pub(crate) revoke_acks: usize = integer(0..=100).or(0).only_with("kind", "redis"),
        /// How long to wait for them, by default at most half of `timeout`; then the call fails and
        /// can be repeated. Needs `revoke_acks` of 1 or more.
        pub(crate) revoke_acks_timeout: Duration =
            duration(milliseconds(10)..=seconds(30))
                .or(seconds(1))
                .only_with("kind", "redis")
                .compared(Order::Below, "timeout"),
        /// `true`: start even if Redis keeps nothing on disk, and loses every token at its restart.
        pub(crate) allow_volatile: bool = boolean().or(false).only_with("kind", "redis"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Embedded,
    Redis,
}

/// What the servers in `url` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    Single,
    Sentinel,
    Cluster,
}

/// What becomes of requests while the store is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnOutage {
    Deny,
    ServeCached,
}

const KINDS: &[(&str, StoreKind)] =
    &[("embedded", StoreKind::Embedded), ("redis", StoreKind::Redis)];

const TOPOLOGIES: &[(&str, Topology)] = &[
    ("single", Topology::Single),
    ("sentinel", Topology::Sentinel),
    ("cluster", Topology::Cluster),
];

const OUTAGES: &[(&str, OnOutage)] =
    &[("deny", OnOutage::Deny), ("serve_cached", OnOutage::ServeCached)];

const URLS: List<At<Private<RedisUrl>>> = one_or_list(at(Private {
    what: "\"redis://host:port\" or \"rediss://host:port\" (TLS)",
    parse: RedisUrl::read,
    advice: Some(
        "into \"password_file\", or into the environment as in \
         \"redis://user:${PASSWORD}@host\"",
    ),
}));

const NAME: Text<String> =
    text("a name of 1 to 255 visible characters", |text| visible_up_to(text, 255));

const PREFIX: Text<String> =
    text("1 to 64 letters, digits, \"-\", \"_\", \".\" or \":\"", |text| {
        // No brace: it stands between braces, as the hash tag of all keys.
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if (1..=64).contains(&text.len()) && text.chars().all(is_allowed) {
            Ok(text.to_owned())
        } else {
            refused()
        }
    });
