//! Whether a request that a browser makes with a credential of its own accord comes from a page
//! that may make it: a page of another site can have a browser send cookies (CSRF).
//!
//! Reads `Sec-Fetch-Site` and `Origin`, which no page can set. The first names the page's relation
//! to the address that the browser itself asked for, so it holds behind a proxy that changes it.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::gateway::allowed_origin::{AllowedOrigin, PageOrigin};
use crate::gateway::client_address::ForwardedChain;
use crate::gateway::connection::ClientConnection;
use crate::gateway::forwarding::Forwarding;
use crate::gateway::refusal::Refusal;

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
) -> Vec<AllowedOrigin> {
    let forwarding = Forwarding::of(client, chain, headers);
    let public = forwarding.public();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let hosts = host.into_iter().chain(public.authority);
    hosts.filter_map(|host| AllowedOrigin::exact(&format!("{}://{host}", public.scheme))).collect()
}

/// Refuses a request of a page that may not make it. `own`: the origins of the address that was
/// asked for. `listed`: further origins whose pages may.
pub(super) fn judge(
    headers: &HeaderMap,
    proof: Proof,
    own: &[AllowedOrigin],
    listed: &[AllowedOrigin],
) -> Result<(), Refusal> {
    let refused = |cause: &'static str| Err(Refusal::CrossOrigin { cause });
    let (Ok(site), Ok(origin)) = (only(headers, &SEC_FETCH_SITE), only(headers, &header::ORIGIN))
    else {
        return refused("it has Origin or Sec-Fetch-Site more than once");
    };
    let page = origin.and_then(|origin| PageOrigin::read(origin.as_bytes()));
    let is_among = |origins: &[AllowedOrigin]| {
        page.as_ref().is_some_and(|page| origins.iter().any(|origin| origin.holds(page)))
    };
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
        let listed = [origin("https://Other.example.com"), origin("https://*.apps.example")];
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
            (&[("origin", "HTTPS://App.example.com:443")], true),
            (&[("origin", "https://app.example.com/")], false),
            (&[listed], true),
            (&[("origin", "https://one.apps.example")], true),
            (&[("origin", "https://apps.example")], false),
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
}
