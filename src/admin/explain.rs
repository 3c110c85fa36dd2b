//! A request that is to be explained and not made.

use std::fmt;
use std::net::IpAddr;

use http::header::{HOST, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

/// A request and its client's address. Its fields hold credentials: they are wiped when it is
/// dropped, and `Debug` does not show them.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The method.
    pub method: String,
    /// The whole URL: `https://api.example.com/a?b`.
    pub url: String,
    /// The header fields. A `Host` among them takes the place of the URL's.
    pub headers: Vec<(String, String)>,
    /// The address from which the client would connect.
    pub from: IpAddr,
}

impl ExplainRequest {
    /// The request, as HTTP/1.1 has it: in origin form, with its `Host`.
    ///
    /// # Errors
    ///
    /// What is wrong with it: the caller's fault. The message quotes nothing of it, as any part may
    /// hold a token; it names a header by its number.
    pub fn to_http(&self) -> Result<Request<()>, String> {
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| "the method is none of HTTP".to_owned())?;
        let url: Uri = self.url.parse().map_err(|_| not_a_url())?;
        let authority =
            url.authority().filter(|_| matches!(url.scheme_str(), Some("http" | "https")));
        let authority = authority.ok_or_else(not_a_url)?.as_str();
        if authority.contains('@') {
            let words =
                "the URL has a user name or a password: give the credential on standard input";
            return Err(words.to_owned());
        }
        let host = HeaderValue::from_str(authority).map_err(|_| not_a_url())?;
        let target = url.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(target);
        let headers = request.headers_mut();
        for (number, (name, value)) in (1..).zip(&self.headers) {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("header {number} has a name that HTTP does not allow"))?;
            let mut value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| format!("header {number} has a value that HTTP does not allow"))?;
            value.set_sensitive(true);
            let added = headers.try_append(name, value);
            added.map_err(|_| format!("header {number} is one too many"))?;
        }
        if !headers.contains_key(HOST) {
            headers.insert(HOST, host);
        }
        Ok(request)
    }
}

fn not_a_url() -> String {
    "the URL must be whole and begin with http:// or https://, as in https://api.example.com/path"
        .to_owned()
}

impl fmt::Debug for ExplainRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExplainRequest")
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

impl Drop for ExplainRequest {
    fn drop(&mut self) {
        for (_, value) in &mut self.headers {
            value.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> ExplainRequest {
        ExplainRequest {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            from: Ipv4Addr::LOCALHOST.into(),
        }
    }

    #[test]
    fn a_url_becomes_a_target_and_a_host_unless_a_host_is_given() {
        let read = request("GET", "https://a.example:8443/x%2f?q=1#part", &[("Accept", "*/*")])
            .to_http()
            .expect("read");
        assert_eq!(read.uri().to_string(), "/x%2f?q=1");
        assert_eq!(read.headers()[HOST], "a.example:8443");
        let read =
            request("GET", "http://127.0.0.1", &[("host", "b.example")]).to_http().expect("read");
        assert_eq!(read.uri().path(), "/");
        assert_eq!(read.headers()[HOST], "b.example");
        let twice = [("Host", "b.example"), ("Host", "c.example")];
        let read =
            request("GET", "http://a.example/", &twice).to_http().expect("the gate judges it");
        assert_eq!(read.headers().get_all(HOST).iter().count(), 2);
    }

    #[test]
    fn what_is_no_request_is_said_without_repeating_it() {
        for (method, url, headers) in [
            ("GE T-canary", "http://a.example/", &[][..]),
            ("GET", "/canary", &[]),
            ("GET", "canary", &[]),
            ("GET", "ftp://a.example/canary", &[]),
            ("GET", "http://", &[]),
            ("GET", "http://u:canary@a.example/", &[]),
            ("GET", "http://a.example/ca nary", &[]),
            ("GET", "http://a.example/", &[("ca nary", "x")]),
            ("GET", "http://a.example/", &[("Authorization", "canary\u{7}")]),
        ] {
            let request = request(method, url, headers);
            let words = request.to_http().expect_err("it is refused");
            assert!(!words.contains("nary"), "{words}");
            assert!(!format!("{request:?}").contains("nary"));
        }
    }
}
