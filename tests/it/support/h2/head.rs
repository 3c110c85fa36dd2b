//! The field section of a request, as a test wants it.

use super::super::hpack;
use super::frames::{data, flag, frame, kind};

/// The fields of a request, pseudo-header fields among them, in the order in which they are sent.
#[derive(Clone)]
pub(crate) struct Head(Vec<hpack::RawField>);

impl Head {
    /// No field at all.
    pub(crate) fn empty() -> Self {
        Self(Vec::new())
    }

    /// A method and a path of `http://a.example`.
    pub(crate) fn new(method: &str, path: impl AsRef<[u8]>) -> Self {
        let head = Self::empty().with(":method", method).with(":scheme", "http");
        head.with(":path", path).with(":authority", "a.example")
    }

    pub(crate) fn get(path: impl AsRef<[u8]>) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: impl AsRef<[u8]>) -> Self {
        Self::new("POST", path)
    }

    /// Adds a field behind the others.
    pub(crate) fn with(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.0.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Removes every field of this name.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(found, _)| found != name.as_bytes());
        self
    }

    /// Gives the field of this name, wherever it is, another value.
    pub(crate) fn set(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for field in self.0.iter_mut().filter(|(found, _)| found == name.as_bytes()) {
            field.1 = value.as_ref().to_vec();
        }
        self
    }

    /// As a header block of literals.
    pub(crate) fn block(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(name, value)| hpack::literal(name, value)).collect()
    }

    /// In one HEADERS frame of this stream.
    pub(crate) fn frame(&self, stream: u32, flags: u8) -> Vec<u8> {
        frame(kind::HEADERS, flags, stream, self.block())
    }

    /// As a whole request without a body.
    pub(crate) fn whole(&self, stream: u32) -> Vec<u8> {
        self.frame(stream, flag::WHOLE)
    }

    /// As a whole request with this body.
    pub(crate) fn with_body(&self, stream: u32, body: impl AsRef<[u8]>) -> Vec<u8> {
        let head = self.frame(stream, flag::END_HEADERS);
        [head, data(stream, flag::END_STREAM, body)].concat()
    }
}
