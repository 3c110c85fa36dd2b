//! Path patterns, looked up by specificity: segment by segment, a literal before a parameter before
//! the rest, with a step back where the more specific way leads nowhere. No two patterns conflict,
//! and a look-up visits each node at most once, whatever a client asks for.

use crate::wire::path;

/// Values under path patterns: a tree with a node for each segment.
#[derive(Debug)]
pub(super) struct PathTable<T> {
    /// Sorted by name.
    literals: Vec<(Box<str>, Self)>,
    parameter: Option<Box<Self>>,
    /// The value of the pattern that takes the rest of the path from this node on.
    rest: Option<T>,
    /// The value of the pattern that ends at this node.
    end: Option<T>,
}

impl<T> Default for PathTable<T> {
    fn default() -> Self {
        Self { literals: Vec::new(), parameter: None, rest: None, end: None }
    }
}

impl<T> PathTable<T> {
    /// The place of a pattern's value: `/literal/{parameter}/{*rest}`. What the parameters are
    /// called makes no difference.
    pub(super) fn slot(&mut self, pattern: &str) -> &mut Option<T> {
        let mut node = self;
        for segment in pattern.split('/').skip(1) {
            if segment.starts_with("{*") {
                return &mut node.rest;
            }
            node = if segment.starts_with('{') {
                node.parameter.get_or_insert_default()
            } else {
                node.literal_or_insert(segment)
            };
        }
        &mut node.end
    }

    fn literal_or_insert(&mut self, segment: &str) -> &mut Self {
        let at = self.position(segment).unwrap_or_else(|at| {
            self.literals.insert(at, (segment.into(), Self::default()));
            at
        });
        #[expect(clippy::indexing_slicing, reason = "found or just put there")]
        &mut self.literals[at].1
    }

    /// The value under exactly this pattern, whatever its parameters are called.
    pub(super) fn get(&self, pattern: &str) -> Option<&T> {
        let mut node = self;
        for segment in pattern.split('/').skip(1) {
            if segment.starts_with("{*") {
                return node.rest.as_ref();
            }
            node = if segment.starts_with('{') {
                node.parameter.as_deref()?
            } else {
                node.literal(segment)?
            };
        }
        node.end.as_ref()
    }

    /// The value under the most specific pattern that matches a path in normal form.
    pub(super) fn find(&self, path: &str) -> Option<&T> {
        self.find_below(Some(path.strip_prefix('/')?))
    }

    /// `path` is the rest of the path, without the slash before it; `None` at the end of the path.
    fn find_below(&self, path: Option<&str>) -> Option<&T> {
        let Some(path) = path else { return self.end.as_ref() };
        let (segment, rest) = match path.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        let parameter = || self.parameter.as_deref().filter(|_| !segment.is_empty());
        self.literal(segment)
            .and_then(|node| node.find_below(rest))
            .or_else(|| parameter()?.find_below(rest))
            .or(self.rest.as_ref())
    }

    fn literal(&self, segment: &str) -> Option<&Self> {
        self.literals.get(self.position(segment).ok()?).map(|(_, node)| node)
    }

    fn position(&self, segment: &str) -> Result<usize, usize> {
        self.literals.binary_search_by(|(name, _)| (**name).cmp(segment))
    }
}

/// The values of a pattern's parameters in a path that it matches, with their names, in order. The
/// rest is none of them.
pub(super) fn parameters<'a>(
    pattern: &'a str,
    target: &'a str,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    pattern
        .split('/')
        .zip(target.split('/'))
        .filter_map(|(segment, value)| Some((path::parameter_name(segment)?, value)))
}

/// A path, split before what stands for the rest of a pattern, `{*rest}`: the slash before it is
/// the first character of the rest. A pattern without one has no rest.
pub(super) fn split_at_rest<'p>(pattern: &str, path: &'p str) -> (&'p str, &'p str) {
    let Some(before) = pattern.split('/').skip(1).position(|segment| segment.starts_with("{*"))
    else {
        return (path, "");
    };
    let at = path.match_indices('/').nth(before).map_or(path.len(), |(at, _)| at);
    path.split_at_checked(at).unwrap_or((path, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&str]) -> PathTable<String> {
        let mut table = PathTable::default();
        for pattern in patterns {
            *table.slot(pattern) = Some((*pattern).to_owned());
        }
        table
    }

    #[test]
    fn the_most_specific_pattern_wins_and_a_dead_end_is_left_again() {
        let all = [
            "/",
            "/{*rest}",
            "/a",
            "/a/{id}",
            "/a/{*rest}",
            "/a/{id}/x",
            "/{first}/x",
            "/{o}/{u}/api/v1",
            "/a/fixed/y",
            "/k/{o}/{u}/v1",
            "/k/{*rest}",
        ];
        let table = table(&all);
        for (path, pattern) in [
            ("/", "/"),
            ("/a", "/a"),
            ("/a/", "/a/{*rest}"),
            ("/a/7", "/a/{id}"),
            ("/a/7/x", "/a/{id}/x"),
            ("/a/7/z", "/a/{*rest}"),
            ("/a/fixed", "/a/{id}"),
            ("/a/fixed/y", "/a/fixed/y"),
            ("/a/fixed/x", "/a/{id}/x"),
            ("/b/x", "/{first}/x"),
            ("/b/x/", "/{*rest}"),
            ("/b/c/api/v1", "/{o}/{u}/api/v1"),
            ("/a/c/api/v1", "/a/{*rest}"),
            ("/k/o/u/v1", "/k/{o}/{u}/v1"),
            ("/k/o/u/v2", "/k/{*rest}"),
            ("/zzz", "/{*rest}"),
        ] {
            assert_eq!(table.find(path).map(String::as_str), Some(pattern), "{path}");
        }
    }

    #[test]
    fn what_no_pattern_matches_is_not_found() {
        let table = table(&["/a/{id}", "/b/{*rest}"]);
        for path in ["/", "/a", "/a/", "/a/1/2", "/b", "", "a"] {
            assert_eq!(table.find(path), None, "{path}");
        }
    }

    #[test]
    fn the_rest_begins_with_its_slash() {
        for (pattern, path, split) in [
            ("/{*rest}", "/a/b", ("", "/a/b")),
            ("/a/{*rest}", "/a//b", ("/a", "//b")),
            ("/a/{b}/{*rest}", "/a/1/", ("/a/1", "/")),
            ("/a/{b}", "/a/1", ("/a/1", "")),
            ("/a/{*rest}", "/a", ("/a", "")),
        ] {
            assert_eq!(split_at_rest(pattern, path), split, "{pattern} {path}");
        }
    }

    #[test]
    fn parameters_are_named_by_their_own_pattern() {
        let found: Vec<_> = parameters("/x/{a}/y/{b}/{*rest}", "/x/1/y/2/3/4").collect();
        assert_eq!(found, [("a", "1"), ("b", "2")]);
    }
}
