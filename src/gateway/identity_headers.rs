//! The caller's identity, as fields that the upstream can trust: whatever the client sent under
//! such a name, or under a name that an upstream might read as one, is removed first.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::tokens::verified::Caller;
use crate::wire::fields::{FoldedNames, visible};

/// What the identity headers are called; `None`: not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityNames {
    /// The subject.
    pub subject: Option<String>,
    /// The username.
    pub username: Option<String>,
    /// The organization.
    pub organization: Option<String>,
    /// The role.
    pub role: Option<String>,
    /// The email address.
    pub email: Option<String>,
    /// The token's id.
    pub token_id: Option<String>,
    /// The token API or issuer that all of it is from.
    pub credential: Option<String>,
    /// The request's id: also where there is no caller.
    pub request_id: Option<String>,
    /// The subject of the client's certificate: also where there is no caller.
    pub client_certificate_subject: Option<String>,
    /// The names of the client's certificate.
    pub client_certificate_names: Option<String>,
}

/// The names, ready for use.
pub(super) struct IdentityRules {
    subject: Option<HeaderName>,
    username: Option<HeaderName>,
    organization: Option<HeaderName>,
    role: Option<HeaderName>,
    email: Option<HeaderName>,
    token_id: Option<HeaderName>,
    credential: Option<HeaderName>,
    pub(super) request_id: Option<HeaderName>,
    pub(super) client_certificate_subject: Option<HeaderName>,
    pub(super) client_certificate_names: Option<HeaderName>,
    /// Ours, and those that say where a request came from, in all spellings.
    ours: FoldedNames,
}

/// The identity headers of one caller.
pub(super) type IdentityFields = Box<[(HeaderName, HeaderValue)]>;

/// Not passed on whatever the configuration says: a name of ours is a name of ours also where
/// another preset is in use.
const OUR_PREFIX: &str = "x-keyward-";

impl IdentityRules {
    pub(super) fn new(names: &IdentityNames) -> Result<Self, String> {
        let name = |name: &Option<String>| {
            name.as_deref()
                .map(|name| {
                    HeaderName::try_from(name).map_err(|_| format!("{name:?} is no header name"))
                })
                .transpose()
        };
        let all = [
            &names.subject,
            &names.username,
            &names.organization,
            &names.role,
            &names.email,
            &names.token_id,
            &names.credential,
            &names.request_id,
            &names.client_certificate_subject,
            &names.client_certificate_names,
        ];
        let configured = all.into_iter().filter_map(Option::as_deref);
        Ok(Self {
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
            ours: FoldedNames::new(
                configured.chain(["x-request-id", "forwarded", "x-real-ip", "x-forwarded"]),
                [OUR_PREFIX, "x-forwarded-"],
            ),
        })
    }

    /// The headers of one caller, with the tenant that is in force for the organization, if one is.
    /// An absent field is no header, and the client's own is gone all the same (cf.
    /// CVE-2026-30851).
    pub(super) fn of(&self, caller: &Caller, tenant: Option<&str>) -> IdentityFields {
        let token = &caller.token;
        let token_id = caller.token_id();
        [
            (&self.subject, Some(token.subject())),
            (&self.username, token.username()),
            (&self.organization, tenant.or(token.organization())),
            (&self.role, token.role()),
            (&self.email, token.email()),
            (&self.token_id, token_id.as_deref()),
            (&self.credential, Some(&**token.token_api())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.clone()?, visible(value?))))
        .collect()
    }

    /// The names that a client may not set, in all spellings.
    pub(super) fn ours(&self) -> &FoldedNames {
        &self.ours
    }

    /// Removes every field that only keyward may set.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        let ours: Vec<HeaderName> =
            headers.keys().filter(|name| self.ours.matches(name.as_str())).cloned().collect();
        for name in ours {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_of_every_name_is_ours_whatever_the_configuration() {
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
        ] {
            assert!(rules.ours().matches(name), "{name}");
        }
        for name in ["accept", "x-keyword"] {
            assert!(!rules.ours().matches(name), "{name}");
        }
    }
}
