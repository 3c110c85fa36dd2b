//! What the keys of `[[route]]` say together, and what routes say about each other and about token
//! APIs, issuers and upstreams.

use std::collections::{HashMap, HashSet};

use http::Method;
use http::header::HeaderValue;

use super::conditions::{self, CredentialNames};
use super::cors;
use super::credentials;
use super::header_changes;
use super::names::find;
use super::rate_limits;
use super::route_limits;
use super::route_targets;
use crate::config::pattern::{PathPattern, Segment};
use crate::config::tables::{CompressionKeys, Name, RequireKeys, RouteKeys, WEBSOCKET};
use crate::gateway::{
    CompressionRules, Conditions, ForwardPath, HostRule, PathChange, PathRules, Requirement,
    RequirementField, RouteLimits, RouteSettings, RouteTarget, Scheme, TenantRule, Upgrades,
};
use crate::settings::fault::{Findings, Spot};
use crate::settings::list::Placed;
use crate::settings::section::Row;
use crate::wire::fields::FoldedNames;

/// The parameter that names a tenant, unless said otherwise.
const DEFAULT_TENANT_PARAM: &str = "tenant_id";

/// What routes are resolved with.
pub(super) struct Around<'a> {
    /// The token APIs and issuers.
    pub(super) grantors: &'a [&'a Name],
    pub(super) upstreams: &'a [Name],
    /// What holds where a route says nothing.
    pub(super) limits: &'a RouteLimits,
    /// The header fields that only keyward may set.
    pub(super) reserved: &'a FoldedNames,
}

/// Which requests a route takes, of those for its scheme, host and path.
struct Taken {
    methods: Vec<Method>,
    when: Conditions,
}

/// Found by scheme, host and shape, so that thousands of routes are not compared each with each.
type Seen = HashMap<(Option<Scheme>, HostRule, String), Vec<Placed<Taken>>>;

pub(super) fn resolve(
    rows: Vec<Row<RouteKeys>>,
    around: &Around<'_>,
    findings: &Findings<'_>,
) -> Vec<RouteSettings> {
    let mut routes = Vec::new();
    let mut seen = Seen::new();
    let mut used: HashSet<usize> = HashSet::new();
    let mut credential_names = CredentialNames::default();
    rows.iter().for_each(|row| credential_names.note(&row.keys.credentials));
    for Row { mut keys, path } in rows {
        let spot = findings.table(&path);
        let target = route_targets::resolve(&mut keys, around.upstreams, spot);
        used.extend(target.upstream());
        let (shape, public) = (keys.path.as_ref().map(|path| path.shape()), keys.public);
        let credential_headers = keys.credentials.headers.clone().unwrap_or_default();
        let cors_keys = std::mem::take(&mut keys.cors);
        let cors = cors::resolve(cors_keys, &credential_headers, &path, findings);
        let Some(route) = route(keys, target, around, &credential_names, spot) else { continue };
        if let Some(cors) = &cors {
            cors::check_methods(cors, &route.methods, &path, findings);
            if !route.accept.is_empty() {
                cors::check_headers(cors, &path, findings);
            }
            header_changes::check_cors(route.headers.as_deref(), spot);
            if let Some(places) = &route.credentials {
                cors::check_origins(cors, places, &path, findings);
            }
        }
        let route = RouteSettings { cors, ..route };
        let (Some(shape), Some(at)) = (shape, spot.at()) else { continue };
        check_others(&mut seen, &route, shape, at, findings);
        // A route without anything to accept would be public, which it must say.
        if route.accept.is_empty() == public {
            routes.push(route);
        }
    }
    for (index, upstream) in around.upstreams.iter().enumerate() {
        if !used.contains(&index) {
            let message = format!("no [[route]] leads to the [[upstream]] {:?}", upstream.value);
            findings.warn(Some(upstream.at), message);
        }
    }
    routes
}

/// Reports a route that could be meant by a request for one before it.
fn check_others(
    seen: &mut Seen,
    route: &RouteSettings,
    shape: String,
    at: usize,
    findings: &Findings<'_>,
) {
    let alike = seen.entry((route.scheme, route.host.clone(), shape)).or_default();
    let taken = Taken {
        methods: route.methods.clone(),
        when: route.when.as_deref().cloned().unwrap_or_default(),
    };
    let is_meant_too = |other: &&Placed<Taken>| {
        let other = &other.value;
        overlap(&other.methods, &taken.methods)
            && other.when.count() == taken.when.count()
            && other.when.can_hold_with(&taken.when)
    };
    if let Some(other) = alike.iter().find(is_meant_too) {
        let line = findings.line(other.at);
        let message = if taken.when.count() == 0 {
            format!(
                "this [[route]] has host, path and a method in common with the one on line \
                 {line}: only one can answer"
            )
        } else {
            format!(
                "this [[route]] has host, path and a method in common with the one on line \
                 {line}, the conditions in \"when\" of both can hold for one request, and \
                 neither has more of them: only one can answer. Give one of them another condition"
            )
        };
        findings.fault(Some(at), message);
    }
    alike.push(Placed { at, value: taken });
}

/// `None`: its host, path or methods are wrong, so it cannot be compared with others.
fn route(
    keys: RouteKeys,
    target: RouteTarget,
    around: &Around<'_>,
    credential_names: &CredentialNames,
    spot: Spot<'_>,
) -> Option<RouteSettings> {
    let path_rules = path_rules(&keys, spot);
    let when = conditions::resolve(&keys, credential_names, around.reserved, spot);
    let headers = header_changes::resolve(&keys, around.reserved, spot);
    let upgrades = upgrades(&keys, spot);
    let of = if keys.public { rate_limits::Of::PublicRoute } else { rate_limits::Of::Route };
    let rate_limits = rate_limits::resolve(keys.rate_limits, keys.concurrent_requests, of, spot);
    let accept = keys.accept.unwrap_or_default();
    for name in &accept {
        find(name, around.grantors.iter().copied(), "token_api]] or [[issuer", spot.findings);
    }
    let has_parameter = |name: &str| {
        let is_it = |segment: &Segment| matches!(segment, Segment::Parameter(parameter) if parameter == name);
        keys.path.as_ref().is_some_and(|path| path.segments().iter().any(is_it))
    };
    let wanted = keys.tenant_param.as_deref().unwrap_or(DEFAULT_TENANT_PARAM);
    if let (Some(wanted), true) = (&keys.tenant_param, keys.path.is_some())
        && !wanted.is_empty()
        && !has_parameter(wanted)
    {
        let message = format!("\"tenant_param\": {{{wanted}}} is no segment of this route's path");
        spot.fault("tenant_param", message);
    }
    let names_tenant = !keys.public && has_parameter(wanted);
    if keys.resolve_tenant && keys.path.is_some() && !names_tenant {
        spot.fault(
            "resolve_tenant",
            "\"resolve_tenant\" is of no use here: the path names no tenant of a caller",
        );
    }
    if keys.public {
        for key in ["accept", "require", "credentials", "challenge", "realm"] {
            if spot.is_given(key) {
                let message = format!(
                    "a public route asks for no credential: leave out either \"public\" or {key:?}"
                );
                spot.fault(key, message);
            }
        }
    } else if !spot.is_given("accept") && !spot.is_wrong("public") {
        spot.miss(
            "accept",
            "this [[route]] accepts nothing: name token APIs or issuers in \"accept\", or say \
             \"public = true\"",
        );
    }
    let credentials = credentials::places(keys.credentials, spot);
    let is_basic_read = credentials.as_ref().is_some_and(|places| places.basic);
    let challenge = credentials::challenge(keys.challenge, keys.realm, is_basic_read, spot);
    // A wrong host would count as any, and seem to collide with a route for any host.
    let methods = keys.methods.unwrap_or_default();
    if spot.is_wrong("host") || (spot.is_given("methods") && methods.is_empty()) {
        return None;
    }
    let tenant = names_tenant
        .then(|| TenantRule { parameter: wanted.to_owned(), rewrites_path: keys.resolve_tenant });
    Some(RouteSettings {
        tenant,
        scheme: keys.scheme,
        host: keys.host.unwrap_or_default(),
        path: keys.path?.as_str().to_owned(),
        methods,
        when,
        target,
        headers,
        upgrades,
        cors: None,
        rate_limits,
        compression: spot.is_given("compression").then(|| compression(keys.compression)),
        path_rules,
        accept: accept.into_iter().map(|name| name.value).collect(),
        credentials,
        challenge,
        forward_credential: keys.forward_credential,
        limits: route_limits::of_route(around.limits, &keys.timeouts, keys.max_body),
        require: requirements(keys.require),
    })
}

/// What the upstream gets instead of the path, if anything.
fn path_rules(keys: &RouteKeys, spot: Spot<'_>) -> Option<Box<PathRules>> {
    let RouteKeys { strip_prefix: strip, add_prefix: add, rewrite, .. } = keys;
    let path = keys.path.as_ref()?;
    let has_rest = matches!(path.segments(), [.., Segment::Rest(_)]);
    if keys.forward_path == ForwardPath::Raw && !has_rest {
        spot.fault(
            "forward_path",
            "\"forward_path\" is of no use: only what stands for {*rest} is forwarded as it came, \
             and this route's path does not end in one",
        );
    }
    if let Some(strip) = strip
        && !path.segments().starts_with(strip.segments())
    {
        let message = format!("\"strip_prefix\": this route's path does not begin with {strip}");
        spot.fault("strip_prefix", message);
    }
    if let Some(template) = rewrite {
        for key in ["strip_prefix", "add_prefix"].into_iter().filter(|key| spot.is_given(key)) {
            let message = format!("\"rewrite\" says the whole path: leave out {key:?}");
            spot.fault(key, message);
        }
        route_targets::check_template("rewrite", template, path, spot);
    }
    let text = |prefix: &Option<PathPattern>| {
        prefix.as_ref().map(|prefix| prefix.as_str().to_owned()).unwrap_or_default()
    };
    let change = match (rewrite, strip, add) {
        (Some(template), ..) => Some(PathChange::Rewrite(template.as_str().replace("{*", "{"))),
        (None, None, None) => None,
        (None, ..) => Some(PathChange::Prefix { strip: text(strip), add: text(add) }),
    };
    let spelling = keys.forward_path;
    let is_used = change.is_some() || spelling == ForwardPath::Raw;
    is_used.then(|| Box::new(PathRules { spelling, change }))
}

/// The protocols to which clients may switch; `None`: WebSocket alone, as usual.
fn upgrades(keys: &RouteKeys, spot: Spot<'_>) -> Option<Box<Upgrades>> {
    let mut upgrades = Upgrades::default();
    for name in &keys.upgrades {
        match HeaderValue::try_from(name) {
            _ if *name == WEBSOCKET => upgrades.websocket = true,
            Ok(name) => upgrades.others.push(name),
            Err(_) => {}
        }
    }
    if keys.credentials.websocket_protocol && !upgrades.websocket && !spot.is_wrong("upgrades") {
        spot.fault(
            "credentials.websocket_protocol",
            "\"websocket_protocol\" is of no use here: the route's \"upgrades\" have no \
             \"websocket\"",
        );
    }
    let is_usual = upgrades.websocket && upgrades.others.is_empty();
    (!is_usual).then(|| Box::new(upgrades))
}

fn compression(keys: CompressionKeys) -> Box<CompressionRules> {
    Box::new(CompressionRules {
        codings: keys.algorithms,
        min_size: u64::try_from(keys.min_size).unwrap_or(u64::MAX),
        types: keys.types,
    })
}

fn requirements(keys: RequireKeys) -> Vec<Requirement> {
    let fields = [
        (RequirementField::Subject, keys.subject),
        (RequirementField::Username, keys.username),
        (RequirementField::Organization, keys.organization),
        (RequirementField::Role, keys.role),
        (RequirementField::Email, keys.email),
        (RequirementField::Tenant, keys.tenant),
    ];
    let fields = fields
        .into_iter()
        .filter_map(|(field, one_of)| Some(Requirement::Field { field, one_of: one_of? }));
    let claims = keys.claims.into_iter().flatten().map(Requirement::Claim);
    fields.chain(claims).chain(keys.scope.map(Requirement::Scope)).collect()
}

/// Whether a request could mean both of two routes with the same host and path. A route for named
/// methods is more specific than one for any: those two live together.
fn overlap(one: &[Method], other: &[Method]) -> bool {
    match (one.is_empty(), other.is_empty()) {
        (true, true) => true,
        (false, false) => one.iter().any(|method| other.contains(method)),
        _ => false,
    }
}
