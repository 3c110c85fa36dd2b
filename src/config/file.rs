//! The first step of configuration: what was typed. TOML text becomes a tree in which every key and
//! value knows where it stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expand::{Environment, expand};
use super::fault::{Findings, quoted};

/// A table as it was typed, its entries in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// One key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key stands: a byte offset.
    pub(super) at: usize,
    pub(super) node: Node,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// A byte offset.
    pub(super) at: usize,
    pub(super) value: Value,
}

/// A value as it was typed.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A string after expansion; `typed` is what stood in the file if that differs.
    Text {
        value: String,
        typed: Option<String>,
    },
    /// An integer; `value` is none where it does not fit into 64 bits.
    Integer {
        value: Option<i64>,
        typed: String,
    },
    Float(String),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
    /// A string whose expansion failed. That has been reported: whoever reads it says no more.
    Broken,
}

/// Reads the text into a tree and expands its strings. A syntax error leaves nothing to read on.
pub(super) fn read(text: &str, env: Environment<'_>, findings: &Findings<'_>) -> Option<Table> {
    match DeTable::parse(text) {
        Ok(table) => Some(convert_table(table.into_inner(), env, findings)),
        Err(error) => {
            // Without a span the parser ran into the end of the text.
            let at = error.span().map_or(text.len(), |span| span.start);
            findings.fault(Some(at), format!("this is not TOML: {}", error.message()));
            None
        }
    }
}

fn convert_table(table: DeTable<'_>, env: Environment<'_>, findings: &Findings<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            at: key.span().start,
            key: key.into_inner().into_owned(),
            node: convert(value, env, findings),
        })
        .collect();
    entries.sort_by_key(|entry| entry.at);
    Table { entries }
}

fn convert(value: Spanned<DeValue<'_>>, env: Environment<'_>, findings: &Findings<'_>) -> Node {
    let at = value.span().start;
    let value = match value.into_inner() {
        DeValue::String(text) => match expand(&text, env) {
            Ok(None) => Value::Text { value: text.into_owned(), typed: None },
            Ok(Some(value)) => Value::Text { value, typed: Some(text.into_owned()) },
            Err(faults) => {
                for fault in faults {
                    findings.fault(Some(at), fault);
                }
                Value::Broken
            }
        },
        DeValue::Integer(integer) => Value::Integer {
            value: i64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            typed: integer.to_string(),
        },
        DeValue::Float(float) => Value::Float(float.as_str().to_owned()),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
        DeValue::Array(array) => {
            Value::Array(array.into_iter().map(|item| convert(item, env, findings)).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(table, env, findings)),
    };
    Node { at, value }
}

impl Value {
    /// What was found, for a message: `the integer 5`, `an array`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Text { value, typed } => match typed {
                Some(typed) => format!("{} (from {})", quoted(value), quoted(typed)),
                None => quoted(value),
            },
            Self::Integer { typed, .. } => format!("the integer {typed}"),
            Self::Float(typed) => format!("the number {typed}"),
            Self::Boolean(boolean) => format!("the boolean {boolean}"),
            Self::Datetime(typed) => format!("the date {typed}"),
            Self::Array(_) => "an array".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Broken => "a string".to_owned(),
        }
    }
}
