//! From a head that passed to a request.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};

use super::socket::Socket;
use crate::gateway::IncomingBody;
use crate::wire::body::Framing;
use crate::wire::head::{FieldLine, Head, HeadFault};

/// Makes the request that `head` begins; its fields, at `lines`, go into `headers`, in place of what was there. Names are copied if
/// nobody knows them, and values share `bytes`.
///
/// # Errors
///
/// What has passed fails here only if the limits are beyond what the types hold.
pub(super) fn of(
    head: &Head,
    bytes: &Bytes,
    lines: &[FieldLine],
    mut headers: HeaderMap,
    socket: &Rc<RefCell<Socket>>,
) -> Result<Request<IncomingBody>, HeadFault> {
    headers.clear();
    for line in lines {
        let name = HeaderName::from_bytes(line.name.of(bytes)).map_err(|_| HeadFault::Field)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice(line.value.range())).map_err(|_| HeadFault::Field)?;
        headers.try_append(name, value).map_err(|_| HeadFault::TooLarge)?;
    }
    let body = match head.framing {
        Framing::Length(0) => IncomingBody::none(),
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose => IncomingBody::of(Rc::clone(socket) as _),
    };
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(head.method.of(bytes)).map_err(|_| HeadFault::RequestLine)?;
    *request.uri_mut() = target(bytes.slice(head.target.range())).ok_or(HeadFault::Target)?;
    *request.version_mut() = head.version;
    *request.headers_mut() = headers;
    Ok(request)
}

fn target(text: Bytes) -> Option<Uri> {
    if text.starts_with(b"/") {
        PathAndQuery::from_maybe_shared(text).ok().map(Uri::from)
    } else {
        Uri::from_maybe_shared(text).ok()
    }
}

/// What stands in for a request whose head was refused: what it said is nobody's business any more.
pub(super) fn refused() -> Request<IncomingBody> {
    Request::new(IncomingBody::none())
}
