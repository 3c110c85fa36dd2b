//! The memory of the process: how much it takes, how much it may take, and what is done beyond.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{Load, freed};
use crate::server::ConnectionLimit;
use crate::settings::units::ByteSize;
use crate::wire::limits::Limits;

/// Refuses what is new while the process takes too much memory.
pub(super) struct MemoryBound {
    /// In bytes; 0: any amount.
    most: AtomicU64,
    /// How often it began to refuse.
    times: AtomicU64,
    load: Arc<Load>,
    connections: Arc<ConnectionLimit>,
}

impl MemoryBound {
    pub(super) fn new(load: Arc<Load>, connections: Arc<ConnectionLimit>) -> Self {
        Self { most: AtomicU64::new(0), times: AtomicU64::new(0), load, connections }
    }

    /// Goes by these limits from now on.
    pub(super) fn bound(&self, limits: &Limits) {
        let most = match limits.memory {
            Some(configured) => configured.map(|bytes| bytes as u64),
            None => of_control_group().map(|bytes| bytes / 10 * 9),
        };
        self.most.store(most.unwrap_or_default(), Ordering::Relaxed);
        self.look();
    }

    /// How much may be taken, in bytes; `None`: any amount.
    pub(super) fn most(&self) -> Option<u64> {
        Some(self.most.load(Ordering::Relaxed)).filter(|most| *most > 0)
    }

    /// How often it began to refuse.
    pub(super) fn times(&self) -> u64 {
        self.times.load(Ordering::Relaxed)
    }

    /// Whether it refuses at the moment.
    pub(super) fn is_exceeded(&self) -> bool {
        self.load.has_too_much_memory()
    }

    /// Looks at what is taken, and begins or ends refusing.
    pub(super) fn look(&self) {
        let was = self.is_exceeded();
        let most = self.most();
        if most.is_none() && !was {
            return;
        }
        // What cannot be read refuses nothing.
        let mut taken = resident().unwrap_or_default();
        if is_too_much(taken, most, true) {
            // Some of it may be free, and would stay so for as long as what is new is refused.
            freed::hand_back();
            taken = resident().unwrap_or_default();
        }
        let is = is_too_much(taken, most, was);
        if is == was {
            return;
        }
        self.load.note_memory(is);
        self.connections.close(is);
        let taken = ByteSize(taken / 1024 * 1024);
        if is {
            self.times.fetch_add(1, Ordering::Relaxed);
            let most = most.map(|bytes| ByteSize(bytes).to_string()).unwrap_or_default();
            tracing::warn!(
                %taken,
                limit = %most,
                "keyward takes more memory than limits.memory: new connections and requests get 503"
            );
        } else {
            tracing::info!(%taken, "keyward takes less memory again: requests are served");
        }
    }
}

/// Whether so much is too much; `was`: whether it was before.
fn is_too_much(taken: u64, most: Option<u64>, was: bool) -> bool {
    // Below 95 % it is not any more: what is just below is soon above again.
    most.is_some_and(|most| taken > if was { most / 100 * 95 } else { most })
}

/// The resident memory of this process, in bytes, as the system says.
pub(super) fn resident() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// What a line of `/proc/PID/status` says (proc_pid_status(5)), in bytes.
pub(super) fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let amount: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    amount.checked_mul(1024)
}

/// How much the control group (cgroup v2) of this process may take, in bytes, if it may not take
/// any amount.
fn of_control_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    least_of_groups(Path::new("/sys/fs/cgroup"), &groups)
}

/// The least limit of the group and of those that it is in.
fn least_of_groups(root: &Path, groups: &str) -> Option<u64> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut folder = PathBuf::from(root);
    let mut folders = vec![folder.clone()];
    for part in Path::new(path).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                folder.push(name);
                folders.push(folder.clone());
            }
            // A group outside of what is seen from here.
            Component::ParentDir | Component::Prefix(_) => break,
        }
    }
    let limits = folders.iter().filter_map(|folder| {
        // "max": any amount.
        fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse::<u64>().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_above_the_limit_and_ends_below_95_percent_of_it() {
        assert!(!is_too_much(1000, Some(1000), false));
        assert!(is_too_much(1001, Some(1000), false));
        assert!(is_too_much(960, Some(1000), true));
        assert!(!is_too_much(950, Some(1000), true));
        assert!(!is_too_much(u64::MAX, None, true));
    }

    #[test]
    fn the_memory_of_this_process_is_read() {
        let read = |status| kibibytes(status, "VmRSS:");
        assert_eq!(read("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(read("VmRSS:\t many kB\n"), None);
        assert!(resident().expect("a number") > 1 << 20);
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_around_it_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("system.slice/keyward.service");
        fs::create_dir_all(&inner).expect("folders");
        let least = |path: &str| least_of_groups(folder.path(), &format!("1:cpu:/x\n0::{path}\n"));
        let limit = |folder: &Path, text: &str| {
            fs::write(folder.join("memory.max"), text).expect("a file");
        };
        assert_eq!(least("/system.slice/keyward.service"), None);
        limit(&inner, "max\n");
        assert_eq!(least("/system.slice/keyward.service"), None);
        limit(&inner, "536870912\n");
        assert_eq!(least("/system.slice/keyward.service"), Some(512 << 20));
        limit(&folder.path().join("system.slice"), "1024\n");
        assert_eq!(least("/system.slice/keyward.service"), Some(1024));
        assert_eq!(least("/../keyward.service"), None);
        assert_eq!(least_of_groups(folder.path(), "1:memory:/x\n"), None);
    }
}
