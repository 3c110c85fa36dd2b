//! The head of a response (RFC 9112, sections 4 to 6): read by httparse, and framed in one way or not at all.

use std::mem::MaybeUninit;

use http::{Method, StatusCode, Version};

use super::ExchangeFault;
use crate::wire::body::Framing;
use crate::wire::head::content_length;
use crate::wire::lines::FieldLines;

/// Lines of a head: as many as hyper takes.
const MOST_LINES: usize = 100;

/// Bytes of a head, before the connection is given up.
pub(super) const MOST_BYTES: usize = 64 * 1024;

/// What a head says of its response, beside its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its own length in bytes, the empty line included.
    pub(super) length: usize,
    pub(super) version: Version,
    pub(super) status: StatusCode,
    pub(super) framing: Framing,
    /// What `Content-Length` said, whether there is a body or not.
    pub(super) content_length: Option<u64>,
    /// Whether `Transfer-Encoding` was said.
    pub(super) is_chunked: bool,
    /// Whether the server keeps the connection behind this response.
    pub(super) is_kept: bool,
}

/// Reads the head at the start of `input` and puts its fields into `lines`, in place of what was there; `None` if it has not
/// all come yet. What frames the body is not among them, nor a plain `Connection: keep-alive` or `close`: they have been read, and
/// end here.
pub(super) fn read(input: &[u8], asked_by: &Method, lines: &mut FieldLines) -> Result<Option<Head>, ExchangeFault> {
    let mut parsed_lines = [const { MaybeUninit::uninit() }; MOST_LINES];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, input, &mut parsed_lines)? {
        httparse::Status::Complete(length) if length <= MOST_BYTES => length,
        httparse::Status::Partial if input.len() <= MOST_BYTES => return Ok(None),
        _ => return Err(ExchangeFault::HeadTooLarge),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(ExchangeFault::Status)?;
    let is_http_11 = parsed.version == Some(1);
    let mut hop = Hop::default();
    // As many bytes as they are, and what others will add.
    *lines = FieldLines::with_capacity(length + ROOM_FOR_MORE);
    for line in parsed.headers.iter() {
        // No byte of either ends a line: httparse has looked, and a test that it does.
        let (name, value) = (line.name.as_bytes(), line.value.trim_ascii());
        if !hop.takes(name, value)? {
            lines.push(name, value);
        }
    }
    let framing = hop.framing(is_http_11)?;
    let has_no_body = *asked_by == Method::HEAD || matches!(status.as_u16(), 100..=199 | 204 | 304);
    Ok(Some(Head {
        length,
        version: if is_http_11 { Version::HTTP_11 } else { Version::HTTP_10 },
        status,
        framing: if has_no_body { Framing::Length(0) } else { framing },
        content_length: hop.length,
        is_chunked: hop.is_chunked,
        is_kept: !hop.closes && (is_http_11 || hop.keeps),
    }))
}

/// Room for the lines that keyward adds to a response.
const ROOM_FOR_MORE: usize = 64;

/// What the fields say of the connection and the body.
#[derive(Default)]
struct Hop {
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
    keeps: bool,
}

impl Hop {
    /// Notes what a field says; true, if it says nothing to anybody else.
    fn takes(&mut self, name: &[u8], value: &[u8]) -> Result<bool, ExchangeFault> {
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => return Ok(self.connection(value)),
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = content_length(value).ok_or(ExchangeFault::Ambiguous("its length is no number"))?;
                if self.length.replace(length).is_some() {
                    return Err(ExchangeFault::Ambiguous("its body is framed more than once"));
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ExchangeFault::Ambiguous("its transfer coding is not chunked"));
                }
                if self.is_chunked {
                    return Err(ExchangeFault::Ambiguous("its body is framed more than once"));
                }
                self.is_chunked = true;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// True, if it names no fields that end here with it.
    fn connection(&mut self, value: &[u8]) -> bool {
        match value {
            b"keep-alive" => self.keeps = true,
            b"close" => self.closes = true,
            _ => {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.closes |= option.eq_ignore_ascii_case(b"close");
                    self.keeps |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                return false;
            }
        }
        true
    }

    fn framing(&self, is_http_11: bool) -> Result<Framing, ExchangeFault> {
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err(ExchangeFault::Ambiguous("its body is framed more than once")),
            (None, true) if !is_http_11 => Err(ExchangeFault::Ambiguous("it is chunked and not HTTP/1.1")),
            (None, true) => Ok(Framing::Chunked),
            (Some(length), false) => Ok(Framing::Length(length)),
            (None, false) => Ok(Framing::UntilClose),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chunks::{is_field_content, is_token};

    fn head(text: &str) -> Result<Option<Head>, ExchangeFault> {
        read(text.as_bytes(), &Method::GET, &mut FieldLines::default())
    }

    fn framing(text: &str) -> Framing {
        head(text).expect("it is well formed").expect("it is whole").framing
    }

    #[test]
    fn a_body_ends_as_its_head_says() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Framing::Length(5)),
            ("HTTP/1.1 200 OK\r\ncontent-length:  05 \r\n\r\n", Framing::Length(5)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: ChunkeD\r\n\r\n", Framing::Chunked),
            ("HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose),
            ("HTTP/1.0 200 OK\r\n\r\n", Framing::UntilClose),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Framing::Length(0)),
            ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Length(0)),
            ("HTTP/1.1 103 Early Hints\r\n\r\n", Framing::Length(0)),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Framing::Length(0)),
        ] {
            assert_eq!(framing(text), expected, "{text}");
        }
        let to_head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let to_head = read(to_head, &Method::HEAD, &mut FieldLines::default()).expect("well formed").expect("whole");
        assert_eq!((to_head.framing, to_head.content_length), (Framing::Length(0), Some(5)));
    }

    #[test]
    fn a_body_that_could_end_in_two_places_is_refused() {
        for fields in [
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: 5 5",
            "Content-Length:",
            "Content-Length: 18446744073709551616",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding:",
        ] {
            for start in ["HTTP/1.1 200 OK", "HTTP/1.1 204 No Content", "HTTP/1.1 103 Early Hints"] {
                let fault = head(&format!("{start}\r\n{fields}\r\n\r\n"));
                assert!(matches!(fault, Err(ExchangeFault::Ambiguous(_))), "{start} {fields}: {fault:?}");
            }
        }
        let old = head("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(matches!(old, Err(ExchangeFault::Ambiguous(_))), "{old:?}");
    }

    #[test]
    fn what_is_no_head_is_refused() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MOST_LINES + 1));
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(MOST_BYTES));
        for text in [
            "garbage\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            &many,
            &long,
            &long[..long.len() - 4],
        ] {
            let fault = head(text);
            assert!(fault.is_err(), "{text:.60} gave {fault:?}");
        }
    }

    #[test]
    fn no_byte_gets_into_a_field_that_does_not_belong_there() {
        for byte in 0..=u8::MAX {
            let with = |name: &[u8], value: &[u8]| {
                let head = [b"HTTP/1.1 200 OK\r\na".as_slice(), name, b"b: c", value, b"d\r\n\r\n"].concat();
                let mut lines = FieldLines::default();
                read(&head, &Method::GET, &mut lines).is_ok_and(|head| head.is_some()).then_some(lines)
            };
            assert_eq!(with(&[byte], b"").is_some(), is_token(byte) || byte == b':', "{byte} in a name");
            let lines = with(b"", &[byte]);
            assert_eq!(lines.is_some(), is_field_content(byte), "{byte} in a value");
            if let Some(lines) = lines {
                assert_eq!(lines.as_bytes(), [b"ab: c".as_slice(), &[byte], b"d\r\n"].concat());
            }
        }
    }

    #[test]
    fn fields_are_as_they_came_but_for_what_has_been_read() {
        let text = "HTTP/1.1 200 OK\r\nServer:  x \r\nContent-Length: 5\r\nConnection: close\r\nSet-Cookie: a\r\nset-cookie: b\r\nX:\r\n\r\n";
        let mut lines = FieldLines::default();
        lines.push(b"of", b"before");
        read(text.as_bytes(), &Method::GET, &mut lines).expect("well formed").expect("whole");
        assert_eq!(lines.as_bytes(), b"Server: x\r\nSet-Cookie: a\r\nset-cookie: b\r\nX: \r\n");
        let named = "HTTP/1.1 200 OK\r\nConnection: x, close\r\nTransfer-Encoding: chunked\r\n\r\n";
        read(named.as_bytes(), &Method::GET, &mut lines).expect("well formed").expect("whole");
        assert_eq!(lines.as_bytes(), b"Connection: x, close\r\n");
    }

    #[test]
    fn a_head_is_whole_only_with_its_empty_line() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for cut in 0..text.len() - "hello".len() {
            assert_eq!(head(&text[..cut]).expect("well formed so far"), None, "{cut}");
        }
        assert_eq!(head(text).expect("well formed").map(|head| head.length), Some(text.len() - "hello".len()));
    }

    #[test]
    fn a_connection_is_kept_as_its_version_and_its_options_say() {
        for (text, is_kept) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", true),
        ] {
            assert_eq!(head(text).expect("well formed").map(|head| head.is_kept), Some(is_kept), "{text}");
        }
    }
}
