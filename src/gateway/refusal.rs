//! Every "no" of the gateway: one closed list, grouped by whose fault it is. [`super::respond`]
//! turns it into bytes.

use std::borrow::Cow;

use http::StatusCode;

use super::head_fault::HeadFault;
use crate::api::FaceError;
use crate::telemetry::Reason;
use crate::tokens::authenticator::Refused;
use crate::tokens::issuer::{IssuerUnavailable, OutsideFault, OutsideRefusal};
use crate::tokens::store::StoreError;
use crate::upstream::UpstreamError;
use crate::wire::path::PathFault;

/// Why a request is not forwarded, or came to nothing.
#[derive(Debug)]
pub enum Refusal {
    // The client's fault.
    /// Its head was refused, before any other stage.
    Head(HeadFault),
    /// Its path has no normal form.
    Path(PathFault),
    /// It asks for WebSocket, and its handshake is malformed.
    Upgrade,
    /// Its body is broken, or its framing is.
    BodyBroken,
    /// Its body stopped coming.
    BodyTooSlow,
    /// No route matches.
    NoRoute,
    /// The route takes other methods.
    MethodNotAllowed {
        /// Which: the value of `Allow`.
        allow: String,
    },
    /// It has no credential, and needs one.
    NoCredential {
        /// What it has instead, for the log, if that could be meant for one.
        cause: Option<&'static str>,
    },
    /// It has two, or one that could be read in two ways.
    AmbiguousCredential {
        /// Which, for the log.
        cause: &'static str,
    },
    /// Its credential is not good, for this reason.
    BadCredential(Refused),
    /// keyward has no key of the outside issuer that the token names, or only keys that are too
    /// old. Such a token cannot be told from a forged one and is refused like one. `/readyz` tells
    /// the operator.
    KeysMissing(IssuerUnavailable),
    /// Its credential is too long.
    CredentialTooLong {
        /// How long it is, in bytes.
        length: usize,
        /// How long it may be, in bytes.
        limit: usize,
    },
    /// Its credential is good, but not of a token API or an issuer that the route accepts.
    NotAccepted {
        /// Of which it is, and which are accepted, for the log.
        cause: String,
    },
    /// Its credential is good, but its holder may not do this.
    Forbidden {
        /// What is asked for, and what was found, for the log.
        cause: String,
        /// The scopes of which the route asks for one, where none of them was found: with spaces
        /// between them, each a `scope-token` (RFC 6749, section 3.3).
        scope: Option<String>,
    },
    /// A token API says no, in its own shape.
    Face(FaceError),

    /// There are more connections than keyward serves.
    Overloaded,

    // The store's or the upstream's.
    /// The store cannot tell.
    Store(StoreError),
    /// The upstream gave no usable response.
    Upstream(UpstreamFailure),

    // Ours.
    /// A fault of ours: it cannot be, and if it is, it is said and not forwarded.
    Internal(&'static str),
}

/// How an upstream failed.
#[derive(Debug)]
pub enum UpstreamFailure {
    /// The exchange failed.
    Exchange(UpstreamError),
    /// No head of a response in time.
    TooSlow,
    /// A response that no two readers would read alike.
    Ambiguous(&'static str),
}

impl Refusal {
    /// The status that says it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Head(fault) => fault.status(),
            Self::Path(_) | Self::Upgrade | Self::BodyBroken | Self::AmbiguousCredential { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoCredential { .. }
            | Self::BadCredential(_)
            | Self::KeysMissing(_)
            | Self::CredentialTooLong { .. }
            | Self::NotAccepted { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Face(error) => error.status(),
            Self::Store(_) | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(UpstreamFailure::TooSlow) => StatusCode::GATEWAY_TIMEOUT,
            Self::Upstream(_) => StatusCode::BAD_GATEWAY,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The status of gRPC that says it (the codes of google.rpc.Code).
    #[must_use]
    pub fn grpc_status(&self) -> u16 {
        match self.status() {
            StatusCode::UNAUTHORIZED => 16,
            StatusCode::FORBIDDEN => 7,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => 12,
            StatusCode::GATEWAY_TIMEOUT => 4,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => 14,
            StatusCode::TOO_MANY_REQUESTS => 8,
            StatusCode::INTERNAL_SERVER_ERROR => 13,
            // What keyward refuses of a request itself.
            _ => 3,
        }
    }

    /// What a client is told. Nothing of the store, the keys or the upstream's address is in it.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Head(fault) => fault.to_string(),
            Self::Path(fault) => fault.to_string(),
            Self::Upgrade => "malformed WebSocket handshake".into(),
            Self::BodyBroken => "the request body is broken".into(),
            Self::BodyTooSlow => "the request body took too long to arrive".into(),
            Self::NoRoute => "no route matches this request".into(),
            Self::MethodNotAllowed { .. } => "the method is not allowed here".into(),
            Self::NoCredential { .. } => "a bearer token is required".into(),
            Self::AmbiguousCredential { .. } => "the credential is ambiguous".into(),
            Self::BadCredential(_)
            | Self::KeysMissing(_)
            | Self::CredentialTooLong { .. }
            | Self::NotAccepted { .. } => "the token is not accepted".into(),
            Self::Forbidden { .. } => "the token does not allow this".into(),
            Self::Face(error) => error.to_string(),
            Self::Overloaded => "too many open connections".into(),
            Self::Store(_) => "the service is temporarily unavailable".into(),
            Self::Upstream(UpstreamFailure::TooSlow) => {
                "the upstream did not respond in time".into()
            }
            Self::Upstream(_) => "the upstream failed".into(),
            Self::Internal(_) => "internal error".into(),
        }
    }

    /// The value of `WWW-Authenticate`, where RFC 6750, section 3, asks for one.
    #[must_use]
    pub fn challenge(&self) -> Option<Cow<'static, str>> {
        if let Self::Forbidden { scope: Some(scope), .. } = self {
            let challenge =
                format!(r#"Bearer realm="keyward", error="insufficient_scope", scope="{scope}""#);
            return Some(challenge.into());
        }
        let challenge = match (self, self.status()) {
            (
                Self::NoCredential { .. }
                | Self::Face(FaceError::NoCredential | FaceError::WrongLogin),
                _,
            ) => r#"Bearer realm="keyward""#,
            (Self::AmbiguousCredential { .. } | Self::Face(FaceError::AmbiguousCredential), _) => {
                r#"Bearer realm="keyward", error="invalid_request""#
            }
            (Self::Face(FaceError::RegistrationClosed), _) => return None,
            (_, StatusCode::UNAUTHORIZED) => r#"Bearer realm="keyward", error="invalid_token""#,
            (_, StatusCode::FORBIDDEN) => r#"Bearer realm="keyward", error="insufficient_scope""#,
            _ => return None,
        };
        Some(challenge.into())
    }

    /// Its name in the access log and in the metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Head(_) | Self::Path(_) | Self::Upgrade => Reason::MalformedRequest,
            Self::BodyBroken => Reason::BrokenBody,
            Self::BodyTooSlow => Reason::SlowBody,
            Self::NoRoute => Reason::NoRoute,
            Self::MethodNotAllowed { .. } => Reason::MethodNotAllowed,
            Self::NoCredential { .. } => Reason::NoCredential,
            Self::AmbiguousCredential { .. } => Reason::AmbiguousCredential,
            Self::BadCredential(Refused::NoRecord | Refused::OtherTokenApi) => Reason::NoRecord,
            Self::BadCredential(
                Refused::Expired
                | Refused::Outside(OutsideRefusal { fault: OutsideFault::Expired, .. }),
            ) => Reason::Expired,
            Self::BadCredential(
                Refused::Signature(_)
                | Refused::Empty
                | Refused::MadeUp
                | Refused::OtherPrefix
                | Refused::Outside(_)
                | Refused::OtherIssuer(_),
            )
            | Self::CredentialTooLong { .. } => Reason::BadCredential,
            Self::KeysMissing(_) => Reason::IssuerUnavailable,
            Self::NotAccepted { .. } => Reason::NotAccepted,
            Self::Forbidden { .. } => Reason::Forbidden,
            Self::Face(_) => Reason::TokenApi,
            Self::Overloaded => Reason::Overloaded,
            Self::Store(_) => Reason::StoreUnavailable,
            Self::Upstream(UpstreamFailure::Exchange(UpstreamError::Connect { .. })) => {
                Reason::UpstreamConnect
            }
            Self::Upstream(UpstreamFailure::Exchange(UpstreamError::ConnectTimeout { .. })) => {
                Reason::UpstreamConnect
            }
            Self::Upstream(UpstreamFailure::Ambiguous(_)) => Reason::UpstreamAmbiguous,
            Self::Upstream(UpstreamFailure::Exchange(UpstreamError::Broken { .. })) => {
                Reason::UpstreamBroken
            }
            Self::Upstream(UpstreamFailure::TooSlow) => Reason::UpstreamSlow,
            Self::Internal(_) => Reason::Internal,
        }
    }

    /// The cause for the log, in words for the operator: never a token.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::BadCredential(refused) => refused.to_string(),
            Self::KeysMissing(fault) => fault.to_string(),
            Self::NoCredential { cause: Some(cause) } | Self::AmbiguousCredential { cause } => {
                (*cause).to_owned()
            }
            Self::CredentialTooLong { length, limit } => format!(
                "it has {length} bytes, more than the {limit} that \"token\" in [limits] allows"
            ),
            Self::MethodNotAllowed { allow } => format!("the methods allowed are {allow}"),
            Self::NotAccepted { cause } | Self::Forbidden { cause, .. } => cause.clone(),
            Self::Overloaded => "there are more connections than limits.connections".to_owned(),
            Self::Store(fault) => fault.to_string(),
            Self::Upstream(UpstreamFailure::Exchange(fault)) => fault.to_string(),
            Self::Upstream(UpstreamFailure::Ambiguous(what)) | Self::Internal(what) => {
                (*what).to_owned()
            }
            Self::Head(_)
            | Self::Path(_)
            | Self::Upgrade
            | Self::BodyBroken
            | Self::BodyTooSlow
            | Self::NoRoute
            | Self::NoCredential { cause: None }
            | Self::Face(_)
            | Self::Upstream(UpstreamFailure::TooSlow) => self.detail(),
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
