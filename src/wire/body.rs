//! The body of a message, taken out of its framing piece by piece: of a request as of a response.

use bytes::{Buf as _, Bytes};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use super::chunks::{BrokenChunk, ChunkScanner, Piece};

/// How a body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes; 0: there is none.
    Length(u64),
    /// As its chunks say.
    Chunked,
    /// With the connection: a response only.
    UntilClose,
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It ended before its end.
    #[error("the connection was closed in the middle of a body")]
    Truncated,
    /// Its chunks are not well framed.
    #[error("the body is cut into chunks wrongly: {0}")]
    Chunk(#[from] BrokenChunk),
    /// Its trailers are no fields.
    #[error("the trailers are malformed: {0}")]
    Trailers(#[from] httparse::Error),
    /// A trailer has a name or a value that none may have.
    #[error("a trailer is malformed")]
    Field,
}

/// What has been received of a body and not taken yet, and what is still to come.
#[derive(Debug)]
pub struct Decoder {
    received: Bytes,
    left: Left,
}

#[derive(Debug)]
enum Left {
    /// So many bytes.
    Length(u64),
    /// Chunks; and the trailers so far.
    Chunked(ChunkScanner, Vec<u8>),
    UntilClose,
}

/// Trailer fields of a body: as many as a head has.
const MOST_TRAILERS: usize = 100;

impl Decoder {
    /// For a body of which `received` has come.
    #[must_use]
    pub fn new(framing: Framing, received: Bytes) -> Self {
        let left = match framing {
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunked(ChunkScanner::default(), Vec::new()),
            Framing::UntilClose => Left::UntilClose,
        };
        Self { received, left }
    }

    /// More has come. To be given only when [`take`](Self::take) has no more.
    pub fn receive(&mut self, more: Bytes) {
        self.received = more;
    }

    /// The next frame of what has been received.
    ///
    /// # Errors
    ///
    /// When the framing is broken.
    pub fn take(&mut self) -> Result<Option<Frame<Bytes>>, BodyFault> {
        match &mut self.left {
            _ if self.received.is_empty() => Ok(None),
            Left::Length(0) => Ok(None),
            Left::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.received.len());
                *left -= length as u64;
                Ok(Some(Frame::data(self.received.split_to(length))))
            }
            Left::UntilClose => Ok(Some(Frame::data(std::mem::take(&mut self.received)))),
            Left::Chunked(scanner, trailers) => loop {
                match scanner.next(&self.received)? {
                    None => return Ok(None),
                    Some(Piece::Framing(length)) => self.received.advance(length),
                    Some(Piece::Data(length)) => return Ok(Some(Frame::data(self.received.split_to(length)))),
                    Some(Piece::Trailers(length)) => trailers.extend_from_slice(&self.received.split_to(length)),
                    Some(Piece::End) => {
                        let trailers = std::mem::take(trailers);
                        self.left = Left::Length(0);
                        // The empty line is always there.
                        return if trailers.len() > 2 { read_trailers(&trailers).map(Some) } else { Ok(None) };
                    }
                }
            },
        }
    }

    /// The other side sends no more: whether that is where the body ends.
    ///
    /// # Errors
    ///
    /// [`BodyFault::Truncated`], if it is not.
    pub fn close(&mut self) -> Result<(), BodyFault> {
        match self.left {
            Left::Length(0) => Ok(()),
            Left::UntilClose => {
                self.left = Left::Length(0);
                Ok(())
            }
            Left::Length(_) | Left::Chunked(..) => Err(BodyFault::Truncated),
        }
    }

    /// Whether the body has come to its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.left, Left::Length(0))
    }

    /// What has been received and not taken: once the body is over, what is behind its end.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.received
    }

    /// How many bytes are still to be taken, if that is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match self.left {
            Left::Length(left) => Some(left),
            Left::Chunked(..) | Left::UntilClose => None,
        }
    }
}

fn read_trailers(lines: &[u8]) -> Result<Frame<Bytes>, BodyFault> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let httparse::Status::Complete((_, parsed)) = httparse::parse_headers(lines, &mut headers)? else {
        return Err(BodyFault::Truncated);
    };
    let mut trailers = HeaderMap::with_capacity(parsed.len());
    for line in parsed {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| BodyFault::Field)?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| BodyFault::Field)?;
        trailers.append(name, value);
    }
    Ok(Frame::trailers(trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of a body that comes in these pieces: its data, its trailers, and how it ended.
    fn decode(framing: Framing, pieces: &[&[u8]]) -> (Vec<u8>, Option<HeaderMap>, Result<bool, BodyFault>) {
        let mut decoder = Decoder::new(framing, Bytes::new());
        let (mut data, mut trailers) = (Vec::new(), None);
        for piece in pieces {
            decoder.receive(Bytes::copy_from_slice(piece));
            loop {
                match decoder.take() {
                    Ok(Some(frame)) => match frame.into_data() {
                        Ok(some) => data.extend_from_slice(&some),
                        Err(frame) => trailers = frame.into_trailers().ok(),
                    },
                    Ok(None) => break,
                    Err(fault) => return (data, trailers, Err(fault)),
                }
            }
        }
        let ended = decoder.close().map(|()| !decoder.rest().is_empty());
        (data, trailers, ended)
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let chunks = b"5\r\nhello\r\n7;a=b\r\n, world\r\n0\r\n\r\n".as_slice();
        for (framing, body) in [
            (Framing::Length(12), b"hello, world".as_slice()),
            (Framing::UntilClose, b"hello, world"),
            (Framing::Chunked, chunks),
        ] {
            for cut in 0..=body.len() {
                let (data, trailers, ended) = decode(framing, &[&body[..cut], &body[cut..]]);
                assert_eq!((data.as_slice(), trailers), (b"hello, world".as_slice(), None), "{framing:?} {cut}");
                assert!(matches!(ended, Ok(false)), "{framing:?} {cut}: {ended:?}");
            }
        }
    }

    #[test]
    fn trailers_come_behind_the_data() {
        let body = b"2\r\nok\r\n0\r\nGrpc-Status: 0\r\nx: y\r\n\r\n";
        for cut in 0..=body.len() {
            let (data, trailers, ended) = decode(Framing::Chunked, &[&body[..cut], &body[cut..]]);
            let trailers = trailers.expect("trailers");
            assert_eq!((data.as_slice(), trailers.len()), (b"ok".as_slice(), 2));
            assert_eq!(trailers["grpc-status"], "0");
            assert!(matches!(ended, Ok(false)), "{cut}: {ended:?}");
        }
    }

    #[test]
    fn what_breaks_off_has_not_ended() {
        let chunks = b"2\r\nok\r\n0\r\nA: b\r\n\r\n";
        for cut in 0..chunks.len() {
            let (_, _, ended) = decode(Framing::Chunked, &[&chunks[..cut]]);
            assert!(matches!(ended, Err(BodyFault::Truncated)), "{cut}: {ended:?}");
        }
        let (_, _, ended) = decode(Framing::Length(3), &[b"ok"]);
        assert!(matches!(ended, Err(BodyFault::Truncated)), "{ended:?}");
    }

    #[test]
    fn what_is_behind_the_end_is_noticed_and_is_not_the_bodys() {
        for (framing, body) in [(Framing::Length(2), "okevil"), (Framing::Chunked, "2\r\nok\r\n0\r\n\r\nevil")] {
            let (data, _, ended) = decode(framing, &[body.as_bytes()]);
            assert!(data == b"ok" && matches!(ended, Ok(true)), "{framing:?}: {ended:?}");
        }
        let (data, _, ended) = decode(Framing::Length(0), &[b"evil"]);
        assert!(data.is_empty() && matches!(ended, Ok(true)), "{ended:?}");
    }

    #[test]
    fn broken_chunks_are_a_fault() {
        let (data, _, ended) = decode(Framing::Chunked, &[b"2\r\nokevil"]);
        assert!(data == b"ok" && matches!(ended, Err(BodyFault::Chunk(_))), "{ended:?}");
    }
}
