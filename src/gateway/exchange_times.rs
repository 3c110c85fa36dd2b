//! The times that an exchange goes by while it is under way.

use std::time::Duration;

/// The times that one exchange goes by. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ExchangeTimes {
    pub(super) response_head: Option<Duration>,
    pub(super) request_body: Option<Duration>,
    pub(super) response_body: Option<Duration>,
    /// From the end of the request's head to the end of the response.
    pub(super) whole: Option<Duration>,
    /// Whether `whole` is what a gRPC call says of itself.
    pub(super) is_calls_own: bool,
}

impl ExchangeTimes {
    /// Of an exchange that keyward answers itself.
    pub(super) const fn answered(body: Duration) -> Self {
        Self {
            response_head: None,
            request_body: Some(body),
            response_body: Some(body),
            whole: None,
            is_calls_own: false,
        }
    }
}
