//! The codings, and one response's encoder.
//!
//! Levels and windows were measured (docs/performance.md): by the next levels, bodies get a few
//! hundredths smaller for half as much time again or more, and the windows bound what an open
//! response holds.

use std::io;

use bytes::BytesMut;
use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::CParameter;
use compression_codecs::{BrotliEncoder, EncodeV2, GzipEncoder, ZstdEncoder};

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// How many there are.
    pub(super) const COUNT: usize = 3;

    /// As in `Content-Encoding`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// By its name in `Accept-Encoding`.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        // RFC 9110, section 8.4.1.3.
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Self::Gzip);
        }
        let mut all = [Self::Zstd, Self::Brotli, Self::Gzip].into_iter();
        all.find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
    }
}

/// Encodes one body.
pub(super) struct Encoder(Box<dyn EncodeV2>);

/// What is made room for at a time, in bytes.
const ROOM: usize = 8 * 1024;

impl Encoder {
    pub(super) fn new(coding: Coding) -> Self {
        Self(match coding {
            Coding::Zstd => {
                Box::new(ZstdEncoder::new_with_params(2, &[CParameter::window_log(18)]))
            }
            Coding::Brotli => {
                let params = EncoderParams::default().quality(Level::Precise(3));
                Box::new(BrotliEncoder::new(params.window_size(18).block_size(16)))
            }
            Coding::Gzip => Box::new(GzipEncoder::new(Level::Precise(3).into())),
        })
    }

    /// Takes all of `input`. What of it comes out is not all of it.
    pub(super) fn write(&mut self, input: &[u8], out: &mut BytesMut) -> io::Result<()> {
        let mut input = PartialBuffer::new(input);
        while !input.unwritten().is_empty() {
            into(out, |room| self.0.encode(&mut input, room))?;
        }
        Ok(())
    }

    /// Has everything come out that was taken.
    pub(super) fn flush(&mut self, out: &mut BytesMut) -> io::Result<()> {
        while !into(out, |room| self.0.flush(room))? {}
        Ok(())
    }

    /// Has the end come out. Nothing may be written afterwards.
    pub(super) fn finish(&mut self, out: &mut BytesMut) -> io::Result<()> {
        while !into(out, |room| self.0.finish(room))? {}
        Ok(())
    }
}

/// Makes room at the end of `out` for one step.
fn into<T>(
    out: &mut BytesMut,
    step: impl FnOnce(&mut WriteBuffer<'_>) -> io::Result<T>,
) -> io::Result<T> {
    let begin = out.len();
    out.resize(begin + ROOM, 0);
    let mut room = WriteBuffer::new_initialized(out.get_mut(begin..).unwrap_or_default());
    let outcome = step(&mut room);
    let written = room.written_len();
    out.truncate(begin + written);
    outcome
}
