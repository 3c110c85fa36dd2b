//! Forward: with a permit, along its route, to the upstream, and the response on its way back.

#![expect(clippy::disallowed_methods, reason = "measures how long the upstream takes")]

mod body;
mod counted;
pub(super) mod request;
mod response;
mod tunnel;

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode};
use http_body::Body as _;

use super::authorize::Permit;
use super::body_source::BodySource;
use super::compression::CompressedBody;
use super::control::{Phase, Upload};
use super::credential_places;
use super::exchange::Exchange;
use super::forwarding::Forwarding;
use super::gate::{Passed, WebSocketForm};
use super::plan::Plan;
use super::public_address::Rewriting;
use super::refusal::Refusal;
use super::worker::Local;
use crate::tokens::clock;
use crate::upstream::{Call, HashBy, Purpose, RequestBody, StreamedBody, Upstream, key_of};
use crate::wire::deadline::Deadline;

use counted::CountedCall;
use response::Prepared;

pub(super) use body::ClientBody;
pub(super) use response::strip_trailers;
pub use tunnel::carry;

/// Sends the request that the permit is for, and returns the response, its body still to come.
pub(super) async fn forward(
    local: &Local,
    exchange: &mut Exchange,
    mut permit: Permit<'_>,
    passed: Passed,
    head: &mut Parts,
    body: ClientBody,
) -> Result<Response<BodySource>, Refusal> {
    let upgrade = permit.take_upgrade();
    let plan = &local.plan;
    let no_upstream = || Refusal::Internal("an upstream is not in its plan");
    let at = permit.route().target.upstream().ok_or_else(no_upstream)?;
    let upstream = local.upstreams.get(at).ok_or_else(no_upstream)?;
    let limits = &permit.route().limits;
    limits.check_length(body.size_hint().lower())?;
    let is_head = exchange.is_head;
    let has_body = !body.is_over();
    let switch = upgrade.map(|asked| tunnel::Handshake::begin(asked, head)).transpose()?;
    let compression = permit.route().compression.as_deref().filter(|_| !exchange.is_grpc);
    let compression =
        compression.and_then(|rules| rules.negotiate(exchange.version, &head.headers));
    // From what the client sent: fields that are removed decide, too.
    let key = balancing_key(upstream, exchange, head);
    let (forwarding, takes_trailers) =
        request::prepare(plan, exchange, &permit, passed, head, &body);
    if let Some(switch) = &switch {
        head.headers.insert(header::UPGRADE, switch.protocol());
    }

    let control = Rc::clone(&exchange.control);
    let body =
        if has_body { RequestBody::Streamed(StreamedBody::new(body)) } else { RequestBody::Empty };
    // A gRPC call has its own deadline, or none.
    let times = if exchange.is_grpc {
        let own = request::grpc_timeout(&head.headers).map(|timeout| timeout + GRPC_SLACK);
        limits.stream_times(own)
    } else {
        limits.times()
    };
    let elapsed = || clock::uptime().since(exchange.now.uptime);
    control.limit(times, limits.max_body.most.unwrap_or(u64::MAX), elapsed);
    let first = if has_body { times.request_body } else { times.response_head };
    // What waits in a queue, for as long as that allows, has not been asked yet.
    let has_queue = upstream.has_queue();
    control.enter_for(Phase::Exchange, first.filter(|_| !has_queue));
    control.set_queued(has_queue);
    let purpose = if switch.is_some() { Purpose::Switch } else { Purpose::Response };
    let counted = CountedCall::begin(local.counters.upstream(at));
    let mut request = Request::new(body);
    *request.method_mut() = std::mem::take(&mut head.method);
    *request.uri_mut() = std::mem::take(&mut head.uri);
    *request.headers_mut() = std::mem::take(&mut head.headers);
    let sent = Instant::now();
    let outcome = {
        let own = request::Own { exchange, permit: &permit, forwarding: &forwarding, first };
        let call = Call::new(purpose, &own, key);
        let outcome = until(&control.deadline, upstream.send(&mut request, &call, &own)).await;
        // The end of the client's own time says nothing of the endpoint.
        let is_silence = outcome.is_none() && !control.deadline.is_bound_over();
        if is_silence && control.upload.get() != Upload::Awaited {
            call.note_silence();
        }
        outcome
    };
    let took = sent.elapsed();
    exchange.upstream_took = Some(took);
    let reply = match outcome {
        Some(Ok(reply)) => {
            counted.answered(reply.head.status.as_u16(), took);
            reply
        }
        // A request that broke off on the client's side broke the exchange on the other.
        Some(Err(fault)) => {
            return Err(counted.failed(match control.upload.get() {
                Upload::Broken => Refusal::BodyBroken,
                Upload::TooLarge => limits.too_large(),
                _ => Refusal::Upstream(fault),
            }));
        }
        None => {
            let upload = control.upload.get();
            let is_whole_over = control.deadline.is_bound_over();
            let (awaits_client, is_sent) = (upload == Upload::Awaited, upload == Upload::Over);
            let times = control.times.get();
            let refusal = limits.no_head_in_time(&times, is_whole_over, awaits_client, is_sent);
            return Err(counted.failed(refusal));
        }
    };
    if reply.head.status == StatusCode::SWITCHING_PROTOCOLS {
        return match switch {
            Some(handshake) => {
                // A client begins with the other protocol behind its whole request (RFC 9110,
                // section 7.8).
                if !control.request_is_over() {
                    return Err(Refusal::UpstreamAmbiguous("it switched protocols too early"));
                }
                control.go_by(limits.stream_times(None));
                let mut response = handshake.accept(reply, plan.timeouts.body)?;
                rewrite_addresses(plan, exchange, &permit, &forwarding, response.headers_mut());
                change_answer(&permit, response.headers_mut());
                if permit.route().credentials.is_some() {
                    let field = exchange.credential_field;
                    credential_places::complete(field, true, response.headers_mut());
                }
                Ok(response)
            }
            None => Err(Refusal::UpstreamAmbiguous("it switched protocols unasked")),
        };
    }
    if matches!(passed.websocket, Some(WebSocketForm::Connect)) && reply.head.status.is_success() {
        // To a client of HTTP/2 that would say that it has been switched.
        return Err(Refusal::UpstreamAmbiguous("it did not switch protocols"));
    }
    let prepared = response::prepare(reply, is_head, takes_trailers)?;
    let Prepared { mut head, body, has_addresses, is_event_stream } = prepared;
    if has_addresses {
        rewrite_addresses(plan, exchange, &permit, &forwarding, &mut head.headers);
    }
    change_answer(&permit, &mut head.headers);
    if permit.route().credentials.is_some() {
        credential_places::complete(exchange.credential_field, false, &mut head.headers);
    }
    if !control.request_is_over() && !control.is_stream() {
        // The upstream may never read the rest of the request. A client that is not told so would
        // send its next request on a connection that is about to be closed.
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // An event stream or a gRPC call may be silent for as long as the client listens, unless its
    // route says otherwise (FIELD.md, F30).
    if is_event_stream && !exchange.is_grpc {
        control.go_by(limits.stream_times(None));
    }
    control.is_endless.set(exchange.is_grpc || is_event_stream);
    let silence = control.times.get().response_body;
    // Until hyper asks for the body, the client of a stream takes nothing.
    let until_taken = plan.timeouts.body;
    let is_held_by_client = control.is_stream() && !exchange.is_grpc;
    let first = silence.or_else(|| is_held_by_client.then_some(until_taken));
    control.enter_for(Phase::Streaming, first);
    if !control.request_is_over() {
        control.wake_upload();
    }
    if !body.is_end_stream() && control.is_stream() {
        exchange.gateway.register(&control);
    }
    let coding = compression.and_then(|negotiation| {
        let is_empty = !is_head && body.is_end_stream();
        negotiation.apply(&mut head, is_empty).filter(|_| !is_head)
    });
    let source = match coding {
        None => BodySource::Upstream { body, silence },
        Some(coding) => {
            let body = CompressedBody::new(body, silence, coding, is_event_stream);
            BodySource::Compressed(Box::new(body))
        }
    };
    Ok(Response::from_parts(head, source))
}

/// Changes the head of an answer as the route says.
fn change_answer(permit: &Permit<'_>, headers: &mut HeaderMap) {
    if let Some(changes) = permit.route().response_headers() {
        changes.apply(headers);
    }
}

/// Addresses of the upstream's own become those of keyward.
#[cold]
fn rewrite_addresses(
    plan: &Plan,
    exchange: &Exchange,
    permit: &Permit<'_>,
    forwarding: &Forwarding,
    headers: &mut HeaderMap,
) {
    let route = permit.route();
    if let Some(upstream) = route.target.upstream().and_then(|at| plan.upstreams.get(at))
        && upstream.rewrite_location
    {
        let path = exchange.target.as_ref().map_or("/", PathAndQuery::path);
        let public = forwarding.public();
        Rewriting { public, upstream, route, path }.apply(headers);
    }
}

/// What decides to which endpoint the request goes, where the upstream goes by it.
fn balancing_key(upstream: &Upstream, exchange: &Exchange, head: &Parts) -> Option<u64> {
    match upstream.hash_by()? {
        HashBy::Subject => {
            let admitted = exchange.admitted.as_ref()?;
            Some(key_of(admitted.caller.token.subject().as_bytes()))
        }
        HashBy::Header(name) => head.headers.get(name).map(|value| key_of(value.as_bytes())),
    }
}

/// How long after a call's own deadline keyward waits for the server to say so itself.
const GRPC_SLACK: Duration = Duration::from_secs(1);

/// Waits; `None`: the deadline is over. It sets no waker of its own: the driver of the connection
/// or stream is woken by the deadline and polls this.
pub(super) async fn until<T>(deadline: &Deadline, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if deadline.is_over() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
