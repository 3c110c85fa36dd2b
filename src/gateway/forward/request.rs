//! The head of the upstream's request. What ends at this hop is removed, then every field that is
//! not for the client to set. keyward's own fields are added last, so that no field of the client's can
//! remove them.

use std::rc::Rc;
use std::time::Duration;

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::Body as _;

use super::body::ClientBody;
use crate::gateway::authorize::Permit;
use crate::gateway::connection::{ClientConnection, X_FORWARDED_PREFIX};
use crate::gateway::credential::{CredentialSource, X_API_KEY};
use crate::gateway::dav_destination::{self, DESTINATION};
use crate::gateway::exchange::Exchange;
use crate::gateway::forwarding::Forwarding;
use crate::gateway::gate::Passed;
use crate::gateway::identity_headers::IdentityRules;
use crate::gateway::plan::Plan;
use crate::upstream::{Caller, Newest, OwnFields, Upstream};
use crate::wire::path;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Makes a request fit to be passed on, but for [`Own`]. What depends on the version of HTTP that
/// the upstream speaks is added by `upstream`. Says whether the client takes trailers of the
/// response.
pub(super) fn prepare(
    plan: &Plan,
    exchange: &Exchange,
    permit: &Permit<'_>,
    passed: Passed,
    head: &mut http::request::Parts,
    body: &ClientBody,
) -> (Forwarding, bool) {
    let headers = &mut head.headers;
    let forwarding = Forwarding::of(&exchange.client, exchange.chain.as_deref(), headers);
    let stripped = permit.route().path_rules.as_ref().and_then(|rules| rules.stripped());
    let prefix = stripped.and_then(|prefix| public_prefix(&exchange.client, prefix, headers));
    let accepts_trailers =
        clean(&plan.identity, &exchange.client, passed, headers, body.size_hint().exact());
    remove_credentials(plan, permit, passed, headers);
    set_host(plan, permit, &forwarding, headers);
    add_hop(headers, head.version, accepts_trailers);
    let upstream = permit.route().target.upstream().and_then(|at| plan.upstreams.get(at));
    if upstream.is_some_and(|upstream| !upstream.via) {
        headers.remove(header::VIA);
    }
    if let Some(target) = permit.target() {
        head.uri = http::Uri::from(target.clone());
    }
    if let Some(prefix) = prefix {
        headers.insert(X_FORWARDED_PREFIX, prefix);
    }
    if let Some(destination) = permit.destination() {
        headers.insert(DESTINATION, destination.clone());
    }
    // Last, as what the path has been rewritten to has the query of the request.
    if let Some(places) = &permit.route().credentials {
        if permit.route().forward_credential {
            places.remove_ticket(&mut head.uri);
        } else {
            places.remove(&mut head.headers, &mut head.uri);
        }
    }
    if let Some(elsewhere) = &plan.places_elsewhere {
        if permit.route().forward_credential {
            elsewhere.remove_tickets(&mut head.headers, &mut head.uri);
        } else {
            elsewhere.remove(&plan.opaque, &mut head.headers, &mut head.uri);
        }
    }
    // A credential of the upstream's own takes the place of the client's, which has been removed.
    if let Some(changes) = permit.route().request_headers() {
        changes.apply(&mut head.headers);
    }
    if !head.extensions.is_empty() {
        head.extensions.clear();
    }
    // HTTP/2 carries trailers of the response whether or not they were asked for; on HTTP/1.1 hyper
    // sends them only to a client that has asked for them.
    let takes_trailers =
        head.version == Version::HTTP_2 || head.version == Version::HTTP_11 && accepts_trailers;
    (forwarding, takes_trailers)
}

/// Removes what ends at this hop and what is not for this client to set. `length`: of the body, if it is
/// known. Says whether the client takes trailers.
pub(in crate::gateway) fn clean(
    rules: &IdentityRules,
    client: &ClientConnection,
    passed: Passed,
    headers: &mut HeaderMap,
    length: Option<u64>,
) -> bool {
    let accepts_trailers = passed.hops.strip(headers);
    if passed.has_judged {
        rules.strip(client, headers);
    }
    if passed.expects {
        // The expectation is met when the body is asked for.
        headers.remove(header::EXPECT);
    }
    if passed.has_length {
        set_length(headers, length);
    }
    accepts_trailers
}

/// Adds what is said to the next hop of a message that came in this version.
pub(in crate::gateway) fn add_hop(
    headers: &mut HeaderMap,
    version: Version,
    accepts_trailers: bool,
) {
    if accepts_trailers {
        headers.insert(header::TE, TRAILERS);
    }
    // Behind those that were there before: the order tells the way.
    headers.append(header::VIA, via(version));
}

/// `X-Forwarded-Prefix`: what was taken away from the beginning of the path, by a trusted proxy and
/// then by keyward.
fn public_prefix(
    client: &ClientConnection,
    stripped: &str,
    headers: &HeaderMap,
) -> Option<HeaderValue> {
    let said = headers.get(X_FORWARDED_PREFIX).and_then(|said| said.to_str().ok());
    let is_prefix = |said: &&str| {
        let is_normal = path::normal_form(said).is_ok_and(|normal| normal == *said);
        client.origin.trusted_proxies.is_some() && is_normal && !said.contains(',')
    };
    let said = said.filter(is_prefix).unwrap_or_default().trim_end_matches('/');
    HeaderValue::try_from(format!("{said}{stripped}")).ok()
}

/// keyward's own fields of one request.
pub(super) struct Own<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) permit: &'a Permit<'a>,
    pub(super) forwarding: &'a Forwarding,
    /// The first time that runs once it is sent.
    pub(super) first: Option<Duration>,
}

impl Caller for Own<'_> {
    fn begin(&self) {
        self.exchange.control.set_queued(false);
        self.exchange.control.set_or_lift(self.first);
    }

    fn has_finished(&self) -> bool {
        self.exchange.control.client_has_finished()
    }

    fn address(&self, host: &HeaderValue, is_tls: bool, headers: &mut HeaderMap) {
        if !keeps_host(&self.exchange.local.plan, self.permit, self.forwarding) {
            headers.insert(header::HOST, host.clone());
        }
        if let Some(destination) = self.permit.destination() {
            dav_destination::lead_to(destination, is_tls, headers);
        }
    }
}

impl Newest for Own<'_> {
    fn upstream(&self) -> Option<Rc<Upstream>> {
        let at = self.permit.route().target.upstream()?;
        let name = &self.exchange.local.plan.upstreams.get(at)?.name;
        let local = self.exchange.gateway.local();
        let at = local.plan.upstreams.iter().position(|upstream| upstream.name == *name)?;
        local.upstreams.get(at).cloned()
    }
}

impl OwnFields for Own<'_> {
    fn each(&self, field: &mut dyn FnMut(&HeaderName, &HeaderValue)) {
        let names = &self.exchange.local.plan.identity.names;
        for (name, value) in self.permit.identity() {
            field(name, value);
        }
        if let Some(name) = &names.request_id {
            field(name, &self.exchange.id);
        }
        if let Some(certificate) = &self.exchange.client.certificate {
            for (name, value) in [
                (&names.client_certificate_subject, &certificate.subject),
                (&names.client_certificate_names, &certificate.names),
            ] {
                if let (Some(name), Some(value)) = (name, value) {
                    field(name, value);
                }
            }
        }
        self.forwarding.each(field);
    }
}

/// `Content-Length` goes on as the number that hyper goes by, in its shortest form.
fn set_length(headers: &mut HeaderMap, length: Option<u64>) {
    let Some(length) = length else {
        headers.remove(header::CONTENT_LENGTH);
        return;
    };
    if let Some([b'0', _, ..]) = headers.get(header::CONTENT_LENGTH).map(HeaderValue::as_bytes) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// `Via` (RFC 9110, section 7.6.3) for a message that came in this version.
pub(super) fn via(version: Version) -> HeaderValue {
    match version {
        Version::HTTP_10 => const { HeaderValue::from_static("1.0 keyward") },
        Version::HTTP_2 => const { HeaderValue::from_static("2.0 keyward") },
        _ => const { HeaderValue::from_static("1.1 keyward") },
    }
}

/// The fields in which a credential could have come do not go on, unless the route says so. On a
/// route that takes none from `X-API-Key`, that field is the upstream's, unless it looks like a key
/// that keyward made.
fn remove_credentials(plan: &Plan, permit: &Permit<'_>, passed: Passed, headers: &mut HeaderMap) {
    if permit.route().forward_credential {
        return;
    }
    headers.remove(header::AUTHORIZATION);
    if !passed.has_api_key {
        return;
    }
    let is_foreign =
        |value: &&HeaderValue| !plan.opaque.form_of(value.as_bytes()).may_come_in_api_key_field();
    let keys = headers.get_all(&X_API_KEY);
    if permit.credential_source() == CredentialSource::BearerOrApiKey {
        headers.remove(&X_API_KEY);
    } else if !keys.iter().all(|key| is_foreign(&key)) {
        let foreign: Vec<_> = keys.iter().filter(is_foreign).cloned().collect();
        headers.remove(&X_API_KEY);
        for value in foreign {
            headers.append(&X_API_KEY, value);
        }
    }
}

/// HTTP/1.0 may leave `Host` out; then it is the endpoint's own name.
fn set_host(plan: &Plan, permit: &Permit<'_>, forwarding: &Forwarding, headers: &mut HeaderMap) {
    if keeps_host(plan, permit, forwarding) {
        return;
    }
    let at = permit.route().target.upstream();
    if let Some(own) = at.and_then(|at| plan.upstream_hosts.get(at)) {
        headers.insert(header::HOST, own.clone());
    }
}

/// Whether `Host` stays as the client said it.
fn keeps_host(plan: &Plan, permit: &Permit<'_>, forwarding: &Forwarding) -> bool {
    let at = permit.route().target.upstream();
    let upstream = at.and_then(|at| plan.upstreams.get(at));
    upstream.is_some_and(|upstream| upstream.preserve_host) && forwarding.names_host()
}

/// The deadline of a gRPC call, counted from now: `grpc-timeout`, at most eight digits and a unit.
pub(super) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_of_a_call_is_read_in_every_unit() {
        let read = |text: &str| {
            let value = HeaderValue::try_from(text).expect("a value");
            grpc_timeout(&HeaderMap::from_iter([(GRPC_TIMEOUT, value)]))
        };
        for (text, span) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("500m", Duration::from_millis(500)),
            ("7u", Duration::from_micros(7)),
            ("8n", Duration::from_nanos(8)),
        ] {
            assert_eq!(read(text), Some(span), "{text}");
        }
        for text in ["", "S", "5", "5s", "-1S", "+1S", "123456789S", "1.5S", "1 S"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
