//! What may be sent a second time, and how often.

use std::cell::Cell;

use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use http_body::Body as _;

use super::{Purpose, RequestBody, Retries};

/// How often a request is given to a connection, if none of it is sent.
pub(super) const MOST_ATTEMPTS: u32 = 3;

/// A request that may be sent again, without what its first connection added to it. Most are never
/// needed: its fields are a list, which costs half of what a copy of the map does.
pub(super) struct Repeat {
    method: Method,
    path: Option<PathAndQuery>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Repeat {
    /// A request is sent a second time only if it cannot have been acted on, or may be acted on
    /// twice: it is idempotent (RFC 9110, section 9.2.2) and has no body.
    pub(super) fn of(request: &Request<RequestBody>, purpose: Purpose) -> Option<Self> {
        let is_idempotent = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        );
        let may_be_repeated =
            purpose == Purpose::Response && request.body().is_end_stream() && is_idempotent;
        may_be_repeated.then(|| {
            let mut fields = Vec::with_capacity(request.headers().len());
            for (name, value) in request.headers() {
                fields.push((name.clone(), value.clone()));
            }
            let path = request.uri().path_and_query().cloned();
            Self { method: request.method().clone(), path, fields }
        })
    }

    pub(super) fn into_request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.path.map(Uri::from).unwrap_or_default();
        for (name, value) in self.fields {
            request.headers_mut().append(name, value);
        }
        request
    }
}

/// The share of requests is that of so many seconds.
const WINDOW_SECONDS: usize = 10;

/// How many requests one worker may send again: a share of those that it has sent, so that servers
/// that fail under load do not get several times that load.
pub(super) struct RetryBudget {
    percent: u32,
    /// In the whole window.
    floor: u32,
    /// The requests and the repeats of each second of the window.
    seconds: [Cell<(u32, u32)>; WINDOW_SECONDS],
    /// The second that is now.
    at: Cell<usize>,
}

impl RetryBudget {
    pub(super) fn new(settings: &Retries) -> Self {
        let window = u32::try_from(WINDOW_SECONDS).unwrap_or(u32::MAX);
        Self {
            percent: settings.budget_percent,
            floor: settings.floor.saturating_mul(window),
            seconds: Default::default(),
            at: Cell::new(0),
        }
    }

    /// A request is sent for the first time.
    pub(super) fn note_request(&self) {
        self.count(1, 0);
    }

    /// Takes the right to send one again, if there is one.
    pub(super) fn take(&self) -> bool {
        let (mut requests, mut repeats) = (0_u64, 0_u64);
        for second in &self.seconds {
            requests += u64::from(second.get().0);
            repeats += u64::from(second.get().1);
        }
        let share = requests * u64::from(self.percent) / 100;
        let is_allowed = repeats < share.max(u64::from(self.floor));
        if is_allowed {
            self.count(0, 1);
        }
        is_allowed
    }

    /// A second has passed: the oldest one is forgotten.
    pub(super) fn tick(&self) {
        let next = (self.at.get() + 1) % WINDOW_SECONDS;
        self.at.set(next);
        if let Some(second) = self.seconds.get(next) {
            second.set((0, 0));
        }
    }

    fn count(&self, requests: u32, repeats: u32) {
        if let Some(second) = self.seconds.get(self.at.get()) {
            let (before, repeated) = second.get();
            second.set((before.saturating_add(requests), repeated.saturating_add(repeats)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(budget_percent: u32, floor: u32) -> RetryBudget {
        RetryBudget::new(&Retries { budget_percent, floor, statuses: Vec::new() })
    }

    fn taken(budget: &RetryBudget) -> usize {
        (0..10_000).take_while(|_| budget.take()).count()
    }

    #[test]
    fn at_most_a_share_of_the_requests_of_ten_seconds_is_repeated() {
        let budget = budget(20, 0);
        assert_eq!(taken(&budget), 0, "no request, no repeat");
        for _ in 0..10 {
            (0..100).for_each(|_| budget.note_request());
            budget.tick();
        }
        // The oldest second is gone with the last tick.
        assert_eq!(taken(&budget), 180);
        (0..100).for_each(|_| budget.note_request());
        assert_eq!(taken(&budget), 20);
        for _ in 0..9 {
            budget.tick();
        }
        assert_eq!(taken(&budget), 0, "what was repeated counts for as long as what was sent");
        budget.tick();
        (0..10).for_each(|_| budget.note_request());
        assert_eq!(taken(&budget), 2, "a window later all is forgotten");
    }

    #[test]
    fn so_many_a_second_are_allowed_in_any_case() {
        assert_eq!(taken(&budget(0, 3)), 30);
        assert_eq!(taken(&budget(0, 0)), 0);
    }
}
