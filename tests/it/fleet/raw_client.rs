//! A client that keeps one connection alive for many requests. Of an answer it keeps only what the
//! tests look at.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{TIMEOUT, TestUser};

/// See the module. Connects when it is first needed, and again when the connection was lost.
pub(super) struct RawClient {
    address: SocketAddr,
    stream: Option<TcpStream>,
    ahead: Vec<u8>,
    timeout: Duration,
}

/// What was answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) has_retry_after: bool,
}

/// No answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The connection was not accepted.
    Refused,
    /// The connection ended.
    Cut,
    /// Nothing came in time.
    Late,
}

impl RawClient {
    pub(super) fn to(address: SocketAddr) -> Self {
        Self { address, stream: None, ahead: Vec::new(), timeout: TIMEOUT }
    }

    /// A GET on the guarded route.
    pub(super) fn get(&mut self, token: &str) -> Result<Answer, NoAnswer> {
        self.get_at(GUARDED, token)
    }

    /// A GET of something.
    pub(super) fn get_at(&mut self, target: &str, token: &str) -> Result<Answer, NoAnswer> {
        self.call_at("GET", target, token)
    }

    /// A call of anything, without a body.
    pub(super) fn call_at(
        &mut self,
        method: &str,
        target: &str,
        token: &str,
    ) -> Result<Answer, NoAnswer> {
        self.ask(request(method, target, token).as_bytes())
    }

    /// A call of the token API.
    pub(super) fn call(
        &mut self,
        person: TestUser,
        method: &str,
        call: &str,
        token: &str,
    ) -> Result<Answer, NoAnswer> {
        let (organization, username) = (person.organization, person.username);
        self.call_at(method, &format!("/jarvispy/{organization}/{username}/api/v1{call}"), token)
    }

    pub(super) fn ask(&mut self, request: &[u8]) -> Result<Answer, NoAnswer> {
        self.send(request).and_then(|()| self.read_answer()).inspect_err(|_| self.close())
    }

    /// Sends without waiting for an answer.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), NoAnswer> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, self.timeout)
                .map_err(|_| NoAnswer::Refused)?;
            let _ = stream.set_nodelay(true);
            let _ = stream.set_write_timeout(Some(self.timeout));
            self.stream = Some(stream);
        }
        self.stream.as_mut().ok_or(NoAnswer::Refused)?.write_all(bytes).map_err(|_| NoAnswer::Cut)
    }

    /// The next answer.
    pub(super) fn read_answer(&mut self) -> Result<Answer, NoAnswer> {
        let deadline = Instant::now() + self.timeout;
        let head = loop {
            match self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break self.ahead.drain(..at + 4).collect::<Vec<u8>>(),
                None => self.fill(deadline)?,
            }
        };
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
        let field =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length = field("content-length:").and_then(|digits| digits.parse().ok()).unwrap_or(0);
        while self.ahead.len() < length {
            self.fill(deadline)?;
        }
        let body = self.ahead.drain(..length).collect();
        if field("connection:").is_some_and(|value| value.contains("close")) {
            self.close();
        }
        Ok(Answer { status, body, has_retry_after: field("retry-after:").is_some() })
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), NoAnswer> {
        let stream = self.stream.as_mut().ok_or(NoAnswer::Cut)?;
        let mut chunk = [0; 8 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoAnswer::Late);
            }
            let _ = stream.set_read_timeout(Some(left));
            match stream.read(&mut chunk) {
                Ok(0) => return Err(NoAnswer::Cut),
                Ok(count) => {
                    self.ahead.extend_from_slice(&chunk[..count]);
                    return Ok(());
                }
                Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
                Err(fault)
                    if matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(NoAnswer::Late);
                }
                Err(_) => return Err(NoAnswer::Cut),
            }
        }
    }

    /// Ends the connection; the next request makes another.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.ahead.clear();
    }
}

/// What is guarded.
const GUARDED: &str = "/private/x";

/// The bytes of a GET on the guarded route.
pub(super) fn get(token: &str) -> String {
    request("GET", GUARDED, token)
}

fn request(method: &str, target: &str, token: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
}
