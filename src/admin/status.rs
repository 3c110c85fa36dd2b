//! The state of keyward: ready or not and why, its parts, its metrics.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the methods of [`Status`] that ask the store return.
pub type StatusFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The deadline of [`Status::reasons`] and [`Status::components`]: longer than an available store
/// takes to answer, and shorter than the few probes of a second each that orchestrators allow.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// The state of a running keyward, as the probes ask for it.
pub trait Status: Send + Sync + 'static {
    /// Why no new requests should be sent to this instance; empty: it is ready. Depends on the
    /// store; no answer within 3 seconds is a reason, too.
    fn reasons(&self) -> StatusFuture<'_, Vec<NotReady>>;

    /// Whether the start is over. Never goes back.
    fn is_started(&self) -> bool;

    /// Every part that can fail by itself; no answer within 3 seconds is a failure.
    fn components(&self) -> StatusFuture<'_, Vec<Component>>;

    /// The addresses that are listened on, as in a configuration; `[admin] address` is among them.
    fn listening(&self) -> Vec<String>;

    /// All metrics in the Prometheus text format, version 0.0.4.
    fn metrics(&self) -> String;
}

/// One reason against sending requests to this instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The start is not over.
    #[error("starting")]
    Starting,
    /// keyward is stopping: what is open is finished, nothing new should come.
    #[error("draining")]
    Draining,
    /// The store does not answer: no token can be checked that no worker remembers.
    #[error("store unavailable: {0}")]
    StoreUnavailable(String),
    /// The keys of an outside issuer were never fetched: none of its tokens can be judged.
    #[error("issuer {issuer} has no keys yet: {why}")]
    IssuerWithoutKeys {
        /// The issuer's name.
        issuer: String,
        /// Why the last fetch brought none.
        why: String,
    },
    /// No answer came in time.
    #[error("no answer within {} s", ANSWER_DEADLINE.as_secs())]
    NoAnswer,
}

/// One part of keyward and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// What the part is called in the configuration and in the metrics.
    pub name: String,
    /// Its state.
    pub state: ComponentState,
    /// Why, unless it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
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

/// The state of a part, from best to worst.
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
    /// Why not.
    pub reasons: Vec<String>,
    /// Its parts.
    pub components: Vec<Component>,
    /// The addresses that it listens on, as in a configuration.
    #[serde(default)]
    pub listening: Vec<String>,
}

/// The reasons against sending requests; empty: ready. No answer in time is one.
pub(super) async fn reasons_in_time(status: &dyn Status) -> Vec<String> {
    let reasons = tokio::time::timeout(ANSWER_DEADLINE, status.reasons()).await;
    reasons.unwrap_or_else(|_| vec![NotReady::NoAnswer]).iter().map(ToString::to_string).collect()
}

/// The components. No answer in time is a failure of the component `checks`.
pub(super) async fn components_in_time(status: &dyn Status) -> Vec<Component> {
    tokio::time::timeout(ANSWER_DEADLINE, status.components())
        .await
        .unwrap_or_else(|_| vec![Component::failed("checks", NotReady::NoAnswer.to_string())])
}

/// The whole report.
pub(super) async fn report(status: &dyn Status) -> StatusReport {
    let (reasons, components) = tokio::join!(reasons_in_time(status), components_in_time(status));
    StatusReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        ready: reasons.is_empty(),
        reasons,
        components,
        listening: status.listening(),
    }
}
