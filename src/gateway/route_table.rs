//! The table of all paths that keyward knows, by host and path.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use http::Method;

use super::connection::Scheme;
use super::paths::PathTable;
use crate::wire::authority::trim_dot;

#[derive(Default)]
pub(super) struct RouteTable {
    /// keyward's own, for every host: no route can take a call of a token API away.
    pub(super) own: PathTable<OwnPath>,
    /// Of the routes for one scheme, which are looked at first; `None`: there is none.
    of_scheme: Option<Box<BySchemes>>,
    of_both: Hosts,
}

#[derive(Default)]
struct BySchemes {
    http: Hosts,
    https: Hosts,
}

/// The routes for one scheme, or for both, by host.
#[derive(Default)]
struct Hosts {
    exact: HashMap<String, Routes>,
    /// By length and suffix (`.example.com`), longest first.
    suffixes: BTreeMap<(Reverse<usize>, String), Routes>,
    any: Routes,
}

/// A path that keyward itself answers.
pub(super) enum OwnPath {
    TokenApi(TokenApiPath),
    PublicKeys,
    /// A page that needs no credential, by its place in the plan.
    Document(usize),
}

pub(super) struct TokenApiPath {
    /// The token API, by its place in the plan.
    pub(super) token_api: usize,
    /// The path as its face knows it.
    pub(super) call: &'static str,
    /// The path with the mount before it.
    pub(super) pattern: String,
}

/// The routes of one host, by path; several under one path differ by method and conditions.
type Routes = PathTable<Vec<Entry>>;

pub(super) struct Entry {
    /// Empty: any method.
    pub(super) methods: Vec<Method>,
    /// How many conditions it has.
    pub(super) conditions: usize,
    pub(super) route: usize,
}

impl Entry {
    pub(super) fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }
}

/// What tells a route apart from others of its path.
pub(super) struct Specificity {
    /// Empty: any method.
    pub(super) methods: Vec<Method>,
    /// How many conditions it has.
    pub(super) conditions: usize,
}

/// Which hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum HostRule {
    /// All of them (the default).
    #[default]
    Any,
    /// One, in lower case.
    Exact(String),
    /// All that end so (`.example.com`), in lower case.
    Suffix(String),
}

impl RouteTable {
    pub(super) fn add_route(
        &mut self,
        scheme: Option<Scheme>,
        host: &HostRule,
        pattern: &str,
        specificity: Specificity,
        route: usize,
    ) {
        let hosts = match scheme {
            None => &mut self.of_both,
            Some(Scheme::Http) => &mut self.of_scheme.get_or_insert_default().http,
            Some(Scheme::Https) => &mut self.of_scheme.get_or_insert_default().https,
        };
        let entries = hosts.of(host).slot(pattern).get_or_insert_default();
        let Specificity { methods, conditions } = specificity;
        entries.push(Entry { methods, conditions, route });
        // A list of methods is more specific than any method, then more conditions are.
        entries.sort_by_key(|entry| (entry.methods.is_empty(), Reverse(entry.conditions)));
    }

    /// The routes under the path that matches best, of the host that matches best: first among
    /// those for one scheme.
    pub(super) fn entries(
        &self,
        scheme: impl FnOnce() -> Scheme,
        host: impl Fn() -> String,
        path: &str,
    ) -> Option<&[Entry]> {
        let of_scheme = self.of_scheme.as_ref().and_then(|of| match scheme() {
            Scheme::Http => of.http.entries(&host, path),
            Scheme::Https => of.https.entries(&host, path),
        });
        of_scheme.or_else(|| self.of_both.entries(&host, path)).map(Vec::as_slice)
    }
}

impl Hosts {
    fn of(&mut self, host: &HostRule) -> &mut Routes {
        match host {
            HostRule::Any => &mut self.any,
            HostRule::Exact(host) => self.exact.entry(host.clone()).or_default(),
            HostRule::Suffix(suffix) => {
                self.suffixes.entry((Reverse(suffix.len()), suffix.clone())).or_default()
            }
        }
    }

    fn entries(&self, host: &impl Fn() -> String, path: &str) -> Option<&Vec<Entry>> {
        let of_host = if self.exact.is_empty() && self.suffixes.is_empty() {
            None
        } else {
            let host = trim_dot(&host()).to_ascii_lowercase();
            let is_under = |suffix: &str| host.len() > suffix.len() && host.ends_with(suffix);
            let suffixes = self.suffixes.iter().filter(|((_, suffix), _)| is_under(suffix));
            let exact = self.exact.get(&host).into_iter();
            exact.chain(suffixes.map(|(_, routes)| routes)).find_map(|routes| routes.find(path))
        };
        of_host.or_else(|| self.any.find(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(table: &RouteTable, host: &str, path: &str, method: &Method) -> Option<usize> {
        let entries = table.entries(|| Scheme::Http, || host.to_owned(), path)?;
        entries.iter().find(|entry| entry.takes(method)).map(|entry| entry.route)
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
            let specificity = Specificity { methods, conditions: 0 };
            table.add_route(None, &host, pattern, specificity, at);
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
            assert_eq!(place(&table, host, path, &method), expected, "{method} {host} {path}");
        }
    }

    #[test]
    fn a_route_for_one_scheme_comes_before_all_others_and_more_conditions_before_fewer() {
        let mut table = RouteTable::default();
        for (at, (scheme, path, conditions)) in [
            (None, "/a", 0),
            (None, "/a", 1),
            (None, "/a", 2),
            (None, "/a", 1),
            (Some(Scheme::Http), "/{*rest}", 0),
            (Some(Scheme::Https), "/b", 0),
        ]
        .into_iter()
        .enumerate()
        {
            let specificity = Specificity { methods: Vec::new(), conditions };
            table.add_route(scheme, &HostRule::Any, path, specificity, at);
        }
        let places = |scheme, path| {
            let entries = table.entries(|| scheme, String::new, path).unwrap_or_default();
            entries.iter().map(|entry| entry.route).collect::<Vec<_>>()
        };
        assert_eq!(places(Scheme::Http, "/a"), [4]);
        assert_eq!(places(Scheme::Https, "/a"), [2, 1, 3, 0]);
        assert_eq!(places(Scheme::Https, "/b"), [5]);
        assert_eq!(places(Scheme::Https, "/c"), [0; 0]);
    }
}
