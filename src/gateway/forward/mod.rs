//! Forward: with a permit, along its route, to the upstream, and the response on its way back.

mod body;
mod request;
mod response;
mod tunnel;

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use http::Response;
use http::uri::PathAndQuery;

use super::authorize::Permit;
use super::client::{ClientConnection, Phase};
use super::exchange::Exchange;
use super::parse::Normal;
use super::refusal::{Refusal, UpstreamFailure};
use super::respond::Source;
use super::worker::Local;
use crate::upstream::{Outgoing, Purpose, Reply};
use crate::wire::deadline::Deadline;

use body::{ClientBody, ForwardedBody};
use request::Kind;
pub(super) use response::strip_trailers;

/// Sends the request that the permit is for, and returns the response, its body still to come.
pub(super) async fn forward(
    local: &Local,
    client: &Rc<ClientConnection>,
    exchange: &mut Exchange,
    permit: Permit<'_>,
    request: Normal,
) -> Result<Response<Source>, Refusal> {
    let plan = &local.plan;
    let at = permit.route().upstream;
    let upstream = local.upstreams.get(at).ok_or(Refusal::Internal("an upstream is not in its plan"))?;
    let Normal { mut head, body } = request;
    let is_http_11 = head.version >= http::Version::HTTP_11;
    let upgrade = tunnel::asked_for(&head, &body)?;
    let body_is_over = body.is_over();
    let purpose = if upgrade.is_some() { Purpose::Switch } else { Purpose::Response };
    request::write_fields(plan, client, exchange, &permit, &head, Kind { purpose, has_body: !body_is_over });

    let body = if body_is_over {
        ForwardedBody::Empty
    } else {
        ForwardedBody::Client(ClientBody::new(body, Rc::clone(client), plan.timeouts))
    };
    // A client of HTTP/1.0 knows no interim responses.
    let interim = is_http_11.then_some(&client.interim);
    let fields = client.lines.take();
    // The client's fields have been written out: their map is free for its next request's.
    let mut map = std::mem::take(&mut head.headers);
    map.clear();
    *client.headers.borrow_mut() = map;
    let target = permit.target().or(head.uri.path_and_query()).map_or("/", PathAndQuery::as_str);
    let outgoing = Outgoing { method: &head.method, target, fields: &fields, purpose, interim };
    client.enter(Phase::Exchange);
    client.allow(if body_is_over { plan.timeouts.response_head } else { plan.timeouts.body });
    let sent = Instant::now();
    let outcome = until(&client.deadline, upstream.send(outgoing, body)).await;
    exchange.upstream_took(sent);
    // The buffer, for the next request.
    *client.lines.borrow_mut() = fields;
    let mut reply = match outcome {
        Ok(Ok(reply)) => reply,
        // Whose fault it is: a request that broke off on our side broke the exchange on the other.
        Ok(Err(_)) if client.body_is_broken.get() => return Err(Refusal::BodyBroken),
        Ok(Err(fault)) => return Err(Refusal::Upstream(UpstreamFailure::Exchange(fault))),
        Err(Overdue) if client.awaits_body.get() => return Err(Refusal::BodyTooSlow),
        Err(Overdue) => return Err(Refusal::Upstream(UpstreamFailure::TooSlow)),
    };
    let status = reply.status;
    if let (Some(asked), Some(tunnel)) = (upgrade, reply.tunnel.take()) {
        tunnel::accept(&asked, &mut reply)?;
        *client.tunnel.borrow_mut() = Some(tunnel);
        client.phase.set(Phase::Streaming);
        client.deadline.lift();
    } else {
        response::prepare(&mut reply);
        client.enter(Phase::Streaming);
        client.allow(plan.timeouts.body);
    }
    let Reply { lines, content_length, body, .. } = reply;
    let patience = plan.timeouts.body;
    let source = Source::Upstream { lines, content_length, body, patience, client: Rc::clone(client) };
    let mut response = Response::new(source);
    *response.status_mut() = status;
    Ok(response)
}

/// The deadline is over.
pub(super) struct Overdue;

/// Waits, but no longer than until the deadline is over. It sets no waker of its own: the connection's driver is woken by the
/// deadline and polls this.
pub(super) async fn until<T>(deadline: &Deadline, future: impl Future<Output = T>) -> Result<T, Overdue> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending if deadline.is_over() => Poll::Ready(Err(Overdue)),
        Poll::Pending => Poll::Pending,
    })
    .await
}
