//! What can be wrong with the head of a request, as the gate and `server::socket` find it.

use http::StatusCode;

/// What is wrong with a head. Each is the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// It is no HTTP.
    #[error("malformed request")]
    Malformed,
    /// The target is of no known form, or has a character that belongs in none.
    #[error("malformed request target")]
    Target,
    /// The target is longer than the limit.
    #[error("request target too long")]
    TargetTooLong,
    /// A version that keyward does not speak.
    #[error("HTTP version not supported")]
    Version,
    /// CONNECT (but for WebSocket, RFC 8441) or TRACE, which would let a client speak past keyward
    /// or see what it wrote.
    #[error("method not implemented")]
    Method,
    /// A line that does not end with carriage return and line feed, or framing fields that two
    /// readers could read in two ways.
    #[error("malformed header lines")]
    Lines,
    /// More header lines or bytes than the limit.
    #[error("request header fields too large")]
    TooLarge,
    /// No host, several, or one that is no host.
    #[error("missing, repeated or malformed Host")]
    Host,
    /// Body framing that two readers could read in two ways.
    #[error("ambiguous body framing")]
    Framing,
    /// An expectation other than `100-continue`.
    #[error("expectation failed")]
    Expectation,
    /// The head did not come to its end in time.
    #[error("the request took too long to arrive")]
    TooSlow,
}

impl HeadFault {
    /// The status that says it.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::Target | Self::Lines | Self::Host | Self::Framing => {
                StatusCode::BAD_REQUEST
            }
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }
}
