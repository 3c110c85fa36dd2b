//! A strict reader of HTTP/1.1 messages (RFC 9112), written for the tests alone: what it does not
//! like is a fault.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

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

/// One side of a connection: a socket, what was read ahead, and everything that was ever read.
pub(crate) struct Wire {
    stream: TcpStream,
    ahead: Vec<u8>,
    seen: Vec<u8>,
    patience: Duration,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, patience: Duration) -> Self {
        stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
        Self { stream, ahead: Vec::new(), seen: Vec::new(), patience }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Every byte read so far.
    pub(crate) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Changes how long each message may take from here on.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Writes bytes. A peer that has already closed is no fault here: the answer is what counts.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.set_write_timeout(Some(self.patience));
        let _ = self.stream.write_all(bytes);
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// Reads more. `Ok(false)` is the end of the stream.
    fn fill(&mut self, deadline: Instant) -> Result<bool, Fault> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Fault::Late(format!("with {:?} read", lossy(&self.ahead))));
        }
        self.stream.set_read_timeout(Some(left)).expect("a read timeout above zero is taken");
        let mut chunk = [0; 16 * 1024];
        loop {
            return match self.stream.read(&mut chunk) {
                Ok(0) => Ok(false),
                Ok(n) => {
                    self.ahead.extend_from_slice(&chunk[..n]);
                    self.seen.extend_from_slice(&chunk[..n]);
                    Ok(true)
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Err(Fault::Late(format!("with {:?} read", lossy(&self.ahead))))
                }
                Err(_) => Ok(false),
            };
        }
    }

    /// Everything until the peer closes.
    pub(crate) fn rest(&mut self) -> Result<Vec<u8>, Fault> {
        let deadline = self.deadline();
        while self.fill(deadline)? {}
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Exactly `count` bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Fault> {
        let deadline = self.deadline();
        self.take(count, deadline)
    }

    /// Some bytes, at least one; none at the end of the stream.
    pub(crate) fn some(&mut self) -> Result<Vec<u8>, Fault> {
        let deadline = self.deadline();
        if self.ahead.is_empty() {
            self.fill(deadline)?;
        }
        Ok(std::mem::take(&mut self.ahead))
    }

    fn take(&mut self, count: usize, deadline: Instant) -> Result<Vec<u8>, Fault> {
        while self.ahead.len() < count {
            if !self.fill(deadline)? {
                let got = self.ahead.len();
                return Err(Fault::Truncated(format!("{got} of {count} bytes of a body")));
            }
        }
        Ok(self.ahead.drain(..count).collect())
    }

    /// One line without its CRLF.
    fn line(&mut self, deadline: Instant) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(end) = self.ahead.iter().position(|&b| b == b'\n') {
                let mut line: Vec<u8> = self.ahead.drain(..=end).collect();
                line.pop();
                return if line.pop() == Some(b'\r') && !line.iter().any(|&b| b == b'\r' || b == 0) {
                    Ok(line)
                } else {
                    Err(Fault::Malformed(format!("bare CR, bare LF or NUL in {:?}", lossy(&line))))
                };
            }
            if self.ahead.len() > 1 << 20 {
                return Err(Fault::Malformed("a line longer than a mebibyte".into()));
            }
            if !self.fill(deadline)? {
                return Err(Fault::Truncated(format!("in a line: {:?}", lossy(&self.ahead))));
            }
        }
    }

    fn fields(&mut self, deadline: Instant) -> Result<Fields, Fault> {
        let mut fields = Fields::default();
        loop {
            let line = self.line(deadline)?;
            if line.is_empty() {
                return Ok(fields);
            }
            let bad = || Fault::Malformed(format!("a bad field line {:?}", lossy(&line)));
            let colon = line.iter().position(|&b| b == b':').ok_or_else(bad)?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if name.is_empty() || !name.iter().all(|&b| is_token_byte(b)) {
                return Err(bad());
            }
            let value = value.trim_ascii();
            if value.iter().any(|&b| (b < 0x20 && b != b'\t') || b == 0x7f) {
                return Err(bad());
            }
            fields.0.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        }
    }

    fn start_line(&mut self, deadline: Instant) -> Result<String, Fault> {
        if self.ahead.is_empty() && !self.fill(deadline)? {
            return Err(Fault::Closed);
        }
        let line = self.line(deadline)?;
        if !line.iter().all(|&b| (0x20..0x7f).contains(&b)) {
            return Err(Fault::Malformed(format!(
                "a start line with odd bytes {:?}",
                lossy(&line)
            )));
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn chunked(&mut self, deadline: Instant) -> Result<(Vec<u8>, Fields), Fault> {
        let mut body = Vec::new();
        loop {
            let line = self.line(deadline)?;
            let bad = || Fault::Malformed(format!("a bad chunk size line {:?}", lossy(&line)));
            let digits = line.split(|&b| b == b';').next().unwrap_or_default();
            if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err(bad());
            }
            let size = usize::from_str_radix(&lossy(digits), 16).map_err(|_| bad())?;
            if size == 0 {
                return Ok((body, self.fields(deadline)?));
            }
            body.extend(self.take(size, deadline)?);
            if self.take(2, deadline)? != b"\r\n" {
                return Err(Fault::Malformed("no CRLF after the data of a chunk".into()));
            }
        }
    }

    /// The body that `fields` announce; `None` if nothing announces one.
    fn body(
        &mut self,
        fields: &Fields,
        deadline: Instant,
    ) -> Result<Option<(Vec<u8>, Fields)>, Fault> {
        let (codings, lengths) = (fields.all("transfer-encoding"), fields.all("content-length"));
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) => Ok(None),
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => {
                self.chunked(deadline).map(Some)
            }
            ([], [length]) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
                let length = length
                    .parse()
                    .map_err(|_| Fault::Malformed(format!("content-length {length}")))?;
                Ok(Some((self.take(length, deadline)?, Fields::default())))
            }
            _ => Err(Fault::Malformed(format!("ambiguous framing: {codings:?} {lengths:?}"))),
        }
    }

    /// A request's head, its body unread.
    pub(crate) fn request_head(&mut self) -> Result<Request, Fault> {
        let deadline = self.deadline();
        let line = self.start_line(deadline)?;
        let bad = || Fault::Malformed(format!("a bad request line {line:?}"));
        let parts: Vec<&str> = line.split(' ').collect();
        let [method, target, version] = parts.as_slice() else {
            return Err(bad());
        };
        if method.is_empty() || target.is_empty() || *version != "HTTP/1.1" {
            return Err(bad());
        }
        let (method, target) = (method.to_string(), target.to_string());
        let fields = self.fields(deadline)?;
        let (body, trailers) = (Vec::new(), Fields::default());
        Ok(Request { connection: 0, nth: 0, method, target, fields, body, trailers })
    }

    /// The body that belongs to a request's head.
    pub(crate) fn request_body(&mut self, request: &mut Request) -> Result<(), Fault> {
        let deadline = self.deadline();
        if let Some((body, trailers)) = self.body(&request.fields, deadline)? {
            (request.body, request.trailers) = (body, trailers);
        }
        Ok(())
    }

    /// One response, interim ones too, to a request of this method.
    pub(crate) fn response(&mut self, method: &str) -> Result<Response, Fault> {
        let deadline = self.deadline();
        let line = self.start_line(deadline)?;
        let bad = || Fault::Malformed(format!("a bad status line {line:?}"));
        let (version, rest) = line.split_once(' ').ok_or_else(bad)?;
        let (code, _reason) = rest.split_once(' ').ok_or_else(bad)?;
        if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || code.len() != 3 {
            return Err(bad());
        }
        let status: u16 = code.parse().map_err(|_| bad())?;
        let fields = self.fields(deadline)?;
        let mut response = Response {
            status,
            version: version.into(),
            fields,
            body: Vec::new(),
            trailers: Fields::default(),
            until_close: false,
        };
        if status < 200 || status == 204 || (method == "CONNECT" && status < 300) {
            if response.fields.has("content-length") || response.fields.has("transfer-encoding") {
                return Err(Fault::Malformed(format!("framing fields on a {status}")));
            }
            return Ok(response);
        }
        if method == "HEAD" || status == 304 {
            return Ok(response);
        }
        match self.body(&response.fields, deadline)? {
            Some((body, trailers)) => (response.body, response.trailers) = (body, trailers),
            None => {
                while self.fill(deadline)? {}
                (response.body, response.until_close) = (std::mem::take(&mut self.ahead), true);
            }
        }
        Ok(response)
    }
}

/// RFC 9110, 5.6.2: tchar.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn lossy(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(200)];
    String::from_utf8_lossy(shown).into_owned()
}
