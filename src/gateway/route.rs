//! Route: from host, path and method to where a request goes. Host first, then path, then method; the most specific wins.

use std::collections::HashMap;

use http::Method;

use super::parse::Normal;
use super::plan::Plan;
use super::refusal::Refusal;
use crate::wire::authority::trim_dot;
use crate::wire::path::decode_segment;

/// Where a request goes.
pub(super) enum Destination {
    /// To a route, by its place in the plan.
    Route(usize),
    /// To a token API, by its place in the plan.
    TokenApi { token_api: usize, call: &'static str, parameters: Vec<(String, String)> },
    /// To the set of public keys.
    PublicKeys,
}

/// The path under which the public keys are served.
pub(super) const PUBLIC_KEYS: &str = "/.well-known/jwks.json";

/// Every host's paths.
#[derive(Default)]
pub(super) struct RouteTable {
    exact: HashMap<String, Paths>,
    /// By suffix (`.example.com`), longest first.
    suffixes: Vec<(String, Paths)>,
    any: Paths,
}

#[derive(Default)]
struct Paths {
    router: matchit::Router<usize>,
    entries: Vec<Vec<Entry>>,
    places: HashMap<String, usize>,
}

/// What is behind one path of one host.
struct Entry {
    /// Empty: any method.
    methods: Vec<Method>,
    target: Target,
}

#[derive(Clone)]
enum Target {
    Route(usize),
    TokenApi { token_api: usize, call: &'static str, names: Vec<String> },
    PublicKeys,
}

/// Which hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRule {
    /// All of them.
    Any,
    /// One, in lower case.
    Exact(String),
    /// All that end so (`.example.com`), in lower case.
    Suffix(String),
}

impl RouteTable {
    pub(super) fn add_route(
        &mut self,
        host: &HostRule,
        pattern: &str,
        methods: Vec<Method>,
        route: usize,
    ) -> Result<(), String> {
        self.paths(host).add(pattern, Entry { methods, target: Target::Route(route) })
    }

    pub(super) fn add_token_api(&mut self, pattern: &str, token_api: usize, call: &'static str) -> Result<(), String> {
        let names = parameter_names(pattern);
        self.any.add(pattern, Entry { methods: Vec::new(), target: Target::TokenApi { token_api, call, names } })
    }

    pub(super) fn add_public_keys(&mut self) -> Result<(), String> {
        self.any.add(PUBLIC_KEYS, Entry { methods: vec![Method::GET, Method::HEAD], target: Target::PublicKeys })
    }

    fn paths(&mut self, host: &HostRule) -> &mut Paths {
        match host {
            HostRule::Any => &mut self.any,
            HostRule::Exact(host) => self.exact.entry(host.clone()).or_default(),
            HostRule::Suffix(suffix) => {
                let at = match self.suffixes.iter().position(|(known, _)| known == suffix) {
                    Some(at) => at,
                    None => {
                        let at = self.suffixes.iter().take_while(|(known, _)| known.len() >= suffix.len()).count();
                        self.suffixes.insert(at, (suffix.clone(), Paths::default()));
                        at
                    }
                };
                match self.suffixes.get_mut(at) {
                    Some((_, paths)) => paths,
                    None => &mut self.any,
                }
            }
        }
    }

    /// The tables that a host's requests are looked up in, most specific first.
    fn of_host<'a>(&'a self, host: &str) -> impl Iterator<Item = &'a Paths> {
        let host = trim_dot(host);
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            std::borrow::Cow::Owned(host.to_ascii_lowercase())
        } else {
            std::borrow::Cow::Borrowed(host)
        };
        let exact = if self.exact.is_empty() { None } else { self.exact.get(host.as_ref()) };
        let suffixes: Vec<&Paths> = if self.suffixes.is_empty() {
            Vec::new()
        } else {
            let is_under = |suffix: &str| host.len() > suffix.len() && host.ends_with(suffix);
            self.suffixes.iter().filter(|(suffix, _)| is_under(suffix)).map(|(_, paths)| paths).collect()
        };
        exact.into_iter().chain(suffixes).chain(std::iter::once(&self.any))
    }
}

impl Paths {
    fn add(&mut self, pattern: &str, entry: Entry) -> Result<(), String> {
        let shape = shape(pattern);
        let at = match self.places.get(&shape) {
            Some(at) => *at,
            None => {
                let at = self.entries.len();
                self.router.insert(shape.clone(), at).map_err(|fault| format!("{pattern}: {fault}"))?;
                // `/a/{*rest}` means everything below `/a/`, and so `/a/` itself.
                if let Some(root) = shape.strip_suffix("{*r}")
                    && !self.places.contains_key(root)
                {
                    self.router.insert(root, at).map_err(|fault| format!("{pattern}: {fault}"))?;
                }
                self.entries.push(Vec::new());
                self.places.insert(shape, at);
                at
            }
        };
        if let Some(entries) = self.entries.get_mut(at) {
            entries.push(entry);
            // A list of methods is more specific than any method.
            entries.sort_by_key(|entry| entry.methods.is_empty());
        }
        Ok(())
    }
}

/// A pattern with its parameters named by position, so that two patterns of one shape are one place, whatever their authors
/// called the parameters.
fn shape(pattern: &str) -> String {
    let mut shape = String::with_capacity(pattern.len());
    for (at, segment) in pattern.split('/').enumerate() {
        if at > 0 {
            shape.push('/');
        }
        if segment.starts_with("{*") {
            shape.push_str("{*r}");
        } else if segment.starts_with('{') {
            shape.push_str(&format!("{{p{at}}}"));
        } else {
            shape.push_str(segment);
        }
    }
    shape
}

fn parameter_names(pattern: &str) -> Vec<String> {
    let name = |segment: &str| Some(segment.strip_prefix('{')?.strip_suffix('}')?.to_owned());
    pattern.split('/').filter_map(name).collect()
}

pub(super) fn find(plan: &Plan, request: &Normal) -> Result<Destination, Refusal> {
    let method = &request.head.method;
    for paths in plan.table().of_host(request.host()) {
        let Ok(found) = paths.router.at(request.path()) else { continue };
        let entries = paths.entries.get(*found.value).map(Vec::as_slice).unwrap_or_default();
        let Some(entry) = entries.iter().find(|entry| entry.methods.is_empty() || entry.methods.contains(method))
        else {
            // No fall-back to a less specific path: what is narrowed to some methods is not to be opened by a wider rule.
            let mut names: Vec<&str> = entries.iter().flat_map(|entry| &entry.methods).map(Method::as_str).collect();
            names.sort_unstable();
            names.dedup();
            return Err(Refusal::MethodNotAllowed { allow: names.join(", ") });
        };
        return Ok(match &entry.target {
            Target::Route(at) => Destination::Route(*at),
            Target::PublicKeys => Destination::PublicKeys,
            Target::TokenApi { token_api, call, names } => {
                let values = found.params.iter().map(|(_, value)| decode_segment(value));
                let parameters = names
                    .iter()
                    .zip(values)
                    // What is no text equals nobody's claim and is no id.
                    .map(|(name, value)| (name.clone(), value.unwrap_or_default().into_owned()))
                    .collect();
                Destination::TokenApi { token_api: *token_api, call, parameters }
            }
        });
    }
    Err(Refusal::NoRoute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(table: &RouteTable, host: &str, path: &str, method: Method) -> Option<usize> {
        for paths in table.of_host(host) {
            let Ok(found) = paths.router.at(path) else { continue };
            let entries = &paths.entries[*found.value];
            let entry = entries.iter().find(|entry| entry.methods.is_empty() || entry.methods.contains(&method))?;
            let Target::Route(at) = entry.target else { return None };
            return Some(at);
        }
        None
    }

    #[test]
    fn the_most_specific_route_wins_by_host_then_path_then_method() {
        let mut table = RouteTable::default();
        let routes: [(HostRule, &str, Vec<Method>); 9] = [
            (HostRule::Any, "/{*rest}", vec![]),
            (HostRule::Any, "/api/{id}", vec![]),
            (HostRule::Any, "/api/{name}", vec![Method::POST]),
            (HostRule::Any, "/api/fixed", vec![]),
            (HostRule::Suffix(".example.com".into()), "/{*rest}", vec![]),
            (HostRule::Suffix(".deep.example.com".into()), "/{*rest}", vec![]),
            (HostRule::Exact("a.example.com".into()), "/only", vec![]),
            (HostRule::Any, "/api/{id}/sub/{*tail}", vec![]),
            (HostRule::Any, "/narrow", vec![Method::GET]),
        ];
        for (at, (host, pattern, methods)) in routes.into_iter().enumerate() {
            table.add_route(&host, pattern, methods, at).expect(pattern);
        }
        for (host, path, method, expected) in [
            ("x", "/", Method::GET, Some(0)),
            ("x", "/a/b", Method::GET, Some(0)),
            ("x", "/api/7", Method::GET, Some(1)),
            ("x", "/api/7", Method::POST, Some(2)),
            ("x", "/api/fixed", Method::POST, Some(3)),
            ("x", "/api/7/sub/", Method::GET, Some(7)),
            ("x", "/api/7/sub/a/b", Method::GET, Some(7)),
            ("x", "/api/fixed/sub/a", Method::GET, Some(7)),
            ("x", "/api/7/other", Method::GET, Some(0)),
            ("B.Example.com.", "/a", Method::GET, Some(4)),
            ("b.deep.example.com", "/a", Method::GET, Some(5)),
            ("example.com", "/a", Method::GET, Some(0)),
            ("notexample.com", "/a", Method::GET, Some(0)),
            ("a.example.com", "/only", Method::GET, Some(6)),
            ("a.example.com", "/else", Method::GET, Some(4)),
            ("x", "/narrow", Method::GET, Some(8)),
            ("x", "/narrow", Method::POST, None),
            ("", "/a", Method::GET, Some(0)),
        ] {
            assert_eq!(place(&table, host, path, method.clone()), expected, "{method} {host} {path}");
        }
    }
}
