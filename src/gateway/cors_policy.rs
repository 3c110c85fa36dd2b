//! What pages of other origins may do with a route or a token API, and the header fields that tell
//! browsers so (the Fetch standard, section "HTTP extensions").

use std::time::Duration;

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::allowed_origin::{AllowedOrigin, PageOrigin};
use crate::wire::fields::tokens;

/// The key `cors` of a route or a token API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsSettings {
    /// The origins that are let in; at least one.
    pub origins: Vec<AllowedOrigin>,
    /// The methods that a preflight allows, `*` for the one that it asks for; none: those that the
    /// route or the call takes.
    pub methods: Option<Vec<Method>>,
    /// The names of the request header fields that are allowed, `*` for those that are asked for.
    pub headers: Vec<String>,
    /// The names of the response header fields that a script may read, `*` for all of them.
    pub expose: Vec<String>,
    /// Whether browsers may send cookies and client certificates along. Never with
    /// [`AllowedOrigin::Any`].
    pub credentials: bool,
    /// How long a browser may remember a preflight; in whole seconds.
    pub max_age: Duration,
}

/// The methods that a preflight lists for a route that takes any.
const USUAL_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

const EVERYTHING: &str = "*";

/// How all names begin that belong to this protocol.
const PREFIX: &str = "access-control-";

/// One policy, its fields made.
pub(super) struct CorsPolicy {
    origins: Vec<AllowedOrigin>,
    allows_any_origin: bool,
    /// None: those that the route or the call takes.
    methods: Option<Vec<Method>>,
    /// None: those that are asked for.
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    allows_credentials: bool,
    max_age: HeaderValue,
}

impl CorsPolicy {
    fn new(settings: &CorsSettings) -> Self {
        let list = |names: &[String]| HeaderValue::try_from(names.join(", ")).ok();
        let takes_any_header = settings.headers.iter().any(|name| name == EVERYTHING);
        let allows_any_origin = settings.origins.contains(&AllowedOrigin::Any);
        Self {
            origins: settings.origins.clone(),
            allows_any_origin,
            methods: settings.methods.clone(),
            headers: list(&settings.headers).filter(|_| !takes_any_header),
            expose: list(&settings.expose).filter(|list| !list.is_empty()),
            // For every origin it would open what a visitor's cookies open to every page.
            allows_credentials: settings.credentials && !allows_any_origin,
            max_age: HeaderValue::from(settings.max_age.as_secs()),
        }
    }

    /// The value of `Access-Control-Allow-Origin` for a request; none: its origin is not let in, or
    /// it names none.
    fn allow_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.allows_any_origin {
            return Some(HeaderValue::from_static("*"));
        }
        let mut named = headers.get_all(header::ORIGIN).iter();
        // A request with two is of none: a browser sends one.
        let origin = named.next().filter(|_| named.next().is_none())?;
        let page = PageOrigin::read(origin.as_bytes())?;
        // As it came: a browser compares it with the one that it has sent.
        self.origins.iter().any(|rule| rule.holds(&page)).then(|| origin.clone())
    }

    /// Whether the origin of a request is let in.
    pub(super) fn lets_in(&self, headers: &HeaderMap) -> bool {
        self.allow_origin(headers).is_some()
    }

    /// The fields of every answer but that to a preflight.
    pub(super) fn answer(&self, headers: &HeaderMap) -> CorsFields {
        let mut fields = self.begin(headers, ORIGIN);
        if fields.lets_in()
            && let Some(expose) = &self.expose
        {
            fields.add(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        fields
    }

    /// The fields of the answer to a preflight that asks for this method, where the methods `takes`
    /// are served; empty: any.
    pub(super) fn preflight(&self, asked: &Method, takes: &str, headers: &HeaderMap) -> CorsFields {
        let mut fields = self.begin(headers, PREFLIGHT);
        if !fields.lets_in() {
            return fields;
        }
        if let Ok(methods) = HeaderValue::try_from(self.methods(asked, takes)) {
            fields.add(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        if let Some(names) = self.headers.clone().or_else(|| asked_headers(headers)) {
            fields.add(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        fields.add(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        fields
    }

    fn begin(&self, headers: &HeaderMap, vary: &'static [HeaderName]) -> CorsFields {
        let mut fields = CorsFields { list: Vec::new(), vary };
        if let Some(origin) = self.allow_origin(headers) {
            fields.add(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            if self.allows_credentials {
                let yes = HeaderValue::from_static("true");
                fields.add(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            }
        }
        fields
    }

    fn methods(&self, asked: &Method, takes: &str) -> String {
        match &self.methods {
            Some(methods) if methods.iter().any(|method| method.as_str() == EVERYTHING) => {
                asked.to_string()
            }
            Some(methods) => methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", "),
            None if !takes.is_empty() => takes.to_owned(),
            None if USUAL_METHODS.split(", ").any(|usual| usual == asked.as_str()) => {
                USUAL_METHODS.to_owned()
            }
            None => format!("{USUAL_METHODS}, {asked}"),
        }
    }
}

/// The names that a preflight asks for, to be allowed by name: `*` would not cover `Authorization`.
fn asked_headers(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let names: Vec<HeaderName> = asked
        .flat_map(tokens)
        // The `http` crate takes quotation marks in names.
        .filter(|name| !name.contains(&b'"'))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    if names.is_empty() { None } else { HeaderValue::try_from(names.join(", ")).ok() }
}

/// What an answer depends on.
const ORIGIN: &[HeaderName] = &[header::ORIGIN];
const PREFLIGHT: &[HeaderName] = &[
    header::ORIGIN,
    header::ACCESS_CONTROL_REQUEST_METHOD,
    header::ACCESS_CONTROL_REQUEST_HEADERS,
];

/// The fields of one answer.
pub(super) struct CorsFields {
    /// Empty: the origin is not let in, or none is named.
    pub(super) list: Vec<(HeaderName, HeaderValue)>,
    vary: &'static [HeaderName],
}

impl CorsFields {
    fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.list.push((name, value));
    }

    /// Whether a browser lets the page have the answer.
    pub(super) fn lets_in(&self) -> bool {
        !self.list.is_empty()
    }

    /// Puts them on an answer, in place of those that the upstream has sent: two policies would
    /// contradict each other.
    pub(super) fn apply(self, headers: &mut HeaderMap) {
        let is_one = |name: &&HeaderName| name.as_str().starts_with(PREFIX);
        let theirs: Vec<HeaderName> = headers.keys().filter(is_one).cloned().collect();
        for name in theirs {
            headers.remove(name);
        }
        for (name, value) in self.list {
            headers.insert(name, value);
        }
        vary_by(headers, self.vary);
    }
}

/// Adds names to `Vary` that are not in it.
fn vary_by(headers: &mut HeaderMap, names: &[HeaderName]) {
    let lines: Vec<HeaderValue> = headers.get_all(header::VARY).iter().cloned().collect();
    let has = |wanted: &[u8]| {
        lines.iter().flat_map(tokens).any(|token| token.eq_ignore_ascii_case(wanted))
    };
    let missing: Vec<&str> = names
        .iter()
        .map(HeaderName::as_str)
        .filter(|name| !has(name.as_bytes()) && !has(EVERYTHING.as_bytes()))
        .collect();
    if missing.is_empty() {
        return;
    }
    let before = lines.iter().map(HeaderValue::as_bytes).filter(|line| !line.is_empty());
    let all: Vec<&[u8]> = before.chain(missing.iter().map(|name| name.as_bytes())).collect();
    if let Ok(vary) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        headers.insert(header::VARY, vary);
    }
}

/// The policies of a plan, each at the place of what has it.
pub(super) struct CorsPolicies {
    routes: Vec<Option<CorsPolicy>>,
    token_apis: Vec<Option<CorsPolicy>>,
    /// The token API of each page, by its place.
    documents: Vec<usize>,
}

impl CorsPolicies {
    /// `None`: nothing has a policy. `documents`: the token API of each page.
    pub(super) fn new<'a>(
        routes: impl IntoIterator<Item = Option<&'a CorsSettings>>,
        token_apis: impl IntoIterator<Item = Option<&'a CorsSettings>>,
        documents: Vec<usize>,
    ) -> Option<Box<Self>> {
        let compiled = |settings: Option<&CorsSettings>| settings.map(CorsPolicy::new);
        let routes: Vec<_> = routes.into_iter().map(compiled).collect();
        let token_apis: Vec<_> = token_apis.into_iter().map(compiled).collect();
        let has_one = routes.iter().chain(&token_apis).any(Option::is_some);
        has_one.then(|| Box::new(Self { routes, token_apis, documents }))
    }

    pub(super) fn of_route(&self, at: usize) -> Option<&CorsPolicy> {
        self.routes.get(at)?.as_ref()
    }

    pub(super) fn of_token_api(&self, at: usize) -> Option<&CorsPolicy> {
        self.token_apis.get(at)?.as_ref()
    }

    pub(super) fn of_document(&self, at: usize) -> Option<&CorsPolicy> {
        self.of_token_api(*self.documents.get(at)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(field).collect()
    }

    #[test]
    fn vary_is_merged_and_never_doubled() {
        for (before, after) in [
            (&[][..], "origin"),
            (&[("vary", "Accept-Encoding")], "Accept-Encoding, origin"),
            (&[("vary", "Origin")], "Origin"),
            (&[("vary", "accept, ORIGIN")], "accept, ORIGIN"),
            (&[("vary", "*")], "*"),
            (&[("vary", "")], "origin"),
        ] {
            let mut map = headers(before);
            vary_by(&mut map, ORIGIN);
            let lines: Vec<_> = map.get_all(header::VARY).iter().collect();
            assert_eq!(lines, [after]);
        }
        let mut map = headers(&[("vary", "Accept")]);
        map.append(header::VARY, HeaderValue::from_static("Cookie"));
        vary_by(&mut map, PREFLIGHT);
        let all = "Accept, Cookie, origin, access-control-request-method, \
                   access-control-request-headers";
        assert_eq!(map.get_all(header::VARY).iter().collect::<Vec<_>>(), [all]);
    }

    #[test]
    fn what_is_asked_for_is_allowed_by_name_and_what_is_no_name_is_left_out() {
        let mut map = headers(&[("access-control-request-headers", "Authorization,x-a ,, b\"")]);
        let more = HeaderValue::from_static("X-Last, two words, x:y");
        map.append(header::ACCESS_CONTROL_REQUEST_HEADERS, more);
        assert_eq!(asked_headers(&map).expect("names"), "authorization, x-a, x-last");
        assert_eq!(asked_headers(&HeaderMap::new()), None);
    }
}
