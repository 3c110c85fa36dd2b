//! Parse: from what the server made of a head to the one normal form that everything later goes by.

use std::borrow::Cow;

use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Uri};

use super::client::ClientConnection;
use super::exchange::Exchange;
use super::incoming::IncomingBody;
use super::refusal::Refusal;
use crate::wire::head::HeadFault;
use crate::wire::path;

/// A request in its normal form: the target in origin form with a normal path, and one `Host` that says what the target said.
pub(super) struct Normal {
    pub(super) head: http::request::Parts,
    pub(super) body: IncomingBody,
}

impl Normal {
    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The host without its port, or nothing (HTTP/1.0 may leave it out).
    pub(super) fn host(&self) -> &str {
        let host = self.head.headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        crate::wire::authority::host_of(host).unwrap_or_default()
    }
}

pub(super) fn request(
    client: &ClientConnection,
    exchange: &mut Exchange,
    request: Request<IncomingBody>,
) -> Result<Normal, Refusal> {
    if let Some(fault) = client.head_fault.take() {
        return Err(Refusal::Head(fault));
    }
    let (mut head, body) = request.into_parts();
    normalize(&mut head)?;
    exchange.parsed(&head);
    Ok(Normal { head, body })
}

fn normalize(head: &mut http::request::Parts) -> Result<(), Refusal> {
    // An absolute target wins over `Host` (RFC 9112, section 3.2.2): from here on there is only one.
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::Head(HeadFault::Target))?;
        head.headers.insert(header::HOST, host);
    }
    if head.uri.path() == "*" {
        return Err(Refusal::NoRoute);
    }
    let normal = match path::normal_form(head.uri.path()).map_err(Refusal::Path)? {
        Cow::Borrowed(_) if head.uri.authority().is_none() => None,
        path => Some(with_query(&path, head.uri.query())),
    };
    if let Some(target) = normal {
        let target = PathAndQuery::try_from(target).map_err(|_| Refusal::Head(HeadFault::Target))?;
        head.uri = Uri::from(target);
    }
    Ok(())
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}
