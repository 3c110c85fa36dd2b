//! Validates `[[route]]`, and what routes say about each other and about token APIs and upstreams.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::Method;

use super::issuers::claim_rules;
use super::routing::{Named, check_name, report_twice};
use crate::config::fault::Findings;
use crate::config::issuer::Issuer;
use crate::config::pattern::{HostPattern, PathPattern, Segment};
use crate::config::routing::{Require, Route, TokenApi, Upstream};
use crate::config::section::{Placed, Section};

/// The parameter that names a tenant, unless said otherwise.
const DEFAULT_TENANT_PARAM: &str = "tenant_id";

pub(super) fn read_all(
    sections: Vec<Section<'_>>,
    issuers: &Named<Issuer>,
    token_apis: &Named<TokenApi>,
    upstreams: &Named<Upstream>,
    findings: &Findings<'_>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    let accepted: Vec<_> = token_apis.names.iter().chain(&issuers.names).collect();
    // Found by host and shape, so that thousands of routes are not compared each with each.
    let mut seen: HashMap<(HostPattern, String), Vec<Placed<Vec<Method>>>> = HashMap::new();
    let mut used: HashSet<Arc<str>> = HashSet::new();
    for mut section in sections {
        let upstream = section.need_parsed("upstream", "the name of an [[upstream]]", reference);
        if let (Some(name), Some(at)) = (&upstream, section.place("upstream")) {
            upstreams.check("upstream", &Placed { at, value: Arc::clone(name) }, findings);
            used.insert(Arc::clone(name));
        }
        let Some(route) = route(section, upstream, &accepted, findings) else {
            continue;
        };
        let Placed { at, value: route } = route;
        let alike = seen.entry((route.host.clone(), route.path.shape())).or_default();
        if let Some(other) = alike.iter().find(|other| overlap(&other.value, &route.methods)) {
            let line = findings.line(other.at);
            findings.fault(
                Some(at),
                format!(
                    "this [[route]] has host, path and a method in common with the one on line \
                         {line}: only one can answer"
                ),
            );
        }
        alike.push(Placed { at, value: route.methods.clone() });
        routes.push(route);
    }
    for upstream in upstreams.names.iter().filter(|upstream| !used.contains(&upstream.value)) {
        findings.warn(
            Some(upstream.at),
            format!("no [[route]] leads to the [[upstream]] {:?}", upstream.value),
        );
    }
    routes
}

fn route(
    mut section: Section<'_>,
    upstream: Option<Arc<str>>,
    accepted: &[&Placed<Arc<str>>],
    findings: &Findings<'_>,
) -> Option<Placed<Route>> {
    let host = section.maybe_parsed(
        "host",
        "a host name as in \"app.example.com\" or \"*.example.com\" (left out for any)",
        str::parse::<HostPattern>,
    );
    // A wrong host is none: as "any" it would seem to collide with the route that is meant for any.
    let host_is_wrong = host.is_none() && section.is_given("host");
    let path = section.need_parsed(
        "path",
        "a path as in \"/api/{name}/{*rest}\"",
        str::parse::<PathPattern>,
    );
    let methods =
        section.maybe_list("methods", "an HTTP method as in \"GET\" (left out for any)", method);
    let methods_are_wrong = methods.as_ref().is_some_and(Vec::is_empty);
    let methods = methods.unwrap_or_default();
    report_twice("methods", &methods, findings);
    let public = section.maybe_bool("public");
    let public_is_wrong = public.is_none() && section.is_given("public");
    let public = public.unwrap_or(false);
    let accept = section
        .maybe_list("accept", "the name of a [[token_api]] or an [[issuer]]", reference)
        .unwrap_or_default();
    report_twice("accept", &accept, findings);
    for name in &accept {
        check_name(accepted.iter().copied(), "token_api]] or [[issuer", name, findings);
    }
    let forward_credential = section.take_bool("forward_credential", false);
    let mut requirement = section.table("require");
    let scope = requirement
        .maybe_one_or_list("scope", "a scope as in \"read:reports\"", scope)
        .unwrap_or_default();
    report_twice("scope", &scope, findings);
    let mut take = |key| {
        let list = requirement.maybe_list(key, "a value that the identity may have", text);
        list.unwrap_or_default().into_iter().map(|item| item.value).collect()
    };
    let require = Require {
        role: take("role"),
        organization: take("organization"),
        username: take("username"),
        subject: take("subject"),
        email: take("email"),
        tenant: take("tenant"),
        scope: scope.into_iter().map(|item| item.value).collect(),
        claims: claim_rules("claims", &mut requirement, findings),
    };
    let tenant_param = section.maybe_parsed(
        "tenant_param",
        "the name of a parameter of the path, or \"\"",
        |text| {
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if text.bytes().all(fits) { Ok(text.to_owned()) } else { Err(String::new()) }
        },
    );
    let resolve_tenant = section.take_bool("resolve_tenant", false);
    let has_parameter = |name: &str| {
        let is_it = |segment: &Segment| matches!(segment, Segment::Parameter(parameter) if parameter == name);
        path.as_ref().is_some_and(|path| path.segments().iter().any(is_it))
    };
    let wanted = tenant_param.as_deref().unwrap_or(DEFAULT_TENANT_PARAM);
    if tenant_param.is_some() && path.is_some() && !wanted.is_empty() && !has_parameter(wanted) {
        section.fault(
            "tenant_param",
            format!("\"tenant_param\": {{{wanted}}} is no segment of this route's path"),
        );
    }
    let tenant_param = (!public && has_parameter(wanted)).then(|| wanted.to_owned());
    if resolve_tenant && path.is_some() && tenant_param.is_none() {
        section.fault(
            "resolve_tenant",
            "\"resolve_tenant\" is of no use here: the path names no tenant of a caller",
        );
    }
    if public {
        for key in ["accept", "require"] {
            if section.is_given(key) {
                section.fault(
                    key,
                    format!(
                        "a public route asks for no credential: leave out either \"public\" or \
                             {key:?}"
                    ),
                );
            }
        }
    } else if !section.is_given("accept") && !public_is_wrong {
        section.miss(
            "accept",
            "this [[route]] accepts nothing: name token APIs or issuers in \"accept\", or \
             say \"public = true\""
                .to_owned(),
        );
    }
    let at = section.at()?;
    if host_is_wrong || methods_are_wrong {
        return None;
    }
    Some(Placed {
        at,
        value: Route {
            host: host.unwrap_or_default(),
            path: path?,
            methods: methods.into_iter().map(|method| method.value).collect(),
            upstream: upstream.unwrap_or_else(|| "".into()),
            accept: accept.into_iter().map(|name| name.value).collect(),
            public,
            forward_credential,
            require,
            tenant_param,
            resolve_tenant,
        },
    })
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

/// Reads the name of something else, which is checked against what there is.
fn reference(text: &str) -> Result<Arc<str>, String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.into()) }
}

fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// Reads a `scope-token` (RFC 6749, section 3.3): it can stand in a challenge as it is.
fn scope(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it is empty".to_owned()),
        _ if text.contains(' ') => Err("a scope holds no space: list each by itself".to_owned()),
        _ if text.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\\')) => {
            Err("a scope holds visible ASCII characters other than \" and \\".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

fn method(text: &str) -> Result<Method, String> {
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        // RFC 9110 §9.1: methods are case-sensitive, so "get" would never match.
        return Err(format!("methods are in upper case: {:?}", text.to_ascii_uppercase()));
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err("CONNECT makes a tunnel, which is not forwarded".to_owned()),
        Ok(method) => Ok(method),
        Err(_) => Err(String::new()),
    }
}
