//! The head of an HTTP/1 request, judged strictly and before anybody else sees it (RFC 9112).
//!
//! It is read once: the same pass that judges it says where its parts are, and nothing is copied. What another reader could
//! take for something else is refused: a fragment in the target, a bare line feed, a `Content-Length` beside a
//! `Transfer-Encoding`, a `Host` that came twice. A test holds it against httparse, whose rules are those or wider ones.

use http::{StatusCode, Version};
use memchr::memchr2;

use super::authority::host_in;
use super::body::Framing;
use super::chunks::{is_field_value, is_token};

/// The most that a head may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub bytes: usize,
    /// Bytes of the request target.
    pub target: usize,
    /// Header lines.
    pub lines: usize,
}

/// A head that passed. What it says in words is told by where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes, the empty line included.
    pub length: usize,
    /// The method.
    pub method: Span,
    /// The target, of a form that RFC 9112, section 3.2, knows.
    pub target: Span,
    /// 1.1 or 1.0.
    pub version: Version,
    /// What follows it: a length or chunks.
    pub framing: Framing,
    /// Whether the client wants the connection kept behind the response.
    pub keeps_alive: bool,
    /// Whether the client waits to be told to send the body.
    pub expects_continue: bool,
    /// Whether the client takes trailers (RFC 9110, section 10.1.4).
    pub takes_trailers: bool,
}

/// One field of a head: its name, a token, and its value without the white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldLine {
    /// Where its name is.
    pub name: Span,
    /// Where its value is.
    pub value: Span,
}

/// Where something is in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// What is there.
    #[must_use]
    pub fn of(self, head: &[u8]) -> &[u8] {
        head.get(self.start..self.end).unwrap_or_default()
    }

    /// Its place, for a slice that shares what it is taken from.
    #[must_use]
    pub const fn range(self) -> std::ops::Range<usize> {
        self.start..self.end
    }
}

/// What is wrong with a head. Each is the client's fault, and ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// The request line is not `method SP target SP HTTP/1.x`.
    #[error("malformed request line")]
    RequestLine,
    /// The target is of no known form, or has a character that belongs in none.
    #[error("malformed request target")]
    Target,
    /// The target is longer than the limit.
    #[error("request target too long")]
    TargetTooLong,
    /// A version that keyward does not speak on this connection.
    #[error("HTTP version not supported")]
    Version,
    /// CONNECT or TRACE, which would let a client speak past keyward or see what it wrote.
    #[error("method not implemented")]
    Method,
    /// A header line that is not `name: value`.
    #[error("malformed header field")]
    Field,
    /// A line that does not end with carriage return and line feed.
    #[error("malformed line ending")]
    LineEnding,
    /// More header lines or bytes than the limit.
    #[error("request header fields too large")]
    TooLarge,
    /// None, or several, or one that is no host.
    #[error("missing, repeated or malformed Host")]
    Host,
    /// Body framing that two readers could read in two ways.
    #[error("ambiguous body framing")]
    Framing,
    /// An expectation other than `100-continue`.
    #[error("expectation failed")]
    Expectation,
    /// The head did not come to its end in time.
    #[error("the request took too long to arrive")]
    TooSlow,
}

impl HeadFault {
    /// The status that says it.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::RequestLine | Self::Target | Self::Field | Self::LineEnding | Self::Host | Self::Framing => {
                StatusCode::BAD_REQUEST
            }
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// Judges the head at the start of `input`, and puts its fields into `lines` in place of what was there: `None` if it has not
/// all come yet.
///
/// # Errors
///
/// See [`HeadFault`]. A fault is told as soon as the bytes so far show it.
pub fn examine(input: &[u8], limits: HeadLimits, lines: &mut Vec<FieldLine>) -> Result<Option<Head>, HeadFault> {
    lines.clear();
    // One empty line before a request is the trace of a client that ended its last body with one (RFC 9112, section 2.2).
    let start = if input.starts_with(b"\r\n") { 2 } else { 0 };
    let mut rest = Lines { input, at: start };
    let line = match rest.next_line()? {
        Some(line) => line,
        None => return unfinished(input, start, limits),
    };
    let (method, target, version) = request_line(input, line, limits)?;
    let mut message = Message::new(version);
    loop {
        let Some(line) = rest.next_line()? else {
            return if input.len() > limits.bytes { Err(HeadFault::TooLarge) } else { Ok(None) };
        };
        if rest.at > limits.bytes {
            return Err(HeadFault::TooLarge);
        }
        if line.start == line.end {
            break;
        }
        if lines.len() == limits.lines {
            return Err(HeadFault::TooLarge);
        }
        lines.push(message.take(input, line)?);
    }
    let framing = message.framing()?;
    let Message { closes, keeps, expects_continue, takes_trailers, .. } = message;
    let keeps_alive = !closes && (keeps || version == Version::HTTP_11);
    Ok(Some(Head { length: rest.at, method, target, version, framing, keeps_alive, expects_continue, takes_trailers }))
}

/// The request line is not complete: too long, hopeless, or simply still coming.
fn unfinished(input: &[u8], start: usize, limits: HeadLimits) -> Result<Option<Head>, HeadFault> {
    let line = input.get(start..).unwrap_or_default();
    let method = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    let is_lone_return = start == 0 && line == b"\r";
    if !is_lone_return && !line.iter().take(method).all(|&byte| is_token(byte)) || method > METHOD_LIMIT {
        return Err(HeadFault::RequestLine);
    }
    if line.len() > limits.target + METHOD_LIMIT + " HTTP/1.1 ".len() {
        return Err(HeadFault::TargetTooLong);
    }
    if input.len() > limits.bytes { Err(HeadFault::TooLarge) } else { Ok(None) }
}

/// No method in use has more characters than half of this.
const METHOD_LIMIT: usize = 32;

struct Lines<'a> {
    input: &'a [u8],
    at: usize,
}

impl Lines<'_> {
    fn next_line(&mut self) -> Result<Option<Span>, HeadFault> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let Some(end) = memchr2(b'\r', b'\n', rest) else { return Ok(None) };
        match rest.get(end..).unwrap_or_default() {
            [b'\r', b'\n', ..] => {
                let line = Span { start: self.at, end: self.at + end };
                self.at = line.end + 2;
                Ok(Some(line))
            }
            [b'\r'] => Ok(None),
            _ => Err(HeadFault::LineEnding),
        }
    }
}

fn request_line(input: &[u8], line: Span, limits: HeadLimits) -> Result<(Span, Span, Version), HeadFault> {
    let text = line.of(input);
    let first = text.iter().position(|&byte| !is_token(byte)).ok_or(HeadFault::RequestLine)?;
    let (method, rest) = text.split_at(first);
    if method.is_empty() || method.len() > METHOD_LIMIT {
        return Err(HeadFault::RequestLine);
    }
    let [b' ', rest @ ..] = rest else { return Err(HeadFault::RequestLine) };
    let second = memchr::memchr(b' ', rest).ok_or(HeadFault::RequestLine)?;
    let (target, version) = rest.split_at(second);
    let version = match version {
        b" HTTP/1.1" => Version::HTTP_11,
        b" HTTP/1.0" => Version::HTTP_10,
        [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(HeadFault::Version);
        }
        _ => return Err(HeadFault::RequestLine),
    };
    if target.is_empty() {
        return Err(HeadFault::RequestLine);
    }
    if target.len() > limits.target {
        return Err(HeadFault::TargetTooLong);
    }
    match method {
        b"CONNECT" | b"TRACE" => return Err(HeadFault::Method),
        // The preface of HTTP/2 on a connection that speaks HTTP/1.
        b"PRI" => return Err(HeadFault::Version),
        _ => {}
    }
    check_target(method, target)?;
    let start = line.start + first + 1;
    Ok((Span { start: line.start, end: line.start + first }, Span { start, end: start + second }, version))
}

/// The forms of RFC 9112, section 3.2, without the authority form, which only CONNECT has.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), HeadFault> {
    let path = match target {
        [b'/', ..] => target,
        b"*" if method == b"OPTIONS" => return Ok(()),
        _ => {
            let rest = strip_scheme(target).ok_or(HeadFault::Target)?;
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            host_in(authority).ok_or(HeadFault::Target)?;
            path
        }
    };
    let (path, query) = match path.iter().position(|&byte| byte == b'?') {
        Some(mark) => path.split_at(mark),
        None => (path, &[][..]),
    };
    let path_is_good = path.iter().all(|&byte| is_path_byte(byte));
    // Browsers send some of these unescaped in queries, and nobody routes by them.
    let query_is_good = query.iter().all(|&byte| is_query_byte(byte));
    if path_is_good && query_is_good { Ok(()) } else { Err(HeadFault::Target) }
}

fn is_query_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'#' | b'"' | b'<' | b'>')
}

fn is_path_byte(byte: u8) -> bool {
    is_query_byte(byte) && !matches!(byte, b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// What the fields say of the message and of its connection.
struct Message {
    version: Version,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    closes: bool,
    keeps: bool,
    expects_continue: bool,
    takes_trailers: bool,
}

impl Message {
    const fn new(version: Version) -> Self {
        Self {
            version,
            hosts: 0,
            length: None,
            chunked: false,
            closes: false,
            keeps: false,
            expects_continue: false,
            takes_trailers: false,
        }
    }

    fn take(&mut self, input: &[u8], line: Span) -> Result<FieldLine, HeadFault> {
        let text = line.of(input);
        // An empty name, white space before the colon and a folded line all fail here: none is a token.
        let colon = text.iter().position(|&byte| !is_token(byte)).ok_or(HeadFault::Field)?;
        let (name, rest) = text.split_at(colon);
        let value = match rest {
            [b':', value @ ..] if !name.is_empty() => value,
            _ => return Err(HeadFault::Field),
        };
        if !is_field_value(value) {
            return Err(HeadFault::Field);
        }
        let without_start = value.trim_ascii_start();
        let value = without_start.trim_ascii_end();
        let start = line.end - without_start.len();
        self.note(name, value)?;
        Ok(FieldLine {
            name: Span { start: line.start, end: line.start + colon },
            value: Span { start, end: start + value.len() },
        })
    }

    /// What a field says that matters here.
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadFault> {
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => self.takes_trailers |= has_option(value, b"trailers"),
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                host_in(value).ok_or(HeadFault::Host)?;
            }
            // A server ignores it from a client that speaks HTTP/1.0 (RFC 9110, section 10.1.1).
            6 if name.eq_ignore_ascii_case(b"expect") && self.version == Version::HTTP_11 => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(HeadFault::Expectation);
                }
                self.expects_continue = true;
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.closes |= has_option(value, b"close");
                self.keeps |= has_option(value, b"keep-alive");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = content_length(value).ok_or(HeadFault::Framing)?;
                if self.length.replace(length).is_some() {
                    return Err(HeadFault::Framing);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let is_chunked = value.eq_ignore_ascii_case(b"chunked");
                if !is_chunked || self.chunked || self.version == Version::HTTP_10 {
                    return Err(HeadFault::Framing);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self) -> Result<Framing, HeadFault> {
        if self.hosts > 1 || self.hosts == 0 && self.version == Version::HTTP_11 {
            return Err(HeadFault::Host);
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(HeadFault::Framing),
            (None, true) => Ok(Framing::Chunked),
            (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// Whether a list has this element, its parameters aside.
fn has_option(list: &[u8], option: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|element| {
        let name = element.split(|&byte| byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(option)
    })
}

/// What a `Content-Length` says: digits, and nothing but digits (RFC 9110, section 8.6; cf. CVE-2021-32715).
#[must_use]
pub fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
