//! The reasons for which a request is refused or fails: one closed list for the access log and the
//! metrics.

use std::fmt;

/// Declares [`Reason`], its names and the list of all of them from one table, so that none can be
/// in one and not in another.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Why a request was refused, or came to nothing. The access log and the metrics call it by
        /// the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the declaration: the position of each is its
            /// discriminant.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Its name in the access log and in the metrics: lower-case letters and `_`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// Two credentials, or one that can be read in two ways.
    AmbiguousCredential = "ambiguous_credential",
    /// A credential that is not ours, is forged or is too long.
    BadCredential = "bad_credential",
    /// The request's body is larger than the route takes.
    BodyTooLarge = "body_too_large",
    /// The framing or the encoding of the request's body is broken.
    BrokenBody = "broken_body",
    /// The endpoints of the upstream fail, and are not tried for a while.
    CircuitOpen = "circuit_open",
    /// The client left before the response was complete.
    ClientGone = "client_gone",
    /// A browser sent the credential of its own accord, for a page that may not make the request.
    CrossOrigin = "cross_origin",
    /// The token has expired.
    Expired = "expired",
    /// The credential is good, and does not allow this request.
    Forbidden = "forbidden",
    /// A fault of keyward's.
    Internal = "internal",
    /// There is no key of the outside issuer.
    IssuerUnavailable = "issuer_unavailable",
    /// The head is malformed, too large or has two readings.
    MalformedRequest = "malformed_request",
    /// The route takes other methods.
    MethodNotAllowed = "method_not_allowed",
    /// No credential, where one is required.
    NoCredential = "no_credential",
    /// The store has no record of the token.
    NoRecord = "no_record",
    /// No route matches.
    NoRoute = "no_route",
    /// The credential is good, and of a token API or issuer that the route does not accept.
    NotAccepted = "not_accepted",
    /// A preflight of CORS is from an origin that is not let in.
    OriginNotAllowed = "origin_not_allowed",
    /// There were more connections or requests than keyward serves, or too little memory.
    Overloaded = "overloaded",
    /// A limit of requests lets no more through for a while.
    RateLimited = "rate_limited",
    /// The request's body stopped coming.
    SlowBody = "slow_body",
    /// keyward stopped before the response was complete.
    Stopping = "stopping",
    /// The store did not answer.
    StoreUnavailable = "store_unavailable",
    /// A token API refused the call, in its own shape.
    TokenApi = "token_api",
    /// As many requests of the token are under way as may be.
    TooManyConcurrent = "too_many_concurrent",
    /// The upstream's response has two readings.
    UpstreamAmbiguous = "upstream_ambiguous",
    /// The upstream broke off.
    UpstreamBroken = "upstream_broken",
    /// The endpoints of the upstream have as many requests as they may have.
    UpstreamBusy = "upstream_busy",
    /// No connection to the upstream could be made.
    UpstreamConnect = "upstream_connect",
    /// The upstream sent no response head in time, or the exchange took too long.
    UpstreamSlow = "upstream_slow",
}

impl Reason {
    /// The status of a request in the log and the metrics whose client left before the response was
    /// complete. It is never sent, and HTTP has none for it: this one is nginx's.
    pub const CLIENT_GONE_STATUS: u16 = 499;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own_that_needs_no_escaping() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')),
            "{names:?}"
        );
    }
}
