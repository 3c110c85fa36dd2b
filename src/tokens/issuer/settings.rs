//! What the configuration says of an outside issuer.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{ClaimNames, ClaimPath, ClaimRule, OutsideAlgorithm};

/// What the configuration says of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// What routes, logs and metrics call it. Those of one template have the same name.
    pub name: Arc<str>,
    /// The `iss` of its tokens, to the letter; no other issuer has the same.
    pub issuer: String,
    /// Which of the tenants of a template it is; none: it is no template's.
    pub tenancy: Option<Tenancy>,
    /// One of these must be in a token's `aud`; none: `aud` is not looked at, and what a token is
    /// for, `required_claims` say.
    pub audience: Vec<String>,
    /// The algorithms that are accepted, at least one; each key narrows them further.
    pub algorithms: Vec<OutsideAlgorithm>,
    /// What else a token must say.
    pub required_claims: Vec<ClaimRule>,
    /// Which claims say who it is.
    pub claims: ClaimNames,
    /// How far the issuer's clock may be off, for `exp` and `nbf`.
    pub leeway: Duration,
    /// The claims that [`Outside::meets`](super::Outside::meets) will be asked for.
    pub kept_claims: Vec<ClaimPath>,
}

/// One tenant of an issuer by template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenancy {
    /// The `iss` of all of them, with `{tenant}` where they differ.
    pub template: Arc<str>,
    /// What stands there.
    pub tenant: Box<str>,
    /// What its subjects are of, and no other tenant's: the issuer's name and the tenant.
    pub origin: Box<str>,
}

impl Tenancy {
    /// The tenant of the issuer of this name.
    #[must_use]
    pub fn new(name: &str, template: Arc<str>, tenant: &str) -> Self {
        // No name of an issuer holds a slash.
        Self { template, tenant: tenant.into(), origin: format!("{name}/{tenant}").into() }
    }
}
