//! A strict reader of HTTP/1.1 messages (RFC 9112), written for the tests alone: what it does not
//! like is a fault.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::message::{Fault, Fields, Request, Response};
use super::transport::Transport;

/// One side of a connection: its transport, what was read ahead, and everything that was ever read.
pub(crate) struct Wire {
    io: Box<dyn Transport>,
    ahead: Vec<u8>,
    seen: Vec<u8>,
    timeout: Duration,
    /// What ended the connection, if that was not a close in good order.
    error: Option<io::Error>,
}

impl Wire {
    pub(crate) fn new(io: impl Transport + 'static, timeout: Duration) -> Self {
        // A Unix socket has no such option and does not need it.
        let _ = io.socket().set_tcp_nodelay(true);
        Self { io: Box::new(io), ahead: Vec::new(), seen: Vec::new(), timeout, error: None }
    }

    pub(crate) fn socket(&self) -> SockRef<'_> {
        self.io.socket()
    }

    /// What ended the connection, if that was not a close in good order: a reset, or over TLS an
    /// end without `close_notify`.
    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Every byte read so far.
    pub(crate) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Changes how long each message may take from here on.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Writes bytes. A peer that has already closed is no fault: its answer is what counts.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.try_send(bytes);
    }

    /// Writes bytes to a peer that may have closed, or may take too long to read them.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.socket().set_write_timeout(Some(self.timeout))?;
        self.io.write_all(bytes)?;
        self.io.flush()
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Reads more. `Ok(false)` is the end of the stream.
    fn fill(&mut self, deadline: Instant) -> Result<bool, Fault> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Fault::Late(format!("with {:?} read", lossy(&self.ahead))));
        }
        self.io.socket().set_read_timeout(Some(left)).expect("a read timeout above zero is taken");
        let mut chunk = [0; 16 * 1024];
        loop {
            return match self.io.read(&mut chunk) {
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
                Err(error) => {
                    self.error = Some(error);
                    Ok(false)
                }
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
