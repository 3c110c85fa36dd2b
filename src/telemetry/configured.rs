//! What is counted apart for each thing that the configuration names: routes, upstreams, token
//! APIs, credentials. Labels are of the configuration, never of a client, so their number is
//! bounded.

use std::sync::Arc;

use super::Reason;
use super::counter::Counter;
use super::counts::RefusalCounts;
use super::histogram::{Histogram, Took};
use super::series::Series;

/// The counters of a plan, of all workers.
#[derive(Debug, Default)]
pub struct PlanSeries {
    /// By route; the first is of requests that no route takes.
    pub routes: Series<RouteLabels, RouteCounters>,
    /// By the name of the upstream.
    pub upstreams: Series<Arc<str>, UpstreamCounters>,
    /// By token API.
    pub token_apis: Series<TokenApiLabels, TokenApiCounters>,
    /// By the name of the token API or issuer; the first, without a name, is of credentials of
    /// which it is not known.
    pub credentials: Series<Arc<str>, CredentialCounters>,
}

/// A route, as metrics call it. Routes that differ in other things alone are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouteLabels {
    /// Its host as configured; empty: any.
    pub host: String,
    /// Its path, as configured; empty: of what no route takes.
    pub path: String,
    /// The name of its upstream; empty: it has none.
    pub upstream: Arc<str>,
}

/// A token API, as metrics call it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TokenApiLabels {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// What its calls can ask for, each once.
    pub kinds: Vec<CallKind>,
}

/// The requests of one route, of one worker. Aligned to lines of the processor's cache, so that no
/// worker waits for another.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct RouteCounters {
    /// Of which the status begins with 1 to 5.
    pub(super) classes: [Counter; CLASSES.len()],
    pub(super) durations: Histogram,
    pub(super) refusals: RefusalCounts,
}

/// The classes of statuses (RFC 9110, section 15).
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl RouteCounters {
    /// Counts one request.
    pub fn count(&self, status: u16, took: Took) {
        if let Some(class) = self.classes.get(class_of(status)) {
            class.add(1);
        }
        self.durations.observe(took);
    }

    /// Counts the reason of one that was refused or failed.
    pub fn count_refusal(&self, reason: Reason) {
        self.refusals.count(reason);
    }
}

/// The place of the class of a status in [`CLASSES`]; beyond it, if it has none.
const fn class_of(status: u16) -> usize {
    (status / 100).wrapping_sub(1) as usize
}

/// The requests that were sent to one upstream, of one worker.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct UpstreamCounters {
    pub(super) outcomes: [Counter; UpstreamOutcome::NAMES.len()],
    /// From the sending of a request to the head of its response.
    pub(super) heads: Histogram,
}

/// What became of a request that was to be sent to an upstream, up to the head of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamOutcome {
    /// It answered, with a status of this class: 0 for 1xx.
    Answered(usize),
    /// No endpoint took a connection.
    ConnectFailed,
    /// No connection was made in time.
    ConnectTimeout,
    /// No head of a response came in time.
    Timeout,
    /// The connection broke, or what came back is no HTTP.
    Broken,
    /// It had as many requests as it may have.
    Busy,
    /// Its endpoints fail, and none was asked.
    CircuitOpen,
    /// The client left, or its body broke off, before there was an answer.
    Unfinished,
}

impl UpstreamOutcome {
    /// Its values in the metrics.
    pub(super) const NAMES: [&str; 12] = [
        "1xx",
        "2xx",
        "3xx",
        "4xx",
        "5xx",
        "connect_failed",
        "connect_timeout",
        "timeout",
        "broken",
        "busy",
        "circuit_open",
        "unfinished",
    ];

    /// It answered with this status.
    #[must_use]
    pub const fn answered(status: u16) -> Self {
        Self::Answered(class_of(status))
    }

    /// Its place in [`NAMES`](Self::NAMES).
    const fn place(self) -> usize {
        match self {
            Self::Answered(class) if class < CLASSES.len() => class,
            Self::ConnectFailed => 5,
            Self::ConnectTimeout => 6,
            Self::Timeout => 7,
            // HTTP has no other statuses.
            Self::Broken | Self::Answered(_) => 8,
            Self::Busy => 9,
            Self::CircuitOpen => 10,
            Self::Unfinished => 11,
        }
    }
}

impl UpstreamCounters {
    /// Counts a request that was answered with this status, its head after so long.
    pub fn count_answer(&self, status: u16, took: Took) {
        self.count(UpstreamOutcome::answered(status));
        self.heads.observe(took);
    }

    /// Counts a request that was not answered.
    pub fn count(&self, outcome: UpstreamOutcome) {
        if let Some(counter) = self.outcomes.get(outcome.place()) {
            counter.add(1);
        }
    }
}

/// What a call of a token API asks for, as the metrics call it in all styles alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// Make an account.
    Register,
    /// Open a session.
    Login,
    /// Make a key.
    Issue,
    /// List keys.
    List,
    /// Show whether there is a key.
    Show,
    /// Make a key in the place of another.
    Rotate,
    /// Make a key if there is none.
    Ensure,
    /// Revoke one key.
    Revoke,
    /// Revoke all keys.
    RevokeAll,
    /// Make a ticket.
    Ticket,
    /// None: the method is not one of the path's.
    Other,
}

impl CallKind {
    /// All, in order.
    pub const ALL: [Self; 11] = [
        Self::Register,
        Self::Login,
        Self::Issue,
        Self::List,
        Self::Show,
        Self::Rotate,
        Self::Ensure,
        Self::Revoke,
        Self::RevokeAll,
        Self::Ticket,
        Self::Other,
    ];

    /// Its name in the metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Login => "login",
            Self::Issue => "issue",
            Self::List => "list",
            Self::Show => "show",
            Self::Rotate => "rotate",
            Self::Ensure => "ensure",
            Self::Revoke => "revoke",
            Self::RevokeAll => "revoke_all",
            Self::Ticket => "ticket",
            Self::Other => "other",
        }
    }
}

/// The calls of one token API, of one worker.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct TokenApiCounters {
    /// By [`CallKind`], then by [`CALL_OUTCOMES`].
    pub(super) calls: [[Counter; CALL_OUTCOMES.len()]; CallKind::ALL.len()],
}

/// What becomes of a call: it is done, refused by a status of the client's fault, or it failed.
pub(super) const CALL_OUTCOMES: [&str; 3] = ["done", "refused", "failed"];

impl TokenApiCounters {
    /// Counts a call that was answered with this status.
    pub fn count(&self, kind: CallKind, status: u16) {
        let outcome = match status {
            ..400 => 0,
            400..500 => 1,
            500.. => 2,
        };
        let calls = self.calls.get(kind as usize);
        if let Some(counter) = calls.and_then(|calls| calls.get(outcome)) {
            counter.add(1);
        }
    }
}

/// The checks of the credentials of one token API or issuer, of one worker.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct CredentialCounters {
    /// Those that were found good.
    pub accepted: Counter,
    /// The others, by reason.
    pub refused: RefusalCounts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_place_and_a_name_of_its_own() {
        let others = [
            UpstreamOutcome::ConnectFailed,
            UpstreamOutcome::ConnectTimeout,
            UpstreamOutcome::Timeout,
            UpstreamOutcome::Broken,
            UpstreamOutcome::Busy,
            UpstreamOutcome::CircuitOpen,
            UpstreamOutcome::Unfinished,
        ];
        let answers = [100, 200, 399, 499, 599].map(UpstreamOutcome::answered);
        let places: Vec<_> =
            answers.into_iter().chain(others).map(UpstreamOutcome::place).collect();
        assert_eq!(places, (0..UpstreamOutcome::NAMES.len()).collect::<Vec<_>>());
        for status in [0, 99, 600, u16::MAX] {
            assert_eq!(UpstreamOutcome::answered(status).place(), UpstreamOutcome::Broken.place());
        }
    }

    #[test]
    fn calls_are_done_refused_or_failed_by_their_status() {
        let counters = TokenApiCounters::default();
        for status in [200, 204, 308, 400, 429, 499, 500, 503] {
            counters.count(CallKind::RevokeAll, status);
        }
        counters.count(CallKind::Other, 405);
        let value = |at: CallKind| counters.calls[at as usize].each_ref().map(Counter::value);
        assert_eq!((value(CallKind::RevokeAll), value(CallKind::Other)), ([3, 3, 2], [0, 1, 0]));
        assert!(CallKind::ALL.iter().enumerate().all(|(at, kind)| *kind as usize == at));
    }
}
