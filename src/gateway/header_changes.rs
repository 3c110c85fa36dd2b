//! Changes of header fields that a route makes: of requests before the upstream, of answers before
//! the client. What keyward itself says or reads has other names: the configuration refuses those.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::wire::fields::are_alike;

/// What a route changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteHeaderChanges {
    /// In requests, before the upstream. Their values may be credentials, and are marked so.
    pub request: HeaderChanges,
    /// In answers, before the client.
    pub response: HeaderChanges,
}

/// Changes of the fields of one head: removed first, then set, then added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// These are removed.
    pub remove: Vec<HeaderName>,
    /// These take the place of what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// These come behind what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl RouteHeaderChanges {
    /// Each in words, without its value.
    pub(super) fn described(&self) -> Vec<String> {
        let of = |whose: &str, changes: &HeaderChanges| -> Vec<String> {
            changes.described().iter().map(|change| format!("{whose}: {change}")).collect()
        };
        [of("requests", &self.request), of("answers", &self.response)].concat()
    }
}

impl HeaderChanges {
    /// Changes a head. What is removed or set goes in every spelling, `_` for `-` too: some servers
    /// read those as one name.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for name in self.remove.iter().chain(self.set.iter().map(|(name, _)| name)) {
            let is_it = |other: &&HeaderName| are_alike(other.as_str(), name.as_str());
            while let Some(other) = headers.keys().find(is_it).cloned() {
                headers.remove(other);
            }
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }

    /// Changes the head of an answer of keyward's own, of which every field that is there stays:
    /// a refusal says itself what it is, and that it is not to be stored.
    pub(super) fn complete(&self, headers: &mut HeaderMap) {
        let is_free: Vec<bool> =
            self.set.iter().chain(&self.add).map(|(name, _)| !headers.contains_key(name)).collect();
        let (set, add) = is_free.split_at(self.set.len());
        for ((name, value), _) in self.set.iter().zip(set).filter(|(_, is_free)| **is_free) {
            headers.insert(name, value.clone());
        }
        for ((name, value), _) in self.add.iter().zip(add).filter(|(_, is_free)| **is_free) {
            headers.append(name, value.clone());
        }
    }

    /// Each in words, without its value.
    fn described(&self) -> Vec<String> {
        let removed = self.remove.iter().map(|name| format!("removes {name}"));
        let set = self.set.iter().map(|(name, _)| format!("sets {name}"));
        let added = self.add.iter().map(|(name, _)| format!("adds {name}"));
        removed.chain(set).chain(added).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field((name, value): (&'static str, &'static str)) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    }

    fn changes() -> HeaderChanges {
        HeaderChanges {
            remove: vec![HeaderName::from_static("server"), HeaderName::from_static("x-both")],
            set: vec![field(("cache-control", "public")), field(("x-both", "new"))],
            add: vec![field(("x-both", "more")), field(("vary", "x"))],
        }
    }

    fn changed(by: impl Fn(&HeaderChanges, &mut HeaderMap)) -> Vec<(String, String)> {
        let before =
            [("server", "a"), ("cache-control", "no-store"), ("vary", "origin"), ("x-both", "old")];
        let mut headers: HeaderMap = before.into_iter().map(field).collect();
        by(&changes(), &mut headers);
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        let mut all: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        all.sort();
        all
    }

    fn expect(found: &[(String, String)], expected: &[(&str, &str)]) {
        let found: Vec<_> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let found = changed(HeaderChanges::apply);
        expect(
            &found,
            &[
                ("cache-control", "public"),
                ("vary", "origin"),
                ("vary", "x"),
                ("x-both", "more"),
                ("x-both", "new"),
            ],
        );
    }

    #[test]
    fn no_other_spelling_of_what_is_removed_or_set_stays() {
        let mut headers: HeaderMap =
            [("x_both", "a"), ("server", "b"), ("cache_control", "c"), ("vary_", "d")]
                .into_iter()
                .map(field)
                .collect();
        changes().apply(&mut headers);
        for name in ["x_both", "server", "cache_control"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert!(headers.contains_key("vary_"));
    }

    #[test]
    fn what_an_answer_of_keywards_own_says_itself_stays() {
        let found = changed(HeaderChanges::complete);
        expect(
            &found,
            &[
                ("cache-control", "no-store"),
                ("server", "a"),
                ("vary", "origin"),
                ("x-both", "old"),
            ],
        );
    }
}
