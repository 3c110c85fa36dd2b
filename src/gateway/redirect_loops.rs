//! Redirects that never end, found before a plan is put in force.
//!
//! Of each route that redirects, an example is made of a request that takes it, and followed as a
//! browser would. That finds a route that leads to itself, whether by what stands in its address or
//! by a parameter, several that lead to each other, and one that leads further and further. An
//! address of another server is followed only where a route names that host; otherwise it is not
//! known what answers there. Nor is it at a port that the address names.
//!
//! Not all that is found is certain: requests to another host or with another scheme may not come
//! here, and what a request has in its header may be another thing the next time.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};

use super::conditions::{Conditions, Expected};
use super::connection::Scheme;
use super::plan::{Plan, RouteSettings};
use super::redirect::Redirect;
use super::route_table::HostRule;
use super::route_target::RouteTarget;
use crate::wire::path::encode_segment;

/// How many redirects browsers follow (Fetch, section 4.4).
const MOST: usize = 20;

/// What stands for a parameter in an example: one that no more specific route may have, at least.
const VALUES: [&str; 2] = ["a", "some-value"];

/// The host where a route takes any.
const HOST: &str = "host.example";

/// A redirect that never ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectLoop {
    /// The place of the route.
    pub route: usize,
    /// A request that is led on, in words.
    pub example: String,
    /// On what it depends whether it ends.
    pub doubts: Doubts,
}

/// What is not certain of a redirect that never ends; all `None` and `false`: it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// It leads to this host, and another one was asked; its requests may not come here.
    pub other_host: Option<String>,
    /// It leads to another scheme, whose requests may not come here.
    pub other_scheme: Option<OtherScheme>,
    /// A route on the way has conditions on headers. A proxy in front may set those by what comes
    /// to it: by the scheme, or by a cookie.
    pub by_headers: bool,
}

/// A scheme to which a redirect leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherScheme {
    /// Its name.
    pub name: &'static str,
    /// The scheme that was asked, where the route takes both: it may be meant for this one alone.
    pub enough: Option<&'static str>,
}

/// A request that is followed.
struct Follower {
    method: Method,
    scheme: Scheme,
    host: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    doubts: Doubts,
}

impl Plan {
    /// The redirects that never end, at most one of each route.
    #[must_use]
    pub fn redirect_loops(&self) -> Vec<RedirectLoop> {
        let routes = self.routes.iter().enumerate();
        routes.filter_map(|(at, route)| self.endless(at, route)).collect()
    }

    fn endless(&self, at: usize, route: &RouteSettings) -> Option<RedirectLoop> {
        if !matches!(route.target, RouteTarget::Redirect(_)) {
            return None;
        }
        let any = [Method::GET];
        let methods = if route.methods.is_empty() { &any[..] } else { &route.methods };
        let schemes = route.scheme.map_or(vec![Scheme::Http, Scheme::Https], |only| vec![only]);
        let examples = schemes.into_iter().flat_map(|scheme| {
            let with = move |method: &Method| (scheme, method.clone());
            methods.iter().map(with)
        });
        examples.into_iter().find_map(|(scheme, method)| {
            let values = VALUES.into_iter();
            let mut requests = values.map(|value| Follower::of(route, &method, scheme, value));
            let mut request = requests
                .find_map(|mut request| (request.route(self) == Some(at)).then_some(request))?;
            let asked = request.words();
            let first = request.follow(self)?;
            for _ in 1..MOST {
                request.follow(self)?;
            }
            let example = format!("{asked} is led to {first}, and from there on without an end");
            let mut doubts = request.doubts;
            if let Some(other) = &mut doubts.other_scheme {
                other.enough = route.scheme.is_none().then(|| scheme.name());
            }
            Some(RedirectLoop { route: at, example, doubts })
        })
    }

    /// Whether a route names this host, so that requests to it come to this keyward, or some do.
    fn names_host(&self, host: &str) -> bool {
        let is_it =
            |route: &RouteSettings| matches!(&route.host, HostRule::Exact(own) if own == host);
        self.routes.iter().any(is_it)
    }
}

impl Follower {
    /// A request for a route, with this value for each parameter of its path.
    fn of(route: &RouteSettings, method: &Method, scheme: Scheme, value: &str) -> Self {
        let filled = |segment: &str| match segment {
            rest if rest.starts_with("{*") => format!("{value}/{value}"),
            parameter if parameter.starts_with('{') => value.to_owned(),
            literal => literal.to_owned(),
        };
        let path: Vec<String> = route.path.split('/').map(filled).collect();
        let host = match &route.host {
            HostRule::Any => HOST.to_owned(),
            HostRule::Exact(host) => host.clone(),
            HostRule::Suffix(suffix) => format!("{value}{suffix}"),
        };
        let (headers, query) = meeting(route.when.as_deref());
        let path = path.join("/");
        let (method, doubts) = (method.clone(), Doubts::default());
        Self { method, scheme, host, path, query, headers, doubts }
    }

    fn words(&self) -> String {
        let query = self.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        let (method, scheme, host, path) =
            (&self.method, self.scheme.name(), &self.host, &self.path);
        format!("{method} {scheme}://{host}{path}{query}")
    }

    /// The place of the route that it takes.
    fn route(&mut self, plan: &Plan) -> Option<usize> {
        if plan.table.own.find(&self.path).is_some() {
            return None;
        }
        let entries = plan.table.entries(|| self.scheme, || self.host.clone(), &self.path)?;
        let is_met = |conditions: &Conditions| {
            conditions.hold(&self.headers, self.query.as_deref()).unwrap_or_default()
        };
        let mut by_headers = false;
        let mut taking = entries.iter().filter(|entry| entry.takes(&self.method));
        let found = taking.find(|entry| {
            let Some(route) = plan.routes.get(entry.route) else { return false };
            let conditions = route.when.as_deref();
            by_headers |= conditions.is_some_and(|conditions| !conditions.headers.is_empty());
            conditions.is_none_or(is_met)
        });
        self.doubts.by_headers |= by_headers;
        found.map(|entry| entry.route)
    }

    /// Goes where it is led, and returns the address; `None`: it is not redirected, or to where
    /// what answers is not known.
    fn follow(&mut self, plan: &Plan) -> Option<String> {
        let route = plan.routes.get(self.route(plan)?)?;
        let RouteTarget::Redirect(redirect) = &route.target else { return None };
        let (query, host) = (self.query.as_deref(), Some(self.host.as_str()));
        let location = redirect.location(&route.path, &self.path, query, host).ok()?;
        let location = location.to_str().ok()?.to_owned();
        if let Some(server) = &redirect.server {
            let is_known = |host: &String| *host == self.host || plan.names_host(host);
            let usual = if server.scheme == "https" { 443 } else { 80 };
            let is_usual_port = server.port.is_none_or(|port| port == usual);
            if !is_usual_port || !server.host.as_ref().is_none_or(is_known) {
                return None;
            }
            if let Some(other) = server.host.as_ref().filter(|host| **host != self.host) {
                self.doubts.other_host = Some(other.clone());
                self.host.clone_from(other);
            }
            let scheme = if server.scheme == "https" { Scheme::Https } else { Scheme::Http };
            if scheme != self.scheme {
                let name = scheme.name();
                self.doubts.other_scheme.get_or_insert(OtherScheme { name, enough: None });
                self.scheme = scheme;
            }
        }
        let target: Uri = location.parse().ok()?;
        self.path = target.path().to_owned();
        self.query = target.query().map(ToOwned::to_owned);
        self.method = method_behind(redirect, &self.method);
        Some(location)
    }
}

/// The method with which a browser follows a redirect (Fetch, section 4.4).
fn method_behind(redirect: &Redirect, method: &Method) -> Method {
    match redirect.status {
        StatusCode::SEE_OTHER if *method != Method::HEAD => Method::GET,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if *method == Method::POST => Method::GET,
        _ => method.clone(),
    }
}

/// Fields and a query that meet these conditions, where that is possible.
fn meeting(conditions: Option<&Conditions>) -> (HeaderMap, Option<String>) {
    let Some(Conditions { headers, query }) = conditions else { return Default::default() };
    let value = |expected: &Expected| match expected {
        Expected::OneOf(values) => values.first().cloned(),
        Expected::Present => Some("x".to_owned()),
        Expected::Absent => None,
    };
    let field = |(name, expected): &(HeaderName, Expected)| {
        Some((name.clone(), HeaderValue::try_from(value(expected)?).ok()?))
    };
    let parameter = |(name, expected): &(String, Expected)| {
        Some(format!("{}={}", encode_segment(name), encode_segment(&value(expected)?)))
    };
    let query: Vec<String> = query.iter().filter_map(parameter).collect();
    let query = (!query.is_empty()).then(|| query.join("&"));
    (headers.iter().filter_map(field).collect(), query)
}
