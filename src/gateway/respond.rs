//! Respond: the one place that turns answers and refusals into bytes, and notices when the last of them has gone.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::client::{ClientConnection, Phase};
use super::exchange::Exchange;
use super::plan::Plan;
use super::refusal::Refusal;
use super::worker::WorkerGateway;
use crate::api::Answer;
use crate::upstream::{ExchangeFault, ReplyBody};
use crate::wire::lines::{self, FieldLines};
use crate::wire::problem;

/// Where the bytes of a response come from.
pub(super) enum Source {
    Empty,
    Bytes(Bytes),
    /// An upstream, whose fields are passed on as lines: those of the response are ours.
    Upstream {
        lines: FieldLines,
        content_length: Option<u64>,
        body: ReplyBody,
        patience: Duration,
        client: Rc<ClientConnection>,
    },
}

/// The body of a response, and what is to be done when it ends.
pub struct ResponseBody {
    source: Source,
    end: Option<Box<End>>,
}

/// Counts and logs when it is dropped: with the body, whether it was sent to its end or the client went away.
struct End {
    gateway: Rc<WorkerGateway>,
    exchange: Exchange,
    bytes: u64,
    is_complete: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        self.exchange.end(&self.gateway, self.bytes, self.is_complete);
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Puts the last touches to a response, whoever made it.
pub(super) fn finish(
    gateway: Rc<WorkerGateway>,
    mut exchange: Exchange,
    mut response: Response<Source>,
) -> Response<ResponseBody> {
    exchange.answered(response.status());
    if let Source::Upstream { lines, .. } = response.body_mut() {
        if lines.has_request_id() {
            lines.retain(|name| !name.eq_ignore_ascii_case(lines::X_REQUEST_ID));
        }
        lines.push(lines::X_REQUEST_ID, exchange.id.as_bytes());
    } else {
        response.headers_mut().insert(X_REQUEST_ID, exchange.id.value());
    }
    response.map(|source| {
        let is_complete = match &source {
            Source::Empty | Source::Bytes(_) => true,
            Source::Upstream { body, .. } => body.is_end_stream(),
        };
        let bytes = if let Source::Bytes(bytes) = &source { bytes.len() as u64 } else { 0 };
        ResponseBody { source, end: Some(Box::new(End { gateway, exchange, bytes, is_complete })) }
    })
}

/// Gives the client its time to read an answer of ours: one that does not must not hold its connection for ever. A response
/// of an upstream and a switch of protocols have their own.
pub(super) fn allow_reading(client: &ClientConnection, exchange: &Exchange, response: &Response<Source>) {
    if matches!(response.body(), Source::Upstream { .. }) || response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    client.enter(Phase::Streaming);
    client.allow(exchange.local().plan.timeouts.body);
}

/// A refusal of the gateway, as problem details.
pub(super) fn refused(client: &ClientConnection, exchange: &mut Exchange, refusal: &Refusal) -> Response<Source> {
    let status = refusal.status();
    let body = problem::body(status, &refusal.detail(), exchange.id.as_str());
    let mut response = local(status, problem::MEDIA_TYPE, body);
    if let Refusal::MethodNotAllowed { allow } = refusal
        && let Ok(allow) = HeaderValue::try_from(allow.as_str())
    {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    note(client, exchange, refusal, &mut response);
    response
}

/// A refusal of a token API, in its own shape.
pub(super) fn face_refused(
    client: &ClientConnection,
    exchange: &mut Exchange,
    refusal: &Refusal,
    answer: Answer,
) -> Response<Source> {
    let mut response = face_answer(answer);
    note(client, exchange, refusal, &mut response);
    response
}

/// An answer of a token API.
pub(super) fn face_answer(answer: Answer) -> Response<Source> {
    let mut response = match answer.body {
        Some(body) => local(answer.status, "application/json", body),
        None => {
            let mut response = Response::new(Source::Empty);
            *response.status_mut() = answer.status;
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(allow) = answer.allow {
        headers.insert(header::ALLOW, allow);
    }
    if let Some(retry_after) = answer.retry_after {
        headers.insert(header::RETRY_AFTER, retry_after);
    }
    response
}

/// The public keys (RFC 7517): for anybody, and to be kept for a while.
pub(super) fn public_keys(plan: &Plan) -> Response<Source> {
    let mut response = local(StatusCode::OK, "application/jwk-set+json", plan.public_keys.clone());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// A page of a token API: for anybody, and to be kept for a while. Who has it already is told so.
pub(super) fn document(plan: &Plan, at: usize, asked: &HeaderMap) -> Result<Response<Source>, Refusal> {
    let document = plan.documents.get(at).ok_or(Refusal::Internal("a page is not in its plan"))?;
    let mut response = if is_known(asked, &document.tag) {
        let mut response = Response::new(Source::Empty);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        local(StatusCode::OK, document.media_type, document.body.clone())
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(tag) = HeaderValue::try_from(document.tag.as_str()) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(policy) = document.policy {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    Ok(response)
}

/// Whether `If-None-Match` has this tag (RFC 9110, section 13.1.2: compared without regard to weakness).
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let lines = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn local(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response<Source> {
    let mut response = Response::new(Source::Bytes(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What every refusal has, whatever its shape.
fn note(client: &ClientConnection, exchange: &mut Exchange, refusal: &Refusal, response: &mut Response<Source>) {
    // A token API may have another status for it.
    let status = response.status();
    let headers = response.headers_mut();
    if let Some(challenge) = refusal.challenge() {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    // What the client still sends is not read, so it must not be taken for the next request (cf. CVE-2025-4366).
    if client.body_is_unread.get() || matches!(refusal, Refusal::Head(_)) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    exchange.refused(refusal.reason(), refusal.cause());
}

impl ResponseBody {
    /// The fields of the response that an upstream sent, beside those that the response itself has: none of them frames the body or
    /// is about the connection, but that a switch of protocols is said.
    #[must_use]
    pub fn lines(&self) -> Option<&FieldLines> {
        match &self.source {
            Source::Upstream { lines, .. } => Some(lines),
            Source::Empty | Source::Bytes(_) => None,
        }
    }

    /// How long the body would be if there were one: in answer to HEAD and with 304.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        match &self.source {
            Source::Empty => None,
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::Upstream { content_length, .. } => *content_length,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ExchangeFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeFault>>> {
        let this = &mut *self;
        let (body, patience, client) = match &mut this.source {
            Source::Empty => return Poll::Ready(None),
            Source::Bytes(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Source::Bytes(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Upstream { body, patience, client, .. } => (body, patience, client),
        };
        let polled = Pin::new(body).poll_frame(cx);
        let end = this.end.as_deref_mut();
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                client.allow(*patience);
                if let Some(end) = end {
                    end.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    end.is_complete = this.source.is_end_stream();
                }
                Poll::Ready(Some(Ok(without_forbidden_trailers(frame))))
            }
            Poll::Ready(None) => {
                if let Some(end) = end {
                    end.is_complete = true;
                }
                Poll::Ready(None)
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream { body, .. } => body.size_hint(),
        }
    }
}

impl Source {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Upstream { body, .. } => body.is_end_stream(),
        }
    }
}

fn without_forbidden_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            super::forward::strip_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}
