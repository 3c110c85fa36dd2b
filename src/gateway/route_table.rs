//! The table of all paths that keyward knows, by host and path.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use http::Method;

use super::paths::PathTable;
use crate::wire::authority::trim_dot;

#[derive(Default)]
pub(super) struct RouteTable {
    /// keyward's own, for every host: no route can take a call of a token API away.
    pub(super) own: PathTable<OwnPath>,
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

/// The routes of one host, by path; several under one path differ by method.
type Routes = PathTable<Vec<Entry>>;

pub(super) struct Entry {
    /// Empty: any method.
    pub(super) methods: Vec<Method>,
    pub(super) route: usize,
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
        host: &HostRule,
        pattern: &str,
        methods: Vec<Method>,
        route: usize,
    ) {
        let routes = match host {
            HostRule::Any => &mut self.any,
            HostRule::Exact(host) => self.exact.entry(host.clone()).or_default(),
            HostRule::Suffix(suffix) => {
                self.suffixes.entry((Reverse(suffix.len()), suffix.clone())).or_default()
            }
        };
        let entries = routes.slot(pattern).get_or_insert_default();
        entries.push(Entry { methods, route });
        // A list of methods is more specific than any method.
        entries.sort_by_key(|entry| entry.methods.is_empty());
    }

    /// The routes under the path that matches best, of the host that matches best.
    pub(super) fn entries(&self, host: impl FnOnce() -> String, path: &str) -> Option<&[Entry]> {
        let of_host = if self.exact.is_empty() && self.suffixes.is_empty() {
            None
        } else {
            let host = trim_dot(&host()).to_ascii_lowercase();
            let is_under = |suffix: &str| host.len() > suffix.len() && host.ends_with(suffix);
            let suffixes = self.suffixes.iter().filter(|((_, suffix), _)| is_under(suffix));
            let exact = self.exact.get(&host).into_iter();
            exact.chain(suffixes.map(|(_, routes)| routes)).find_map(|routes| routes.find(path))
        };
        of_host.or_else(|| self.any.find(path)).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(table: &RouteTable, host: &str, path: &str, method: &Method) -> Option<usize> {
        let entries = table.entries(|| host.to_owned(), path)?;
        entries
            .iter()
            .find(|entry| entry.methods.is_empty() || entry.methods.contains(method))
            .map(|entry| entry.route)
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
            table.add_route(&host, pattern, methods, at);
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
}
