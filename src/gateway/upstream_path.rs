//! The path that an upstream gets, where it is another than the client's; and the way back, for the
//! addresses in its responses.

use std::borrow::Cow;

use http::uri::PathAndQuery;

use super::paths::{parameters, split_at_rest};
use super::refusal::Refusal;
use super::spelling::Spelling;
use crate::wire::path::{self, PathFault};

/// What a route does to the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRules {
    /// In which spelling it is forwarded.
    pub spelling: ForwardPath,
    /// What becomes of it.
    pub change: Option<PathChange>,
}

/// In which spelling a path is forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardPath {
    /// In its normal form (the default).
    #[default]
    Normal,
    /// What stands for the rest of the pattern as it came; before that, in its normal form.
    Raw,
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// It begins in another way. Either may be empty; neither ends with a slash.
    Prefix {
        /// What is taken away: the route's pattern begins with it.
        strip: String,
        /// What is put there.
        add: String,
    },
    /// It is made by this template, whose parameters are those of the route's pattern. The rest,
    /// `{rest}`, can only be the last segment.
    Rewrite(String),
}

impl PathRules {
    /// The target for the upstream. `normal`: the path, of which the part before the rest is what
    /// the route was chosen by; `spelling`: how the client spelled it, if it is not that.
    ///
    /// # Errors
    ///
    /// When it would mean something else: the client's fault.
    pub(super) fn target(
        &self,
        pattern: &str,
        normal: &str,
        query: Option<&str>,
        spelling: Option<&Spelling>,
    ) -> Result<PathAndQuery, Refusal> {
        let spelled: Cow<'_, str> = match spelling.filter(|_| self.is_raw()) {
            None => normal.into(),
            Some(spelling) => {
                let (begin, _) = split_at_rest(pattern, normal);
                let (_, rest) = split_at_rest(pattern, spelling.target.path());
                format!("{begin}{rest}").into()
            }
        };
        let mut target = match &self.change {
            None => spelled.into_owned(),
            Some(change) => change.forward(pattern, &spelled),
        };
        let is_fit = if self.is_raw() {
            // A server could take what follows for its authority, or redirect to it.
            let names_host = target.starts_with("//")
                || target.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case("/%2f"));
            !names_host && path::readings(&target).is_ok()
        } else {
            path::normal_form(&target).is_ok_and(|normal| normal == target)
        };
        if !is_fit {
            return Err(Refusal::Path(PathFault::Ambiguous));
        }
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        PathAndQuery::try_from(target).map_err(|_| Refusal::Path(PathFault::Ambiguous))
    }

    pub(super) fn is_raw(&self) -> bool {
        self.spelling == ForwardPath::Raw
    }

    /// The prefix that is taken away, if one is.
    pub(super) fn stripped(&self) -> Option<&str> {
        match &self.change {
            Some(PathChange::Prefix { strip, .. }) => Some(strip).filter(|strip| !strip.is_empty()),
            _ => None,
        }
        .map(String::as_str)
    }
}

impl PathChange {
    fn forward(&self, pattern: &str, path: &str) -> String {
        match self {
            Self::Prefix { strip, add } => replaced(path, strip, add).unwrap_or_default(),
            Self::Rewrite(template) => filled_by(template, pattern, path),
        }
    }

    /// The client's path for one of the upstream's; nothing, if it is not known or the same.
    /// `request`: the path of the request, which names what the upstream's path does not.
    pub(super) fn back(&self, pattern: &str, request: &str, path: &str) -> Option<String> {
        match self {
            Self::Prefix { strip, add } => back_by_prefix(strip, add, path),
            Self::Rewrite(template) => {
                let is_made_by = |(own, found): (&str, &str)| {
                    path::parameter_name(own).is_some() || own == found
                };
                let (known, given) = (template.split('/').count(), path.split('/').count());
                let ends_in_rest = template.rsplit('/').next().and_then(path::parameter_name)
                    == rest_name(pattern)
                    && rest_name(pattern).is_some();
                let is_long_enough = if ends_in_rest { given >= known } else { given == known };
                if !is_long_enough || !template.split('/').zip(path.split('/')).all(is_made_by) {
                    return None;
                }
                let from_answer = |name: &str| {
                    if Some(name) == rest_name(pattern) && ends_in_rest {
                        return nth_rest(path, known - 1);
                    }
                    parameters(template, path).find(|(own, _)| *own == name).map(|(_, value)| value)
                };
                let value =
                    |name: &str| from_answer(name).or_else(|| value_of(name, pattern, request));
                Some(filled(pattern, value))
            }
        }
    }

    /// The path of a cookie for the client; nothing, if it stays.
    pub(super) fn cookie_path_back(&self, pattern: &str, path: &str) -> Option<String> {
        let (strip, add) = match self {
            Self::Prefix { strip, add } => (strip.as_str(), add.as_str()),
            Self::Rewrite(template) => (literal_begin(pattern), literal_begin(template)),
        };
        if !add.is_empty() && begins_with(add, path.trim_end_matches('/')) {
            // For all that the route leads to, or more.
            return Some(if strip.is_empty() { "/" } else { strip }.to_owned());
        }
        match self {
            Self::Prefix { .. } if path == "/" => {
                Some(strip.to_owned()).filter(|_| !strip.is_empty())
            }
            Self::Prefix { .. } => back_by_prefix(strip, add, path),
            Self::Rewrite(template) if begins_with(path, add) => {
                Some(known_begin(pattern, template, path))
            }
            Self::Rewrite(_) => None,
        }
    }
}

/// An upstream that knows of the prefix, by `X-Forwarded-Prefix`, has put it there itself.
fn back_by_prefix(strip: &str, add: &str, path: &str) -> Option<String> {
    let is_public = !strip.is_empty() && begins_with(path, strip);
    match add {
        "" if is_public => None,
        _ => replaced(path, add, strip),
    }
}

/// `path` with `by` instead of `prefix`; nothing, if it does not begin with it.
fn replaced(path: &str, prefix: &str, by: &str) -> Option<String> {
    begins_with(path, prefix).then(|| {
        let rest = path.get(prefix.len()..).unwrap_or_default();
        if by.is_empty() && rest.is_empty() { "/".to_owned() } else { format!("{by}{rest}") }
    })
}

/// Whether the first segments of `path` are those of `prefix`.
fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The first segments of a route's path, as far as a path of the upstream's, which is made by
/// `template`, says what they are. So a cookie for one user's path is not for that of another.
fn known_begin(pattern: &str, template: &str, path: &str) -> String {
    let path = path.trim_end_matches('/');
    let value = |name: &str| {
        let is_it = |segment: &str| path::parameter_name(segment) == Some(name);
        let at = template.split('/').position(is_it)?;
        if rest_name(pattern) == Some(name) { nth_rest(path, at) } else { path.split('/').nth(at) }
    };
    let mut begin = String::new();
    for segment in pattern.split('/').skip(1) {
        let inner = segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
        let known = match inner {
            Some(name) => value(name.strip_prefix('*').unwrap_or(name)),
            None => Some(segment),
        };
        let Some(known) = known.filter(|known| !known.is_empty()) else { break };
        begin.push('/');
        begin.push_str(known);
    }
    if begin.is_empty() { "/".to_owned() } else { begin }
}

/// The segments of a pattern or template before its first parameter, without a slash at the end.
fn literal_begin(pattern: &str) -> &str {
    let end = pattern.find("/{").unwrap_or(pattern.len());
    pattern.get(..end).unwrap_or_default().trim_end_matches('/')
}

/// The name of the parameter that stands for the rest of the path.
fn rest_name(pattern: &str) -> Option<&str> {
    pattern.rsplit('/').next()?.strip_prefix("{*")?.strip_suffix('}')
}

/// The path behind the `count`th slash.
fn nth_rest(path: &str, count: usize) -> Option<&str> {
    let (at, _) = path.match_indices('/').nth(count.checked_sub(1)?)?;
    path.get(at + 1..)
}

/// The value of a pattern's parameter in a path that it matches.
fn value_of<'p>(name: &str, pattern: &'p str, path: &'p str) -> Option<&'p str> {
    if rest_name(pattern) == Some(name) {
        let (_, rest) = split_at_rest(pattern, path);
        return Some(rest.strip_prefix('/').unwrap_or(rest));
    }
    parameters(pattern, path).find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// A template with the values of a pattern's parameters in a path that it matches.
pub(super) fn filled_by(template: &str, pattern: &str, path: &str) -> String {
    filled(template, |name| value_of(name, pattern, path))
}

/// A template with values for its parameters.
fn filled<'v>(template: &str, value: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut path = String::with_capacity(template.len());
    for segment in template.split('/').skip(1) {
        path.push('/');
        let inner = segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
        match inner.map(|name| name.strip_prefix('*').unwrap_or(name)) {
            Some(name) => path.push_str(value(name).unwrap_or_default()),
            None => path.push_str(segment),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(strip: &str, add: &str) -> PathChange {
        PathChange::Prefix { strip: strip.to_owned(), add: add.to_owned() }
    }

    fn rewrite(template: &str) -> PathChange {
        PathChange::Rewrite(template.to_owned())
    }

    #[test]
    fn a_cookie_for_the_path_of_one_parameter_is_not_for_that_of_another() {
        let change = rewrite("/v2/people/{name}/{rest}");
        for (own, public) in [
            ("/", "/users"),
            ("/v2", "/users"),
            ("/v2/people", "/users"),
            ("/v2/people/", "/users"),
            ("/v2/people/alice", "/users/alice"),
            ("/v2/people/alice/", "/users/alice"),
            ("/v2/people/alice/box/1", "/users/alice/box/1"),
        ] {
            let found = change.cookie_path_back("/users/{name}/{*rest}", own);
            assert_eq!(found.as_deref(), Some(public), "{own}");
        }
        let elsewhere = change.cookie_path_back("/users/{name}/{*rest}", "/other");
        assert_eq!(elsewhere, None);
    }

    #[test]
    fn a_path_changes_on_its_way_and_changes_back() {
        for (change, pattern, public, own) in [
            (prefix("/api", ""), "/api/{*rest}", "/api/x/y", "/x/y"),
            (prefix("/api", ""), "/api/{*rest}", "/api/", "/"),
            (prefix("", "/v2"), "/{*rest}", "/x", "/v2/x"),
            (prefix("", "/v2"), "/{*rest}", "/", "/v2/"),
            (prefix("/api", "/v2"), "/api/{*rest}", "/api/x", "/v2/x"),
            (prefix("/api", "/v2"), "/api", "/api", "/v2"),
            (rewrite("/v2/{rest}"), "/api/{*rest}", "/api/x/y/", "/v2/x/y/"),
            (rewrite("/{b}/{a}/z"), "/{a}/{b}", "/1/2", "/2/1/z"),
            (rewrite("/v2/{rest}"), "/api/{tenant}/{*rest}", "/api/acme/x", "/v2/x"),
            (rewrite("/{rest}"), "/api/{*rest}", "/api/", "/"),
        ] {
            assert_eq!(change.forward(pattern, public), own, "{change:?}");
            let back = change.back(pattern, public, own);
            assert_eq!(back.as_deref(), Some(public), "{change:?} {own}");
        }
        assert_eq!(prefix("/api", "").forward("/api", "/api"), "/");
    }

    #[test]
    fn only_what_the_route_leads_to_changes_back() {
        for (change, own, public) in [
            (prefix("/api", ""), "/login", Some("/api/login")),
            (prefix("/api", ""), "/api/login", None),
            (prefix("/api", ""), "/apis", Some("/api/apis")),
            (prefix("", "/v2"), "/v2", Some("/")),
            (prefix("", "/v2"), "/v2x", None),
            (prefix("", "/v2"), "/login", None),
            (prefix("/api", "/v2"), "/api/x", None),
            (rewrite("/v2/{rest}"), "/v2/login", Some("/api/login")),
            (rewrite("/v2/{rest}"), "/v2", None),
            (rewrite("/v2/{rest}"), "/v3/x", None),
        ] {
            assert_eq!(change.back("/api/{*rest}", "/api/x", own).as_deref(), public, "{own}");
        }
    }

    #[test]
    fn a_cookie_is_for_the_same_part_of_the_upstream() {
        for (change, own, public) in [
            (prefix("/api", ""), "/", Some("/api")),
            (prefix("/api", ""), "/x", Some("/api/x")),
            (prefix("/api", ""), "/api", None),
            (prefix("", "/v2"), "/v2", Some("/")),
            (prefix("", "/v2"), "/v2/", Some("/")),
            (prefix("", "/v2"), "/v2/x", Some("/x")),
            (prefix("", "/v2"), "/", Some("/")),
            (prefix("", "/v2"), "/x", None),
            (prefix("/api", "/v2"), "/", Some("/api")),
            (rewrite("/v2/{rest}"), "/v2/x", Some("/api/x")),
            (rewrite("/v2/{rest}"), "/", Some("/api")),
            (rewrite("/v2/{rest}"), "/x", None),
        ] {
            let found = change.cookie_path_back("/api/{*rest}", own);
            assert_eq!(found.as_deref(), public, "{change:?} {own}");
        }
    }
}
