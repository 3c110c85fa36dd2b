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

    fn shape(&self) -> Shape;

    /// Reads a value; `None`: it is none of this kind, which has been reported.
    fn read(&self, given: &Given<'_>) -> Option<Self::Value>;

    /// How a value of this kind is written in the file.
    fn spell(&self, value: &Self::Value) -> String;
}

/// A kind whose values are written as a string.
pub(crate) trait Scalar: Kind {
    /// Reads a string, or says why not; an empty reason: the shape says it all.
    fn parse(&self, text: &str) -> Result<Self::Value, String>;
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

/// `"off"`, or a value of another kind.
pub(crate) struct OrOff<K>(K);

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

/// A string with a password in it, which no fault repeats.
pub(crate) struct Private<T> {
    /// Completes "must be …".
    pub(crate) what: &'static str,
    /// Reads it, or says why not without repeating anything of it; an empty reason: `what` says it
    /// all.
    pub(crate) parse: fn(&str) -> Result<T, String>,
    /// For an address as in `scheme://user:password@host`, whose password must come out of the
    /// environment: where to put one that stands there in clear. Completes "put it".
    pub(crate) advice: Option<&'static str>,
}

/// The path of a file or folder.
pub(crate) const PATH: Text<PathBuf> = path("a path");

/// A password, which may stand there in clear.
pub(crate) const PASSWORD: Private<Secret> = Private {
    what: "a string, not empty and without control characters",
    parse: |text| match text {
        "" => Err(String::new()),
        _ if text.contains(char::is_control) => Err(String::new()),
        _ => Ok(Secret::new(text.to_owned())),
    },
    advice: None,
};

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

/// `None`: `"off"`.
pub(crate) const fn or_off<K: Scalar>(kind: K) -> OrOff<K> {
    OrOff(kind)
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

    fn shape(&self) -> Shape {
        Shape::Boolean
    }

    fn read(&self, given: &Given<'_>) -> Option<bool> {
        if let Value::Boolean(boolean) = given.node.value {
            return Some(boolean);
        }
        given.unfit(&self.shape().what(), "");
        None
    }

    fn spell(&self, value: &bool) -> String {
        value.to_string()
    }
}

impl<N: TryFrom<u64> + Display> Kind for Integer<N> {
    type Value = N;

    fn shape(&self) -> Shape {
        Shape::Integer(self.range.clone())
    }

    fn read(&self, given: &Given<'_>) -> Option<N> {
        if let Value::Integer { value: Some(value), .. } = given.node.value
            && let Ok(value) = u64::try_from(value)
            && self.range.contains(&value)
            && let Ok(value) = N::try_from(value)
        {
            return Some(value);
        }
        given.unfit(&self.shape().what(), "");
        None
    }

    fn spell(&self, value: &N) -> String {
        value.to_string()
    }
}

impl Kind for Span {
    type Value = Duration;

    fn shape(&self) -> Shape {
        Shape::Duration(self.0.clone())
    }

    fn read(&self, given: &Given<'_>) -> Option<Duration> {
        given.parsed(&self.shape(), |text| self.parse(text))
    }

    fn spell(&self, value: &Duration) -> String {
        format!("\"{}\"", TimeSpan(*value))
    }
}

impl Scalar for Span {
    fn parse(&self, text: &str) -> Result<Duration, String> {
        let TimeSpan(duration) = text.parse()?;
        if self.0.contains(&duration) { Ok(duration) } else { Err(String::new()) }
    }
}

impl Kind for Size {
    type Value = usize;

    fn shape(&self) -> Shape {
        Shape::Size(self.range.clone(), self.why)
    }

    fn read(&self, given: &Given<'_>) -> Option<usize> {
        given.parsed(&self.shape(), |text| self.parse(text))
    }

    fn spell(&self, value: &usize) -> String {
        format!("\"{}\"", ByteSize::from(*value))
    }
}

impl Scalar for Size {
    fn parse(&self, text: &str) -> Result<usize, String> {
        let ByteSize(bytes) = text.parse()?;
        let bytes = usize::try_from(bytes).ok();
        bytes.filter(|bytes| self.range.contains(bytes)).ok_or_else(String::new)
    }
}

impl<K: Scalar> Kind for OrOff<K> {
    type Value = Option<K::Value>;

    fn shape(&self) -> Shape {
        Shape::OrOff(Box::new(self.0.shape()))
    }

    fn read(&self, given: &Given<'_>) -> Option<Self::Value> {
        given.parsed(&self.shape(), |text| match text {
            "off" => Ok(None),
            _ => self.0.parse(text).map(Some),
        })
    }

    fn spell(&self, value: &Self::Value) -> String {
        value.as_ref().map_or_else(|| "\"off\"".to_owned(), |value| self.0.spell(value))
    }
}

impl<T: Copy + PartialEq> Kind for Words<T> {
    type Value = T;

    fn shape(&self) -> Shape {
        Shape::Words(self.0.iter().map(|(word, _)| *word).collect())
    }

    fn read(&self, given: &Given<'_>) -> Option<T> {
        given.parsed(&self.shape(), |text| {
            let found = self.0.iter().find(|(word, _)| *word == text);
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

    fn shape(&self) -> Shape {
        Shape::Text(self.what)
    }

    fn read(&self, given: &Given<'_>) -> Option<T> {
        given.parsed(&self.shape(), self.parse)
    }

    fn spell(&self, value: &T) -> String {
        quoted(&(self.show)(value))
    }
}

impl<T> Kind for Private<T> {
    type Value = T;

    fn shape(&self) -> Shape {
        Shape::Text(self.what)
    }

    fn read(&self, given: &Given<'_>) -> Option<T> {
        let (text, is_clear) = match &given.node.value {
            Value::Text { value, typed } => (value, typed.is_none()),
            // What was typed may be a password in another type.
            value if self.advice.is_none() && !matches!(value, Value::Broken) => {
                given.fault(&format!("must be {}", self.what));
                return None;
            }
            _ => {
                given.unfit(self.what, "");
                return None;
            }
        };
        let read = (self.parse)(text);
        match (&read, self.advice) {
            (Err(reason), _) if reason.is_empty() => {
                given.fault(&format!("must be {}", self.what));
            }
            (Err(reason), _) => given.fault(&format!("must be {}: {reason}", self.what)),
            (Ok(_), Some(advice)) if is_clear && holds_password(text) => {
                given.fault(&format!("holds a password in clear: put it {advice}"));
            }
            (Ok(_), _) => {}
        }
        read.ok()
    }

    fn spell(&self, _: &T) -> String {
        "\"[secret]\"".to_owned()
    }
}

/// Whether there is a password between the scheme and the host.
fn holds_password(text: &str) -> bool {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    let user_info = authority.rsplit_once('@').map_or("", |(user_info, _)| user_info);
    user_info.split_once(':').is_some_and(|(_, password)| !password.is_empty())
}
