//! Redirects: the address that a client is sent to, made by a template of what the request asked
//! for.
//!
//! What comes from the request stands in the path, in its normal form, and as the host only where
//! that is the host that was asked. So no request leads to another server than the configuration
//! names.

use http::{HeaderValue, StatusCode};

use super::head_fault::HeadFault;
use super::refusal::Refusal;
use super::upstream_path::filled_by;
use crate::wire::path::{self, PathFault};

/// Where clients are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The status: 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// The server; `None`: the one that was asked.
    pub server: Option<RedirectServer>,
    /// The path there.
    pub path: RedirectPath,
    /// A query that is always there, without its question mark.
    pub query: Option<String>,
    /// Whether the query of the request goes along.
    pub keeps_query: bool,
}

/// The server of a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectServer {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host; `None`: the one that was asked, without its port.
    pub host: Option<String>,
    /// The port, where it is not that of the scheme.
    pub port: Option<u16>,
}

/// The path of a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPath {
    /// That of the request.
    Same,
    /// Made by a template of the parameters of the route's path.
    Template(String),
}

impl Redirect {
    /// The address for a request with this path and query on a route with this pattern; `host`: the
    /// host that was asked, without a port.
    ///
    /// # Errors
    ///
    /// The client's fault: it names no host where the address has it, or a path that would mean
    /// something else there.
    pub(super) fn location(
        &self,
        pattern: &str,
        path: &str,
        query: Option<&str>,
        host: Option<&str>,
    ) -> Result<HeaderValue, Refusal> {
        let mut address = String::new();
        if let Some(server) = &self.server {
            let host = server.host.as_deref().or(host).filter(|host| !host.is_empty());
            address.push_str(server.scheme);
            address.push_str("://");
            address.push_str(host.ok_or(HeadFault::Host)?);
            if let Some(port) = server.port {
                address.push(':');
                address.push_str(&port.to_string());
            }
        }
        let made = match &self.path {
            RedirectPath::Same => path.to_owned(),
            RedirectPath::Template(template) => filled_by(template, pattern, path),
        };
        // In this form it begins with one slash: `//host` would name a server.
        if path::normal_form(&made).ok().as_deref() != Some(&*made) {
            return Err(Refusal::Path(PathFault::Ambiguous));
        }
        address.push_str(&made);
        let kept = query.filter(|query| self.keeps_query && !query.is_empty());
        for (between, query) in ["?", "&"].iter().zip(self.query.as_deref().into_iter().chain(kept))
        {
            address.push_str(between);
            address.push_str(query);
        }
        HeaderValue::try_from(address).map_err(|_| Refusal::Path(PathFault::Ambiguous))
    }

    /// The address as the configuration has it.
    pub(super) fn template(&self) -> String {
        let server = self.server.as_ref().map_or_else(String::new, |server| {
            let host = server.host.as_deref().unwrap_or("{host}");
            let port = server.port.map_or_else(String::new, |port| format!(":{port}"));
            format!("{}://{host}{port}", server.scheme)
        });
        let path = match &self.path {
            RedirectPath::Same => "{path}",
            RedirectPath::Template(template) => template,
        };
        let query = self.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        format!("{server}{path}{query}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(server: Option<(&'static str, Option<&str>, Option<u16>)>, path: &str) -> Redirect {
        Redirect {
            status: StatusCode::PERMANENT_REDIRECT,
            server: server.map(|(scheme, host, port)| RedirectServer {
                scheme,
                host: host.map(ToOwned::to_owned),
                port,
            }),
            path: match path {
                "{path}" => RedirectPath::Same,
                template => RedirectPath::Template(template.to_owned()),
            },
            query: None,
            keeps_query: true,
        }
    }

    #[test]
    fn an_address_has_the_path_by_its_template_and_the_query() {
        let www = Some(("https", Some("www.example.com"), None));
        for (redirect, pattern, path, query, expected) in [
            (to(www, "/{rest}"), "/old/{*rest}", "/old/a/b", None, "https://www.example.com/a/b"),
            (to(www, "/{rest}"), "/old/{*rest}", "/old/", None, "https://www.example.com/"),
            (to(www, "{path}"), "/{*r}", "/a", Some("x=1&y"), "https://www.example.com/a?x=1&y"),
            (to(www, "{path}"), "/{*r}", "/a", Some(""), "https://www.example.com/a"),
            (to(None, "/v2/{b}/{a}"), "/{a}/{b}", "/1/2", None, "/v2/2/1"),
            (to(Some(("https", None, None)), "{path}"), "/{*r}", "/", None, "https://a.example/"),
            (
                to(Some(("https", None, Some(8443))), "/x"),
                "/{*r}",
                "/%C3%A9@b:1",
                None,
                "https://a.example:8443/x",
            ),
        ] {
            let location = redirect.location(pattern, path, query, Some("a.example"));
            assert_eq!(location.expect("an address"), expected, "{}", redirect.template());
        }
        let always = Redirect { query: Some("from=old".to_owned()), ..to(www, "/x") };
        for (query, expected) in [
            (None, "https://www.example.com/x?from=old"),
            (Some("a=1"), "https://www.example.com/x?from=old&a=1"),
        ] {
            let location = always.location("/{*r}", "/y", query, None);
            assert_eq!(location.expect("an address"), expected);
        }
        let without = Redirect { keeps_query: false, ..to(www, "/x") };
        let location = without.location("/{*r}", "/y", Some("a=1"), None);
        assert_eq!(location.expect("an address"), "https://www.example.com/x");
    }

    #[test]
    fn no_path_of_a_request_becomes_a_host() {
        for (template, path) in [("{path}", "//evil.example/"), ("/{rest}", "/old//evil.example")] {
            let location = to(None, template).location("/old/{*rest}", path, None, None);
            assert!(location.is_err(), "{template} {path}");
        }
        let hostless = to(Some(("https", None, None)), "{path}");
        for host in [None, Some("")] {
            assert!(hostless.location("/{*r}", "/", None, host).is_err(), "{host:?}");
        }
    }
}
