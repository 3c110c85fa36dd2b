//! What Redis' errors mean: to the caller of the store, and for the connection.

use redis::{ErrorKind, RedisError, ServerError};

use super::refusal::ChangeRefusal;
use crate::store::record_codec::BodyFault;
use crate::tokens::store::StoreError;

/// How much of Redis' own words goes into an error, in bytes.
const WORDS: usize = 200;

/// An error, judged.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// What the store says.
    pub(super) error: StoreError,
    /// What helps.
    pub(super) remedy: Remedy,
}

/// What helps against an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Finding the site anew: this server is not the master of our slot, or the connection is gone.
    /// Whether the command has taken effect is unknown, if the connection was lost.
    Rediscover,
    /// The same again on the same server after a moment: nothing was done.
    Retry,
    /// Nothing that keyward could do.
    Nothing,
}

/// Judges an error of the connection or the server.
pub(super) fn judge(error: &RedisError) -> Fault {
    if error.is_timeout() {
        return Fault { error: StoreError::TimedOut, remedy: Remedy::Nothing };
    }
    let (means, remedy) = match error.kind() {
        ErrorKind::Io => ("the connection to Redis is lost", Remedy::Rediscover),
        ErrorKind::Parse => ("Redis answers what is not its protocol", Remedy::Rediscover),
        ErrorKind::RESP3NotSupported => ("Redis is older than 6", Remedy::Nothing),
        ErrorKind::AuthenticationFailed => ("Redis refuses the password", Remedy::Nothing),
        _ => {
            return judge_code(
                error.code().unwrap_or_default(),
                error.detail().unwrap_or_default(),
            );
        }
    };
    unavailable(means, &error.to_string(), remedy)
}

/// Judges an error that stands in the place of an answer.
pub(super) fn judge_answer(error: &ServerError) -> Fault {
    judge_code(error.code(), error.details().unwrap_or_default())
}

fn judge_code(code: &str, detail: &str) -> Fault {
    let whole = format!("{code} {detail}");
    let code = effective_code(code, detail);
    if let Some(refusal) = ChangeRefusal::of(code, detail) {
        return refused(refusal, &whole);
    }
    let (means, remedy) = match code {
        "WRONGTYPE" => {
            let words = format!("a key of ours holds something else ({})", shortened(&whole));
            return Fault { error: StoreError::Corrupt(words), remedy: Remedy::Nothing };
        }
        "MOVED" => ("the keys are at another node of the Redis Cluster", Remedy::Rediscover),
        "ASK" | "TRYAGAIN" => {
            ("the keys are being moved to another node of the Redis Cluster", Remedy::Retry)
        }
        "CLUSTERDOWN" => ("the Redis Cluster is down", Remedy::Rediscover),
        "BUSY" => ("Redis is busy with somebody's script", Remedy::Retry),
        "NOSCRIPT" => ("Redis does not know a script", Remedy::Retry),
        // A user without rights after a change of the ACL, too: the next connection may have them.
        "NOAUTH" | "WRONGPASS" => ("Redis wants another user or password", Remedy::Rediscover),
        _ => ("Redis refuses", Remedy::Nothing),
    };
    unavailable(means, &whole, remedy)
}

fn refused(refusal: ChangeRefusal, whole: &str) -> Fault {
    let words = format!("{}: {} ({})", refusal.state(), refusal.remedy(), shortened(whole));
    let (error, remedy) = match refusal {
        ChangeRefusal::Full => (StoreError::Full(words), Remedy::Nothing),
        ChangeRefusal::SnapshotFailed
        | ChangeRefusal::AppendFailed
        | ChangeRefusal::TooFewReplicas => (StoreError::RefusesChanges(words), Remedy::Nothing),
        ChangeRefusal::Replica | ChangeRefusal::MasterDown => {
            (StoreError::Unavailable(words), Remedy::Rediscover)
        }
        ChangeRefusal::Loading => (StoreError::Unavailable(words), Remedy::Retry),
        ChangeRefusal::NotPermitted => (StoreError::Unavailable(words), Remedy::Nothing),
    };
    Fault { error, remedy }
}

/// Why a server refuses a change; `None`: for no reason that a setting of its own gives.
pub(super) fn change_refusal(error: &RedisError) -> Option<ChangeRefusal> {
    let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    ChangeRefusal::of(effective_code(code, detail), detail)
}

fn unavailable(means: &str, words: &str, remedy: Remedy) -> Fault {
    Fault { error: StoreError::Unavailable(format!("{means} ({})", shortened(words))), remedy }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        judge(&error)
    }
}

impl From<BodyFault> for StoreError {
    fn from(fault: BodyFault) -> Self {
        Self::Corrupt(fault.to_string())
    }
}

/// What an answer is not that should have been.
pub(super) fn unexpected(what: &str) -> StoreError {
    StoreError::Corrupt(format!("Redis answers without {what}"))
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

fn shortened(words: &str) -> &str {
    words.get(..words.floor_char_boundary(WORDS)).unwrap_or(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error that these bytes of a server become.
    fn error(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
        match value.and_then(redis::Value::extract_error) {
            Err(error) => error,
            Ok(value) => panic!("no error: {value:?}"),
        }
    }

    #[test]
    fn each_error_of_a_server_has_its_meaning_and_its_remedy() {
        for (line, kind, remedy) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", "Full", Remedy::Nothing),
            (
                "OOM command not allowed when used memory > 'maxmemory'. script: 7a, on \
                 @user_script:1.",
                "Full",
                Remedy::Nothing,
            ),
            (
                "ERR Error running script (call to f_7a): @user_script:1: @user_script: 1: -OOM \
                 command not allowed when",
                "Full",
                Remedy::Nothing,
            ),
            (
                "ERR Error running script (call to f_7a): @user_script:1: @user_script: 1: \
                 -READONLY You can't write",
                "Unavailable",
                Remedy::Rediscover,
            ),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                "Corrupt",
                Remedy::Nothing,
            ),
            (
                "READONLY You can't write against a read only replica.",
                "Unavailable",
                Remedy::Rediscover,
            ),
            ("MOVED 3999 127.0.0.1:6381", "Unavailable", Remedy::Rediscover),
            ("MASTERDOWN Link with MASTER is down", "Unavailable", Remedy::Rediscover),
            ("ASK 3999 127.0.0.1:6381", "Unavailable", Remedy::Retry),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                "Unavailable",
                Remedy::Retry,
            ),
            ("CLUSTERDOWN The cluster is down", "Unavailable", Remedy::Rediscover),
            ("LOADING Redis is loading the dataset in memory", "Unavailable", Remedy::Retry),
            ("BUSY Redis is busy running a script.", "Unavailable", Remedy::Retry),
            ("NOAUTH Authentication required.", "Unavailable", Remedy::Rediscover),
            ("WRONGPASS invalid username-password pair", "Unavailable", Remedy::Rediscover),
            (
                "NOPERM this user has no permissions to run the 'evalsha' command",
                "Unavailable",
                Remedy::Nothing,
            ),
            (
                "MISCONF Redis is configured to save RDB snapshots",
                "RefusesChanges",
                Remedy::Nothing,
            ),
            (
                "MISCONF Errors writing to the AOF file: No space left on device",
                "RefusesChanges",
                Remedy::Nothing,
            ),
            (
                "ERR Error running script (call to f_7a): @user_script:1: @user_script: 1: \
                 -MISCONF Redis is configured",
                "RefusesChanges",
                Remedy::Nothing,
            ),
            ("NOREPLICAS Not enough good replicas to write.", "RefusesChanges", Remedy::Nothing),
            ("ERR something new: -LOADING", "Unavailable", Remedy::Nothing),
            ("NEWCODE something", "Unavailable", Remedy::Nothing),
        ] {
            let fault = judge(&error(line));
            assert_eq!(fault.remedy, remedy, "{line}");
            assert!(format!("{:?}", fault.error).starts_with(kind), "{line}: {:?}", fault.error);
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
            let words = judge(&error(line)).error.to_string();
            assert!(words.contains(setting) && words.contains(line), "{words}");
        }
    }

    #[test]
    fn a_lost_connection_is_a_reason_to_look_for_the_master() {
        for kind in [std::io::ErrorKind::BrokenPipe, std::io::ErrorKind::ConnectionRefused] {
            let fault = judge(&std::io::Error::from(kind).into());
            assert_eq!(fault.remedy, Remedy::Rediscover);
            assert!(matches!(fault.error, StoreError::Unavailable(_)));
        }
        let late = judge(&std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        assert!(matches!(late.error, StoreError::TimedOut));
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let fault = judge(&error(&format!("ERR {}", "ü".repeat(500))));
        assert!(fault.error.to_string().len() < 300, "{}", fault.error);
    }
}
