//! Authorize: whether a caller may use a route. The only place that can make a [`Permit`].

use std::rc::Rc;

use http::Uri;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;

use super::admitted::Admitted;
use super::authenticate;
use super::credential::{CredentialField, CredentialSource};
use super::dav_destination;
use super::exchange::Exchange;
use super::gate::Passed;
use super::identity_headers::IdentityFields;
use super::paths::parameters;
use super::plan::{Plan, RouteSettings, TenantRule};
use super::refusal::Refusal;
use super::requirement::Requirement;
use super::spelling::{RawPaths, Spelling};
use super::upgrades::{self, Asked};
use super::worker::Local;
use crate::tokens::verified::Caller;
use crate::wire::path;

/// The permission to forward one request along one route, for one caller, or for none on a public
/// route.
pub(super) struct Permit<'a> {
    route: &'a RouteSettings,
    source: CredentialSource,
    caller: Option<Rc<Admitted>>,
    /// The identity headers, where the tenant in force is another than the caller's organization.
    identity: Option<IdentityFields>,
    /// The target for the upstream, where it is another than the client's.
    target: Option<PathAndQuery>,
    /// `Destination` for the upstream, of a request that moves or copies.
    destination: Option<Box<HeaderValue>>,
    /// The other protocol that it asks for.
    upgrade: Option<Asked>,
}

impl Permit<'_> {
    pub(super) fn route(&self) -> &RouteSettings {
        self.route
    }

    pub(super) fn credential_source(&self) -> CredentialSource {
        self.source
    }

    /// The identity headers; none on a public route.
    pub(super) fn identity(&self) -> &[(HeaderName, HeaderValue)] {
        match (&self.identity, &self.caller) {
            (Some(identity), _) => identity,
            (None, Some(admitted)) => &admitted.identity,
            (None, None) => &[],
        }
    }

    pub(super) fn target(&self) -> Option<&PathAndQuery> {
        self.target.as_ref()
    }

    pub(super) fn destination(&self) -> Option<&HeaderValue> {
        self.destination.as_deref()
    }

    /// The other protocol that it asks for, once.
    pub(super) const fn take_upgrade(&mut self) -> Option<Asked> {
        self.upgrade.take()
    }
}

/// Whether a request may go along the route at this place in the plan: authenticates its caller,
/// and asks what the route requires.
pub(super) async fn permitted<'a>(
    local: &'a Local,
    exchange: &mut Exchange,
    at: usize,
    head: &Parts,
    passed: Passed,
) -> Result<Permit<'a>, Refusal> {
    let plan = &local.plan;
    let route = plan.route(at)?;
    if plan.raw_paths == RawPaths::Used
        && let Some(spelling) = head.extensions.get::<Spelling>()
        && route.is_raw()
    {
        exchange.target = spelling.logged();
    }
    let asked = upgrades::asked(route.upgrades_taken(), passed, &head.headers)?;
    let source = plan.credential_source(at);
    let caller = authenticate::caller(local, exchange, route, source, head, asked.as_ref()).await?;
    let mut permit = permit(plan, route, source, caller, head)?;
    permit.upgrade = asked;
    if route.target.upstream().is_some() && dav_destination::is_asked_for(head) {
        let field = exchange.credential_field;
        let there = |at: usize, head: &Parts| {
            let (there, source_there) = (plan.route(at)?, plan.credential_source(at));
            if there.accept.is_empty() {
                return Ok(self::permit(plan, there, source_there, None, head)?.target);
            }
            // The credential must be in a place from which that route would take it, too.
            let is_taken = field == CredentialField::Authorization
                || there.credentials == route.credentials && source_there == source;
            if !is_taken {
                let cause = "the route of Destination does not take a credential from where this \
                             one is"
                    .to_owned();
                return Err(Refusal::Forbidden { cause, scope: None });
            }
            Ok(self::permit(plan, there, source_there, permit.caller.clone(), head)?.target)
        };
        permit.destination = dav_destination::permitted(plan, exchange, route, head, there)?;
    }
    Ok(permit)
}

/// Judged anew for each request: a decision for one route is none for another (cf. CVE-2021-32701).
fn permit<'a>(
    plan: &Plan,
    route: &'a RouteSettings,
    source: CredentialSource,
    caller: Option<Rc<Admitted>>,
    head: &Parts,
) -> Result<Permit<'a>, Refusal> {
    let mut permit = judged(plan, route, source, caller, &head.uri)?;
    if let Some(rules) = &route.path_rules {
        let path = permit.target.as_ref().map_or(head.uri.path(), PathAndQuery::path);
        let spelling = head.extensions.get::<Spelling>();
        permit.target = Some(rules.target(&route.path, path, head.uri.query(), spelling)?);
    }
    Ok(permit)
}

fn judged<'a>(
    plan: &Plan,
    route: &'a RouteSettings,
    source: CredentialSource,
    caller: Option<Rc<Admitted>>,
    target: &Uri,
) -> Result<Permit<'a>, Refusal> {
    let mut permit = Permit {
        route,
        source,
        caller,
        identity: None,
        target: None,
        destination: None,
        upgrade: None,
    };
    let Some(admitted) = &permit.caller else {
        let is_public = route.accept.is_empty();
        return if is_public { Ok(permit) } else { Err(Refusal::NoCredential { cause: None }) };
    };
    let caller = &admitted.caller;
    let of = caller.token.token_api();
    if !route.accept.contains(of) {
        let accepted: Vec<_> = route.accept.iter().map(|name| format!("{name:?}")).collect();
        let accepted = accepted.join(", ");
        let cause = format!("it is of {of:?}, and the route accepts {accepted}");
        return Err(Refusal::NotAccepted { cause });
    }
    let tenant = match &route.tenant {
        Some(rule) => Some(tenant(route, rule, caller, target.path())?),
        None => None,
    };
    if let Some(unmet) = route.require.iter().find(|required| !required.is_met_by(caller, tenant)) {
        return Err(forbidden(unmet, caller));
    }
    if let (Some(rule), Some(tenant)) = (&route.tenant, tenant) {
        if caller.token.organization() != Some(tenant) {
            permit.identity = Some(plan.identity.of(caller, Some(tenant)));
        }
        if rule.rewrites_path {
            permit.target = Some(rewritten(route, rule, tenant, target)?);
        }
    }
    Ok(permit)
}

/// The refusal of a caller that does not meet this requirement.
fn forbidden(unmet: &Requirement, caller: &Caller) -> Refusal {
    let scope = match unmet {
        Requirement::Scope(scopes) => Some(scopes.join(" ")),
        Requirement::Field { .. } | Requirement::Claim(_) => None,
    };
    let found = unmet.found(caller);
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    Refusal::Forbidden {
        cause: format!("the route asks for {unmet}, the token has {found}"),
        scope,
    }
}

/// The tenant that the path names, if it is the caller's.
fn tenant<'c>(
    route: &RouteSettings,
    rule: &TenantRule,
    caller: &'c Caller,
    path: &str,
) -> Result<&'c str, Refusal> {
    let named = parameters(&route.path, path).find(|(name, _)| *name == rule.parameter);
    let named = named.and_then(|(_, value)| path::decode_segment(value)).unwrap_or_default();
    let unknown =
        || format!("the path names the tenant {named:?}, which is none that the caller acts for");
    caller.tenant(&named).ok_or_else(|| Refusal::forbidden(unknown()))
}

/// The target with the tenant's own name in its place. A name that would make the path mean
/// something else is refused.
fn rewritten(
    route: &RouteSettings,
    rule: &TenantRule,
    tenant: &str,
    target: &Uri,
) -> Result<PathAndQuery, Refusal> {
    let is_parameter =
        |segment: &str| path::parameter_name(segment) == Some(rule.parameter.as_str());
    let tenant_segment = path::encode_segment(tenant);
    let mut pattern = route.path.split('/');
    let segments: Vec<&str> = target
        .path()
        .split('/')
        .map(|own| if pattern.next().is_some_and(is_parameter) { &tenant_segment } else { own })
        .collect();
    let mut rewritten = segments.join("/");
    let unfit = || {
        let why = "cannot stand in the path: it would mean something else";
        Refusal::forbidden(format!("the tenant {tenant:?} {why}"))
    };
    // The rest of the path was judged by the gate.
    let alone = format!("/{tenant_segment}");
    if tenant.is_empty() || path::normal_form(&alone).ok().as_deref() != Some(&alone) {
        return Err(unfit());
    }
    if let Some(query) = target.query() {
        rewritten.push('?');
        rewritten.push_str(query);
    }
    PathAndQuery::try_from(rewritten).map_err(|_| unfit())
}
