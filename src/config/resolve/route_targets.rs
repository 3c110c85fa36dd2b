//! What answers a route: an upstream, a redirect or a fixed answer; and what else a route without
//! an upstream cannot say.

use super::names::find;
use crate::config::pattern::{PathPattern, Segment};
use crate::config::redirect::RedirectAddress;
use crate::config::tables::{Name, RouteKeys};
use crate::gateway::{FixedAnswer, Redirect, RedirectPath, RouteTarget, Scheme};
use crate::settings::fault::Spot;

/// What of a route is for its upstream.
const FOR_UPSTREAMS: &[&str] = &[
    "forward_path",
    "strip_prefix",
    "add_prefix",
    "rewrite",
    "forward_credential",
    "timeouts",
    "max_body",
    "compression",
    "request_headers",
    "upgrades",
    "resolve_tenant",
];

/// What answers; where that is wrong, an upstream, which does not count then.
pub(super) fn resolve(keys: &mut RouteKeys, upstreams: &[Name], spot: Spot<'_>) -> RouteTarget {
    let given: Vec<&str> =
        ["upstream", "redirect", "respond"].into_iter().filter(|key| spot.is_given(key)).collect();
    if let [first, others @ ..] = given.as_slice() {
        for other in others {
            spot.fault(other, format!("either {first:?} or {other:?}, not both: one answers"));
        }
    } else {
        spot.miss(
            "upstream",
            "missing key \"upstream\" in [[route]]: it must be the name of an [[upstream]], or \
             there must be \"redirect\" or \"respond\"",
        );
    }
    if !given.is_empty() && !spot.is_given("upstream") {
        let words = "is of no use here: the route leads to no upstream";
        spot.refuse_given(FOR_UPSTREAMS, words);
    }
    let upstream =
        keys.upstream.as_ref().and_then(|name| find(name, upstreams, "upstream", spot.findings));
    let target = match given.first() {
        Some(&"redirect") => redirect(keys, spot),
        Some(&"respond") => Some(fixed(keys, spot)),
        _ => None,
    };
    target.unwrap_or(RouteTarget::Upstream(upstream.unwrap_or_default()))
}

fn redirect(keys: &mut RouteKeys, spot: Spot<'_>) -> Option<RouteTarget> {
    let RedirectAddress { server, path, query, .. } = keys.redirect.to.take()?;
    if let (Some(template), Some(of_route)) = (&path, &keys.path) {
        check_template("redirect.to", template, of_route, spot);
    }
    let asked = match keys.scheme {
        Some(scheme) => vec![scheme],
        None => vec![Scheme::Http, Scheme::Https],
    };
    if path.is_none()
        && let Some(server) = &server
        && server.host.is_none()
        && server.port.is_none()
        && asked.iter().any(|scheme| scheme.name() == server.scheme)
    {
        let other = if server.scheme == "https" { "http" } else { "https" };
        let message = format!(
            "\"to\" would lead requests over {} to where they came from: say scheme = {other:?} \
             on this route",
            server.scheme
        );
        spot.fault("redirect.to", message);
    }
    Some(RouteTarget::Redirect(Box::new(Redirect {
        status: keys.redirect.status,
        server,
        path: match path {
            None => RedirectPath::Same,
            Some(template) => RedirectPath::Template(template.as_str().replace("{*", "{")),
        },
        query,
        keeps_query: keys.redirect.keep_query,
    })))
}

fn fixed(keys: &mut RouteKeys, spot: Spot<'_>) -> RouteTarget {
    let respond = &mut keys.respond;
    let status = respond.status;
    let body = std::mem::take(&mut respond.body);
    if !body.is_empty() && matches!(status.as_u16(), 204 | 205) {
        let message = format!("\"body\": an answer with the status {} has none", status.as_u16());
        spot.fault("respond.body", message);
    }
    RouteTarget::Respond(Box::new(FixedAnswer {
        status,
        body: body.into(),
        content_type: respond.content_type.clone(),
    }))
}

/// Checks that a template has only parameters of a route's path, with the rest at its end.
pub(super) fn check_template(
    key: &str,
    template: &PathPattern,
    path: &PathPattern,
    spot: Spot<'_>,
) {
    let (segments, rest) = match path.segments() {
        [segments @ .., Segment::Rest(name)] => (segments, Some(name)),
        segments => (segments, None),
    };
    let name_of_key = key.rsplit('.').next().unwrap_or(key);
    for (at, segment) in template.segments().iter().enumerate() {
        let (Segment::Parameter(name) | Segment::Rest(name)) = segment else { continue };
        let is_rest = rest == Some(name);
        let is_parameter = segments.contains(&Segment::Parameter(name.clone()));
        if is_rest && at + 1 < template.segments().len() {
            let message = format!("{name_of_key:?}: {{{name}}} can only be the last segment");
            spot.fault(key, message);
        } else if !is_rest && (!is_parameter || matches!(segment, Segment::Rest(_))) {
            let message =
                format!("{name_of_key:?}: {segment} is no parameter of this route's path");
            spot.fault(key, message);
        }
    }
}
