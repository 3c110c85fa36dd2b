//! What answers the requests of a route: an upstream, or keyward itself with a redirect or a fixed
//! answer.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::redirect::Redirect;

/// What answers the requests of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// An upstream, by its place.
    Upstream(usize),
    /// keyward, which names another address.
    Redirect(Box<Redirect>),
    /// keyward, with the same answer each time.
    Respond(Box<FixedAnswer>),
}

/// The same answer each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedAnswer {
    /// Its status: a final one.
    pub status: StatusCode,
    /// Its body; empty, where the status has none.
    pub body: Bytes,
    /// The media type of the body.
    pub content_type: HeaderValue,
}

impl RouteTarget {
    /// The place of the upstream, if it is one.
    #[must_use]
    pub const fn upstream(&self) -> Option<usize> {
        match self {
            Self::Upstream(at) => Some(*at),
            Self::Redirect(_) | Self::Respond(_) => None,
        }
    }
}
