//! A keyward that runs on the configuration that is validated: what it has in use is no fault.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use super::control::runtime;
use crate::admin::{SocketClient, StatusReport};
use crate::config::Config;
use crate::server::ListenAddress;
use crate::wire::socket_file;

/// A running keyward that answers on the admin socket of a configuration.
pub(super) struct Neighbour {
    pid: u32,
    listening: Vec<ListenAddress>,
}

impl Neighbour {
    /// How long one that is starting is waited for, as commands do.
    pub(super) const STARTING: Duration = Duration::from_secs(10);

    /// How often it is asked meanwhile.
    pub(super) const EVERY: Duration = Duration::from_millis(50);

    /// Asks on the admin socket; none: none answers. A keyward that is starting has the lock of the
    /// socket and answers a little later: it is waited for. Blocks for as long as that and the
    /// status of a keyward may take.
    pub(super) fn find(config: &Config) -> Option<Self> {
        let began = Instant::now();
        loop {
            let found = Self::ask(config);
            let is_starting = || socket_file::is_locked(&config.admin.socket);
            if found.is_some() || began.elapsed() >= Self::STARTING || !is_starting() {
                return found;
            }
            thread::sleep(Self::EVERY);
        }
    }

    fn ask(config: &Config) -> Option<Self> {
        let asked = async {
            let client = SocketClient::find(&config.admin.socket).await.ok()??;
            client.status().await.ok()
        };
        let StatusReport { pid, listening, .. } = runtime().ok()?.block_on(asked)?;
        Some(Self {
            pid,
            listening: listening.iter().filter_map(|text| ListenAddress::parse(text)).collect(),
        })
    }

    /// Whether it listens on an address that keeps others from this one.
    pub(super) fn listens_on(&self, address: &ListenAddress) -> bool {
        self.listening.iter().any(|theirs| theirs.overlaps(address))
    }

    /// Whether it is this process.
    pub(super) fn is(&self, process: u32) -> bool {
        self.pid == process
    }

    /// That it has something that this configuration names.
    pub(super) fn has(&self, what: &dyn Display) -> String {
        format!(
            "{what} is in use by a running keyward of this configuration (process {})",
            self.pid
        )
    }
}
