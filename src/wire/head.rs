//! The head of an HTTP/1 request, judged strictly and before anybody else sees it (RFC 9112).
//!
//! hyper parses the head again, with the same tokenizer rules or wider ones: what passes here, hyper takes, and frames in the
//! same way. What is looked at here is what a parsed request no longer shows: a fragment in the target, a bare line feed, a
//! `Content-Length` beside a `Transfer-Encoding`, a `Host` that came twice.

use http::StatusCode;
use memchr::memchr2;

use super::authority::host_of;
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

/// How the body of a request is framed (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; 0: there is none.
    Length(u64),
    /// Chunked.
    Chunked,
}

/// A head that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes, the empty line included.
    pub length: usize,
    /// What follows it.
    pub framing: Framing,
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

/// Judges the head at the start of `input`: `None` if it has not all come yet.
///
/// # Errors
///
/// See [`HeadFault`]. A fault is told as soon as the bytes so far show it.
pub fn examine(input: &[u8], limits: HeadLimits) -> Result<Option<Head>, HeadFault> {
    // One empty line before a request is the trace of a client that ended its last body with one (RFC 9112, section 2.2).
    let start = if input.starts_with(b"\r\n") { 2 } else { 0 };
    let mut lines = Lines { input, at: start };
    let line = match lines.next_line()? {
        Some(line) => line,
        None => return unfinished(input, start, limits),
    };
    let version = request_line(line, limits)?;
    let mut fields = Fields { version, ..Fields::default() };
    let mut count = 0;
    loop {
        let Some(line) = lines.next_line()? else {
            return if input.len() > limits.bytes { Err(HeadFault::TooLarge) } else { Ok(None) };
        };
        if lines.at > limits.bytes {
            return Err(HeadFault::TooLarge);
        }
        if line.is_empty() {
            return fields.framing().map(|framing| Some(Head { length: lines.at, framing }));
        }
        count += 1;
        if count > limits.lines {
            return Err(HeadFault::TooLarge);
        }
        fields.take(line)?;
    }
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

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Result<Option<&'a [u8]>, HeadFault> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let Some(end) = memchr2(b'\r', b'\n', rest) else { return Ok(None) };
        let (line, ending) = rest.split_at(end);
        match ending {
            [b'\r', b'\n', ..] => {
                self.at += end + 2;
                Ok(Some(line))
            }
            [b'\r'] => Ok(None),
            _ => Err(HeadFault::LineEnding),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Version {
    Http10,
    #[default]
    Http11,
}

fn request_line(line: &[u8], limits: HeadLimits) -> Result<Version, HeadFault> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadFault::RequestLine);
    };
    if method.is_empty() || method.len() > METHOD_LIMIT || !method.iter().all(|&byte| is_token(byte)) {
        return Err(HeadFault::RequestLine);
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(HeadFault::Version);
        }
        _ => return Err(HeadFault::RequestLine),
    };
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
    Ok(version)
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
            host_of(authority).ok_or(HeadFault::Target)?;
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

#[derive(Default)]
struct Fields {
    version: Version,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
}

impl Fields {
    fn take(&mut self, line: &[u8]) -> Result<(), HeadFault> {
        // An empty name, white space before the colon and a folded line all fail here: none is a token.
        let colon = line.iter().position(|&byte| !is_token(byte)).ok_or(HeadFault::Field)?;
        let (name, rest) = line.split_at(colon);
        let value = match rest {
            [b':', value @ ..] if !name.is_empty() => value,
            _ => return Err(HeadFault::Field),
        };
        if !is_field_value(value) {
            return Err(HeadFault::Field);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                host_of(value.trim_ascii()).ok_or(HeadFault::Host)?;
            }
            // A server ignores it from a client that speaks HTTP/1.0 (RFC 9110, section 10.1.1).
            6 if name.eq_ignore_ascii_case(b"expect")
                && self.version == Version::Http11
                && !value.trim_ascii().eq_ignore_ascii_case(b"100-continue") =>
            {
                return Err(HeadFault::Expectation);
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = content_length(value.trim_ascii()).ok_or(HeadFault::Framing)?;
                if self.length.replace(length).is_some() {
                    return Err(HeadFault::Framing);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let is_chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                if !is_chunked || self.chunked || self.version == Version::Http10 {
                    return Err(HeadFault::Framing);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self) -> Result<Framing, HeadFault> {
        if self.hosts > 1 || self.hosts == 0 && self.version == Version::Http11 {
            return Err(HeadFault::Host);
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(HeadFault::Framing),
            (None, true) => Ok(Framing::Chunked),
            (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
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
