//! Every refusal of the gateway, grouped by whose fault it is. `respond` turns it into bytes.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use super::challenge::{Challenge, RouteChallenge};
use super::head_fault::HeadFault;
use crate::api::FaceError;
use crate::limits::Excess;
use crate::telemetry::Reason;
use crate::tokens::authenticator::Refused;
use crate::tokens::issuer::{IssuerUnavailable, OutsideFault, OutsideRefusal};
use crate::tokens::store::StoreError;
use crate::upstream::UpstreamError;
use crate::wire::path::PathFault;
use crate::wire::retry_after::{SHORTLY, whole_seconds};

/// Why a request is not forwarded, or came to nothing. A `cause` is for the log.
#[derive(Debug)]
pub(crate) enum Refusal {
    // The client's fault.
    Head(HeadFault),
    Path(PathFault),
    /// It asks for WebSocket, and its handshake is malformed.
    Upgrade,
    /// Its body is broken, or its framing is.
    BodyBroken,
    /// Its body stopped coming, or did not come in time.
    BodyTooSlow {
        cause: String,
    },
    /// Its body is larger than the route takes.
    BodyTooLarge {
        cause: String,
    },
    NoRoute,
    /// Routes have its host, path and method, and the conditions of none of them hold.
    NoConditionHolds,
    /// What a condition asks for comes several times, or can be read in two ways.
    AmbiguousCondition {
        cause: String,
    },
    /// The route takes other methods: those of the value of `Allow`.
    MethodNotAllowed {
        allow: String,
    },
    /// A field asks for it to be taken for one of a method for which the route is not.
    MethodOverridden {
        cause: String,
    },
    /// It has no credential and needs one. The cause: what could be meant for one.
    NoCredential {
        cause: Option<&'static str>,
    },
    /// It has two credentials, or one that could be read in two ways.
    AmbiguousCredential {
        cause: Cow<'static, str>,
    },
    BadCredential(Refused),
    /// keyward has no key of the outside issuer that the token names, or only keys that are too
    /// old. Such a token cannot be told from a forged one and is refused like one. `/readyz` tells
    /// the operator.
    KeysMissing(IssuerUnavailable),
    /// Both in bytes.
    CredentialTooLong {
        length: usize,
        limit: usize,
    },
    /// A browser sent its credential of its own accord, for a page that may not make this request.
    CrossOrigin {
        cause: &'static str,
    },
    /// Its credential is good, but not of a token API or an issuer that the route accepts.
    NotAccepted {
        cause: String,
    },
    /// Its credential is good, but does not allow this. `scope`: the scopes of which the route asks
    /// for one, where none of them was found, with spaces between them, each a `scope-token` (RFC
    /// 6749, section 3.3).
    Forbidden {
        cause: String,
        scope: Option<String>,
    },
    /// A preflight of CORS from an origin that the policy does not let in.
    OriginNotAllowed {
        cause: String,
    },
    /// A token API says no, in its own shape.
    Face(FaceError),

    /// A limit lets no more requests through for so long.
    RateLimited {
        retry_after: Duration,
        cause: String,
    },
    /// As many requests of the token are under way as may be; it should wait for so long.
    TooManyConcurrent {
        retry_after: Duration,
        cause: String,
    },

    /// There is more than keyward can bear.
    Overloaded(Excess),

    /// The store cannot tell.
    Store(StoreError),

    // The upstream's fault.
    Upstream(UpstreamError),
    /// No head of a response came in time.
    UpstreamTooSlow {
        cause: String,
    },
    /// The response is none that two readers would read alike.
    UpstreamAmbiguous(&'static str),

    /// A fault of ours: it cannot be, and if it is, it is said and not forwarded.
    Internal(&'static str),
}

impl Refusal {
    /// The holder of the credential may not do this, whatever its scopes.
    pub(super) fn forbidden(cause: String) -> Self {
        Self::Forbidden { cause, scope: None }
    }

    /// The status, the name in the access log and the metrics, and what a client is told: nothing
    /// of the store, the keys or the upstream's address.
    fn row(&self) -> (StatusCode, Reason, Cow<'static, str>) {
        const NOT_ACCEPTED: &str = "the token is not accepted";
        let (status, reason, detail) = match self {
            Self::Head(fault) => {
                return (fault.status(), Reason::MalformedRequest, fault.to_string().into());
            }
            Self::Path(fault) => {
                let detail = fault.to_string().into();
                return (StatusCode::BAD_REQUEST, Reason::MalformedRequest, detail);
            }
            Self::Face(error) => {
                return (error.status(), Reason::TokenApi, error.to_string().into());
            }
            Self::Upgrade => (400, Reason::MalformedRequest, "malformed WebSocket handshake"),
            Self::BodyBroken => (400, Reason::BrokenBody, "the request body is broken"),
            Self::BodyTooSlow { .. } => {
                (408, Reason::SlowBody, "the request body took too long to arrive")
            }
            Self::BodyTooLarge { .. } => {
                (413, Reason::BodyTooLarge, "the request body is too large")
            }
            Self::AmbiguousCondition { .. } => (
                400,
                Reason::MalformedRequest,
                "a header or parameter that must come once comes more often",
            ),
            Self::NoRoute | Self::NoConditionHolds => {
                (404, Reason::NoRoute, "no route matches this request")
            }
            Self::MethodNotAllowed { .. } => {
                (405, Reason::MethodNotAllowed, "the method is not allowed here")
            }
            Self::MethodOverridden { .. } => (
                400,
                Reason::MalformedRequest,
                "a header names another method, which is not allowed here",
            ),
            Self::NoCredential { .. } => (401, Reason::NoCredential, "a bearer token is required"),
            Self::AmbiguousCredential { .. } => {
                (400, Reason::AmbiguousCredential, "the credential is ambiguous")
            }
            Self::BadCredential(Refused::NoRecord | Refused::OtherTokenApi) => {
                (401, Reason::NoRecord, NOT_ACCEPTED)
            }
            Self::BadCredential(
                Refused::Expired
                | Refused::Outside(OutsideRefusal { fault: OutsideFault::Expired, .. }),
            ) => (401, Reason::Expired, NOT_ACCEPTED),
            Self::BadCredential(_) | Self::CredentialTooLong { .. } => {
                (401, Reason::BadCredential, NOT_ACCEPTED)
            }
            Self::KeysMissing(_) => (401, Reason::IssuerUnavailable, NOT_ACCEPTED),
            Self::NotAccepted { .. } => (401, Reason::NotAccepted, NOT_ACCEPTED),
            Self::Forbidden { .. } => (403, Reason::Forbidden, "the token does not allow this"),
            Self::OriginNotAllowed { .. } => {
                (403, Reason::OriginNotAllowed, "pages of this origin are not let in")
            }
            Self::CrossOrigin { .. } => {
                (403, Reason::CrossOrigin, "the request comes from a page of another origin")
            }
            Self::RateLimited { .. } => {
                (429, Reason::RateLimited, "too many requests; please try again later")
            }
            Self::TooManyConcurrent { .. } => {
                (429, Reason::TooManyConcurrent, "too many requests at the same time")
            }
            Self::Overloaded(Excess::Connections) => {
                (503, Reason::Overloaded, "too many open connections")
            }
            Self::Overloaded(Excess::Requests | Excess::Memory) => {
                (503, Reason::Overloaded, "too many requests at the moment")
            }
            Self::Store(_) => {
                (503, Reason::StoreUnavailable, "the service is temporarily unavailable")
            }
            Self::Upstream(UpstreamError::Broken { .. }) => {
                (502, Reason::UpstreamBroken, "the upstream failed")
            }
            Self::Upstream(
                UpstreamError::Connect { .. } | UpstreamError::ConnectTimeout { .. },
            ) => (502, Reason::UpstreamConnect, "the upstream failed"),
            Self::Upstream(UpstreamError::Busy { .. }) => {
                (503, Reason::UpstreamBusy, "the service is temporarily unavailable")
            }
            Self::Upstream(UpstreamError::CircuitOpen { .. }) => {
                (503, Reason::CircuitOpen, "the service is temporarily unavailable")
            }
            Self::UpstreamAmbiguous(_) => (502, Reason::UpstreamAmbiguous, "the upstream failed"),
            Self::UpstreamTooSlow { .. } => {
                (504, Reason::UpstreamSlow, "the upstream did not respond in time")
            }
            Self::Internal(_) => (500, Reason::Internal, "internal error"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, reason, detail.into())
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.row().0
    }

    pub(crate) fn reason(&self) -> Reason {
        self.row().1
    }

    pub(crate) fn detail(&self) -> String {
        self.row().2.into_owned()
    }

    /// The status of gRPC that says it (the codes of google.rpc.Code).
    pub(crate) fn grpc_status(&self) -> u16 {
        match self.status().as_u16() {
            401 => 16,
            403 => 7,
            404 | 405 => 12,
            413 | 429 => 8,
            500 => 13,
            502 | 503 => 14,
            408 | 504 => 4,
            // What keyward refuses of a request itself.
            _ => 3,
        }
    }

    /// The value of `WWW-Authenticate`, where RFC 6750, section 3, asks for one. `own`: how the
    /// route words it.
    pub(crate) fn challenge(&self, own: Option<&RouteChallenge>) -> Option<Cow<'static, str>> {
        let challenge = match self {
            Self::Forbidden { scope, .. } => Challenge::InsufficientScope(scope.as_deref()),
            // None of these could be answered with another credential.
            Self::Face(FaceError::RegistrationClosed)
            | Self::CrossOrigin { .. }
            | Self::OriginNotAllowed { .. } => return None,
            Self::NoCredential { .. }
            | Self::Face(FaceError::NoCredential | FaceError::WrongLogin) => Challenge::Missing,
            Self::AmbiguousCredential { .. } | Self::Face(FaceError::AmbiguousCredential) => {
                Challenge::InvalidRequest
            }
            _ => match self.status() {
                StatusCode::UNAUTHORIZED => Challenge::InvalidToken,
                StatusCode::FORBIDDEN => Challenge::InsufficientScope(None),
                _ => return None,
            },
        };
        Some(challenge.text(own))
    }

    /// After how many seconds the request should be made again, at least 1; `None`: it is not said
    /// to be for later.
    pub(super) fn retry_after_seconds(&self) -> Option<u64> {
        let retry_after = match self {
            Self::RateLimited { retry_after, .. }
            | Self::TooManyConcurrent { retry_after, .. }
            | Self::Upstream(UpstreamError::CircuitOpen { retry_after, .. }) => *retry_after,
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => SHORTLY,
            _ => return None,
        };
        Some(whole_seconds(retry_after))
    }

    /// The cause for the log, in words for the operator: never a token.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::BadCredential(refused) => refused.to_string(),
            Self::KeysMissing(fault) => fault.to_string(),
            Self::NoCredential { cause: Some(cause) } | Self::CrossOrigin { cause } => {
                (*cause).to_owned()
            }
            Self::AmbiguousCredential { cause } => cause.clone().into_owned(),
            Self::CredentialTooLong { length, limit } => format!(
                "it has {length} bytes, more than the {limit} that \"token\" in [limits] allows"
            ),
            Self::MethodNotAllowed { allow } => format!("the methods allowed are {allow}"),
            Self::NoConditionHolds => {
                "the conditions in \"when\" of no route with its host, path and method hold"
                    .to_owned()
            }
            Self::NotAccepted { cause }
            | Self::AmbiguousCondition { cause }
            | Self::MethodOverridden { cause }
            | Self::Forbidden { cause, .. }
            | Self::BodyTooSlow { cause }
            | Self::BodyTooLarge { cause }
            | Self::UpstreamTooSlow { cause }
            | Self::RateLimited { cause, .. }
            | Self::TooManyConcurrent { cause, .. }
            | Self::OriginNotAllowed { cause } => cause.clone(),
            Self::Overloaded(Excess::Connections) => {
                "there are more connections than limits.connections".to_owned()
            }
            Self::Overloaded(Excess::Requests) => {
                "there are as many requests under way as limits.requests".to_owned()
            }
            Self::Overloaded(Excess::Memory) => {
                "keyward takes more memory than limits.memory".to_owned()
            }
            Self::Store(fault) => fault.to_string(),
            Self::Upstream(fault) => fault.to_string(),
            Self::UpstreamAmbiguous(what) | Self::Internal(what) => (*what).to_owned(),
            Self::Head(_)
            | Self::Path(_)
            | Self::Upgrade
            | Self::BodyBroken
            | Self::NoRoute
            | Self::NoCredential { cause: None }
            | Self::Face(_) => self.detail(),
        }
    }
}

impl From<HeadFault> for Refusal {
    fn from(fault: HeadFault) -> Self {
        Self::Head(fault)
    }
}

impl From<IssuerUnavailable> for Refusal {
    fn from(fault: IssuerUnavailable) -> Self {
        Self::KeysMissing(fault)
    }
}

impl From<StoreError> for Refusal {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}
