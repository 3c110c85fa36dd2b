//! Why the primary could not be found or reached, in words for an operator. Never with a password.

use redis::{ErrorKind, RedisError};

use super::settings::NodeAddress;

/// The most of a server's own text that goes into an error, in bytes.
const LONGEST: usize = 200;

/// The primary could not be found or reached. The address is that of the server that was asked; the
/// text says why, in the words of the server or the system where they have some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// There is no connection, or it was lost.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(NodeAddress, String),
    /// It did not answer within the deadline.
    #[error("{0} did not answer in time")]
    TimedOut(NodeAddress),
    /// It answers, but is not the primary (or not yet). The text is its role.
    #[error("{0} is a {1}, not the master")]
    NotMaster(NodeAddress, String),
    /// It answers, but cannot serve now: it loads its data, a script blocks it, or it takes no more
    /// connections.
    #[error("{0} cannot serve now: {1}")]
    NotNow(NodeAddress, String),
    /// The server at the address is another one than a moment ago: it was restarted, or a load
    /// balancer is in front of several.
    #[error("{0} is another server than before: restarted, or behind a load balancer")]
    OtherServer(NodeAddress),
    /// No sentinel, or no node of the Cluster, could name the primary. What each of them answered.
    #[error("no answer says where the master is: {}", .0.join("; "))]
    MasterUnknown(Vec<String>),
    /// Too many connections are being made already.
    #[error("too many connections are being made")]
    Crowded,
    /// Its certificate is not accepted, or it does not accept ours.
    #[error("TLS with {0} failed: {1}")]
    Tls(NodeAddress, String),
    /// The user or the password is wrong, or one is needed and none is configured.
    #[error("{0} refuses the user or the password: {1}")]
    Refused(NodeAddress, String),
    /// The user lacks the right to the command that the text names.
    #[error("{0} does not permit {1} to this user")]
    NotPermitted(NodeAddress, String),
    /// It is too old for what keyward needs. The text is its version.
    #[error(
        "{0} is too old: keyward needs Redis 6.0 or later (RESP3 and client tracking), found {1}"
    )]
    TooOld(NodeAddress, String),
    /// A server of another topology than configured, a wrong database, or no Redis.
    #[error("{0}: {1}")]
    Unsuitable(NodeAddress, String),
    /// The settings themselves cannot be used: a file cannot be read.
    #[error("{0}")]
    Settings(String),
}

impl DiscoveryError {
    /// Whether it stays so until an operator changes something; otherwise trying again later may
    /// help. Even then it is tried again, only less often: the change may be made on the server.
    #[must_use]
    pub const fn is_definitive(&self) -> bool {
        matches!(
            self,
            Self::Tls(..)
                | Self::Refused(..)
                | Self::NotPermitted(..)
                | Self::TooOld(..)
                | Self::Unsuitable(..)
                | Self::Settings(_)
        )
    }

    /// From an error of the client library; `doing` is the command that was sent.
    pub(super) fn from_redis(address: &NodeAddress, doing: &str, error: &RedisError) -> Self {
        let (address, said) = (address.clone(), words_of(error));
        if error.is_timeout() {
            return Self::TimedOut(address);
        }
        match error.kind() {
            ErrorKind::RESP3NotSupported => {
                return Self::TooOld(address, "one that does not know HELLO".to_owned());
            }
            // The client library gives no code with it.
            ErrorKind::AuthenticationFailed => return Self::Refused(address, said),
            ErrorKind::Parse => {
                let words = "it does not speak the protocol of Redis";
                return Self::Unsuitable(address, words.to_owned());
            }
            _ => {}
        }
        match error.code() {
            Some("WRONGPASS" | "NOAUTH") => Self::Refused(address, said),
            Some("NOPERM") => Self::NotPermitted(address, doing.to_owned()),
            Some("NOPROTO") => Self::TooOld(address, "one that does not know RESP3".to_owned()),
            Some("LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "UNKILLABLE") => {
                Self::NotNow(address, said)
            }
            // Without a code of its own: "ERR max number of clients reached".
            Some("ERR") if said.contains("max number of clients") => Self::NotNow(address, said),
            Some("ERR") if doing == "HELLO" && said.contains("unknown command") => {
                Self::TooOld(address, "one that does not know HELLO".to_owned())
            }
            Some("ERR") if said.contains("unknown command") => {
                Self::Unsuitable(address, format!("it does not know {doing}"))
            }
            Some("DENIED") => Self::Unsuitable(address, said),
            Some(_) => Self::Unsuitable(address, format!("{doing}: {said}")),
            None => Self::Unreachable(address, said),
        }
    }
}

/// The words of the server, or of the system, on one line.
pub(super) fn words_of(error: &RedisError) -> String {
    match error.code() {
        Some("ERR") | None => {
            one_line(&error.detail().map_or_else(|| error.to_string(), str::to_owned))
        }
        Some(code) => one_line(&format!("{code} {}", error.detail().unwrap_or_default())),
    }
}

/// At most [`LONGEST`] bytes, without control characters.
pub(super) fn one_line(words: &str) -> String {
    let words = words.get(..words.floor_char_boundary(LONGEST)).unwrap_or(words).trim_end();
    words.replace(char::is_control, " ")
}
