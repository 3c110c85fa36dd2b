//! Path patterns, looked up by specificity: segment by segment, a literal before a parameter before
//! the rest, with a step back where the more specific way leads nowhere. Every set of patterns has
//! an order, so none conflicts with another; and a look-up visits each place at most once, whatever
//! a client asks for.

use crate::wire::path;

/// Values under path patterns.
#[derive(Debug)]
pub(super) struct PathTable<T> {
    root: Place<T>,
}

#[derive(Debug)]
struct Place<T> {
    /// Sorted by name.
    literals: Vec<(Box<str>, Place<T>)>,
    parameter: Option<Box<Place<T>>>,
    rest: Option<T>,
    here: Option<T>,
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Self { literals: Vec::new(), parameter: None, rest: None, here: None }
    }
}

impl<T> Default for PathTable<T> {
    fn default() -> Self {
        Self { root: Place::default() }
    }
}

impl<T: Default> PathTable<T> {
    /// The value under a pattern: `/literal/{parameter}/{*rest}`. What the parameters are called
    /// makes no difference.
    pub(super) fn entry(&mut self, pattern: &str) -> &mut T {
        let mut place = &mut self.root;
        for segment in pattern.split('/').skip(1) {
            if segment.starts_with("{*") {
                return place.rest.get_or_insert_default();
            }
            place = if segment.starts_with('{') {
                place.parameter.get_or_insert_default()
            } else {
                place.literal(segment)
            };
        }
        place.here.get_or_insert_default()
    }
}

impl<T> Place<T> {
    fn literal(&mut self, segment: &str) -> &mut Self {
        let at = match self.literals.binary_search_by(|(name, _)| (**name).cmp(segment)) {
            Ok(at) => at,
            Err(at) => {
                self.literals.insert(at, (segment.into(), Self::default()));
                at
            }
        };
        #[expect(clippy::indexing_slicing, reason = "found or just put there")]
        &mut self.literals[at].1
    }

    /// `path` is the rest of the path, without the slash before it; `None` at the end of the path.
    fn find(&self, path: Option<&str>) -> Option<&T> {
        let Some(path) = path else { return self.here.as_ref() };
        let (segment, rest) = match path.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        let literal = self.literals.binary_search_by(|(name, _)| (**name).cmp(segment)).ok();
        literal
            .and_then(|at| self.literals.get(at))
            .and_then(|(_, place)| place.find(rest))
            .or_else(|| {
                self.parameter
                    .as_ref()
                    .filter(|_| !segment.is_empty())
                    .and_then(|place| place.find(rest))
            })
            .or(self.rest.as_ref())
    }
}

impl<T> PathTable<T> {
    /// The value under exactly this pattern, whatever its parameters are called.
    pub(super) fn get(&self, pattern: &str) -> Option<&T> {
        let mut place = &self.root;
        for segment in pattern.split('/').skip(1) {
            if segment.starts_with("{*") {
                return place.rest.as_ref();
            }
            place = if segment.starts_with('{') {
                place.parameter.as_deref()?
            } else {
                let at = place.literals.binary_search_by(|(name, _)| (**name).cmp(segment)).ok()?;
                &place.literals.get(at)?.1
            };
        }
        place.here.as_ref()
    }

    /// The value under the most specific pattern that matches a path in normal form.
    pub(super) fn find(&self, path: &str) -> Option<&T> {
        self.root.find(Some(path.strip_prefix('/')?))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&str]) -> PathTable<String> {
        let mut table = PathTable::default();
        for pattern in patterns {
            (*pattern).clone_into(table.entry(pattern));
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
    fn parameters_are_named_by_their_own_pattern() {
        let found: Vec<_> = parameters("/x/{a}/y/{b}/{*rest}", "/x/1/y/2/3/4").collect();
        assert_eq!(found, [("a", "1"), ("b", "2")]);
    }
}
