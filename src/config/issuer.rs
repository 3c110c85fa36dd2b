//! Outside issuers: whose JWTs are accepted, and how their keys are had.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::net::split_port;
use crate::domain::{ClaimNames, ClaimRule, OutsideAlgorithm, TENANT};
use crate::upstream::document::HttpProxy;

/// `[[issuer]]`: an outside party whose JWTs are accepted, or several by a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// What routes, logs and metrics call it; unique among token APIs and issuers.
    pub name: Arc<str>,
    /// The `iss` claim of its tokens, to the letter; with `{tenant}` in it, a template for each of
    /// `tenants`.
    pub issuer: String,
    /// The tenants of the template, each once, at most 1000; empty: `issuer` is none.
    pub tenants: Vec<String>,
    /// Where its keys are.
    pub keys: IssuerKeys,
    /// One of these must be in the `aud` claim; empty: `aud` is not looked at, and there are
    /// required claims.
    pub audience: Vec<String>,
    /// What its tokens may be signed with. Default: HS256 with a shared secret, and otherwise all
    /// that are understood.
    pub algorithms: Vec<OutsideAlgorithm>,
    /// What else its tokens must say. Default nothing.
    pub required_claims: Vec<ClaimRule>,
    /// Which claims say who it is.
    pub claims: ClaimNames,
    /// How far its clock may be off, 0s to 10m. Default 30s.
    pub leeway: Duration,
    /// How old its keys may become before they are fetched again, 10s to 1d. Default 5m.
    pub refresh: Duration,
    /// How long they are used beyond that when they cannot be fetched, 0s to 30d. Default 24h.
    pub stale_if_error: Duration,
}

impl Issuer {
    /// The `iss` of each, with the tenant where there are tenants.
    pub fn each(&self) -> impl Iterator<Item = (Option<&str>, String)> {
        let single = self.tenants.is_empty().then(|| (None, self.issuer.clone()));
        let tenants = self
            .tenants
            .iter()
            .map(|tenant| (Some(tenant.as_str()), self.issuer.replace(TENANT, tenant)));
        single.into_iter().chain(tenants)
    }
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerKeys {
    /// `jwks_url`: fetched.
    Url {
        /// Where: one for all, or one for each of the tenants in their order.
        urls: Vec<KeysUrl>,
        /// How.
        fetching: Fetching,
    },
    /// None of the others: where they are, the metadata of the issuer says (OpenID Connect
    /// Discovery 1.0, section 4).
    Discovery {
        /// Where the metadata are: one for the issuer, or one for each of the tenants in their
        /// order.
        urls: Vec<KeysUrl>,
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
    /// PEM: whose certificates are believed. Default those that the system believes.
    pub ca_file: Option<PathBuf>,
    /// Through what. Default nothing.
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

/// An address of keys: `https://host[:port]/path[?query]`, or `http://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysUrl {
    /// Whether over TLS.
    pub is_https: bool,
    /// A host name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// 1 to 65535. Default 443, or 80.
    pub port: u16,
    /// Path and query, from its `/`.
    pub target: String,
}

impl KeysUrl {
    /// Whether it never leaves this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

impl FromStr for KeysUrl {
    type Err = String;

    /// # Errors
    /// The reason, in words for the one who typed it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it must begin with \"https://\"")?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("the only schemes are https and http".to_owned()),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("it must not hold a user or a password".to_owned());
        }
        if target.contains('#') {
            return Err("it has no fragment: \"#\" and what follows it".to_owned());
        }
        // RFC 3986: what else could end the request line early, or is to be percent-encoded.
        if let Some(wrong) =
            target.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\'))
        {
            return Err(format!("{wrong:?} must be percent-encoded"));
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            None => {
                if is_https {
                    443
                } else {
                    80
                }
            }
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|port| *port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or("the port must be 1 to 65535")?,
        };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { is_https, host, port, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_keys_are_read() {
        for (text, is_https, host, port, target) in [
            (
                "https://id.example.com/realms/a/certs",
                true,
                "id.example.com",
                443,
                "/realms/a/certs",
            ),
            ("HTTPS://ID.example.com:8443/k?v=1", true, "id.example.com", 8443, "/k?v=1"),
            ("https://id.example.com", true, "id.example.com", 443, "/"),
            ("https://id.example.com?v=1", true, "id.example.com", 443, "/?v=1"),
            ("http://[::1]:8080/k", false, "::1", 8080, "/k"),
            ("http://localhost/k", false, "localhost", 80, "/k"),
        ] {
            let expected = KeysUrl { is_https, host: host.into(), port, target: target.into() };
            assert_eq!(text.parse::<KeysUrl>(), Ok(expected), "{text}");
        }
        for (text, is_loopback) in [
            ("http://127.9.9.9/", true),
            ("http://[::1]/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://LOCALHOST/", true),
            ("http://localhost.example.com/", false),
            ("http://169.254.169.254/", false),
            ("http://10.0.0.1/", false),
            ("http://id/", false),
        ] {
            assert_eq!(text.parse::<KeysUrl>().unwrap().is_loopback(), is_loopback, "{text}");
        }
    }

    #[test]
    fn broken_addresses_of_keys_say_why() {
        for (text, why) in [
            ("", "begin with"),
            ("id.example.com/k", "begin with"),
            ("ftp://id/k", "the only schemes"),
            ("file:///etc/passwd", "the only schemes"),
            ("https://me:pw@id/k", "user or a password"),
            ("https://id/k#a", "no fragment"),
            ("https://id/k a", "percent-encoded"),
            ("https://id/k\r\nX: y", "percent-encoded"),
            ("https://id/ä", "percent-encoded"),
            ("https:///k", "host is empty"),
            ("https://id:0/k", "1 to 65535"),
            ("https://id:x/k", "1 to 65535"),
            ("https://::1/k", "brackets"),
        ] {
            let reason = text.parse::<KeysUrl>().unwrap_err();
            assert!(reason.contains(why), "{text}: {reason}");
        }
    }
}
