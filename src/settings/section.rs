//! Reads one table by the declaration of its keys: each wrong value is a fault with its place, and
//! each unknown key and each missing one, too.

use std::time::Duration;

use super::Settings;
use super::describe::{Description, Key, Shape};
use super::fault::{Findings, below, nearest, quoted};
use super::typed::{Node, Table, Value};
use super::units::TimeSpan;

/// A table that is being read.
pub(crate) struct Section<'a> {
    findings: &'a Findings<'a>,
    /// The path of the table with the number of each table in its array, as in `route[0].require`;
    /// empty at the top.
    path: String,
    /// What a message calls it, as in `[[route]]`.
    label: String,
    /// Where it begins; none for the file.
    at: Option<usize>,
    table: &'a Table,
}

/// A value that was typed, and the key that it stands at.
pub(crate) struct Given<'a> {
    pub(crate) findings: &'a Findings<'a>,
    pub(crate) key: &'static str,
    pub(crate) node: &'a Node,
    /// The path of the key.
    path: String,
    /// The name that it stands at in the table of that key, where its keys are names.
    name: Option<String>,
    /// Whether it is an item of a list there.
    is_item: bool,
}

/// The keys of one table of an array, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row<T> {
    pub(crate) keys: T,
    /// As in `listener[0]`.
    pub(crate) path: String,
}

/// Reads a whole file.
pub(crate) fn read_file<T: Settings>(table: &Table, findings: &Findings<'_>) -> T {
    let label = "the file".to_owned();
    Section { findings, path: String::new(), label, at: None, table }.read()
}

impl Section<'_> {
    fn read<T: Settings>(self) -> T {
        let keys = T::read(&self);
        self.check_keys(&T::description());
        keys
    }

    /// What stands at a key.
    pub(super) fn given(&self, key: &'static str) -> Option<Given<'_>> {
        let node = self.node(key)?;
        let path = below(&self.path, key);
        let is_empty = matches!(&node.value, Value::Array(items) if items.is_empty());
        self.findings.note_given(path.clone(), node.at, is_empty);
        Some(Given { findings: self.findings, key, node, path, name: None, is_item: false })
    }

    /// A table of this table; where it is absent or none, with all defaults.
    pub(super) fn table<T: Settings + Default>(&self, key: &'static str) -> T {
        let Some(given) = self.given(key) else { return T::default() };
        let label = self.label_of(key);
        if let Value::Table(table) = &given.node.value {
            return self.child(given.path, label, given.node.at, table).read();
        }
        given.unfit(&format!("a table ({label})"), "");
        T::default()
    }

    /// The tables of an array, written as `[[key]]`; none where absent. `one_or_many`: it may be
    /// one table as well, but no empty array, and what it then must be.
    pub(super) fn tables<T: Settings>(
        &self,
        key: &'static str,
        one_or_many: Option<&str>,
    ) -> Vec<Row<T>> {
        let Some(given) = self.given(key) else { return Vec::new() };
        match (&given.node.value, one_or_many) {
            (Value::Table(table), Some(_)) => {
                let path = given.path.clone();
                let section = self.child(given.path, self.label_of(key), given.node.at, table);
                return vec![Row { keys: section.read(), path }];
            }
            (Value::Array(items), Some(what)) if items.is_empty() => {
                given.fault(&format!("must be {what}, found an empty array"));
            }
            (Value::Array(items), _) => return self.rows(key, items),
            (_, Some(what)) => given.unfit(what, ""),
            (_, None) => {
                given.unfit(&format!("a list of tables (each begins with [[{key}]])"), "");
            }
        }
        Vec::new()
    }

    fn rows<T: Settings>(&self, key: &'static str, items: &[Node]) -> Vec<Row<T>> {
        let label = if self.path.is_empty() { format!("[[{key}]]") } else { self.label_of(key) };
        let mut rows = Vec::with_capacity(items.len());
        for (number, Node { at, value }) in items.iter().enumerate() {
            let path = format!("{}[{number}]", below(&self.path, key));
            match value {
                Value::Table(table) => {
                    self.findings.note_given(path.clone(), *at, false);
                    let section = self.child(path.clone(), label.clone(), *at, table);
                    rows.push(Row { keys: section.read(), path });
                }
                Value::Broken => {}
                other => {
                    let found = other.describe();
                    let message = format!("each item of {key:?} must be a table, found {found}");
                    self.findings.fault(Some(*at), message);
                }
            }
        }
        rows
    }

    fn child<'c>(
        &'c self,
        path: String,
        label: String,
        at: usize,
        table: &'c Table,
    ) -> Section<'c> {
        Section { findings: self.findings, path, label, at: Some(at), table }
    }

    fn label_of(&self, key: &str) -> String {
        if self.path.is_empty() { format!("[{key}]") } else { format!("{key} of {}", self.label) }
    }

    fn node(&self, key: &str) -> Option<&Node> {
        self.table.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Reports unknown keys, missing ones, and those that do not go together.
    fn check_keys(&self, description: &Description) {
        let known = || description.keys.iter().map(|key| key.name);
        let is_unknown = |name: &str| known().all(|known| known != name);
        for entry in self.table.entries.iter().filter(|entry| is_unknown(&entry.key)) {
            let name = quoted(&entry.key);
            let message = match nearest(&entry.key, known()) {
                Some(meant) => {
                    self.findings.note_slip(below(&self.path, meant));
                    format!("unknown key {name}; did you mean {meant:?}?")
                }
                None => format!(
                    "unknown key {name} in {}; known are {}",
                    self.label,
                    known().collect::<Vec<_>>().join(", ")
                ),
            };
            self.findings.fault(Some(entry.at), message);
        }
        for key in &description.keys {
            self.check_rules(key, description);
        }
    }

    fn check_rules(&self, key: &Key, description: &Description) {
        let Key { name, rules, .. } = key;
        let is_given = |name: &str| self.node(name).is_some();
        let fault = |message| {
            let place = self.findings.place(&below(&self.path, name));
            self.findings.fault(place, message);
        };
        let mut with = String::new();
        if let Some((other, word)) = rules.only_with {
            let Some(actual) = self.word(description.key(other)) else { return };
            if actual != word {
                if is_given(name) {
                    fault(format!(
                        "{name:?} is for {other:?} {word:?}, and {other:?} is {actual:?}"
                    ));
                }
                return;
            }
            with = format!("with {other:?} {word:?} ");
        }
        if !is_given(name) {
            if rules.is_required && !self.findings.is_slip(&below(&self.path, name)) {
                let (label, what) = (&self.label, key.shape.what());
                let message = format!("missing key {name:?} in {label}: {with}it must be {what}");
                self.findings.fault(self.at, message);
            }
            return;
        }
        if let Some((other, words)) = rules.useless_with
            && let Some(actual) = self.word(description.key(other))
            && let Some((_, why)) = words.iter().find(|(word, _)| *word == actual)
        {
            fault(format!("{name:?} is of no use here: {why}"));
        }
        if let Some((order, other)) = rules.compared
            && let Some(own) = self.duration(Some(key))
            && let Some(theirs) = self.duration(description.key(other))
            && !order.holds(own, theirs)
        {
            fault(format!("{name:?} must {} {other:?}", order.words()));
        }
        if let Some(other) = rules.excludes
            && is_given(other)
        {
            fault(format!("either {other:?} or {name:?}, not both"));
        }
        if !rules.needs.is_empty() && !rules.needs.iter().any(|needed| is_given(needed)) {
            let needed: Vec<_> = rules.needs.iter().map(|needed| format!("{needed:?}")).collect();
            fault(format!("{name:?} needs {}", needed.join(" or ")));
        }
    }

    /// The duration at a key, or its default.
    fn duration(&self, key: Option<&Key>) -> Option<Duration> {
        self.word(key)?.parse().ok().map(|TimeSpan(duration)| duration)
    }

    /// The text at a key, or its default; none where what was typed is not allowed there.
    fn word<'k>(&'k self, key: Option<&'k Key>) -> Option<&'k str> {
        let key = key?;
        match self.node(key.name).map(|node| &node.value) {
            None => key.default.as_deref().map(|default| default.trim_matches('"')),
            Some(_) if self.findings.is_wrong(&below(&self.path, key.name)) => None,
            Some(Value::Text { value, .. }) => Some(value),
            Some(_) => None,
        }
    }
}

impl Given<'_> {
    /// An item of the list that stands there.
    pub(crate) fn item<'n>(&'n self, node: &'n Node) -> Given<'n> {
        let (path, name) = (self.path.clone(), self.name.clone());
        Given { findings: self.findings, key: self.key, node, path, name, is_item: true }
    }

    /// What stands at a name of the table that stands there.
    pub(super) fn named<'n>(&'n self, name: &str, node: &'n Node) -> Given<'n> {
        let (path, name) = (below(&self.path, name), Some(name.to_owned()));
        Given { findings: self.findings, key: self.key, node, path, name, is_item: false }
    }

    /// Reads the table that stands here; `None`: it is none. `label`: what a message calls it.
    pub(crate) fn table<T: Settings>(&self, label: &str) -> Option<T> {
        let Value::Table(table) = &self.node.value else { return None };
        // By its place in the file, as an item has no number.
        let path = format!("{}@{}", self.path, self.node.at);
        let (label, at) = (label.to_owned(), Some(self.node.at));
        Some(Section { findings: self.findings, path, label, at, table }.read())
    }

    /// Reads a string; what it is not is reported.
    pub(super) fn parsed<T>(
        &self,
        shape: &Shape,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = match &self.node.value {
            Value::Text { value, .. } => parse(value),
            _ => Err(String::new()),
        };
        parsed.map_err(|reason| self.unfit(&shape.what(), &reason)).ok()
    }

    /// Reports that it must be something else; the reason may be empty.
    pub(crate) fn unfit(&self, what: &str, reason: &str) {
        self.findings.note_wrong(&self.path);
        if !matches!(self.node.value, Value::Broken) {
            let colon = if reason.is_empty() { "" } else { ": " };
            let found = self.node.value.describe();
            self.fault(&format!("must be {what}, found {found}{colon}{reason}"));
        }
    }

    /// Reports what is wrong with it, in words that follow its name.
    pub(crate) fn fault(&self, words: &str) {
        let of = if self.is_item { "each item of " } else { "" };
        self.findings.note_wrong(&self.path);
        let key = match &self.name {
            Some(name) => format!("{} of {:?}", quoted(name), self.key),
            None => format!("{:?}", self.key),
        };
        self.findings.fault(Some(self.node.at), format!("{of}{key} {words}"));
    }

    /// Reports why what it names cannot be used.
    pub(crate) fn fault_because(&self, reason: &str) {
        self.findings.note_wrong(&self.path);
        self.findings.fault(Some(self.node.at), format!("{:?}: {reason}", self.key));
    }

    /// Reports what is allowed, but is probably a mistake.
    pub(crate) fn warn(&self, reason: &str) {
        self.findings.warn(Some(self.node.at), format!("{:?}: {reason}", self.key));
    }
}
