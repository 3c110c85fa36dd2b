//! The settings of an outside issuer.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{ClaimNames, ClaimPath, ClaimRule, OutsideAlgorithm};

/// The settings of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// Its name in routes, logs and metrics. The issuers of one template have the same name.
    pub name: Arc<str>,
    /// The `iss` of its tokens, to the letter; no other issuer has the same.
    pub issuer: String,
    /// Its tenant, if it is an issuer by template.
    pub tenancy: Option<Tenancy>,
    /// One of these must be in a token's `aud`. If it is empty, `aud` is not checked, and
    /// `required_claims` must say what a token is for.
    pub audience: Vec<String>,
    /// The algorithms that are accepted, at least one; each key narrows them further.
    pub algorithms: Vec<OutsideAlgorithm>,
    /// The other claims that a token must have.
    pub required_claims: Vec<ClaimRule>,
    /// The claims that hold the identity.
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
    /// The tenant.
    pub tenant: Box<str>,
    /// The origin of its subjects: the issuer's name and the tenant.
    pub origin: Box<str>,
}

impl Tenancy {
    /// The tenant of the issuer of this name.
    #[must_use]
    pub fn new(name: &str, template: Arc<str>, tenant: &str) -> Self {
        // Unambiguous, because no name of an issuer has a slash.
        Self { template, tenant: tenant.into(), origin: format!("{name}/{tenant}").into() }
    }
}
