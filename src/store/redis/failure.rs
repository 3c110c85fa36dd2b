//! What an error of Redis means: to the caller of the store, and for the connection.

use redis::{ErrorKind, RedisError, ServerError};

use super::discovery_error::{DiscoveryError, one_line, words_of};
use crate::store::account_codec::AccountFault;
use crate::store::record_codec::BodyFault;
use crate::tokens::store::StoreError;

/// An error of Redis, of the connection to it, or of looking for it, classified by what helps.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct RedisFailure {
    pub(super) kind: FailureKind,
    pub(super) retry: Retry,
    words: String,
}

/// What has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// Redis cannot be reached, or does not serve.
    Unavailable,
    /// There was no answer in time. The command may have taken effect.
    TimedOut,
    /// A key holds something that keyward has not written.
    Corrupt,
    /// `maxmemory` is reached: what needs no memory still works.
    Full,
    /// Redis refuses all changes because it cannot write to its disk. Nothing was done.
    CannotSave,
    /// Redis refuses all changes because fewer replicas follow than it needs. Nothing was done.
    TooFewReplicas,
}

/// When the same command may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// At once, with the source of the script, which is not in the server's memory.
    WithSource,
    /// On the same server after a moment: nothing was done. `ASK` is among these and is never
    /// followed: the node to which it leads is not tracked, so nothing that is read there could be
    /// cached.
    Later,
    /// On the primary, which must be found again: this server is not the primary of our slot, or
    /// the connection is lost. In the second case, the command may have taken effect.
    Rediscover,
    /// When an operator has changed the settings, the keys or the server.
    AfterChange,
    /// keyward can do nothing about it.
    Never,
}

impl RedisFailure {
    pub(super) fn unavailable(retry: Retry, words: impl Into<String>) -> Self {
        Self { kind: FailureKind::Unavailable, retry, words: words.into() }
    }

    /// An error that stands in the place of an answer.
    pub(super) fn of_answer(error: &ServerError) -> Self {
        Self::of_code(error.code(), error.details().unwrap_or_default())
    }

    /// By the code of an error and what comes behind it. The text names the setting that it is
    /// about, and what an operator can do.
    fn of_code(code: &str, detail: &str) -> Self {
        let actual = effective_code(code, detail);
        let kind = match actual {
            "MISCONF" => FailureKind::CannotSave,
            "NOREPLICAS" => FailureKind::TooFewReplicas,
            "OOM" => FailureKind::Full,
            "WRONGTYPE" => FailureKind::Corrupt,
            _ => FailureKind::Unavailable,
        };
        let retry = match actual {
            "LOADING" | "BUSY" | "ASK" | "TRYAGAIN" => Retry::Later,
            // The last two also after a change of the ACL: the next connection may have the right.
            "READONLY" | "MASTERDOWN" | "MOVED" | "CLUSTERDOWN" | "NOAUTH" | "WRONGPASS" => {
                Retry::Rediscover
            }
            "NOSCRIPT" => Retry::WithSource,
            _ => Retry::Never,
        };
        let words = match actual {
            "MISCONF" if detail.contains("AOF") => {
                "Redis refuses changes because it cannot write its append-only file: make room on \
                 the disk of \"dir\" and see the log of Redis"
            }
            "MISCONF" => {
                "Redis refuses changes because its latest background save failed: make room on the \
                 disk of \"dir\" and see the log of Redis; with appendonly yes, snapshots can be \
                 switched off (save \"\"), or be allowed to fail (stop-writes-on-bgsave-error no)"
            }
            "NOREPLICAS" => {
                "Redis refuses changes because too few replicas follow it: bring the replicas back; \
                 as many as min-replicas-to-write says must follow within min-replicas-max-lag"
            }
            "READONLY" => {
                "this Redis is a replica: name the master in \"url\" of [store], or make this one the \
                 master (replicaof no one)"
            }
            // It does not answer look-ups either.
            "MASTERDOWN" => {
                "this Redis is a replica, and its master is down: name the master in \"url\" of \
                 [store], or make this one the master (replicaof no one)"
            }
            "OOM" => {
                "Redis has reached its maxmemory: give it more memory (maxmemory); with \
                 maxmemory-policy noeviction, tokens are still judged and revoked, but not issued"
            }
            "LOADING" => "Redis is loading its data: wait until it has read its data",
            "NOPERM" => {
                "the Redis user lacks a permission: give the user the ACL rule in the documentation"
            }
            "WRONGTYPE" => "a key of ours holds something else",
            "MOVED" => "the keys are at another node of the Redis Cluster",
            "ASK" | "TRYAGAIN" => "the keys are being moved to another node of the Redis Cluster",
            "CLUSTERDOWN" => "the Redis Cluster is down",
            "BUSY" => "Redis is busy with a script",
            "NOSCRIPT" => "Redis does not know a script",
            "NOAUTH" | "WRONGPASS" => "Redis wants another user or password",
            _ => "Redis refuses",
        };
        let said = one_line(&format!("{code} {detail}"));
        Self { kind, retry, words: format!("{words} ({said})") }
    }
}

impl From<RedisError> for RedisFailure {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            let words = words_of(&error);
            return Self { kind: FailureKind::TimedOut, retry: Retry::Never, words };
        }
        let (words, retry) = match error.kind() {
            ErrorKind::Io => ("the connection to Redis is lost", Retry::Rediscover),
            ErrorKind::Parse => ("Redis answers what is not its protocol", Retry::Rediscover),
            ErrorKind::RESP3NotSupported => ("Redis is older than 6", Retry::Never),
            ErrorKind::AuthenticationFailed => ("Redis refuses the password", Retry::Never),
            _ => {
                let detail = error.detail().unwrap_or_default();
                return Self::of_code(error.code().unwrap_or_default(), detail);
            }
        };
        Self::unavailable(retry, format!("{words} ({})", one_line(&error.to_string())))
    }
}

impl From<DiscoveryError> for RedisFailure {
    fn from(error: DiscoveryError) -> Self {
        let retry = if error.is_definitive() { Retry::AfterChange } else { Retry::Rediscover };
        Self::unavailable(retry, error.to_string())
    }
}

impl From<RedisFailure> for StoreError {
    fn from(failure: RedisFailure) -> Self {
        match failure.kind {
            FailureKind::TimedOut => Self::TimedOut,
            FailureKind::Corrupt => Self::Corrupt(failure.words),
            FailureKind::Full => Self::Full(failure.words),
            FailureKind::CannotSave | FailureKind::TooFewReplicas => {
                Self::RefusesChanges(failure.words)
            }
            FailureKind::Unavailable => Self::Unavailable(failure.words),
        }
    }
}

impl From<BodyFault> for StoreError {
    fn from(fault: BodyFault) -> Self {
        Self::Corrupt(fault.to_string())
    }
}

impl From<AccountFault> for StoreError {
    fn from(fault: AccountFault) -> Self {
        Self::Corrupt(fault.to_string())
    }
}

/// An answer that lacks `what` it should have.
pub(super) fn unexpected(what: &str) -> StoreError {
    StoreError::Corrupt(format!("Redis answers without {what}"))
}

/// The error for an outcome that the caller does not know.
pub(super) fn unknown_outcome<T>() -> Result<T, StoreError> {
    Err(unexpected("a known outcome"))
}

/// The code that counts. Before version 7, Redis wraps the error of a command within a script into
/// one of its own: `ERR Error running script (call to f_…): @user_script:1: @user_script: 1: -OOM
/// command not allowed …`.
fn effective_code<'a>(code: &'a str, detail: &'a str) -> &'a str {
    if code == "ERR"
        && detail.starts_with("Error running script")
        && let Some((_, inner)) = detail.split_once(": -")
    {
        return inner.split(' ').next().unwrap_or(code);
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error that these bytes of a server become.
    fn error(line: &str) -> redis::RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
        match value.and_then(redis::Value::extract_error) {
            Err(error) => error,
            Ok(value) => panic!("no error: {value:?}"),
        }
    }

    #[test]
    fn each_error_of_a_server_has_its_meaning_and_its_remedy() {
        for (line, kind, retry) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", "Full", Retry::Never),
            (
                "OOM command not allowed when used memory > 'maxmemory'. script: 7a, on \
                 @user_script:1.",
                "Full",
                Retry::Never,
            ),
            (
                "ERR Error running script (call to f_7a): @user_script:1: @user_script: 1: -OOM \
                 command not allowed when",
                "Full",
                Retry::Never,
            ),
            (
                "ERR Error running script (call to f_7a): @user_script:1: @user_script: 1: \
                 -READONLY You can't write",
                "Unavailable",
                Retry::Rediscover,
            ),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                "Corrupt",
                Retry::Never,
            ),
            (
                "READONLY You can't write against a read only replica.",
                "Unavailable",
                Retry::Rediscover,
            ),
            ("MOVED 3999 127.0.0.1:6381", "Unavailable", Retry::Rediscover),
            ("MASTERDOWN Link with MASTER is down", "Unavailable", Retry::Rediscover),
            ("ASK 3999 127.0.0.1:6381", "Unavailable", Retry::Later),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                "Unavailable",
                Retry::Later,
            ),
            ("CLUSTERDOWN The cluster is down", "Unavailable", Retry::Rediscover),
            ("LOADING Redis is loading the dataset in memory", "Unavailable", Retry::Later),
            ("BUSY Redis is busy running a script.", "Unavailable", Retry::Later),
            ("NOAUTH Authentication required.", "Unavailable", Retry::Rediscover),
            ("WRONGPASS invalid username-password pair", "Unavailable", Retry::Rediscover),
            (
                "NOPERM this user has no permissions to run the 'evalsha' command",
                "Unavailable",
                Retry::Never,
            ),
            ("MISCONF Redis is configured to save RDB snapshots", "RefusesChanges", Retry::Never),
            (
                "MISCONF Errors writing to the AOF file: No space left on device",
                "RefusesChanges",
                Retry::Never,
            ),
            (
                "ERR Error running script (call to f_7a): @user_script:1: @user_script: 1: \
                 -MISCONF Redis is configured",
                "RefusesChanges",
                Retry::Never,
            ),
            ("NOREPLICAS Not enough good replicas to write.", "RefusesChanges", Retry::Never),
            ("ERR something new: -LOADING", "Unavailable", Retry::Never),
            ("NEWCODE something", "Unavailable", Retry::Never),
        ] {
            let failure = RedisFailure::from(error(line));
            assert_eq!(failure.retry, retry, "{line}");
            let error = StoreError::from(failure);
            assert!(format!("{error:?}").starts_with(kind), "{line}: {error:?}");
        }
    }

    #[test]
    fn a_refused_change_is_said_with_the_setting_that_it_is_about() {
        for (line, setting) in [
            (
                "MISCONF Redis is configured to save RDB snapshots, but",
                "stop-writes-on-bgsave-error",
            ),
            ("MISCONF Errors writing to the AOF file: No space left on device", "append-only file"),
            ("NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write"),
            ("READONLY You can't write against a read only replica.", "replicaof"),
            ("MASTERDOWN Link with MASTER is down", "replicaof"),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                "maxmemory-policy noeviction",
            ),
            ("LOADING Redis is loading the dataset in memory", "read its data"),
            ("NOPERM this user has no permissions to run the 'evalsha' command", "ACL"),
        ] {
            let words = RedisFailure::from(error(line)).to_string();
            assert!(words.contains(setting) && words.contains(line), "{words}");
        }
    }

    #[test]
    fn a_lost_connection_is_a_reason_to_look_for_the_master() {
        for kind in [std::io::ErrorKind::BrokenPipe, std::io::ErrorKind::ConnectionRefused] {
            let failure = RedisFailure::from(redis::RedisError::from(std::io::Error::from(kind)));
            assert_eq!(failure.retry, Retry::Rediscover);
            assert!(matches!(failure.into(), StoreError::Unavailable(_)));
        }
        let late = redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert!(matches!(RedisFailure::from(late).into(), StoreError::TimedOut));
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let failure = RedisFailure::from(error(&format!("ERR {}", "ü".repeat(500))));
        assert!(failure.to_string().len() < 300, "{failure}");
    }
}
