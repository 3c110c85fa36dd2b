//! What a route allows: how long its exchanges may take, and how large the body of a request may
//! be; and what the log says of an exchange that went beyond.

use std::fmt;
use std::time::Duration;

use super::control::Ending;
use super::exchange_times::ExchangeTimes;
use super::refusal::Refusal;
use crate::wire::limits::{size_text, time_text};

/// The limits of one route, each with the key that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLimits {
    /// From the end of the request to the head of the response.
    pub response_head: Limit<Duration>,
    /// Between two pieces of the request's body.
    pub request_body: Limit<Duration>,
    /// Between two pieces of the response's body.
    pub response_body: Limit<Duration>,
    /// From the end of the request's head to the end of the response.
    pub request: Limit<Duration>,
    /// Of the request's body, in bytes.
    pub max_body: Limit<u64>,
}

/// One limit, and the key that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit<T> {
    /// `None`: there is none.
    pub most: Option<T>,
    /// The key that says so.
    pub key: LimitKey,
}

/// A key that sets a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// The route's own.
    Route(&'static str),
    /// One for all routes that have none of their own: its table and its name.
    Common(&'static str, &'static str),
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(key) => write!(f, "{key:?} of the route"),
            Self::Common(table, key) => write!(f, "{key:?} in [{table}]"),
        }
    }
}

impl<T> Limit<T> {
    /// Whether the route itself sets it.
    const fn is_routes_own(&self) -> bool {
        matches!(self.key, LimitKey::Route(_))
    }
}

impl<T: Copy> Limit<T> {
    /// What holds for an exchange that may be silent for any time: what the route itself says.
    fn own(&self) -> Option<T> {
        self.most.filter(|_| self.is_routes_own())
    }
}

impl Limit<Duration> {
    /// As in `5m ("timeouts.request" of the route)`.
    fn words(&self) -> String {
        let most = self.most.map_or_else(|| "off".to_owned(), time_text);
        format!("{most} ({})", self.key)
    }
}

impl Limit<u64> {
    /// As in `10MiB ("max_body" of the route)`.
    fn words(&self) -> String {
        let most = self.most.map_or_else(|| "off".to_owned(), size_text);
        format!("{most} ({})", self.key)
    }
}

impl RouteLimits {
    /// The times of a request as it begins.
    pub(super) const fn times(&self) -> ExchangeTimes {
        ExchangeTimes {
            response_head: self.response_head.most,
            request_body: self.request_body.most,
            response_body: self.response_body.most,
            whole: self.request.most,
            is_calls_own: false,
        }
    }

    /// The times of a gRPC call with this deadline of its own; and, without one, those of what
    /// turns out to be an event stream or a tunnel.
    pub(super) fn stream_times(&self, call: Option<Duration>) -> ExchangeTimes {
        let own = self.request.own();
        let is_calls_own = call.is_some_and(|call| own.is_none_or(|own| call < own));
        ExchangeTimes {
            response_head: self.response_head.own(),
            request_body: self.request_body.own(),
            response_body: self.response_body.own(),
            whole: if is_calls_own { call } else { own },
            is_calls_own,
        }
    }

    /// Whether a body may be so large, as far as its length is known.
    ///
    /// # Errors
    ///
    /// It is larger than the route takes.
    pub(super) fn check_length(&self, length: u64) -> Result<(), Refusal> {
        if self.max_body.most.is_some_and(|most| length > most) {
            return Err(self.too_large());
        }
        Ok(())
    }

    /// The refusal of a body that is larger than the route takes.
    pub(super) fn too_large(&self) -> Refusal {
        Refusal::BodyTooLarge { cause: self.body_is_larger() }
    }

    fn body_is_larger(&self) -> String {
        format!("the request body is larger than {}", self.max_body.words())
    }

    /// No head of a response was there in time. `awaits_client`: the client was to send more of the
    /// body; `is_sent`: all of it had been read.
    pub(super) fn no_head_in_time(
        &self,
        times: &ExchangeTimes,
        is_whole_over: bool,
        awaits_client: bool,
        is_sent: bool,
    ) -> Refusal {
        let cause = if is_whole_over {
            self.took_too_long(times)
        } else if awaits_client {
            format!("the client sent nothing of its body for {}", self.request_body.words())
        } else if is_sent {
            format!("the upstream sent no response head for {}", self.response_head.words())
        } else {
            format!("the upstream took nothing of the body for {}", self.request_body.words())
        };
        if awaits_client {
            Refusal::BodyTooSlow { cause }
        } else {
            Refusal::UpstreamTooSlow { cause }
        }
    }

    fn took_too_long(&self, times: &ExchangeTimes) -> String {
        if times.is_calls_own {
            "the call took longer than its own grpc-timeout".to_owned()
        } else {
            format!("the exchange took longer than {}", self.request.words())
        }
    }

    /// The cause of an ending that one of these limits brought about.
    pub(super) fn cause_of(&self, ending: Ending, times: &ExchangeTimes) -> Option<String> {
        let silent = |what: &str, limit: &Limit<Duration>| {
            // A client that reads nothing of a stream is cut by the time for all bodies.
            limit.most.map(|_| format!("{what} for {}", limit.words()))
        };
        match ending {
            Ending::UpstreamStalled => {
                silent("the upstream sent nothing of the response", &self.response_body)
            }
            Ending::ClientStalled => times.response_body.and_then(|_| {
                silent("the client took nothing of the response", &self.response_body)
            }),
            Ending::UploadStalled => {
                silent("the client sent nothing of its body", &self.request_body)
            }
            Ending::UploadTooLarge => Some(self.body_is_larger()),
            Ending::TookTooLong => Some(self.took_too_long(times)),
            _ => None,
        }
    }

    /// Each limit with its key, for an operator.
    pub(super) fn explained(&self) -> Vec<String> {
        let times = [
            ("response head", &self.response_head),
            ("request body", &self.request_body),
            ("response body", &self.response_body),
            ("whole request", &self.request),
        ];
        let times = times.map(|(what, limit)| format!("{what}: {}", limit.words()));
        let size = format!("size of the body: {}", self.max_body.words());
        times.into_iter().chain([size]).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const fn limit(seconds: u64, key: LimitKey) -> Limit<Duration> {
        Limit { most: Some(Duration::from_secs(seconds)), key }
    }

    pub(in crate::gateway) fn limits() -> RouteLimits {
        RouteLimits {
            response_head: limit(60, LimitKey::Common("timeouts", "response_head")),
            request_body: limit(30, LimitKey::Common("timeouts", "body")),
            response_body: limit(300, LimitKey::Route("timeouts.response_body")),
            request: limit(900, LimitKey::Common("timeouts", "request")),
            max_body: Limit { most: Some(1024), key: LimitKey::Common("limits", "body") },
        }
    }

    #[test]
    fn a_stream_has_only_the_limits_that_its_route_sets() {
        let own = Some(Duration::from_secs(300));
        let times = limits().stream_times(None);
        assert_eq!(times, ExchangeTimes { response_body: own, ..ExchangeTimes::default() });
    }

    #[test]
    fn a_call_ends_by_its_own_deadline_or_by_that_of_its_route_whichever_is_first() {
        let whole = |limits: RouteLimits, call| {
            let times = limits.stream_times(Some(Duration::from_secs(call)));
            (times.whole.map(|span| span.as_secs()), times.is_calls_own)
        };
        let own =
            RouteLimits { request: limit(10, LimitKey::Route("timeouts.request")), ..limits() };
        assert_eq!(whole(limits(), 5000), (Some(5000), true));
        assert_eq!(whole(own, 5), (Some(5), true));
        assert_eq!(whole(own, 50), (Some(10), false));
    }

    #[test]
    fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
        assert!(limits().check_length(1024).is_ok());
        let refusal = limits().check_length(1025).expect_err("larger");
        assert_eq!(refusal.cause(), "the request body is larger than 1KiB (\"body\" in [limits])");
        let most = Limit { most: None, key: LimitKey::Route("max_body") };
        assert!(RouteLimits { max_body: most, ..limits() }.check_length(u64::MAX).is_ok());
    }

    #[test]
    fn a_cause_names_the_time_and_its_key() {
        let (limits, times) = (limits(), limits().times());
        let cause =
            |whole, awaits, sent| limits.no_head_in_time(&times, whole, awaits, sent).cause();
        assert_eq!(
            [
                cause(false, false, true),
                cause(false, true, false),
                cause(false, false, false),
                cause(true, false, true),
            ],
            [
                "the upstream sent no response head for 1m (\"response_head\" in [timeouts])",
                "the client sent nothing of its body for 30s (\"body\" in [timeouts])",
                "the upstream took nothing of the body for 30s (\"body\" in [timeouts])",
                "the exchange took longer than 15m (\"request\" in [timeouts])",
            ]
        );
        assert_eq!(
            limits.cause_of(Ending::UpstreamStalled, &times).as_deref(),
            Some(
                "the upstream sent nothing of the response for 5m (\"timeouts.response_body\" of \
                 the route)"
            )
        );
        assert_eq!(limits.cause_of(Ending::ClientGone, &times), None);
    }
}
