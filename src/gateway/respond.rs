//! Respond: the one place that turns answers and refusals into bytes, and notices when the last of
//! them has gone.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body_source::BodySource;
use super::compression::{CompressedBody, Polled};
use super::control::{Ending, Phase, Tunnel};
use super::exchange::Exchange;
use super::exchange_times::ExchangeTimes;
use super::forward::{carry, strip_trailers};
use super::plan::{Plan, RouteSettings};
use super::refusal::Refusal;
use crate::api::Answer;
use crate::upstream::{UpstreamTunnel, with_cause};
use crate::wire::problem;

/// The body of a response. The exchange ends with it.
#[derive(Default)]
pub struct ResponseBody {
    source: BodySource,
    /// Why it breaks off. It is returned one poll later: hyper would drop what came before.
    fault: Option<hyper::Error>,
    /// None, if it goes on in a tunnel.
    exchange: Option<Box<Exchange>>,
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let Some(mut exchange) = self.exchange.take() else { return };
        let control = Rc::clone(&exchange.control);
        control.response_ended();
        if control.client_has_finished() && !control.is_stream() && exchange.is_complete {
            let confirm = move |is_received: bool| {
                if !is_received {
                    exchange.is_complete = false;
                    exchange.status = None;
                }
            };
            *control.unconfirmed.borrow_mut() = Some(Box::new(confirm));
        }
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CACHED_FOR_A_WHILE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Completes a response, of the upstream or of keyward.
pub(super) fn finish(
    mut exchange: Box<Exchange>,
    mut response: Response<BodySource>,
) -> Response<ResponseBody> {
    exchange.status = Some(response.status());
    if exchange.refusal.is_some() {
        // A client that does not read the refusal takes no place from others.
        exchange.under_way = None;
    }
    response.headers_mut().insert(X_REQUEST_ID, exchange.id.clone());
    // A page opens a WebSocket without asking, to whatever origin.
    if !matches!(response.body(), BodySource::Tunnel { .. })
        && let Some(cors) = exchange.cors.take()
    {
        cors.apply(response.headers_mut());
    }
    if let Some(limits) = &exchange.limits {
        limits.apply(response.headers_mut());
    }
    let control = Rc::clone(&exchange.control);
    let (mut head, mut source) = response.into_parts();
    let is_own = !matches!(source, BodySource::Upstream { .. } | BodySource::Compressed(_));
    if exchange.is_head || has_no_content(head.status) {
        source.empty(exchange.is_head, &mut head.headers);
    }
    let (source, exchange) = match source {
        BodySource::Tunnel { upstream, stream, closing } => {
            control.enter_for(Phase::Streaming, None);
            control.is_endless.set(true);
            begin_tunnel(exchange, upstream, stream, closing);
            (BodySource::Empty, None)
        }
        source => {
            if is_own {
                // A client that does not read it must not hold its connection for ever.
                let times = ExchangeTimes::answered(exchange.local.plan.timeouts.body);
                control.go_by(times);
                control.enter_for(Phase::Streaming, times.response_body);
            }
            exchange.is_complete = source.is_end_stream();
            (source, Some(exchange))
        }
    };
    Response::from_parts(head, ResponseBody { source, fault: None, exchange })
}

/// Whether no response of this status has content (RFC 9110, section 6.4.1).
fn has_no_content(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn begin_tunnel(
    mut exchange: Box<Exchange>,
    upstream: UpstreamTunnel,
    stream: Option<OnUpgrade>,
    closing: Option<Duration>,
) {
    let (gateway, control) = (Rc::clone(&exchange.gateway), Rc::clone(&exchange.control));
    let end = Box::new(move |sent, received, is_complete| {
        exchange.bytes = sent;
        exchange.bytes_received = Some(received);
        exchange.is_complete = is_complete;
    });
    let tunnel = Tunnel { control: Rc::clone(&control), upstream, closing, end };
    let Some(stream) = stream else {
        // On HTTP/1 the driver of the connection carries it.
        *control.tunnel.borrow_mut() = Some(tunnel);
        return;
    };
    gateway.register(&control);
    tokio::task::spawn_local(async move {
        // Otherwise the client has left, and the exchange ends with the tunnel.
        if let Ok(upgraded) = stream.await {
            // The end of a WebSocket's other side is awaited for a short time only.
            carry(tunnel, TokioIo::new(upgraded), Bytes::new(), &|| false).await;
        }
    });
}

/// A refusal of the gateway, with the fields that its route adds to all answers.
pub(super) fn refused(exchange: &mut Exchange, refusal: &Refusal) -> Response<BodySource> {
    let mut response = worded(exchange, refusal);
    complete(exchange, response.headers_mut());
    response
}

/// Adds what the route of the exchange says of answers to one of keyward's own, whose own fields
/// stay as they are.
fn complete(exchange: &Exchange, headers: &mut HeaderMap) {
    let route = exchange.route.and_then(|at| exchange.local.plan.routes.get(at));
    if let Some(changes) = route.and_then(RouteSettings::response_headers) {
        changes.complete(headers);
    }
}

/// A refusal of the gateway, as problem details.
fn worded(exchange: &mut Exchange, refusal: &Refusal) -> Response<BodySource> {
    if exchange.is_grpc {
        exchange.refusal = Some((refusal.reason(), Some(refusal.cause())));
        return grpc_refused(refusal);
    }
    let status = refusal.status();
    let body = problem::body(status, &refusal.detail(), exchange.id_text());
    let mut response = local(status, problem::MEDIA_TYPE, body);
    if let Refusal::MethodNotAllowed { allow } = refusal
        && let Ok(allow) = HeaderValue::try_from(allow.as_str())
    {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    if matches!(refusal, Refusal::Upgrade) {
        // RFC 6455, section 4.4.
        let version = HeaderValue::from_static("13");
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
    }
    note(exchange, refusal, &mut response);
    response
}

/// A refusal of a gRPC call: a response of trailers only, which has its status in the head.
fn grpc_refused(refusal: &Refusal) -> Response<BodySource> {
    const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
    const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(GRPC_STATUS, HeaderValue::from(refusal.grpc_status()));
    if let Refusal::RateLimited { .. } | Refusal::TooManyConcurrent { .. } = refusal
        && let Some(seconds) = refusal.retry_after_seconds()
    {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    // All details are printable ASCII without `%`, so none needs encoding.
    if let Ok(detail) = HeaderValue::try_from(refusal.detail()) {
        headers.insert(GRPC_MESSAGE, detail);
    }
    response
}

/// A refusal that a token API words in its own shape.
pub(super) fn face_refused(
    exchange: &mut Exchange,
    refusal: &Refusal,
    answer: Answer,
) -> Response<BodySource> {
    let mut response = face_answer(answer);
    note(exchange, refusal, &mut response);
    response
}

/// An answer of a token API.
pub(super) fn face_answer(answer: Answer) -> Response<BodySource> {
    let mut response = match answer.body {
        Some(body) => local(answer.status, "application/json", body),
        None => empty(answer.status),
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

/// The public keys (RFC 7517), which need no credential.
pub(super) fn public_keys(plan: &Plan) -> Response<BodySource> {
    let mut response = local(StatusCode::OK, "application/jwk-set+json", plan.public_keys.clone());
    response.headers_mut().insert(header::CACHE_CONTROL, CACHED_FOR_A_WHILE);
    response
}

/// A page of a token API, which needs no credential. A client that has it already gets 304.
pub(super) fn document(
    plan: &Plan,
    at: usize,
    asked: &HeaderMap,
) -> Result<Response<BodySource>, Refusal> {
    let document = plan.documents.get(at).ok_or(Refusal::Internal("a page is not in its plan"))?;
    let mut response = if is_known(asked, &document.tag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        local(StatusCode::OK, document.media_type, document.body.clone())
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, CACHED_FOR_A_WHILE);
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

/// Whether `If-None-Match` has this tag, weak or not (RFC 9110, section 13.1.2).
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let lines = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The answer to a preflight, but for the fields of its policy.
pub(super) fn preflight(exchange: &Exchange) -> Response<BodySource> {
    let mut response = empty(StatusCode::NO_CONTENT);
    complete(exchange, response.headers_mut());
    close_if_unread(exchange, response.headers_mut());
    response
}

fn empty(status: StatusCode) -> Response<BodySource> {
    let mut response = Response::new(BodySource::Empty);
    *response.status_mut() = status;
    response
}

fn local(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<BodySource> {
    let mut response = empty(status);
    *response.body_mut() = BodySource::Bytes(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What every refusal has, whatever its shape.
fn note(exchange: &mut Exchange, refusal: &Refusal, response: &mut Response<BodySource>) {
    // A token API may have another status for it.
    let status = response.status();
    let headers = response.headers_mut();
    let challenge = refusal.challenge(exchange.route_challenge());
    if let Some(Ok(challenge)) = challenge.map(|text| HeaderValue::try_from(&*text)) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    // Where a token API answers with a status that does not say "later", nothing is said of when.
    let is_for_later =
        matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
    if let Some(seconds) = refusal.retry_after_seconds().filter(|_| is_for_later) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    close_if_unread(exchange, headers);
    if matches!(refusal, Refusal::Head(_)) && !exchange.control.is_stream() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    exchange.refusal = Some((refusal.reason(), Some(refusal.cause())));
}

/// What the client still sends must not be taken for the next request (cf. CVE-2025-4366).
pub(super) fn close_if_unread(exchange: &Exchange, headers: &mut HeaderMap) {
    if !exchange.control.request_is_over() && !exchange.control.is_stream() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The upstream broke the response off, or the client its request.
fn note_broken(exchange: &mut Exchange, fault: &hyper::Error) {
    if let Some(ending) = exchange.control.upload.get().ending() {
        exchange.control.note_ending(ending);
    } else {
        exchange.control.note_ending(Ending::UpstreamBroke);
        let cause = with_cause(fault);
        exchange.fault = Some(format!("the upstream broke off the response: {cause}"));
    }
}

impl ResponseBody {
    /// As for an upstream's body, for one that goes through an encoder.
    #[cold]
    fn poll_compressed(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let (BodySource::Compressed(body), Some(exchange)) = (&mut self.source, &mut self.exchange)
        else {
            return Poll::Ready(None);
        };
        let control = Rc::clone(&exchange.control);
        let asked = |answer: Poll<Option<Duration>>| {
            control.awaits_upstream.set(answer.is_pending());
            if let Poll::Ready(Some(silence)) = answer {
                control.deadline.set(silence);
            }
        };
        let polled = CompressedBody::poll(body, cx, asked);
        hold_by_client(exchange, control.times.get().response_body, polled.is_ready());
        match std::task::ready!(polled) {
            Polled::Frame(frame) => {
                exchange.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                exchange.is_complete = body.is_end_stream();
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(mut trailers) => {
                        strip_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                })))
            }
            Polled::End => {
                exchange.is_complete = true;
                Poll::Ready(None)
            }
            Polled::Fault(fault) => {
                note_broken(exchange, &fault);
                self.fault = Some(fault);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Polled::Failed(fault) => {
                exchange.fault = Some(format!("the response could not be compressed: {fault}"));
                control.cut(Ending::UpstreamBroke);
                Poll::Pending
            }
        }
    }
}

/// Where the upstream may be silent, the client of a stream may not: hyper asks for the next piece
/// once the client takes it, and for that it has its time, as a client of HTTP/1 has it at its
/// socket. `silence`: how long the upstream may be silent; `is_ready`: whether a piece is there.
fn hold_by_client(exchange: &Exchange, silence: Option<Duration>, is_ready: bool) {
    if silence.is_none() && exchange.control.is_stream() && !exchange.is_grpc {
        let span = exchange.local.plan.timeouts.body;
        exchange.control.set_or_lift(is_ready.then_some(span));
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        if let Some(fault) = this.fault.take() {
            return Poll::Ready(Some(Err(fault)));
        }
        let (body, silence) = match &mut this.source {
            BodySource::Empty | BodySource::Tunnel { .. } => return Poll::Ready(None),
            BodySource::Bytes(bytes) if bytes.is_empty() => return Poll::Ready(None),
            BodySource::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                if let Some(exchange) = &mut this.exchange {
                    exchange.bytes += bytes.len() as u64;
                    exchange.is_complete = true;
                }
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            BodySource::Upstream { body, silence } => (body, *silence),
            BodySource::Compressed(_) => return this.poll_compressed(cx),
        };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        let Some(exchange) = &mut this.exchange else { return polled };
        exchange.control.awaits_upstream.set(polled.is_pending());
        hold_by_client(exchange, silence, polled.is_ready());
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(silence) = silence {
                    exchange.control.deadline.set(silence);
                }
                exchange.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                exchange.is_complete = body.is_end_stream() || frame.is_trailers();
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(mut trailers) => {
                        strip_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                })))
            }
            Poll::Ready(None) => {
                exchange.is_complete = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(fault))) => {
                note_broken(exchange, &fault);
                this.fault = Some(fault);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            BodySource::Empty | BodySource::Tunnel { .. } => SizeHint::with_exact(0),
            BodySource::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            BodySource::Upstream { body, .. } => body.size_hint(),
            BodySource::Compressed(_) => SizeHint::default(),
        }
    }
}
