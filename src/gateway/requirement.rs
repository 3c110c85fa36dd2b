//! What a route asks of a caller.

use std::fmt;

use crate::domain::ClaimRule;
use crate::tokens::verified::{ACTIVE_TENANT, Caller};

/// What a caller must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// It must have one of these values.
    Field {
        /// In which field.
        field: RequirementField,
        /// Which values.
        one_of: Vec<String>,
    },
    /// It must be of an outside issuer whose token says this.
    Claim(ClaimRule),
    /// It must be of an outside issuer whose token has one of these scopes; at least one, each a
    /// `scope-token` (RFC 6749, section 3.3).
    Scope(Vec<String>),
}

/// The fields of an identity that a route can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequirementField {
    /// The subject.
    Subject,
    /// The username.
    Username,
    /// The organization.
    Organization,
    /// The role.
    Role,
    /// The email address.
    Email,
    /// The tenant in force: that of the path, or else the one that the caller acts for.
    Tenant,
}

impl Requirement {
    /// Whether a caller meets it, with the tenant that is in force. An absent field meets nothing.
    #[must_use]
    pub fn is_met_by(&self, caller: &Caller, tenant: Option<&str>) -> bool {
        match self {
            Self::Field { field, one_of } => {
                let mut own = field.values(caller, tenant);
                own.any(|own| one_of.iter().any(|allowed| allowed == own))
            }
            Self::Claim(rule) => caller.outside.as_ref().is_some_and(|outside| outside.meets(rule)),
            Self::Scope(scopes) => {
                let mut own = caller.outside.iter().flat_map(|outside| outside.scopes());
                own.any(|own| scopes.iter().any(|scope| scope == own))
            }
        }
    }

    /// What the caller has instead, for the log: in quotes, or `another` for what is personal.
    pub(super) fn found(&self, caller: &Caller) -> Vec<String> {
        let quoted = |value: &str| format!("{value:?}");
        let outside = caller.outside.iter();
        match self {
            Self::Field { field, .. } if field.is_personal() => {
                field.values(caller, None).map(|_| "another".to_owned()).collect()
            }
            Self::Field { field, .. } => field.values(caller, None).map(quoted).collect(),
            Self::Claim(rule) => outside.filter_map(|outside| outside.shown(&rule.path)).collect(),
            Self::Scope(_) => outside.flat_map(|outside| outside.scopes()).map(quoted).collect(),
        }
    }
}

/// As the log says it: `role "admin" or "editor"`.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_of = |values: &[String]| {
            values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(" or ")
        };
        match self {
            Self::Field { field, one_of: values } => {
                write!(f, "{} {}", field.name(), one_of(values))
            }
            Self::Claim(rule) => {
                let values: Vec<_> = rule.one_of.iter().map(ToString::to_string).collect();
                write!(f, "the claim \"{}\" with {}", rule.path, values.join(" or "))
            }
            Self::Scope(scopes) => write!(f, "scope {}", one_of(scopes)),
        }
    }
}

impl RequirementField {
    /// What the caller has in this field, with the tenant that is in force. Only of roles may there
    /// be many, from an outside issuer.
    fn values<'c>(
        self,
        caller: &'c Caller,
        tenant: Option<&'c str>,
    ) -> impl Iterator<Item = &'c str> {
        let token = &caller.token;
        let outside = caller.outside.as_ref().filter(|_| self == Self::Role);
        let one = match self {
            Self::Subject => Some(token.subject()),
            Self::Username => token.username(),
            Self::Organization => token.organization(),
            Self::Role if outside.is_some() => None,
            Self::Role => token.role(),
            Self::Email => token.email(),
            Self::Tenant => tenant.or_else(|| caller.tenant(ACTIVE_TENANT)),
        };
        one.into_iter().chain(outside.into_iter().flat_map(|outside| outside.roles()))
    }

    const fn is_personal(self) -> bool {
        matches!(self, Self::Subject | Self::Username | Self::Email)
    }

    /// Its key in the configuration.
    const fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Username => "username",
            Self::Organization => "organization",
            Self::Role => "role",
            Self::Email => "email",
            Self::Tenant => "tenant",
        }
    }
}
