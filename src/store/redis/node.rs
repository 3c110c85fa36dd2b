//! The servers of a fleet: a connection to one of them, and what it says about itself before it is
//! trusted.
//!
//! A connection is handed out only when it has been authenticated (`dial.rs`) and the server has
//! said that it is a primary. `discover.rs` finds which server that is.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use redis::aio::AsyncPushSender;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::discovery_error::DiscoveryError;
use super::pace::Pace;
use super::settings::{NodeAddress, RedisSettings, Servers};
use crate::tls;

#[cfg(test)]
mod tests;

/// The oldest Redis with RESP3 and client tracking.
const OLDEST: (u32, u32, u32) = (6, 0, 0);

/// The name under which connections show in `CLIENT LIST`.
const CLIENT_NAME: &str = "keyward";

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Random, new with each start of the server: the same address with another one is another
    /// server.
    pub run_id: String,
    /// Its version.
    pub version: (u32, u32, u32),
    /// `master` or `slave`, as `INFO` says it.
    pub role: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: String,
    /// How many replicas are connected.
    pub replicas: usize,
}

/// The way to the servers of a fleet.
#[derive(Debug)]
pub struct Nodes {
    pub(super) settings: RedisSettings,
    reloadable: ArcSwap<ReloadableSettings>,
    pace: Pace,
    learned: Mutex<Learned>,
}

/// What has been learned while looking for the primary.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// Nodes of the Cluster, beside those of the settings.
    pub(super) nodes: Vec<NodeAddress>,
    /// The newest configuration epoch that a sentinel has told.
    pub(super) epoch: u64,
}

/// What a connection is made to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Server,
    Sentinel,
}

/// What a reload may change: users, passwords and certificates.
#[derive(Debug)]
pub struct ReloadableSettings {
    /// Only its users and passwords count: the rest takes a new start.
    pub(super) settings: RedisSettings,
    pub(super) tls: Option<Arc<tls::Client>>,
}

impl ReloadableSettings {
    /// Reads the files of TLS that `settings` name.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError::Settings`] if a file of TLS cannot be used.
    pub fn of(settings: &RedisSettings) -> Result<Self, DiscoveryError> {
        let tls = settings.tls.clone().map(tls::Client::load).transpose();
        let tls = tls.map_err(|fault| DiscoveryError::Settings(fault.to_string()))?;
        Ok(Self { settings: settings.clone(), tls })
    }
}

impl Nodes {
    /// Prepares; connects to no server.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError::Settings`] if a file of TLS cannot be used.
    pub fn new(settings: RedisSettings) -> Result<Self, DiscoveryError> {
        let reloadable = ArcSwap::from_pointee(ReloadableSettings::of(&settings)?);
        Ok(Self { settings, reloadable, pace: Pace::default(), learned: Mutex::default() })
    }

    /// Uses these users, passwords and certificates for connections that are made from now on.
    pub fn replace(&self, reloadable: ReloadableSettings) {
        self.reloadable.store(Arc::new(reloadable));
    }

    pub(super) fn reloadable(&self) -> Arc<ReloadableSettings> {
        self.reloadable.load_full()
    }

    pub(super) fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client side of TLS that is in force; `None`: connections are in clear. A reload makes a
    /// new one, whose files have to be watched anew.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<tls::Client>> {
        self.reloadable.load().tls.clone()
    }

    /// Connects to a server that must be a primary: RESP3, authenticated, named `keyward`, the
    /// configured database. Its pushes go to `push`, in order, from the task that reads the
    /// connection; it must not block. The connection belongs to the runtime that this is called on.
    /// The deadline is `timeouts.connect`, and the wait for a turn (`pace.rs`) counts against it.
    ///
    /// # Errors
    ///
    /// Any of [`DiscoveryError`]; none of them has let anything be trusted.
    pub async fn connect(
        &self,
        address: &NodeAddress,
        push: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<(Connection, Facts), DiscoveryError> {
        self.within(address, async {
            let mut connection = self.open(address, Peer::Server, push).await?;
            let facts = Facts::ask(&mut connection, address).await?;
            if facts.version < OLDEST {
                let (major, minor, patch) = facts.version;
                let version = format!("{major}.{minor}.{patch}");
                return Err(DiscoveryError::TooOld(address.clone(), version));
            }
            self.check_mode(address, &facts.mode)?;
            if facts.role != "master" {
                let role = if facts.role == "slave" { "replica".to_owned() } else { facts.role };
                return Err(DiscoveryError::NotMaster(address.clone(), role));
            }
            // For operators: it works without, too.
            let mut name = redis::cmd("CLIENT");
            let _ = name.arg("SETNAME").arg(CLIENT_NAME).exec_async(&mut connection.inner).await;
            Ok((connection, facts))
        })
        .await
    }

    fn check_mode(&self, address: &NodeAddress, mode: &str) -> Result<(), DiscoveryError> {
        let wrong = match (&self.settings.servers, mode) {
            (_, "sentinel") => "it is a sentinel, not a server: see \"topology\" in [store]",
            (Servers::Single(_) | Servers::Sentinel { .. }, "cluster") => {
                "it is a node of a Cluster: see \"topology\" in [store]"
            }
            (Servers::Cluster(_), "standalone") => {
                "it is no node of a Cluster: see \"topology\" in [store]"
            }
            _ => return Ok(()),
        };
        Err(DiscoveryError::Unsuitable(address.clone(), wrong.to_owned()))
    }

    /// Waits for a turn and then for `work`, both within the deadline of a connection.
    async fn within<T>(
        &self,
        address: &NodeAddress,
        work: impl Future<Output = Result<T, DiscoveryError>>,
    ) -> Result<T, DiscoveryError> {
        let deadline = Instant::now() + self.settings.timeouts.connect;
        let turn = timeout_at(deadline, self.pace.turn()).await;
        turn.map_err(|_| DiscoveryError::Crowded)?;
        timeout_at(deadline, work)
            .await
            .unwrap_or_else(|_| Err(DiscoveryError::TimedOut(address.clone())))
    }
}

impl Facts {
    /// From a server in whatever role.
    async fn ask(
        connection: &mut Connection,
        address: &NodeAddress,
    ) -> Result<Self, DiscoveryError> {
        let mut info = String::new();
        // One INFO takes both sections only since 7.0.
        for section in ["server", "replication"] {
            let part =
                redis::cmd("INFO").arg(section).query_async::<String>(&mut connection.inner).await;
            let part = part.map_err(|error| DiscoveryError::from_redis(address, "INFO", &error))?;
            info.push_str(&part);
        }
        Self::read(&info).ok_or_else(|| {
            let words = "its INFO lacks run_id, version or role";
            DiscoveryError::Unsuitable(address.clone(), words.to_owned())
        })
    }

    /// From the lines of `INFO server` and `INFO replication`. Its role is what `ROLE` says, too;
    /// `INFO` needs one right less.
    fn read(info: &str) -> Option<Self> {
        let value = |name: &str| field(info, name);
        let mut parts =
            value("redis_version")?.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let mode = value("redis_mode").unwrap_or("standalone");
        Some(Self {
            run_id: value("run_id")?.to_owned(),
            version: (parts.next()?, parts.next().unwrap_or(0), parts.next().unwrap_or(0)),
            // A sentinel has none.
            role: value("role").or((mode == "sentinel").then_some(mode))?.to_owned(),
            mode: mode.to_owned(),
            replicas: value("connected_slaves").and_then(|count| count.parse().ok()).unwrap_or(0),
        })
    }
}

/// A value in the answer of `INFO`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
