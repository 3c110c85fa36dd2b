//! What the declaration of a table says of its keys, as data: the reader checks with it, and the
//! reference and the JSON Schema are written from it.

use std::time::Duration;

/// A table and its keys.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    /// What the table is for, in Markdown.
    pub(crate) text: String,
    /// In the order of the declaration.
    pub(crate) keys: Vec<Key>,
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// What it means, in Markdown.
    pub(crate) text: String,
    /// What its value must be: completes "must be …".
    pub(crate) what: String,
    pub(crate) shape: Shape,
    /// The default as it would be written in the file; none: absent means something of its own.
    pub(crate) default: Option<String>,
    pub(crate) rules: Rules,
}

/// How a key goes together with others of its table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// It must be there; with `only_with`, where that holds.
    pub(crate) is_required: bool,
    /// It is allowed only where another key has this value.
    pub(crate) only_with: Option<(&'static str, &'static str)>,
    /// How the duration that it is compares with that of another key.
    pub(crate) compared: Option<(Order, &'static str)>,
    /// It needs one of these beside it.
    pub(crate) needs: &'static [&'static str],
    /// It cannot stand beside this one.
    pub(crate) excludes: Option<&'static str>,
    /// It is of no use where another key has one of these values, each with the reason.
    pub(crate) useless_with: Option<(&'static str, &'static [(&'static str, &'static str)])>,
}

/// How one duration compares with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is not longer.
    AtMost,
    /// It is shorter.
    Below,
    /// It is not shorter.
    AtLeast,
}

/// What a value looks like.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Boolean,
    Integer {
        least: u64,
        most: u64,
    },
    Duration {
        least: Duration,
        most: Duration,
    },
    /// In bytes.
    Size {
        least: u64,
        most: u64,
    },
    /// One of a closed set of strings.
    Words(Vec<&'static str>),
    /// A string.
    Text,
    List {
        item: Box<Shape>,
        /// Whether it must have an item.
        is_filled: bool,
        /// Whether no item may stand in it twice.
        is_unique: bool,
    },
    /// One item, or a list of them that is not empty.
    OneOrList(Box<Shape>),
    /// Claims and what they must be.
    Claims,
    Table(Description),
    /// An array of tables.
    Tables(Description),
    /// A table, or an array of tables that is not empty.
    OneOrTables(Description),
}

impl Order {
    pub(super) fn holds(self, one: Duration, other: Duration) -> bool {
        match self {
            Self::AtMost => one <= other,
            Self::Below => one < other,
            Self::AtLeast => one >= other,
        }
    }

    /// In words: completes "it must".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::AtMost => "not be longer than",
            Self::Below => "be shorter than",
            Self::AtLeast => "not be shorter than",
        }
    }
}

impl Shape {
    /// The table or tables that it is.
    pub(crate) fn table(&self) -> Option<&Description> {
        match self {
            Self::Table(table) | Self::Tables(table) | Self::OneOrTables(table) => Some(table),
            _ => None,
        }
    }
}

impl Description {
    pub(crate) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// The text of a doc comment: its lines joined, paragraphs kept apart by an empty line.
pub(crate) fn prose(comment: &str) -> String {
    let mut text = String::new();
    for line in comment.lines().map(str::trim) {
        match line {
            "" => text.push_str("\n\n"),
            _ if text.is_empty() || text.ends_with('\n') => text.push_str(line),
            _ => {
                text.push(' ');
                text.push_str(line);
            }
        }
    }
    text.trim_end().to_owned()
}
