//! Own answer: with a permit, what keyward itself answers along a route that leads to no upstream:
//! a redirect or a fixed answer. The body of the request is not read.

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};

use super::authorize::Permit;
use super::body_source::BodySource;
use super::credential_places;
use super::exchange::Exchange;
use super::forwarding::Forwarding;
use super::redirect::Redirect;
use super::refusal::Refusal;
use super::respond;
use super::route_target::{FixedAnswer, RouteTarget};
use crate::wire::authority::host_of;

/// The answer to a request with this head; `None`: the route leads to an upstream.
pub(super) fn own_answer(
    exchange: &Exchange,
    permit: &Permit<'_>,
    head: &Parts,
) -> Option<Result<Response<BodySource>, Refusal>> {
    let route = permit.route();
    let made = match &route.target {
        RouteTarget::Upstream(_) => return None,
        RouteTarget::Respond(answer) => Ok(fixed(answer)),
        RouteTarget::Redirect(redirect) => location(exchange, permit, redirect, head)
            .map(|location| redirected(redirect.status, location)),
    };
    Some(made.map(|mut response| {
        let headers = response.headers_mut();
        if let Some(changes) = route.response_headers() {
            changes.apply(headers);
        }
        if route.credentials.is_some() {
            credential_places::complete(exchange.credential_field, false, headers);
        }
        respond::close_if_unread(exchange, headers);
        response
    }))
}

/// The address to which a request is sent.
pub(super) fn location(
    exchange: &Exchange,
    permit: &Permit<'_>,
    redirect: &Redirect,
    head: &Parts,
) -> Result<HeaderValue, Refusal> {
    let forwarding = Forwarding::of(&exchange.client, exchange.chain.as_deref(), &head.headers);
    let public = forwarding.public();
    let host = public.authority.and_then(|authority| host_of(authority.as_bytes()));
    let mut target = head.uri.clone();
    if let Some(places) = &permit.route().credentials {
        // A token in the query is not led on.
        places.remove(&mut HeaderMap::new(), &mut target);
    }
    redirect.location(&permit.route().path, head.uri.path(), target.query(), host)
}

fn redirected(status: StatusCode, location: HeaderValue) -> Response<BodySource> {
    let mut response = Response::new(BodySource::Empty);
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn fixed(answer: &FixedAnswer) -> Response<BodySource> {
    let mut response = Response::new(BodySource::Empty);
    *response.status_mut() = answer.status;
    if !answer.body.is_empty() {
        *response.body_mut() = BodySource::Bytes(answer.body.clone());
        response.headers_mut().insert(header::CONTENT_TYPE, answer.content_type.clone());
    }
    response
}
