//! Forward proxies, as an operator or the environment names them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;

use super::net::{holds, network, split_port, split_user_info};
use crate::upstream::document::{DocumentAddress, HttpProxy};

/// Reads `http://[user:password@]host[:port]`; without a port it is 80.
///
/// # Errors
/// The reason, for the operator, which repeats nothing of it.
pub(super) fn proxy(text: &str) -> Result<HttpProxy, String> {
    let (scheme, rest) = text.split_once("://").ok_or("it must begin with \"http://\"")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(
            "a proxy is spoken to in clear: its only scheme is http. What is fetched over https \
             is encrypted all the way to its server"
                .to_owned(),
        );
    }
    let (user_info, rest) = split_user_info(rest);
    let (host, port) = split_port(rest.strip_suffix('/').unwrap_or(rest))?;
    let authorization = user_info.map(basic).transpose()?;
    Ok(HttpProxy { host, port: port.unwrap_or(80), authorization })
}

/// The value of `Proxy-Authorization` (RFC 7617).
fn basic(user_info: &str) -> Result<HeaderValue, String> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut pair = percent_decode_str(user).collect::<Vec<u8>>();
    if pair.contains(&b':') {
        return Err("its user holds \":\"".to_owned());
    }
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| "its user or password cannot be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The proxies of the environment: `HTTPS_PROXY` for https, `http_proxy` for http, and what
/// `NO_PROXY` leaves out. The names in lower case count as well, and first; `HTTP_PROXY` in upper
/// case does not, as for curl: a CGI script's client can set it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyEnvironment {
    https: Option<HttpProxy>,
    http: Option<HttpProxy>,
    exceptions: Vec<Exception>,
}

/// What is reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    Network(IpNet),
    /// This name and all below it, at this port or any.
    Name(String, Option<u16>),
}

impl ProxyEnvironment {
    /// Reads it; `variable` looks one up. An empty variable is none.
    ///
    /// # Errors
    /// Which variable is wrong, and why; nothing of it is repeated.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                Some((*name, variable(name).filter(|value| !value.trim().is_empty())?))
            })
        };
        let proxy = |names: &[&'static str]| {
            let Some((name, value)) = first(names) else { return Ok(None) };
            let value = value.trim();
            // curl takes a host alone for http.
            let scheme = if value.contains("://") { "" } else { "http://" };
            let read = self::proxy(&format!("{scheme}{value}"));
            read.map(Some).map_err(|reason| format!("{name} of the environment: {reason}"))
        };
        let exceptions = first(&["no_proxy", "NO_PROXY"]).map(|(_, list)| list).unwrap_or_default();
        Ok(Self {
            https: proxy(&["https_proxy", "HTTPS_PROXY"])?,
            http: proxy(&["http_proxy"])?,
            exceptions: exceptions.split([',', ' ']).filter_map(exception).collect(),
        })
    }

    /// The proxy for an address; none for this machine itself, and for what `NO_PROXY` names.
    #[must_use]
    pub fn proxy_for(&self, url: &DocumentAddress) -> Option<&HttpProxy> {
        if url.is_loopback() || self.exceptions.iter().any(|exception| exception.is_for(url)) {
            return None;
        }
        if url.is_https { self.https.as_ref() } else { self.http.as_ref() }
    }
}

impl Exception {
    fn is_for(&self, url: &DocumentAddress) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network) => url.host.parse().is_ok_and(|address| holds(network, address)),
            Self::Name(name, port) => {
                let is_below =
                    url.host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (url.host == *name || is_below) && port.is_none_or(|port| port == url.port)
            }
        }
    }
}

fn exception(text: &str) -> Option<Exception> {
    let text = text.trim();
    match text {
        "" => return None,
        "*" => return Some(Exception::Everything),
        _ => {}
    }
    if let Ok(network) = network(text.trim_matches(['[', ']'])) {
        return Some(Exception::Network(network));
    }
    let (name, port) =
        text.rsplit_once(':').map_or((text, None), |(name, port)| (name, port.parse().ok()));
    let name = name.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
    Some(Exception::Name(name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Result<ProxyEnvironment, String> {
        ProxyEnvironment::read(|name| {
            variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn chosen(environment: &ProxyEnvironment, url: &str) -> Option<String> {
        let proxy = environment.proxy_for(&url.parse().unwrap())?;
        Some(format!("{}:{}", proxy.host, proxy.port))
    }

    #[test]
    fn an_address_of_a_proxy_is_taken_apart() {
        for (text, host, port, authorization) in [
            ("http://proxy.example.com:3128", "proxy.example.com", 3128, None),
            ("HTTP://Proxy/", "proxy", 80, None),
            ("http://[::1]:8080", "::1", 8080, None),
            ("http://me:p%40ss@proxy", "proxy", 80, Some("Basic bWU6cEBzcw==")),
            ("http://me@proxy", "proxy", 80, Some("Basic bWU6")),
        ] {
            let proxy = proxy(text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{text}");
            let found = proxy.authorization.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(found, authorization, "{text}");
            assert!(!format!("{proxy:?}").contains("Basic"), "{proxy:?}");
        }
    }

    #[test]
    fn a_broken_address_of_a_proxy_says_why_and_repeats_nothing() {
        for (text, why) in [
            ("hunter2:3128", "must begin with"),
            ("https://u:hunter2@proxy", "only scheme is http"),
            ("socks5://hunter2", "only scheme is http"),
            ("http://u:hunter2@", "host is empty"),
            ("http://u:hunter2@proxy:0", "1 to 65535"),
            ("http://u:hunter2@proxy/x", "cannot stand in a host name"),
            ("http://u%3a:hunter2@proxy", "holds \":\""),
        ] {
            let reason = proxy(text).err().unwrap_or_else(|| panic!("{text} is read"));
            assert!(reason.contains(why) && !reason.contains("hunter2"), "{text}: {reason}");
        }
    }

    #[test]
    fn the_environment_has_a_proxy_for_each_scheme_and_leaves_out_what_no_proxy_names() {
        let both = environment(&[
            ("HTTPS_PROXY", "http://secure:1"),
            ("http_proxy", "plain:2"),
            (
                "NO_PROXY",
                "internal.example, .cluster.local,10.0.0.0/8 192.0.2.1,id.example:8443,::1",
            ),
        ])
        .unwrap();
        for (url, expected) in [
            ("https://id.example/k", Some("secure:1")),
            ("http://id.example/k", Some("plain:2")),
            ("https://id.example:8443/k", None),
            ("https://internal.example/k", None),
            ("https://a.internal.example/k", None),
            ("https://notinternal.example/k", Some("secure:1")),
            ("https://kubernetes.default.svc.cluster.local/k", None),
            ("https://10.1.2.3/k", None),
            ("https://192.0.2.1/k", None),
            ("https://192.0.2.2/k", Some("secure:1")),
            ("https://127.0.0.1/k", None),
            ("https://localhost/k", None),
        ] {
            assert_eq!(chosen(&both, url).as_deref(), expected, "{url}");
        }
        let lower_first =
            environment(&[("https_proxy", "http://a:1"), ("HTTPS_PROXY", "http://b:1")]).unwrap();
        assert_eq!(chosen(&lower_first, "https://id.example/").as_deref(), Some("a:1"));
        let empty = environment(&[("https_proxy", " "), ("HTTP_PROXY", "http://cgi:1")]).unwrap();
        assert_eq!(
            empty,
            ProxyEnvironment::default(),
            "an empty one is none, and HTTP_PROXY does not count"
        );
        let all = environment(&[("https_proxy", "http://a:1"), ("no_proxy", "*")]).unwrap();
        assert_eq!(chosen(&all, "https://id.example/"), None);
        let wrong = environment(&[("HTTPS_PROXY", "https://u:hunter2@p")]).unwrap_err();
        assert!(
            wrong.starts_with("HTTPS_PROXY of the environment") && !wrong.contains("hunter2"),
            "{wrong}"
        );
    }
}
