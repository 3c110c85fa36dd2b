//! Outside issuers, whose JWTs are accepted, and where their keys are.

use std::path::PathBuf;

use crate::domain::TENANT;
use crate::tokens::issuer::{IssuerSettings, Rhythm};
use crate::upstream::document::{DocumentAddress, HttpProxy};

/// `[[issuer]]`: an outside party whose JWTs are accepted, or several by a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// What its tokens must be. Of a template, the `issuer` has `{tenant}` in it, and each tenant
    /// is one [`Tenancy`](crate::tokens::issuer::Tenancy) of it.
    pub settings: IssuerSettings,
    /// The tenants of a template, each once, at most 1000; empty: it is none.
    pub tenants: Vec<String>,
    /// Where its keys are.
    pub keys: IssuerKeys,
    /// How long its keys are good for.
    pub rhythm: Rhythm,
}

impl Issuer {
    /// The `iss` of each, with the tenant where there are tenants.
    pub fn each(&self) -> impl Iterator<Item = (Option<&str>, String)> {
        let tenants = self.tenants.iter().map(|tenant| Some(tenant.as_str()));
        let single = self.tenants.is_empty().then_some(None);
        single.into_iter().chain(tenants).zip(of_each(&self.settings.issuer, &self.tenants))
    }
}

/// A text for each tenant, or, without tenants, as it stands.
pub(super) fn of_each(text: &str, tenants: &[String]) -> Vec<String> {
    match tenants {
        [] => vec![text.to_owned()],
        _ => tenants.iter().map(|tenant| text.replace(TENANT, tenant)).collect(),
    }
}

/// Where the metadata of an issuer are, by its `iss`.
///
/// # Errors
///
/// Why there can be none, for the operator.
pub(super) fn metadata_of(issuer: &str) -> Result<DocumentAddress, String> {
    let below = issuer.strip_suffix('/').unwrap_or(issuer);
    let url: DocumentAddress = format!("{below}{METADATA}").parse()?;
    if url.target.contains('?') { Err("it has a query".to_owned()) } else { Ok(url) }
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerKeys {
    /// `jwks_url`: fetched.
    Url {
        /// Where: one for all, or one for each of the tenants in their order.
        urls: Vec<DocumentAddress>,
        /// How.
        fetching: Fetching,
    },
    /// None of the others: the metadata of the issuer says where they are (OpenID Connect
    /// Discovery 1.0, section 4).
    Discovery {
        /// Where the metadata are: one for the issuer, or one for each of the tenants in their
        /// order.
        urls: Vec<DocumentAddress>,
        /// How they and the keys are fetched.
        fetching: Fetching,
    },
    /// `jwks_file`: a JWK set.
    File(PathBuf),
    /// `secret_file`: a secret that is shared with the issuer, at least as long as the hash of each
    /// algorithm: 32 bytes for HS256.
    Secret(PathBuf),
}

/// How keys are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetching {
    /// The authorities that are trusted, in PEM form; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Through what.
    pub proxy: Proxy,
}

/// Through what keys are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// Nothing: from their server itself (the default).
    #[default]
    Direct,
    /// This proxy.
    Address(HttpProxy),
    /// What the environment says when the configuration is read: see
    /// [`ProxyEnvironment`](super::ProxyEnvironment).
    Environment,
}

/// Where the metadata of an issuer are, below it (OpenID Connect Discovery 1.0, section 4; RFC
/// 8414, section 5).
pub const METADATA: &str = "/.well-known/openid-configuration";
