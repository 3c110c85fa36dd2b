//! What was typed: a tree in which every key and value knows where it stands.

use super::fault::quoted;

/// A table as it was typed, its entries in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// One key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key stands: a byte offset.
    pub(crate) at: usize,
    pub(crate) node: Node,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// A byte offset.
    pub(crate) at: usize,
    pub(crate) value: Value,
}

/// A value as it was typed.
#[derive(Clone, Debug)]
pub(crate) enum Value {
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
    /// A string whose expansion failed. That has been reported: its reader reports nothing more.
    Broken,
}

impl Value {
    /// What was found, for a message: `the integer 5`, `an array`.
    pub(crate) fn describe(&self) -> String {
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
