//! Why a Redis that answers refuses changes, and which of its settings says so.

/// Why a server refuses changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeRefusal {
    /// The latest background save failed.
    SnapshotFailed,
    /// The append-only file cannot be written.
    AppendFailed,
    /// Fewer replicas follow than it needs.
    TooFewReplicas,
    /// It is a replica.
    Replica,
    /// It is a replica without its master, and so does not answer look-ups either.
    MasterDown,
    /// `maxmemory` is reached: what needs no memory still works.
    Full,
    /// It reads its data from the disk.
    Loading,
    /// The user lacks a right.
    NotPermitted,
}

impl ChangeRefusal {
    /// By the code of an error and what comes behind it.
    pub(super) fn of(code: &str, detail: &str) -> Option<Self> {
        Some(match code {
            "MISCONF" if detail.contains("AOF") => Self::AppendFailed,
            "MISCONF" => Self::SnapshotFailed,
            "NOREPLICAS" => Self::TooFewReplicas,
            "READONLY" => Self::Replica,
            "MASTERDOWN" => Self::MasterDown,
            "OOM" => Self::Full,
            "LOADING" => Self::Loading,
            "NOPERM" => Self::NotPermitted,
            _ => return None,
        })
    }

    /// The state of the server, as a sentence.
    pub(super) const fn state(self) -> &'static str {
        match self {
            Self::SnapshotFailed => {
                "Redis refuses changes because its latest background save failed"
            }
            Self::AppendFailed => {
                "Redis refuses changes because it cannot write its append-only file"
            }
            Self::TooFewReplicas => "Redis refuses changes because too few replicas follow it",
            Self::Replica => "this Redis is a replica",
            Self::MasterDown => "this Redis is a replica, and its master is down",
            Self::Full => "Redis has reached its maxmemory",
            Self::Loading => "Redis is loading its data",
            Self::NotPermitted => "the Redis user lacks a permission",
        }
    }

    /// What an operator can do, with the setting that it is about.
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::SnapshotFailed => {
                "make room on the disk of \"dir\" and see the log of Redis; with appendonly yes, \
                 snapshots can be switched \
                 off (save \"\"), or be allowed to fail (stop-writes-on-bgsave-error no)"
            }
            Self::AppendFailed => "make room on the disk of \"dir\" and see the log of Redis",
            Self::TooFewReplicas => {
                "bring the replicas back; as many as min-replicas-to-write says must follow within \
                 min-replicas-max-lag"
            }
            Self::Replica | Self::MasterDown => {
                "name the master in \"url\" of [store], or make this one the master (replicaof no \
                 one)"
            }
            Self::Full => {
                "give it more memory (maxmemory); with maxmemory-policy noeviction, tokens are \
                 still judged and revoked, \
                 but not issued"
            }
            Self::Loading => "wait until it has read its data",
            Self::NotPermitted => "give the user the ACL rule in the documentation",
        }
    }
}
