//! Reads one table by the declaration of its keys: each wrong value is a fault with its place, and
//! each unknown key and each missing one, too.

use std::time::Duration;

use super::Settings;
use super::describe::{Description, Key};
use super::fault::{Findings, nearest, quoted};
use super::typed::{Node, Table, Value};
use super::units::TimeSpan;

/// A table that is being read: the declared keys are taken out of it, and what is left is unknown.
pub(crate) struct Section<'a> {
    findings: &'a Findings<'a>,
    /// The path of the table with the number of each table in its array, as in `route[0].require`;
    /// empty at the top.
    path: String,
    /// What a message calls it, as in `[[route]]`.
    label: String,
    /// Where it begins; none for the file.
    at: Option<usize>,
    table: Table,
}

/// A value that was typed, and the key that it stands at.
pub(crate) struct Given<'a> {
    pub(crate) findings: &'a Findings<'a>,
    pub(crate) key: &'static str,
    pub(crate) node: &'a Node,
    /// The path of the key.
    path: &'a str,
    /// Whether it is an item of a list at that key.
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
pub(crate) fn read_file<T: Settings>(table: Table, findings: &Findings<'_>) -> T {
    read_table(Section {
        findings,
        path: String::new(),
        label: "the file".to_owned(),
        at: None,
        table,
    })
}

fn read_table<T: Settings>(mut section: Section<'_>) -> T {
    let keys = T::read(&mut section);
    section.close(&T::description());
    keys
}

impl Section<'_> {
    /// Takes a key out, and hands its value on.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Given<'_>) -> Option<T>,
    ) -> Option<T> {
        let node = self.pull(key)?;
        let path = below(&self.path, key);
        let findings = self.findings;
        read(&Given { findings, key, node: &node, path: &path, is_item: false })
    }

    /// A table of this table; where it is absent or none, with all defaults.
    pub(super) fn table<T: Settings + Default>(&mut self, key: &'static str) -> T {
        let label = self.label_of(key);
        match self.pull(key) {
            Some(Node { at, value: Value::Table(table) }) => {
                read_table(self.child(below(&self.path, key), label, at, table))
            }
            Some(node) => {
                self.unfit(key, &node, &format!("a table ({label})"));
                T::default()
            }
            None => T::default(),
        }
    }

    /// A list of tables, written as `[[key]]`.
    pub(super) fn tables<T: Settings>(&mut self, key: &'static str) -> Vec<Row<T>> {
        match self.pull(key) {
            Some(Node { value: Value::Array(items), .. }) => self.rows(key, items),
            Some(node) => {
                let what = format!("a list of tables (each begins with [[{key}]])");
                self.unfit(key, &node, &what);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// One table or an array of them, not empty; none where absent. `what` completes "must be …".
    pub(super) fn one_or_tables<T: Settings>(
        &mut self,
        key: &'static str,
        what: &str,
    ) -> Vec<Row<T>> {
        match self.pull(key) {
            Some(Node { at, value: Value::Table(table) }) => {
                let path = below(&self.path, key);
                let section = self.child(path.clone(), self.label_of(key), at, table);
                vec![Row { keys: read_table(section), path }]
            }
            Some(Node { value: Value::Array(items), .. }) if !items.is_empty() => {
                self.rows(key, items)
            }
            Some(Node { at, value: Value::Array(_) }) => {
                let message = format!("{key:?} must be {what}, found an empty array");
                self.findings.fault(Some(at), message);
                Vec::new()
            }
            Some(node) => {
                self.unfit(key, &node, what);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn rows<T: Settings>(&self, key: &'static str, items: Vec<Node>) -> Vec<Row<T>> {
        let label = if self.path.is_empty() { format!("[[{key}]]") } else { self.label_of(key) };
        let mut rows = Vec::with_capacity(items.len());
        for (number, Node { at, value }) in items.into_iter().enumerate() {
            let path = format!("{}[{number}]", below(&self.path, key));
            match value {
                Value::Table(table) => {
                    self.findings.note_given(path.clone(), at, false);
                    let section = self.child(path.clone(), label.clone(), at, table);
                    rows.push(Row { keys: read_table(section), path });
                }
                Value::Broken => {}
                other => {
                    let found = other.describe();
                    let message = format!("each item of {key:?} must be a table, found {found}");
                    self.findings.fault(Some(at), message);
                }
            }
        }
        rows
    }

    fn child(&self, path: String, label: String, at: usize, table: Table) -> Self {
        Section { findings: self.findings, path, label, at: Some(at), table }
    }

    fn label_of(&self, key: &str) -> String {
        if self.path.is_empty() { format!("[{key}]") } else { format!("{key} of {}", self.label) }
    }

    fn pull(&mut self, key: &'static str) -> Option<Node> {
        let index = self.table.entries.iter().position(|entry| entry.key == key)?;
        let node = self.table.entries.remove(index).node;
        let says_nothing = matches!(&node.value, Value::Array(items) if items.is_empty());
        self.findings.note_given(below(&self.path, key), node.at, says_nothing);
        Some(node)
    }

    fn unfit(&self, key: &'static str, node: &Node, what: &str) {
        let (findings, path) = (self.findings, &below(&self.path, key));
        Given { findings, key, node, path, is_item: false }.unfit(what, "");
    }

    /// Reports unknown keys, missing ones, and those that do not go together.
    fn close(self, description: &Description) {
        let known = || description.keys.iter().map(|key| key.name);
        for entry in &self.table.entries {
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
            self.keep_rules(key, description);
        }
    }

    fn keep_rules(&self, key: &Key, description: &Description) {
        let Key { name, rules, .. } = key;
        let path = below(&self.path, name);
        let is_given = |name: &str| self.findings.is_given(&below(&self.path, name));
        let fault = |message| self.findings.fault(self.findings.place(&path), message);
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
            if rules.is_required && !self.findings.is_slip(&path) {
                let (label, what) = (&self.label, &key.what);
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
    fn word(&self, key: Option<&Key>) -> Option<String> {
        let path = below(&self.path, key?.name);
        if self.findings.is_given(&path) {
            return self.findings.word(&path);
        }
        key?.default.as_ref().map(|default| default.trim_matches('"').to_owned())
    }
}

/// The path of a key in a table.
fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl Given<'_> {
    /// An item of the list that stands there.
    pub(super) fn item<'n>(&'n self, node: &'n Node) -> Given<'n> {
        let Self { findings, key, path, .. } = self;
        Given { findings, key, node, path, is_item: true }
    }

    /// Reads a string; what it is not is reported, in words that complete "must be …".
    pub(crate) fn parsed<T>(
        &self,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = match &self.node.value {
            Value::Text { value, .. } => parse(value),
            _ => Err(String::new()),
        };
        parsed.map_err(|reason| self.unfit(what, &reason)).ok()
    }

    /// Reports that it must be something else; the reason may be empty.
    pub(crate) fn unfit(&self, what: &str, reason: &str) {
        self.findings.note_wrong(self.path);
        if !matches!(self.node.value, Value::Broken) {
            let colon = if reason.is_empty() { "" } else { ": " };
            let found = self.node.value.describe();
            self.fault(&format!("must be {what}, found {found}{colon}{reason}"));
        }
    }

    /// Reports what is wrong with it, in words that follow its name.
    pub(crate) fn fault(&self, words: &str) {
        let of = if self.is_item { "each item of " } else { "" };
        self.findings.note_wrong(self.path);
        self.findings.fault(Some(self.node.at), format!("{of}{:?} {words}", self.key));
    }

    /// Reports why what it names cannot be used.
    pub(crate) fn fault_because(&self, reason: &str) {
        self.findings.note_wrong(self.path);
        self.findings.fault(Some(self.node.at), format!("{:?}: {reason}", self.key));
    }

    /// Reports what is allowed and yet probably not meant.
    pub(crate) fn warn(&self, reason: &str) {
        self.findings.warn(Some(self.node.at), format!("{:?}: {reason}", self.key));
    }

    /// Notes its text, which is one that is allowed, for the rules of other keys.
    pub(super) fn note_word(&self, word: &str) {
        self.findings.note_word(self.path, word);
    }
}
