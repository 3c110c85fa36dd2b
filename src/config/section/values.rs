//! The values of a section: numbers, durations, sizes, words and lists of them.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Placed, Section, Typed};
use crate::config::fault::nearest;
use crate::config::file::{Entry, Node, Value};
use crate::config::settings::Secret;
use crate::config::units::{ByteSize, TimeSpan};

/// Turns a string into a value, or says why not.
pub(in crate::config) type Parse<T> = fn(&str) -> Result<T, String>;

impl Section<'_> {
    pub(in crate::config) fn take_bool(&mut self, key: &'static str, default: bool) -> bool {
        self.maybe_bool(key).unwrap_or(default)
    }

    pub(in crate::config) fn maybe_bool(&mut self, key: &'static str) -> Option<bool> {
        let node = self.pull(key)?;
        if let Value::Boolean(boolean) = node.value {
            return Some(boolean);
        }
        self.mismatch(key, "true or false", &node);
        None
    }

    pub(in crate::config) fn take_integer(
        &mut self,
        key: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> usize {
        let Some(node) = self.pull(key) else {
            return default;
        };
        let allowed = format!("an integer from {} to {}", range.start(), range.end());
        if let Value::Integer { value, .. } = &node.value
            && let Some(value) = value.and_then(|value| usize::try_from(value).ok())
            && range.contains(&value)
        {
            return value;
        }
        self.mismatch(key, &allowed, &node);
        default
    }

    pub(in crate::config) fn take_duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let allowed = format!(
            "a duration from \"{}\" to \"{}\"",
            TimeSpan(*range.start()),
            TimeSpan(*range.end())
        );
        let read = self.maybe_with(key, &allowed, |text| {
            let TimeSpan(duration) = text.parse()?;
            if range.contains(&duration) { Ok(duration) } else { Err(String::new()) }
        });
        read.unwrap_or(default)
    }

    /// A size in bytes.
    pub(in crate::config) fn take_size(
        &mut self,
        key: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> usize {
        self.take_size_for(key, default, range, "")
    }

    /// A size in bytes; `why` follows the range in a fault.
    pub(in crate::config) fn take_size_for(
        &mut self,
        key: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
        why: &str,
    ) -> usize {
        let shown = |bytes: &usize| ByteSize(u64::try_from(*bytes).unwrap_or(u64::MAX));
        let allowed =
            format!("a size from \"{}\" to \"{}\"{why}", shown(range.start()), shown(range.end()));
        let read = self.maybe_with(key, &allowed, |text| {
            let ByteSize(bytes) = text.parse()?;
            usize::try_from(bytes)
                .ok()
                .filter(|bytes| range.contains(bytes))
                .ok_or_else(String::new)
        });
        read.unwrap_or(default)
    }

    /// One of a closed set of words.
    pub(in crate::config) fn take_choice<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> T {
        self.maybe_choice(key, choices).unwrap_or(default)
    }

    fn maybe_choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let words = || choices.iter().map(|(word, _)| *word);
        self.maybe_with(key, &one_of(words()), |text| {
            let found = choices.iter().find(|(word, _)| *word == text);
            found.map(|(_, choice)| *choice).ok_or_else(|| match nearest(text, words()) {
                Some(word) => format!("did you mean {word:?}?"),
                None => String::new(),
            })
        })
    }

    /// A string with a meaning; `what` completes "must be …".
    pub(in crate::config) fn take_parsed<T>(
        &mut self,
        key: &'static str,
        default: T,
        what: &str,
        parse: Parse<T>,
    ) -> T {
        self.maybe_parsed(key, what, parse).unwrap_or(default)
    }

    pub(in crate::config) fn need_parsed<T>(
        &mut self,
        key: &'static str,
        what: &str,
        parse: Parse<T>,
    ) -> Option<T> {
        let read = self.maybe_parsed(key, what, parse);
        self.note_missing(key, what);
        read
    }

    pub(in crate::config) fn maybe_parsed<T>(
        &mut self,
        key: &'static str,
        what: &str,
        parse: Parse<T>,
    ) -> Option<T> {
        self.maybe_with(key, what, parse)
    }

    /// An array of strings, empty where absent; `what` describes one of them.
    pub(in crate::config) fn take_list<T>(
        &mut self,
        key: &'static str,
        what: &str,
        parse: Parse<T>,
    ) -> Vec<Placed<T>> {
        let Some(node) = self.pull(key) else {
            return Vec::new();
        };
        match node.value {
            Value::Array(items) => {
                items.into_iter().filter_map(|item| self.item(key, what, parse, &item)).collect()
            }
            _ => {
                self.mismatch(key, &format!("an array, each item {what}"), &node);
                Vec::new()
            }
        }
    }

    /// A string, or an array of strings that says something; `None` where absent. `what` describes
    /// one of them.
    pub(in crate::config) fn maybe_one_or_list<T>(
        &mut self,
        key: &'static str,
        what: &str,
        parse: Parse<T>,
    ) -> Option<Vec<Placed<T>>> {
        let node = self.pull(key)?;
        let items = match node.value {
            Value::Array(items) if items.is_empty() => {
                self.fault(
                    key,
                    format!("{key:?} must not be empty: list at least one item, each {what}"),
                );
                return Some(Vec::new());
            }
            Value::Array(items) => items,
            Value::Text { .. } | Value::Broken => vec![node],
            _ => {
                self.mismatch(key, &format!("{what}, or an array of those"), &node);
                return Some(Vec::new());
            }
        };
        Some(items.into_iter().filter_map(|item| self.item(key, what, parse, &item)).collect())
    }

    /// An array of strings that says something: `None` where absent, a fault where empty.
    pub(in crate::config) fn maybe_list<T>(
        &mut self,
        key: &'static str,
        what: &str,
        parse: Parse<T>,
    ) -> Option<Vec<Placed<T>>> {
        let list = self.take_list(key, what, parse);
        if self.is_given(key) && self.is_silent(key) {
            self.fault(
                key,
                format!("{key:?} must not be empty: list at least one item, each {what}"),
            );
        }
        self.is_given(key).then_some(list)
    }

    /// As [`Self::maybe_list`], and absent is a fault.
    pub(in crate::config) fn need_list<T>(
        &mut self,
        key: &'static str,
        what: &str,
        parse: Parse<T>,
    ) -> Vec<Placed<T>> {
        let list = self.maybe_list(key, what, parse);
        self.note_missing(key, &format!("an array, each item {what}"));
        list.unwrap_or_default()
    }

    /// A string or an array of strings, unread; `None` where absent. The texts may hold secrets: no
    /// fault repeats them.
    pub(in crate::config) fn maybe_texts(
        &mut self,
        key: &'static str,
        what: &str,
    ) -> Option<Vec<Typed>> {
        let node = self.pull(key)?;
        let (whose, nodes) = match node.value {
            Value::Array(items) => ("each item of ", items),
            _ => ("", vec![node]),
        };
        let texts = nodes.into_iter().filter_map(|node| match node.value {
            Value::Text { value, typed } => {
                Some(Typed { at: node.at, value, is_expanded: typed.is_some() })
            }
            Value::Broken => None,
            other => {
                let message = format!("{whose}{key:?} must be {what}, found {}", other.describe());
                self.findings.fault(Some(node.at), message);
                None
            }
        });
        Some(texts.collect())
    }

    /// A string that is a secret, not empty: no fault repeats it, whatever was typed.
    pub(in crate::config) fn maybe_secret(&mut self, key: &'static str) -> Option<Secret> {
        let node = self.pull(key)?;
        match node.value {
            Value::Text { value, .. } if !value.is_empty() && !value.contains(char::is_control) => {
                Some(Secret::new(value))
            }
            Value::Broken => None,
            _ => {
                self.fault(
                    key,
                    format!("{key:?} must be a string, not empty and without control characters"),
                );
                None
            }
        }
    }

    /// A table whose keys are the user's own: its entries as they were typed; `what` completes
    /// "must be …".
    pub(in crate::config) fn take_entries(&mut self, key: &'static str, what: &str) -> Vec<Entry> {
        let Some(node) = self.pull(key) else {
            return Vec::new();
        };
        match node.value {
            Value::Table(table) => {
                #[cfg(test)]
                self.note_asked(key, &table);
                table.entries
            }
            _ => {
                self.mismatch(key, what, &node);
                Vec::new()
            }
        }
    }

    fn maybe_with<T>(
        &mut self,
        key: &'static str,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.pull(key)?;
        let Value::Text { value, .. } = &node.value else {
            self.mismatch(key, what, &node);
            return None;
        };
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                let found = node.value.describe();
                self.fault(
                    key,
                    with_reason(format!("{key:?} must be {what}, found {found}"), &reason),
                );
                None
            }
        }
    }

    fn item<T>(&self, key: &str, what: &str, parse: Parse<T>, item: &Node) -> Option<Placed<T>> {
        let reason = match &item.value {
            Value::Text { value, .. } => match parse(value) {
                Ok(value) => return Some(Placed { at: item.at, value }),
                Err(reason) => reason,
            },
            Value::Broken => return None,
            _ => String::new(),
        };
        let message =
            format!("each item of {key:?} must be {what}, found {}", item.value.describe());
        self.findings.fault(Some(item.at), with_reason(message, &reason));
        None
    }

    fn note_missing(&mut self, key: &'static str, what: &str) {
        if !self.is_given(key) {
            let message = format!("missing key {key:?} in {}: it must be {what}", self.label);
            self.missing.push((key, message));
        }
    }
}

fn with_reason(message: String, reason: &str) -> String {
    if reason.is_empty() { message } else { format!("{message}: {reason}") }
}

fn one_of<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ")
}
