//! Messages of HTTP as the tests see them, of both versions, and why one could not be read.

use std::fmt;

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The peer closed (or reset) the connection before the first byte of the message.
    Closed,
    /// The peer closed (or reset) the connection in the middle of the message.
    Truncated(String),
    /// The message is not HTTP/1.1 as the RFC has it.
    Malformed(String),
    /// The deadline passed.
    Late(String),
}

/// The fields of a head or of a trailer section, in order and as they came.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) Vec<(String, Vec<u8>)>);

impl Fields {
    /// Every value of `name`, whatever its case.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let same = |found: &&(String, Vec<u8>)| found.0.eq_ignore_ascii_case(name);
        self.0
            .iter()
            .filter(same)
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The value of `name` if there is exactly one such field.
    pub(crate) fn one(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        if all.len() == 1 { all.pop() } else { None }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found.eq_ignore_ascii_case(name))
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |(name, value): &(String, Vec<u8>)| {
            format!("{name}: {}", String::from_utf8_lossy(value))
        };
        f.debug_list().entries(self.0.iter().map(text)).finish()
    }
}

/// A request as the upstream received it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Which connection of the upstream it came on, counted from 0.
    pub(crate) connection: usize,
    /// Which request of that connection it was, counted from 0.
    pub(crate) nth: usize,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
}

/// A response as the client received it.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// The body ended where the connection did.
    pub(crate) until_close: bool,
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.version, self.status)?;
        for (name, value) in &self.fields.0 {
            writeln!(f, "{name}: {}", String::from_utf8_lossy(value))?;
        }
        write!(f, "\n{}", self.text())
    }
}
