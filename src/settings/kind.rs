//! Kinds of values: what a value must be, and how it is read.

use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use super::describe::Shape;
use super::fault::{nearest, quoted};
use super::section::Given;
use super::typed::Value;
use super::units::{ByteSize, TimeSpan};

/// What a value must be.
pub(crate) trait Kind {
    type Value;

    /// In words: completes "must be …".
    fn what(&self) -> String;

    fn shape(&self) -> Shape;

    /// Reads a value; `None`: it is none of this kind, which has been reported.
    fn read(&self, given: &Given<'_>) -> Option<Self::Value>;

    /// How a value of this kind is written in the file.
    fn spell(&self, value: &Self::Value) -> String;
}

/// `true` or `false`.
pub(crate) struct Boolean;

/// A whole number.
pub(crate) struct Integer<N> {
    range: RangeInclusive<u64>,
    read_as: PhantomData<N>,
}

/// A duration, as in `"1h30m"`.
pub(crate) struct Span(RangeInclusive<Duration>);

/// A size in bytes, as in `"10MiB"`.
pub(crate) struct Size {
    range: RangeInclusive<usize>,
    why: &'static str,
}

/// One of a closed set of words, each with its meaning.
pub(crate) struct Words<T: 'static>(&'static [(&'static str, T)]);

/// A string with a meaning.
pub(crate) struct Text<T> {
    /// Completes "must be …".
    pub(crate) what: &'static str,
    /// Reads it, or says why not; an empty reason: `what` says it all.
    pub(crate) parse: fn(&str) -> Result<T, String>,
    /// The text of a value.
    pub(crate) show: fn(&T) -> String,
}

/// A password.
pub(crate) struct Password;

/// The path of a file or folder.
pub(crate) const PATH: Text<PathBuf> = path("a path");

pub(crate) const fn boolean() -> Boolean {
    Boolean
}

pub(crate) const fn integer<N>(range: RangeInclusive<u64>) -> Integer<N> {
    Integer { range, read_as: PhantomData }
}

pub(crate) const fn duration(range: RangeInclusive<Duration>) -> Span {
    Span(range)
}

pub(crate) const fn size(range: RangeInclusive<usize>) -> Size {
    Size { range, why: "" }
}

pub(crate) const fn words<T>(words: &'static [(&'static str, T)]) -> Words<T> {
    Words(words)
}

pub(crate) const fn text<T: Display>(
    what: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Text<T> {
    Text { what, parse, show: T::to_string }
}

/// A path; `what` says of what.
pub(crate) const fn path(what: &'static str) -> Text<PathBuf> {
    Text { what, parse: parse_path, show: |path| path.display().to_string() }
}

pub(crate) const fn password() -> Password {
    Password
}

/// Reads the path of a file or folder.
pub(crate) fn parse_path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("it is empty".to_owned()),
        _ if text.chars().any(char::is_control) => Err("it holds a control character".to_owned()),
        _ => Ok(PathBuf::from(text)),
    }
}

impl Size {
    /// `why` follows the range in a fault.
    pub(crate) const fn because(self, why: &'static str) -> Self {
        Self { why, ..self }
    }
}

impl Kind for Boolean {
    type Value = bool;

    fn what(&self) -> String {
        "true or false".to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Boolean
    }

    fn read(&self, given: &Given<'_>) -> Option<bool> {
        if let Value::Boolean(boolean) = given.node.value {
            return Some(boolean);
        }
        given.unfit(&self.what(), "");
        None
    }

    fn spell(&self, value: &bool) -> String {
        value.to_string()
    }
}

impl<N: TryFrom<u64> + Display> Kind for Integer<N> {
    type Value = N;

    fn what(&self) -> String {
        format!("an integer from {} to {}", self.range.start(), self.range.end())
    }

    fn shape(&self) -> Shape {
        Shape::Integer { least: *self.range.start(), most: *self.range.end() }
    }

    fn read(&self, given: &Given<'_>) -> Option<N> {
        if let Value::Integer { value: Some(value), .. } = given.node.value
            && let Ok(value) = u64::try_from(value)
            && self.range.contains(&value)
            && let Ok(value) = N::try_from(value)
        {
            return Some(value);
        }
        given.unfit(&self.what(), "");
        None
    }

    fn spell(&self, value: &N) -> String {
        value.to_string()
    }
}

impl Kind for Span {
    type Value = Duration;

    fn what(&self) -> String {
        let (least, most) = (TimeSpan(*self.0.start()), TimeSpan(*self.0.end()));
        format!("a duration from \"{least}\" to \"{most}\"")
    }

    fn shape(&self) -> Shape {
        Shape::Duration { least: *self.0.start(), most: *self.0.end() }
    }

    fn read(&self, given: &Given<'_>) -> Option<Duration> {
        given.parsed(&self.what(), |text| {
            let TimeSpan(duration) = text.parse()?;
            if !self.0.contains(&duration) {
                return Err(String::new());
            }
            given.note_word(text);
            Ok(duration)
        })
    }

    fn spell(&self, value: &Duration) -> String {
        format!("\"{}\"", TimeSpan(*value))
    }
}

impl Kind for Size {
    type Value = usize;

    fn what(&self) -> String {
        let (least, most) = (shown_size(*self.range.start()), shown_size(*self.range.end()));
        format!("a size from \"{least}\" to \"{most}\"{}", self.why)
    }

    fn shape(&self) -> Shape {
        let (ByteSize(least), ByteSize(most)) =
            (shown_size(*self.range.start()), shown_size(*self.range.end()));
        Shape::Size { least, most }
    }

    fn read(&self, given: &Given<'_>) -> Option<usize> {
        given.parsed(&self.what(), |text| {
            let ByteSize(bytes) = text.parse()?;
            let bytes = usize::try_from(bytes).ok();
            bytes.filter(|bytes| self.range.contains(bytes)).ok_or_else(String::new)
        })
    }

    fn spell(&self, value: &usize) -> String {
        format!("\"{}\"", shown_size(*value))
    }
}

fn shown_size(bytes: usize) -> ByteSize {
    ByteSize(u64::try_from(bytes).unwrap_or(u64::MAX))
}

impl<T: Copy + PartialEq> Kind for Words<T> {
    type Value = T;

    fn what(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| format!("{word:?}")).collect();
        match words.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }

    fn shape(&self) -> Shape {
        Shape::Words(self.0.iter().map(|(word, _)| *word).collect())
    }

    fn read(&self, given: &Given<'_>) -> Option<T> {
        given.parsed(&self.what(), |text| {
            let found = self.0.iter().find(|(word, _)| *word == text);
            if found.is_some() {
                given.note_word(text);
            }
            found.map(|(_, meaning)| *meaning).ok_or_else(|| {
                match nearest(text, self.0.iter().map(|(word, _)| *word)) {
                    Some(word) => format!("did you mean {word:?}?"),
                    None => String::new(),
                }
            })
        })
    }

    fn spell(&self, value: &T) -> String {
        let found = self.0.iter().find(|(_, meaning)| meaning == value);
        found.map(|(word, _)| format!("{word:?}")).unwrap_or_default()
    }
}

impl<T> Kind for Text<T> {
    type Value = T;

    fn what(&self) -> String {
        self.what.to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Text
    }

    fn read(&self, given: &Given<'_>) -> Option<T> {
        given.parsed(self.what, self.parse)
    }

    fn spell(&self, value: &T) -> String {
        quoted(&(self.show)(value))
    }
}

impl Kind for Password {
    type Value = Secret;

    fn what(&self) -> String {
        "a string, not empty and without control characters".to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Text
    }

    fn read(&self, given: &Given<'_>) -> Option<Secret> {
        match &given.node.value {
            Value::Text { value, .. } if !value.is_empty() && !value.contains(char::is_control) => {
                return Some(Secret::new(value.clone()));
            }
            Value::Broken => {}
            // What was typed may be the password in another type: it is not repeated.
            _ => given.fault(&format!("must be {}", self.what())),
        }
        None
    }

    fn spell(&self, _: &Secret) -> String {
        "\"[secret]\"".to_owned()
    }
}
