//! Reads one table key by key: each wrong value is a fault with its place, and each key that nobody
//! asked for is too.

mod values;

use super::fault::{Findings, nearest, quoted};
use super::file::{Node, Table, Value};

/// A table that is being read. Keys are taken out of it; when it goes out of scope it reports those
/// that are left (nobody knows them) and the required ones that were missing, so that no reader can
/// forget to.
///
/// A `take_…` falls back to the default where the key is absent, a `need_…` calls that a fault, a
/// `maybe_…` says `None`. All of them fall back after a wrong value, which has then been reported:
/// reading goes on to the next fault.
pub(super) struct Section<'a> {
    findings: &'a Findings<'a>,
    /// The path of the table without indexes, as in `route.require`; empty at the top.
    path: String,
    /// The same with the number of each table in its array, as in `route[0].require`.
    numbered_path: String,
    /// What a message calls it, as in `[[route]]`.
    label: String,
    at: Option<usize>,
    table: Table,
    /// Every key that was asked for, there or not.
    asked: Vec<Asked>,
    missing: Vec<(&'static str, String)>,
}

/// A key that was asked for.
struct Asked {
    key: &'static str,
    /// Where its value stands; none where it is absent.
    at: Option<usize>,
    /// Whether its value is an empty array.
    is_empty: bool,
}

/// A value and where it stands, for checks that compare one with another.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

/// A text, and where it comes from.
pub(super) struct Typed {
    pub(super) at: usize,
    pub(super) value: String,
    /// Whether the environment put something into it.
    pub(super) is_expanded: bool,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(findings: &'a Findings<'a>, table: Table) -> Self {
        Self {
            findings,
            path: String::new(),
            numbered_path: String::new(),
            label: "the file".to_owned(),
            at: None,
            table,
            asked: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Where this table begins; none for the file and for a table that is not there.
    pub(super) fn at(&self) -> Option<usize> {
        self.at
    }

    /// Where the value of a key that was asked for stands, or else the table.
    pub(super) fn place(&self, key: &str) -> Option<usize> {
        self.value_place(key).or(self.at)
    }

    /// Whether a key that was asked for was there, right or wrong.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.value_place(key).is_some()
    }

    /// Whether a key that was asked for says nothing: absent, or an empty array.
    pub(super) fn is_silent(&self, key: &str) -> bool {
        self.asked
            .iter()
            .filter(|asked| asked.key == key)
            .all(|asked| asked.at.is_none() || asked.is_empty)
    }

    /// Records a fault at the value of a key that was asked for.
    pub(super) fn fault(&self, key: &str, message: impl Into<String>) {
        self.findings.fault(self.place(key), message.into());
    }

    /// Records, at the value of a key that was asked for, what is allowed and yet probably not
    /// meant.
    pub(super) fn warn(&self, key: &str, message: impl Into<String>) {
        self.findings.warn(self.place(key), message.into());
    }

    /// Records that a key is missing, unless an unknown key was probably meant to be it.
    pub(super) fn miss(&mut self, key: &'static str, message: String) {
        self.missing.push((key, message));
    }

    /// A table of this table; where it is absent, an empty one, so that each of its keys takes its
    /// default.
    pub(super) fn table(&mut self, key: &'static str) -> Section<'a> {
        match self.pull(key) {
            Some(Node { at, value: Value::Table(table) }) => {
                self.child(key, None, self.table_label(key), Some(at), table)
            }
            Some(node) => {
                self.mismatch(key, &format!("a table ({})", self.table_label(key)), &node);
                self.child(key, None, self.table_label(key), None, Table::default())
            }
            None => self.child(key, None, self.table_label(key), None, Table::default()),
        }
    }

    /// A list of tables, written as `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        match self.pull(key) {
            Some(Node { value: Value::Array(items), .. }) => self.table_items(key, items),
            Some(node) => {
                self.mismatch(
                    key,
                    &format!("a list of tables (each begins with [[{key}]])"),
                    &node,
                );
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// One table or an array of them, not empty; none where absent.
    pub(super) fn table_or_tables(&mut self, key: &'static str, what: &str) -> Vec<Section<'a>> {
        match self.pull(key) {
            Some(Node { at, value: Value::Table(table) }) => {
                vec![self.child(key, None, self.table_label(key), Some(at), table)]
            }
            Some(Node { value: Value::Array(items), .. }) if !items.is_empty() => {
                self.table_items(key, items)
            }
            Some(node) => {
                let found = if matches!(node.value, Value::Array(_)) {
                    "an empty array"
                } else {
                    &node.value.describe()
                };
                if !matches!(node.value, Value::Broken) {
                    self.fault(key, format!("{key:?} must be {what}, found {found}"));
                }
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn table_items(&self, key: &'static str, items: Vec<Node>) -> Vec<Section<'a>> {
        items
            .into_iter()
            .enumerate()
            .filter_map(|(number, item)| self.table_item(key, number, item))
            .collect()
    }

    fn table_item(&self, key: &'static str, number: usize, item: Node) -> Option<Section<'a>> {
        let label = if self.path.is_empty() { format!("[[{key}]]") } else { self.table_label(key) };
        match item.value {
            Value::Table(table) => Some(self.child(key, Some(number), label, Some(item.at), table)),
            Value::Broken => None,
            other => {
                let found = other.describe();
                self.findings.fault(
                    Some(item.at),
                    format!("each item of {key:?} must be a table, found {found}"),
                );
                None
            }
        }
    }

    fn table_label(&self, key: &str) -> String {
        if self.path.is_empty() { format!("[{key}]") } else { format!("{key} of {}", self.label) }
    }

    /// `number`: of the table in the array `key`; none: it is no array.
    fn child(
        &self,
        key: &str,
        number: Option<usize>,
        label: String,
        at: Option<usize>,
        table: Table,
    ) -> Section<'a> {
        let mut numbered_path = self.numbered(key);
        if let Some(number) = number {
            numbered_path.push_str(&format!("[{number}]"));
            if let Some(at) = at {
                self.findings.note_place(numbered_path.clone(), at);
            }
        }
        Section {
            findings: self.findings,
            path: if self.path.is_empty() {
                key.to_owned()
            } else {
                format!("{}.{key}", self.path)
            },
            numbered_path,
            label,
            at,
            table,
            asked: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// The path of a key with the numbers of tables.
    fn numbered(&self, key: &str) -> String {
        if self.numbered_path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.numbered_path)
        }
    }

    fn value_place(&self, key: &str) -> Option<usize> {
        self.asked.iter().find(|asked| asked.key == key).and_then(|asked| asked.at)
    }

    /// Takes a key out and remembers that it is known.
    fn pull(&mut self, key: &'static str) -> Option<Node> {
        #[cfg(test)]
        {
            let dot = if self.path.is_empty() { "" } else { "." };
            self.findings.asked.borrow_mut().insert(format!("{}{dot}{key}", self.path));
        }
        let found = self.table.entries.iter().position(|entry| entry.key == key);
        let node = found.map(|index| self.table.entries.remove(index).node);
        if let Some(node) = &node {
            self.findings.note_place(self.numbered(key), node.at);
        }
        self.asked.push(Asked {
            key,
            at: node.as_ref().map(|node| node.at),
            is_empty: matches!(&node, Some(Node { value: Value::Array(items), .. }) if items.is_empty()),
        });
        node
    }

    /// All keys below one: whoever takes a table as it was typed asks for every one of them.
    #[cfg(test)]
    fn note_asked(&self, below: &str, table: &Table) {
        let dot = if self.path.is_empty() { "" } else { "." };
        for entry in &table.entries {
            let path = format!("{below}.{}", entry.key);
            if let Value::Table(table) = &entry.node.value {
                self.note_asked(&path, table);
            }
            self.findings.asked.borrow_mut().insert(format!("{}{dot}{path}", self.path));
        }
    }

    fn mismatch(&self, key: &str, what: &str, node: &Node) {
        if !matches!(node.value, Value::Broken) {
            self.fault(key, format!("{key:?} must be {what}, found {}", node.value.describe()));
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        for entry in std::mem::take(&mut self.table.entries) {
            let known = || self.asked.iter().map(|asked| asked.key);
            let name = quoted(&entry.key);
            let meant = nearest(&entry.key, known());
            let message = match meant {
                Some(meant) => format!("unknown key {name}; did you mean {meant:?}?"),
                None => format!(
                    "unknown key {name} in {}; known are {}",
                    self.label,
                    known().collect::<Vec<_>>().join(", ")
                ),
            };
            // A slip of the pen is one fault: the key it was meant to be is not missing as well.
            self.missing.retain(|(key, _)| Some(*key) != meant);
            self.findings.fault(Some(entry.at), message);
        }
        for (_, message) in std::mem::take(&mut self.missing) {
            self.findings.fault(self.at, message);
        }
    }
}
