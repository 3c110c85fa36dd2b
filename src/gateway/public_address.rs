//! The addresses of its own that an upstream may name in a response: those become the public one.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::forwarding::PublicAddress;
use super::plan::{RouteSettings, UpstreamPlan};
use crate::upstream::EndpointAddress;
use crate::wire::authority::{host_of, trim_dot};

const REFRESH: HeaderName = HeaderName::from_static("refresh");

/// Host and port, to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// In lower case, without brackets and without a dot at its end.
    host: String,
    port: u16,
}

impl Authority {
    /// Of an address with this scheme; nothing, if it is not valid.
    pub(super) fn read(text: &str, scheme: &str) -> Option<Self> {
        let host = host_of(text.as_bytes())?;
        let port = match text.get(host.len()..)?.strip_prefix(':') {
            None | Some("") => {
                if scheme.eq_ignore_ascii_case("https") {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().ok()?,
        };
        Some(Self { host: bare(host), port })
    }
}

fn bare(host: &str) -> String {
    trim_dot(host).trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

/// One exchange, for the addresses in its response.
pub(super) struct Rewriting<'a> {
    pub(super) public: PublicAddress<'a>,
    pub(super) upstream: &'a UpstreamPlan,
    pub(super) route: &'a RouteSettings,
    /// The path that the client asked for.
    pub(super) path: &'a str,
}

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Endpoint,
    Public,
    Other,
}

impl Rewriting<'_> {
    /// Rewrites `Location`, `Content-Location`, `Refresh` and `Set-Cookie`.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            replace(headers, &name, |value| self.address(value));
        }
        replace(headers, &REFRESH, |value| self.refresh(value));
        replace(headers, &header::SET_COOKIE, |value| self.cookie(value));
    }

    /// The address for the client; nothing, if it stays.
    fn address(&self, address: &str) -> Option<String> {
        let (scheme, rest) = match address.split_once("://") {
            Some((scheme, rest)) if is_http(scheme) => (Some(scheme), rest),
            _ => match address.strip_prefix("//") {
                Some(rest) => (None, rest),
                None => return self.path_alone(address),
            },
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at_checked(end)?;
        let whose = self.whose(scheme, authority);
        let changed = || {
            let (path, further) = split_path(tail);
            let path = if path.is_empty() { "/" } else { path };
            self.back(path).map(|path| format!("{path}{further}"))
        };
        match (whose, self.public.authority) {
            (Whose::Other, _) => None,
            (Whose::Public, _) => {
                let scheme = scheme.map(|scheme| format!("{scheme}:")).unwrap_or_default();
                changed().map(|tail| format!("{scheme}//{authority}{tail}"))
            }
            (Whose::Endpoint, Some(public)) => {
                let tail = changed().unwrap_or_else(|| tail.to_owned());
                Some(format!("{}://{public}{tail}", self.public.scheme))
            }
            (Whose::Endpoint, None) => {
                let tail = changed().unwrap_or_else(|| tail.to_owned());
                let tail = if tail.starts_with('/') { tail } else { format!("/{tail}") };
                (!names_host(&tail)).then_some(tail)
            }
        }
    }

    /// Of an address without a host.
    fn path_alone(&self, address: &str) -> Option<String> {
        if !address.starts_with('/') {
            return None;
        }
        let (path, further) = split_path(address);
        let path = self.back(path)?;
        (!names_host(&path)).then(|| format!("{path}{further}"))
    }

    fn back(&self, path: &str) -> Option<String> {
        let change = self.route.path_rules.as_ref()?.change.as_ref()?;
        change.back(&self.route.path, self.path, path)
    }

    /// Whether an upstream means itself: by the address of an endpoint, or by the public name with
    /// the port or the scheme at which it is asked.
    fn whose(&self, scheme: Option<&str>, authority: &str) -> Whose {
        let is_tls = |scheme: &str| scheme.eq_ignore_ascii_case("https");
        let public = self.public.authority;
        let public_host = public.and_then(|public| host_of(public.as_bytes())).map(bare);
        for endpoint in &self.upstream.settings.endpoints {
            let own_scheme = if endpoint.is_tls { "https" } else { "http" };
            let asked = scheme.unwrap_or(own_scheme);
            let Some(named) = Authority::read(authority, asked) else { return Whose::Other };
            let has_public_name = public_host.as_ref() == Some(&named.host);
            // An upstream that sends clients from http to https means the public address.
            let is_upgrade = has_public_name
                && named.port == 443
                && is_tls(asked)
                && self.public.scheme == "http";
            if is_tls(asked) != endpoint.is_tls || is_upgrade {
                continue;
            }
            let is_it = match &endpoint.address {
                EndpointAddress::Tcp { host, port } => {
                    named.port == *port && (named.host == bare(host) || has_public_name)
                }
                EndpointAddress::Unix(_) => {
                    named == Authority { host: "localhost".into(), port: 80 }
                }
            };
            // It was asked with this `Host`, and takes its own scheme for the client's.
            let is_downgrade = self.public.scheme == "https"
                && scheme.is_some()
                && !is_tls(asked)
                && public.is_some_and(|public| public.eq_ignore_ascii_case(authority));
            if is_it || is_downgrade {
                return Whose::Endpoint;
            }
        }
        let read = |text: &str| Authority::read(text, scheme.unwrap_or(self.public.scheme));
        let is_public = public.is_some_and(|public| read(public) == read(authority));
        if is_public { Whose::Public } else { Whose::Other }
    }

    /// `5; url=/x` for the client.
    fn refresh(&self, value: &str) -> Option<String> {
        let at = value.to_ascii_lowercase().find("url=")? + 4;
        let (before, address) = value.split_at_checked(at)?;
        let quote = ["'", "\""].into_iter().find(|quote| address.starts_with(quote)).unwrap_or("");
        let bare = address.strip_prefix(quote)?;
        let (bare, after) = match quote {
            "" => (bare.trim_end(), ""),
            _ => bare.split_at_checked(bare.find(quote)?)?,
        };
        self.address(bare).map(|address| format!("{before}{quote}{address}{after}"))
    }

    /// A cookie for the client: for the public path, and for the public host if it was for the
    /// endpoint's.
    fn cookie(&self, cookie: &str) -> Option<String> {
        let mut is_changed = false;
        let mut parts = cookie.split(';');
        let pair = parts.next().unwrap_or_default();
        // A browser takes such a cookie only with the path "/".
        let is_fixed =
            pair.trim_start().get(..7).is_some_and(|p| p.eq_ignore_ascii_case("__Host-"));
        let mut kept = pair.to_owned();
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (name.trim(), value.trim());
            if name.eq_ignore_ascii_case("domain") && self.is_endpoints_domain(value) {
                is_changed = true;
            } else if name.eq_ignore_ascii_case("path")
                && !is_fixed
                && let Some(path) = self.cookie_path(value)
            {
                is_changed = true;
                kept.push_str("; Path=");
                kept.push_str(&path);
            } else {
                kept.push(';');
                kept.push_str(part);
            }
        }
        is_changed.then_some(kept)
    }

    fn cookie_path(&self, path: &str) -> Option<String> {
        let change = self.route.path_rules.as_ref()?.change.as_ref()?;
        change.cookie_path_back(&self.route.path, path)
    }

    fn is_endpoints_domain(&self, domain: &str) -> bool {
        let domain = bare(domain.strip_prefix('.').unwrap_or(domain));
        let public = self.public.authority.and_then(|public| host_of(public.as_bytes()));
        let is_it = |address: &EndpointAddress| match address {
            EndpointAddress::Tcp { host, .. } => bare(host) == domain,
            EndpointAddress::Unix(_) => domain == "localhost",
        };
        public.map(bare).as_ref() != Some(&domain)
            && self.upstream.settings.endpoints.iter().any(|endpoint| is_it(&endpoint.address))
    }
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// A path, and the query and fragment behind it.
fn split_path(text: &str) -> (&str, &str) {
    text.split_at_checked(text.find(['?', '#']).unwrap_or(text.len())).unwrap_or((text, ""))
}

/// Whether a client would take what follows for a host, as browsers do after `/\`, too.
fn names_host(path: &str) -> bool {
    matches!(path.as_bytes(), [b'/', b'/' | b'\\', ..])
}

/// Replaces the values of a field that `change` has another one for.
fn replace(headers: &mut HeaderMap, name: &HeaderName, change: impl Fn(&str) -> Option<String>) {
    let changed = |value: &HeaderValue| {
        let text = std::str::from_utf8(value.as_bytes()).ok()?;
        HeaderValue::try_from(change(text)?).ok()
    };
    let values: Vec<_> = headers.get_all(name).iter().map(changed).collect();
    if values.iter().all(Option::is_none) {
        return;
    }
    let http::header::Entry::Occupied(mut field) = headers.entry(name) else { return };
    for (value, changed) in field.iter_mut().zip(values) {
        if let Some(changed) = changed {
            *value = changed;
        }
    }
}

#[cfg(test)]
mod tests;
