//! What keyward says of itself: ready or not and why, its parts, its numbers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the questions that ask other threads return.
pub type StatusFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The deadline of one question: shorter than the second that orchestrators usually give a probe
/// times a few tries, and longer than any answer of a store that is to be called available.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// The state of a running keyward, as the probes ask for it.
pub trait Status: Send + Sync + 'static {
    /// Whether new requests should be sent to this instance. Depends on the store; answered within
    /// 3 seconds or taken as a no.
    fn readiness(&self) -> StatusFuture<'_, Readiness>;

    /// Whether the start is over. Never goes back.
    fn is_started(&self) -> bool;

    /// Every part that can fail by itself; answered within 3 seconds or taken as failed.
    fn components(&self) -> StatusFuture<'_, Vec<Component>>;

    /// The addresses that are listened on, as in a configuration; `[admin] address` is among them.
    fn listening(&self) -> Vec<String>;

    /// All metrics in the Prometheus text format, version 0.0.4.
    fn metrics(&self) -> String;
}

/// Why keyward is not ready; ready if there is no reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness(Vec<NotReady>);

impl Readiness {
    /// From the reasons against it.
    #[must_use]
    pub fn from_reasons(reasons: Vec<NotReady>) -> Self {
        Self(reasons)
    }

    /// Whether nothing speaks against it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.is_empty()
    }

    /// The reasons in words.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

/// One reason against sending requests to this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// The start is not over.
    Starting,
    /// The end has begun: what is open is finished, nothing new should come.
    Draining,
    /// The store does not answer, so no token that is not in the memory of a worker can be checked.
    StoreUnavailable(String),
    /// The keys of an outside issuer were never fetched, so none of its tokens can be judged.
    IssuerWithoutKeys {
        /// The issuer's name.
        issuer: String,
        /// Why the last fetch brought none.
        why: String,
    },
    /// The question itself was not answered in time.
    NoAnswer,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Draining => f.write_str("draining"),
            Self::StoreUnavailable(why) => write!(f, "store unavailable: {why}"),
            Self::IssuerWithoutKeys { issuer, why } => {
                write!(f, "issuer {issuer} has no keys yet: {why}")
            }
            Self::NoAnswer => write!(f, "no answer within {} s", ANSWER_DEADLINE.as_secs()),
        }
    }
}

/// One part of keyward and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// What the part is called in the configuration and in the metrics.
    pub name: String,
    /// How it is.
    pub state: ComponentState,
    /// Why, in words, unless it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Component {
    /// A part that is well.
    #[must_use]
    pub fn well(name: impl Into<String>) -> Self {
        Self { name: name.into(), state: ComponentState::Ok, reason: None }
    }

    /// A part that works, but not as it should.
    #[must_use]
    pub fn degraded(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), state: ComponentState::Degraded, reason: Some(reason.into()) }
    }

    /// A part that does not work.
    #[must_use]
    pub fn failed(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), state: ComponentState::Failed, reason: Some(reason.into()) }
    }
}

/// How a part is, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentState {
    /// It works.
    Ok,
    /// It works, but not as it should.
    Degraded,
    /// It does not work.
    Failed,
}

/// The answer of the admin socket's `/v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The version of the running keyward.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Whether new requests should be sent to this instance.
    pub ready: bool,
    /// Why not, in words.
    pub reasons: Vec<String>,
    /// Its parts.
    pub components: Vec<Component>,
    /// The addresses that it listens on, as in a configuration.
    #[serde(default)]
    pub listening: Vec<String>,
}

/// Asks for the readiness; no answer in time is a no.
pub(super) async fn readiness_in_time(status: &dyn Status) -> Readiness {
    tokio::time::timeout(ANSWER_DEADLINE, status.readiness())
        .await
        .unwrap_or_else(|_| Readiness::from_reasons(vec![NotReady::NoAnswer]))
}

/// Asks for the components; no answer in time is a failure of the asking itself.
pub(super) async fn components_in_time(status: &dyn Status) -> Vec<Component> {
    tokio::time::timeout(ANSWER_DEADLINE, status.components())
        .await
        .unwrap_or_else(|_| vec![Component::failed("checks", NotReady::NoAnswer.to_string())])
}

/// The whole report.
pub(super) async fn report(status: &dyn Status) -> StatusReport {
    let (readiness, components) =
        tokio::join!(readiness_in_time(status), components_in_time(status));
    StatusReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        ready: readiness.is_ready(),
        reasons: readiness.words(),
        components,
        listening: status.listening(),
    }
}
