//! Where a chunked body ends and what of it is data (RFC 9112, section 7.1), told strictly: no bare line feed, no white space,
//! no sign, no size over 2⁶³−1. It copies nothing: it finds the pieces and the end, so that what follows is not taken for part
//! of this message, and refuses what another reader could frame in another way.

/// Follows one body, byte by byte, however it is cut.
#[derive(Debug, Clone)]
pub struct ChunkScanner {
    state: State,
    /// Bytes of chunk extensions and trailers so far: bounded, as they carry nothing (cf. CVE-2023-39326).
    overhead: usize,
}

/// The most bytes of chunk extensions and trailer fields in one body.
pub const OVERHEAD_LIMIT: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    SizeStart,
    Size(u64),
    Extension { size: u64 },
    SizeLineFeed(u64),
    Data(u64),
    DataCarriageReturn,
    DataLineFeed,
    TrailerStart,
    TrailerName { empty: bool },
    TrailerValue,
    TrailerLineFeed,
    EndLineFeed,
    End,
}

/// The framing is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunked framing is broken")]
pub struct BrokenChunk;

/// How far a piece of input goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All of it belongs to the body, and more is to come.
    More,
    /// The body ends with this many bytes of it.
    End(usize),
}

/// What the next bytes of a body are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of sizes, extensions and line endings.
    Framing(usize),
    /// So many bytes of what the body says.
    Data(usize),
    /// So many bytes of trailer fields, the empty line behind them included.
    Trailers(usize),
    /// None: the body has ended.
    End,
}

impl Default for ChunkScanner {
    fn default() -> Self {
        Self { state: State::SizeStart, overhead: 0 }
    }
}

impl ChunkScanner {
    /// Follows the body through `input`.
    ///
    /// # Errors
    ///
    /// When the framing is not exactly RFC 9112's.
    pub fn feed(&mut self, input: &[u8]) -> Result<Progress, BrokenChunk> {
        let mut at = 0;
        loop {
            match self.next(input.get(at..).unwrap_or_default())? {
                None => return Ok(Progress::More),
                Some(Piece::End) => return Ok(Progress::End(at)),
                Some(Piece::Framing(length) | Piece::Data(length) | Piece::Trailers(length)) => at += length,
            }
        }
    }

    /// What `input` begins with, which is then behind us; `None`, if that takes more input.
    ///
    /// # Errors
    ///
    /// When the framing is not exactly RFC 9112's.
    pub fn next(&mut self, input: &[u8]) -> Result<Option<Piece>, BrokenChunk> {
        if self.state == State::End {
            return Ok(Some(Piece::End));
        }
        if input.is_empty() {
            return Ok(None);
        }
        if let State::Data(left) = self.state {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
            self.state = match left - step as u64 {
                0 => State::DataCarriageReturn,
                left => State::Data(left),
            };
            return Ok(Some(Piece::Data(step)));
        }
        let is_behind_the_data = self.is_in_trailers();
        let mut length = 0;
        for &byte in input {
            self.state = self.step(byte)?;
            length += 1;
            if matches!(self.state, State::Data(_) | State::End) || self.is_in_trailers() != is_behind_the_data {
                break;
            }
        }
        Ok(Some(if is_behind_the_data { Piece::Trailers(length) } else { Piece::Framing(length) }))
    }

    fn is_in_trailers(&self) -> bool {
        matches!(
            self.state,
            State::TrailerStart
                | State::TrailerName { .. }
                | State::TrailerValue
                | State::TrailerLineFeed
                | State::EndLineFeed
                | State::End
        )
    }

    fn step(&mut self, byte: u8) -> Result<State, BrokenChunk> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        Ok(match (self.state, byte) {
            (State::SizeStart, _) => State::Size(digit.ok_or(BrokenChunk)?),
            (State::Size(size), b'\r') => State::SizeLineFeed(size),
            (State::Size(size), b';') => State::Extension { size },
            (State::Size(size), _) => {
                let digit = digit.ok_or(BrokenChunk)?;
                if size >> 59 != 0 {
                    return Err(BrokenChunk);
                }
                State::Size(size << 4 | digit)
            }
            (State::Extension { size }, b'\r') => State::SizeLineFeed(size),
            (State::Extension { size }, byte) if is_field_content(byte) => {
                self.spend()?;
                State::Extension { size }
            }
            (State::SizeLineFeed(0), b'\n') => State::TrailerStart,
            (State::SizeLineFeed(size), b'\n') => State::Data(size),
            (State::DataCarriageReturn, b'\r') => State::DataLineFeed,
            (State::DataLineFeed, b'\n') => State::SizeStart,
            (State::TrailerStart, b'\r') => State::EndLineFeed,
            (State::TrailerStart | State::TrailerName { .. }, byte) if is_token(byte) => {
                self.spend()?;
                State::TrailerName { empty: false }
            }
            (State::TrailerName { empty: false }, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerLineFeed,
            (State::TrailerValue, byte) if is_field_content(byte) => {
                self.spend()?;
                State::TrailerValue
            }
            (State::TrailerLineFeed, b'\n') => State::TrailerStart,
            (State::EndLineFeed, b'\n') => State::End,
            _ => return Err(BrokenChunk),
        })
    }

    fn spend(&mut self) -> Result<(), BrokenChunk> {
        self.overhead += 1;
        if self.overhead > OVERHEAD_LIMIT { Err(BrokenChunk) } else { Ok(()) }
    }
}

/// A byte of a field value (RFC 9110, section 5.5): visible, space, tab, or obs-text.
#[must_use]
pub fn is_field_content(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e | 0x80..=0xff)
}

/// A byte of a token (RFC 9110, section 5.6.2).
#[must_use]
pub fn is_token(byte: u8) -> bool {
    // A table: this is asked of every byte of every field name.
    #[expect(clippy::indexing_slicing, reason = "a byte indexes a table of 256")]
    TOKEN[byte as usize]
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    loop {
        #[expect(clippy::indexing_slicing, reason = "a byte indexes a table of 256, and at compile time")]
        let entry = &mut table[byte as usize];
        *entry = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    table
};

/// Whether every byte is one of a field value. Written in bytes and without a branch, so that the compiler looks at many of them
/// at a time.
#[must_use]
pub fn is_field_value(value: &[u8]) -> bool {
    let bad = |byte: u8| (u8::from(byte < 0x20) & u8::from(byte != b'\t')) | u8::from(byte == 0x7f);
    value.iter().fold(0_u8, |found, &byte| found | bad(byte)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(body: &[u8]) -> Result<Progress, BrokenChunk> {
        ChunkScanner::default().feed(body)
    }

    #[test]
    fn the_quick_look_at_a_value_agrees_with_the_slow_one() {
        for byte in 0..=u8::MAX {
            for at in [0, 7, 31, 32, 63] {
                let mut value = [b'a'; 64];
                value[at] = byte;
                assert_eq!(is_field_value(&value), value.iter().all(|&byte| is_field_content(byte)), "{byte}");
            }
        }
    }

    #[test]
    fn the_end_is_found_however_the_body_is_cut() {
        let body = b"5;ext=\"a b\"\r\nhello\r\n00a\r\n0123456789\r\n0\r\nX-Trailer: v\r\n\r\n";
        let mut whole = body.to_vec();
        whole.extend_from_slice(b"GET / HTTP/1.1\r\n");
        assert_eq!(end_of(&whole), Ok(Progress::End(body.len())));
        for cut in 1..body.len() {
            let mut scanner = ChunkScanner::default();
            assert_eq!(scanner.feed(&body[..cut]), Ok(Progress::More), "{cut}");
            assert_eq!(scanner.feed(&whole[cut..]), Ok(Progress::End(body.len() - cut)), "{cut}");
        }
        let mut scanner = ChunkScanner::default();
        for byte in &body[..body.len() - 1] {
            assert_eq!(scanner.feed(&[*byte]), Ok(Progress::More));
        }
        assert_eq!(scanner.feed(b"\n"), Ok(Progress::End(1)));
    }

    #[test]
    fn the_pieces_are_told_apart_however_the_body_is_cut() {
        let body = b"5;ext=\"a b\"\r\nhello\r\n00a\r\n0123456789\r\n0\r\nX-Trailer: v\r\n\r\nmore";
        for cut in 0..body.len() {
            let mut scanner = ChunkScanner::default();
            let (mut data, mut trailers) = (Vec::new(), Vec::new());
            for mut input in [&body[..cut], &body[cut..]] {
                while let Some(piece) = scanner.next(input).expect("it is well framed") {
                    let length = match piece {
                        Piece::End => break,
                        Piece::Framing(length) => length,
                        Piece::Data(length) => {
                            data.extend_from_slice(&input[..length]);
                            length
                        }
                        Piece::Trailers(length) => {
                            trailers.extend_from_slice(&input[..length]);
                            length
                        }
                    };
                    input = &input[length..];
                }
            }
            assert_eq!(data, b"hello0123456789", "{cut}");
            assert_eq!(trailers, b"X-Trailer: v\r\n\r\n", "{cut}");
        }
    }

    #[test]
    fn what_another_reader_could_frame_otherwise_is_refused() {
        let many = format!("1;{}\r\n", "x".repeat(OVERHEAD_LIMIT + 1));
        for body in [
            "\r\n",
            "5\nhello\r\n",
            "5\r\nhello\n",
            "5\r\nhelloX",
            "5 \r\nhello\r\n",
            " 5\r\n",
            "+5\r\n",
            "-1\r\n",
            "0x5\r\n",
            "5_0\r\n",
            "g\r\n",
            ";x\r\n",
            "10000000000000005\r\n",
            "ffffffffffffffff\r\n",
            "5\r\rhello",
            "0\n\n",
            "0\r\n\n",
            "0\r\n\rX",
            "0\r\n: v\r\n\r\n",
            "0\r\nbad name: v\r\n\r\n",
            "0\r\nno-colon\r\n\r\n",
            "0\r\nx: a\nb\r\n\r\n",
            "0\r\n folded\r\n\r\n",
            "5;a\nb\r\nhello",
            "5;a\0b\r\n",
            &many,
        ] {
            let fault = end_of(body.as_bytes());
            assert!(fault == Err(BrokenChunk), "{body:?} gave {fault:?}");
        }
    }
}
