//! What the declaration of a table says of its keys, as data: the reader checks with it, and the
//! reference and the JSON Schema are written from it.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::units::{ByteSize, TimeSpan};

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
    /// How its duration compares with that of another key.
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
    AtMost,
    Below,
    AtLeast,
}

/// What a value looks like.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Boolean,
    Integer(RangeInclusive<u64>),
    Duration(RangeInclusive<Duration>),
    /// In bytes, and what follows the range in a fault.
    Size(RangeInclusive<usize>, &'static str),
    /// `"off"`, or a string of this shape.
    OrOff(Box<Shape>),
    /// One of a closed set of strings.
    Words(Vec<&'static str>),
    /// A string; the words complete "must be …".
    Text(&'static str),
    /// A string or a table; the words complete "must be …".
    TextOrTable(&'static str, Description),
    List {
        item: Box<Shape>,
        is_filled: bool,
        is_unique: bool,
    },
    /// One item, or a list of them that is not empty.
    OneOrList(Box<Shape>),
    /// Claims and what they must be.
    Claims,
    /// A table whose keys are names of the operator's own: what they are, and the values.
    Named(&'static str, Box<Shape>),
    /// A value of one of these shapes.
    Either(Vec<Shape>),
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
    /// In words: completes "must be …".
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::Integer(range) => format!("an integer from {} to {}", range.start(), range.end()),
            Self::Duration(range) => {
                let (least, most) = (TimeSpan(*range.start()), TimeSpan(*range.end()));
                format!("a duration from \"{least}\" to \"{most}\"")
            }
            Self::Size(range, why) => {
                let (least, most) = (ByteSize::from(*range.start()), ByteSize::from(*range.end()));
                format!("a size from \"{least}\" to \"{most}\"{why}")
            }
            Self::OrOff(shape) => format!("{}, or \"off\"", shape.what()),
            Self::Words(words) => alternatives(words.iter().map(|word| format!("{word:?}"))),
            Self::Text(what) | Self::TextOrTable(what, _) => (*what).to_owned(),
            Self::List { item, .. } => format!("an array, each item {}", item.what()),
            Self::OneOrList(item) => format!("{}, or an array of those", item.what()),
            Self::Claims => "a table of claims, as in { typ = \"Bearer\" }".to_owned(),
            Self::Named(names, value) => {
                format!("a table whose keys are {names}, each {}", value.what())
            }
            Self::Either(shapes) => alternatives(shapes.iter().map(Self::what)),
            Self::Table(_) => "a table".to_owned(),
            Self::Tables(_) | Self::OneOrTables(_) => "a list of tables".to_owned(),
        }
    }

    /// The table or tables that it is.
    pub(crate) fn table(&self) -> Option<&Description> {
        match self {
            Self::Table(table)
            | Self::Tables(table)
            | Self::OneOrTables(table)
            | Self::TextOrTable(_, table) => Some(table),
            Self::List { item, .. } => item.table(),
            _ => None,
        }
    }
}

impl Description {
    pub(crate) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// As `a, b or c`.
pub(crate) fn alternatives(words: impl IntoIterator<Item = String>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}

/// The text of a doc comment: its lines joined, paragraphs kept apart by an empty line.
pub(crate) fn prose(comment: &str) -> String {
    let lines: Vec<_> = comment.lines().map(str::trim).collect();
    let paragraphs = lines.split(|line| line.is_empty()).map(|lines| lines.join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n").trim_end().to_owned()
}
