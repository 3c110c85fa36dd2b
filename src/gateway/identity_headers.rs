//! The caller's identity, as fields that the upstream can trust: whatever the client sent under
//! such a name, or under a name that an upstream might read as one, is removed first.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::client_fields::{
    OF_PROXIES, OF_THE_CALLER, OF_THE_CALLER_BEGIN, OF_THE_EDGE, OF_THE_EDGE_BEGIN, OF_THE_METHOD,
    OF_THE_PATH,
};
use super::connection::ClientConnection;
use crate::tokens::verified::Caller;
use crate::wire::fields::{FoldedNames, visible};

/// What the identity headers are called; `None`: not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityNames<N = String> {
    /// The subject.
    pub subject: Option<N>,
    /// The username.
    pub username: Option<N>,
    /// The organization.
    pub organization: Option<N>,
    /// The role.
    pub role: Option<N>,
    /// The email address.
    pub email: Option<N>,
    /// The token's id.
    pub token_id: Option<N>,
    /// The token API or issuer that all of it is from.
    pub credential: Option<N>,
    /// The request's id: also where there is no caller.
    pub request_id: Option<N>,
    /// The subject of the client's certificate: also where there is no caller.
    pub client_certificate_subject: Option<N>,
    /// The names of the client's certificate: also where there is no caller.
    pub client_certificate_names: Option<N>,
}

/// The names of a plan, and what follows from them.
pub(super) struct IdentityRules {
    pub(super) names: IdentityNames<HeaderName>,
    /// The fields that are removed or judged, in all spellings: those of identity headers, those
    /// that say where a request came from, and those of `client_fields`.
    pub(super) judged: FoldedNames,
    /// Those of them that name another method: they are judged.
    pub(super) of_the_method: FoldedNames,
    /// Those of them that a trusted proxy may set, unless they are identity headers.
    of_the_edge: FoldedNames,
    reserved: FoldedNames,
}

/// The fields that only keyward may set, in all spellings, where its identity headers have these
/// names.
#[must_use]
pub fn reserved_names(names: &IdentityNames) -> FoldedNames {
    FoldedNames::new(reserved(names), RESERVED_BEGIN)
}

// `x-keyward-` whatever the configuration says: the next upstream may use another preset.
const RESERVED_BEGIN: [&str; 2] = ["x-keyward-", "x-forwarded-"];

fn reserved(names: &IdentityNames) -> impl Iterator<Item = &str> {
    let configured = names.fields().into_iter().filter_map(|(_, name)| name);
    configured.chain(["x-request-id", "forwarded", "x-real-ip", "x-forwarded"])
}

/// Those, and all of `client_fields`.
fn judged(names: &IdentityNames) -> FoldedNames {
    let whole = OF_THE_PATH.into_iter().chain(OF_THE_CALLER).chain(OF_PROXIES);
    let begin = RESERVED_BEGIN.into_iter().chain(OF_THE_CALLER_BEGIN).chain(OF_THE_EDGE_BEGIN);
    FoldedNames::new(reserved(names).chain(whole).chain(OF_THE_EDGE).chain(OF_THE_METHOD), begin)
}

/// The identity headers of one caller.
pub(super) type IdentityFields = Box<[(HeaderName, HeaderValue)]>;

impl IdentityRules {
    pub(super) fn new(names: &IdentityNames) -> Result<Self, String> {
        let name = |name: &Option<String>| {
            let Some(name) = name else { return Ok(None) };
            HeaderName::try_from(name).map(Some).map_err(|_| format!("{name:?} is no header name"))
        };
        Ok(Self {
            judged: judged(names),
            of_the_method: FoldedNames::new(OF_THE_METHOD, []),
            of_the_edge: FoldedNames::new(OF_THE_EDGE, OF_THE_EDGE_BEGIN),
            reserved: reserved_names(names),
            names: IdentityNames {
                subject: name(&names.subject)?,
                username: name(&names.username)?,
                organization: name(&names.organization)?,
                role: name(&names.role)?,
                email: name(&names.email)?,
                token_id: name(&names.token_id)?,
                credential: name(&names.credential)?,
                request_id: name(&names.request_id)?,
                client_certificate_subject: name(&names.client_certificate_subject)?,
                client_certificate_names: name(&names.client_certificate_names)?,
            },
        })
    }

    /// The headers of one caller, with the tenant that is in force for the organization, if one is.
    /// An absent field is no header, and the client's own is gone all the same (cf.
    /// CVE-2026-30851).
    pub(super) fn of(&self, caller: &Caller, tenant: Option<&str>) -> IdentityFields {
        let (names, token, token_id) = (&self.names, &caller.token, caller.token_id());
        [
            (&names.subject, Some(token.subject())),
            (&names.username, token.username()),
            (&names.organization, tenant.or(token.organization())),
            (&names.role, token.role()),
            (&names.email, token.email()),
            (&names.token_id, token_id.as_deref()),
            (&names.credential, Some(&**token.token_api())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.clone()?, visible(value?))))
        .collect()
    }

    /// Removes every field that is not for this client to set.
    pub(super) fn strip(&self, client: &ClientConnection, headers: &mut HeaderMap) {
        let is_trusted = client.origin.trusted_proxies.is_some();
        let is_removed = |name: &&HeaderName| {
            let name = name.as_str();
            let stays =
                self.of_the_method.matches(name) || is_trusted && self.of_the_edge.matches(name);
            self.judged.matches(name) && (self.reserved.matches(name) || !stays)
        };
        for name in headers.keys().filter(is_removed).cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_of_every_name_is_judged_whatever_the_configuration() {
        let rules = IdentityRules::new(&IdentityNames {
            username: Some("Remote-User".into()),
            ..IdentityNames::default()
        })
        .expect("names");
        for name in [
            "x_keyward_subject",
            "x.keyward.subject",
            "x-keyward-anything",
            "remote_user",
            "remote.user",
            "x-request-id",
            "x_request_id",
            "x_forwarded_for",
            "x.forwarded.proto",
            "forwarded",
            "x-real-ip",
            "x-forwarded-prefix",
            "script_name",
            "x-ssl-client-verify",
            "x_http_method",
        ] {
            assert!(rules.judged.matches(name), "{name}");
        }
        for name in ["accept", "x-keyword", "x-http-methods", "scriptname", "x-user"] {
            assert!(!rules.judged.matches(name), "{name}");
        }
    }
}
