//! Whether a request that a browser makes with a credential of its own accord comes from a page
//! that may make it: a page of another site can have a browser send cookies (CSRF).
//!
//! Reads `Sec-Fetch-Site` and `Origin`, which no page can set. The first names the page's relation
//! to the address that the browser itself asked for, so it holds behind a proxy that changes it.

use std::fmt;
use std::str::FromStr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::gateway::client_address::ForwardedChain;
use crate::gateway::connection::{ClientConnection, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::gateway::refusal::Refusal;

/// The origin of pages (RFC 6454, section 6.2): scheme, host and port, in the form in which
/// browsers send it: lower case, without the port that is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOrigin(String);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// That it comes from a page that may make it.
    Needed,
    /// Nothing, if it says nothing of a page: programs do not.
    FromBrowsers,
}

/// The origins of the address that the client asked for: as it came to keyward, and as trusted
/// proxies say.
pub(super) fn own(
    client: &ClientConnection,
    chain: Option<&ForwardedChain>,
    headers: &HeaderMap,
) -> Vec<PageOrigin> {
    let is_trusted = client.origin.trusted_proxies.is_some();
    let said = |name: &HeaderName, of_chain: Option<&HeaderValue>| {
        let value = headers.get_all(name).iter().next_back().or(of_chain).filter(|_| is_trusted)?;
        // The last element is of the proxy that is connected to keyward.
        value.to_str().ok()?.rsplit(',').next().map(|element| element.trim().to_owned())
    };
    let scheme = said(&X_FORWARDED_PROTO, chain.and_then(|chain| chain.proto.as_ref()));
    let scheme = scheme.unwrap_or_else(|| client.origin.scheme.name().to_owned());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let forwarded_host = said(&X_FORWARDED_HOST, chain.and_then(|chain| chain.host.as_ref()));
    let hosts = host.into_iter().chain(forwarded_host);
    hosts.filter_map(|host| format!("{scheme}://{host}").parse().ok()).collect()
}

/// Refuses a request of a page that may not make it. `own`: the origins of the address that was
/// asked for. `listed`: further origins whose pages may.
pub(super) fn judge(
    headers: &HeaderMap,
    proof: Proof,
    own: &[PageOrigin],
    listed: &[PageOrigin],
) -> Result<(), Refusal> {
    let refused = |cause: &'static str| Err(Refusal::CrossOrigin { cause });
    let (Ok(site), Ok(origin)) = (only(headers, &SEC_FETCH_SITE), only(headers, &header::ORIGIN))
    else {
        return refused("it has Origin or Sec-Fetch-Site more than once");
    };
    let page = origin.and_then(|origin| origin.to_str().ok()?.parse().ok());
    let is_among =
        |origins: &[PageOrigin]| page.as_ref().is_some_and(|page| origins.contains(page));
    match (site.map(HeaderValue::as_bytes), origin) {
        (Some(b"same-origin"), _) => Ok(()),
        _ if is_among(listed) => Ok(()),
        // Asked for by the user, not by a page; or by a browser that does not say it.
        (Some(b"none") | None, Some(_)) if is_among(own) => Ok(()),
        (None, None) if proof == Proof::FromBrowsers => Ok(()),
        (None, None) => refused(
            "its credential is a cookie, and it has neither Sec-Fetch-Site nor Origin to show that \
             it comes from a page that may make it",
        ),
        _ => refused(
            "Sec-Fetch-Site and Origin say that it comes from a page of another origin, which \
             \"origins\" does not list",
        ),
    }
}

/// The value of a field that may come once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

impl FromStr for PageOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        let Some((scheme, host)) = text.split_once("://") else {
            return Err("it has no scheme".to_owned());
        };
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return Err("its scheme is neither http nor https".to_owned()),
        };
        if host.contains(['/', '?', '#', '@', '*', ' ', ',']) {
            return Err("it is more than scheme, host and port".to_owned());
        }
        let host = host.strip_suffix(default_port).unwrap_or(host);
        let name = host.rsplit_once(':').map_or(host, |(name, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
        });
        if name.is_empty() {
            Err("it has no host".to_owned())
        } else {
            Ok(Self(format!("{scheme}://{host}")))
        }
    }
}

impl fmt::Display for PageOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(proof: Proof, fields: &[(&'static str, &'static str)]) -> bool {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let origin = |text: &str| text.parse().expect("an origin");
        let own = [origin("https://app.example.com:443")];
        let listed = [origin("https://Other.example.com")];
        judge(&headers, proof, &own, &listed).is_ok()
    }

    #[test]
    fn only_pages_of_the_same_origin_or_of_a_listed_one_pass() {
        let own = ("origin", "https://app.example.com");
        let listed = ("origin", "https://other.example.com");
        for (fields, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-origin"), own], true),
            (&[own], true),
            (&[("sec-fetch-site", "none"), own], true),
            (&[listed], true),
            (&[("sec-fetch-site", "cross-site"), listed], true),
            (&[("sec-fetch-site", "same-site"), listed], true),
            (&[("sec-fetch-site", "cross-site"), own], false),
            (&[("sec-fetch-site", "same-site"), own], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "Same-Origin")], false),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
            (&[own, ("origin", "https://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("origin", "http://app.example.com")], false),
            (&[("origin", "https://app.example.com:8443")], false),
            (&[("origin", "https://app.example.com.evil.example")], false),
            (&[("origin", "https://evil.example/https://app.example.com")], false),
            (&[("origin", "https://a@app.example.com")], false),
        ] {
            for proof in [Proof::Needed, Proof::FromBrowsers] {
                assert_eq!(passes(proof, fields), expected, "{fields:?}");
            }
        }
        assert!(!passes(Proof::Needed, &[]));
        assert!(passes(Proof::FromBrowsers, &[]));
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let read = |text: &str| text.parse::<PageOrigin>().ok().map(|origin| origin.to_string());
        for (text, expected) in [
            ("https://A.example", Some("https://a.example")),
            ("https://a.example:443", Some("https://a.example")),
            ("http://a.example:443", Some("http://a.example:443")),
            ("http://[::1]:80", Some("http://[::1]")),
            ("a.example", None),
            ("https://", None),
            ("https://:443", None),
            ("https://:8443", None),
            ("https://a.example/", None),
            ("https://*.example", None),
            ("ftp://a.example", None),
            ("null", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }
}
