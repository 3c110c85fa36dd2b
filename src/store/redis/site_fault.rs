//! Why the master could not be found or reached, in words for an operator. Never with a password.

use redis::{ErrorKind, RedisError};

use super::settings::NodeAddress;

/// The master could not be found or reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SiteFault {
    /// No connection, or a lost one.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Who was asked.
        address: NodeAddress,
        /// The system's words.
        reason: String,
    },
    /// It did not answer within the deadline.
    #[error("{address} did not answer in time")]
    TimedOut {
        /// Who was asked.
        address: NodeAddress,
    },
    /// It answers, but is not the master (or not yet).
    #[error("{address} is a {role}, not the master")]
    NotMaster {
        /// Who was asked.
        address: NodeAddress,
        /// What it says that it is.
        role: String,
    },
    /// It answers, but cannot serve now: it loads its data, a script blocks it, it has no room for
    /// another connection.
    #[error("{address} cannot serve now: {reason}")]
    NotNow {
        /// Who was asked.
        address: NodeAddress,
        /// Its own words.
        reason: String,
    },
    /// Whoever answers at the address is not who answered a moment ago: it was restarted, or a load
    /// balancer stands there.
    #[error("{address} is another server than before: restarted, or behind a load balancer")]
    OtherServer {
        /// Who was asked.
        address: NodeAddress,
    },
    /// No sentinel, or no node of the cluster, could say where the master is.
    #[error("nobody knows where the master is: {}", reasons.join("; "))]
    MasterUnknown {
        /// What each of them said.
        reasons: Vec<String>,
    },
    /// Too many connections are being made already.
    #[error("too many connections are being made")]
    Crowded,
    /// Its certificate is not accepted, or it does not accept ours.
    #[error("TLS with {address} failed: {reason}")]
    Tls {
        /// Who was asked.
        address: NodeAddress,
        /// What is wrong.
        reason: String,
    },
    /// Wrong user or password, or one is needed and none is configured.
    #[error("{address} refuses the user or the password: {reason}")]
    Refused {
        /// Who was asked.
        address: NodeAddress,
        /// Its own words, which hold no password.
        reason: String,
    },
    /// The user lacks a right.
    #[error("{address} does not permit {command} to this user")]
    NotPermitted {
        /// Who was asked.
        address: NodeAddress,
        /// The command that is missing.
        command: String,
    },
    /// Too old for what keyward needs.
    #[error(
        "{address} is too old: keyward needs Redis 6.0 or later (RESP3 and client tracking), found \
         {version}"
    )]
    TooOld {
        /// Who was asked.
        address: NodeAddress,
        /// What it says that it is.
        version: String,
    },
    /// A server of another topology than configured, a wrong database, a server that is no Redis.
    #[error("{address}: {reason}")]
    Unsuitable {
        /// Who was asked.
        address: NodeAddress,
        /// What does not fit.
        reason: String,
    },
    /// The settings themselves cannot be used: a file that cannot be read.
    #[error("{0}")]
    Settings(String),
}

impl SiteFault {
    /// Whether it stays so until somebody changes something; otherwise trying again later may help.
    /// Even then it is tried again, only less often: the change may be made on the other side.
    #[must_use]
    pub const fn is_definitive(&self) -> bool {
        matches!(
            self,
            Self::Tls { .. }
                | Self::Refused { .. }
                | Self::NotPermitted { .. }
                | Self::TooOld { .. }
                | Self::Unsuitable { .. }
                | Self::Settings(_)
        )
    }

    /// Puts what the client library says into words; `doing` is the command that was sent.
    pub(super) fn from_redis(address: &NodeAddress, doing: &str, fault: &RedisError) -> Self {
        let address = address.clone();
        let said = || words_of(fault);
        if fault.is_timeout() {
            return Self::TimedOut { address };
        }
        match fault.kind() {
            ErrorKind::RESP3NotSupported => {
                return Self::TooOld {
                    address,
                    version: "one that does not know HELLO".to_owned(),
                };
            }
            // The client library gives no code with it.
            ErrorKind::AuthenticationFailed => return Self::Refused { address, reason: said() },
            ErrorKind::Parse => {
                return Self::Unsuitable {
                    address,
                    reason: "it does not speak the protocol of Redis".to_owned(),
                };
            }
            _ => {}
        }
        match fault.code() {
            Some("WRONGPASS" | "NOAUTH") => Self::Refused { address, reason: said() },
            Some("NOPERM") => Self::NotPermitted { address, command: doing.to_owned() },
            Some("NOPROTO") => {
                Self::TooOld { address, version: "one that does not know RESP3".to_owned() }
            }
            Some("LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "UNKILLABLE") => {
                Self::NotNow { address, reason: said() }
            }
            // Without a code of its own: "ERR max number of clients reached".
            Some("ERR") if said().contains("max number of clients") => {
                Self::NotNow { address, reason: said() }
            }
            Some("ERR") if doing == "HELLO" && said().contains("unknown command") => {
                Self::TooOld { address, version: "one that does not know HELLO".to_owned() }
            }
            Some("ERR") if said().contains("unknown command") => {
                Self::Unsuitable { address, reason: format!("it does not know {doing}") }
            }
            Some("DENIED") => Self::Unsuitable { address, reason: said() },
            Some(_) => Self::Unsuitable { address, reason: format!("{doing}: {}", said()) },
            None => Self::Unreachable { address, reason: said() },
        }
    }
}

/// The server's words, or the system's, on one line and not endless.
pub(super) fn words_of(fault: &RedisError) -> String {
    const LONGEST: usize = 200;
    let words = match fault.code() {
        Some("ERR") | None => fault.detail().map_or_else(|| fault.to_string(), str::to_owned),
        Some(code) => {
            format!("{code} {}", fault.detail().unwrap_or_default()).trim_end().to_owned()
        }
    };
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}
