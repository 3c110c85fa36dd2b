//! `Destination` of a request that moves or copies (RFC 4918, section 10.3): what it names is
//! written to, so it is judged as a request of its own, and given to the upstream as the upstream
//! knows it.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Uri, header};

use super::exchange::Exchange;
use super::forwarding::Forwarding;
use super::gate;
use super::plan::{Plan, RouteSettings};
use super::public_address::Authority;
use super::refusal::Refusal;
use super::route::{self, Destination};

pub(super) const DESTINATION: HeaderName = HeaderName::from_static("destination");

/// Whether a request moves or copies to another address.
pub(super) fn is_asked_for(head: &Parts) -> bool {
    // Methods have a case, and not every server knows it.
    let is = |method: &str| head.method.as_str().eq_ignore_ascii_case(method);
    (is("MOVE") || is("COPY")) && head.headers.contains_key(DESTINATION)
}

/// Names in a request's `Destination`, which is `permitted`, the endpoint that is asked, by its
/// scheme and the `Host` of the request.
#[cold]
pub(super) fn lead_to(permitted: &HeaderValue, is_tls: bool, headers: &mut HeaderMap) {
    let (Some(target), Some(host)) = (target_of(permitted), headers.get(header::HOST)) else {
        return;
    };
    // What the route sets in its place stays.
    if headers.get(DESTINATION).and_then(target_of) != Some(target) {
        return;
    }
    let scheme: &[u8] = if is_tls { b"https://" } else { b"http://" };
    let address = [scheme, host.as_bytes(), target].concat();
    if let Ok(address) = HeaderValue::from_bytes(&address) {
        headers.insert(DESTINATION, address);
    }
}

/// What stands behind the scheme and the host of an address that has them.
fn target_of(address: &HeaderValue) -> Option<&[u8]> {
    let (_, rest) = address.to_str().ok()?.split_once("://")?;
    rest.get(rest.find('/')?..).map(str::as_bytes)
}

/// The destination of a request on `route`, as the upstream knows it. `permit` says whether its
/// caller may use the route at a place in the plan for a request with this head, and with which
/// target, if it is another than the client's.
///
/// # Errors
///
/// When the caller may not write there, or it is no address of the same upstream.
pub(super) fn permitted(
    plan: &Plan,
    exchange: &Exchange,
    route: &RouteSettings,
    head: &Parts,
    permit: impl FnOnce(usize, &Parts) -> Result<Option<PathAndQuery>, Refusal>,
) -> Result<Option<Box<HeaderValue>>, Refusal> {
    let elsewhere = |what: &str| Refusal::forbidden(format!("its Destination {what}"));
    let mut values = head.headers.get_all(DESTINATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(elsewhere("is there twice"));
    };
    let address = value.to_str().ok().and_then(|text| Uri::try_from(text).ok());
    let address = address.ok_or_else(|| elsewhere("is no address"))?;
    let is_absolute = match (address.scheme_str(), address.authority()) {
        (None, None) if address.path().starts_with('/') => false,
        (Some("http" | "https"), Some(named)) => {
            let forwarding =
                Forwarding::of(&exchange.client, exchange.chain.as_deref(), &head.headers);
            let public = forwarding.public();
            let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
            // TLS may end before keyward, so either scheme will do.
            let read = |text: &str| Authority::read(text, address.scheme_str().unwrap_or_default());
            let named = read(named.as_str());
            let is_ours = named.is_some()
                && [public.authority, host].into_iter().flatten().any(|known| read(known) == named);
            if !is_ours {
                return Err(elsewhere("is on another server"));
            }
            true
        }
        _ => return Err(elsewhere("is no address")),
    };
    let mut there = Request::new(()).into_parts().0;
    there.method.clone_from(&head.method);
    // Conditions of routes are asked of them, too.
    there.headers.clone_from(&head.headers);
    let target = address.path_and_query().cloned();
    there.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    if !there.uri.path().is_ascii() {
        return Err(elsewhere("is no address"));
    }
    gate::normalise(&mut there, plan.raw_paths)?;
    let Destination::Route(at) = route::find(plan, exchange, &there.method, &there)? else {
        return Err(elsewhere("is an address of keyward's own"));
    };
    let upstream = route.target.upstream().filter(|upstream| {
        plan.route(at).is_ok_and(|there| there.target.upstream() == Some(*upstream))
    });
    let upstream = upstream.ok_or_else(|| elsewhere("leads to another upstream"))?;
    for places in [route, plan.route(at)?]
        .into_iter()
        .filter_map(|route| route.credentials.as_deref().filter(|_| !route.forward_credential))
    {
        places.remove(&mut there.headers, &mut there.uri);
    }
    if let Some(elsewhere) = plan.places_elsewhere.as_ref().filter(|_| !route.forward_credential) {
        elsewhere.remove(&plan.opaque, &mut there.headers, &mut there.uri);
    }
    let target = permit(at, &there)?;
    let target = target.as_ref().or_else(|| there.uri.path_and_query());
    let target = target.map_or("/", PathAndQuery::as_str);
    let value = if is_absolute {
        let (scheme, host) = plan.asked_at(upstream, head.headers.get(header::HOST));
        format!("{scheme}://{host}{target}")
    } else {
        target.to_owned()
    };
    let value = HeaderValue::try_from(value).map_err(|_| elsewhere("is no address"))?;
    Ok(Some(Box::new(value)))
}
