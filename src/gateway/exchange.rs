//! One exchange: what is known of a request from its arrival to the last byte of its response, for the log and the metrics.

use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Instant;

use http::header::HeaderValue;
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode};

use super::authenticate::Admitted;
use super::client::ClientConnection;
use super::worker::{Local, WorkerGateway};
use crate::domain::Moment;
use crate::tokens::clock;

/// The id of a request: unique over instances and restarts, and no secret. 32 hexadecimal digits: 64 random bits of the worker,
/// and a counter that is spread by an odd multiplier so that neighbours do not look alike.
#[derive(Clone, Copy, Debug)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(super) fn value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

/// Makes request ids without asking the operating system each time.
pub(super) struct RequestIds {
    worker: u64,
    next: Cell<u64>,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let mut seed = [0; 16];
        // Without randomness ids are still unique within the worker: worth a log line that nobody would read, not an end.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        let [a, b] = [seed.first_chunk::<8>(), seed.last_chunk::<8>()].map(|half| half.copied().unwrap_or_default());
        Self { worker: u64::from_le_bytes(a), next: Cell::new(u64::from_le_bytes(b)) }
    }

    pub(super) fn next(&self) -> RequestId {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut text = [0; 32];
        let bytes = self.worker.to_be_bytes().into_iter().chain(spread.to_be_bytes());
        for (two, byte) in text.chunks_exact_mut(2).zip(bytes) {
            two.copy_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
        }
        RequestId(text)
    }
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

/// See the module.
pub(super) struct Exchange {
    pub(super) id: RequestId,
    begun: Moment,
    client: Rc<ClientConnection>,
    method: Method,
    target: Option<PathAndQuery>,
    local: Rc<Local>,
    route: Option<usize>,
    admitted: Option<Rc<Admitted>>,
    upstream_micros: Option<u64>,
    refusal: Option<(&'static str, Option<String>)>,
    status: StatusCode,
}

impl Exchange {
    pub(super) fn begin<B: http_body::Body>(
        gateway: &WorkerGateway,
        client: &Rc<ClientConnection>,
        request: &Request<B>,
    ) -> Self {
        client.body_is_broken.set(false);
        client.release();
        client.awaits_body.set(false);
        client.body_is_unread.set(!request.body().is_end_stream());
        Self {
            id: gateway.ids.next(),
            begun: clock::read(),
            client: Rc::clone(client),
            method: request.method().clone(),
            target: None,
            local: gateway.local(),
            route: None,
            admitted: None,
            upstream_micros: None,
            refusal: None,
            status: StatusCode::OK,
        }
    }

    /// The plan that the whole exchange goes by.
    pub(super) fn local(&self) -> Rc<Local> {
        Rc::clone(&self.local)
    }

    /// The one reading of the clocks that everything in the exchange goes by.
    pub(super) fn now(&self) -> Moment {
        self.begun
    }

    pub(super) fn parsed(&mut self, head: &http::request::Parts) {
        self.target = head.uri.path_and_query().cloned();
    }

    pub(super) fn routed(&mut self, route: usize) {
        self.route = Some(route);
    }

    pub(super) fn admitted(&mut self, admitted: &Rc<Admitted>) {
        self.admitted = Some(Rc::clone(admitted));
    }

    pub(super) fn upstream_took(&mut self, since: Instant) {
        self.upstream_micros = Some(micros(since.elapsed()));
    }

    pub(super) fn refused(&mut self, reason: &'static str, cause: Option<String>) {
        self.refusal = Some((reason, cause));
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// Counts and logs, when the last byte of the response has been handed over or the client has gone.
    pub(super) fn end(&self, gateway: &WorkerGateway, body_bytes: u64, is_complete: bool) {
        let took = clock::uptime().since(self.begun.uptime);
        gateway.counters.requests.count(self.status.as_u16());
        gateway.counters.durations.observe(took);
        if let Some((reason, _)) = &self.refusal {
            gateway.counters.refusals.count(reason);
        }
        gateway.log_line(self.begun.wall, |line, is_json| {
            let path = self.target.as_ref().map_or("-", |target| target.path());
            let took = micros(took);
            // What is written unescaped was checked against a grammar without quotes and backslashes; a `fmt::Write` into a
            // `String` cannot fail.
            if is_json {
                let mut number = itoa::Buffer::new();
                for part in [
                    r#","request_id":""#,
                    self.id.as_str(),
                    r#"","client":""#,
                    self.client.address_text(),
                    r#"","method":""#,
                    self.method.as_str(),
                    r#"","path":""#,
                    path,
                    r#"","status":"#,
                    self.status.as_str(),
                    r#","bytes":"#,
                ] {
                    line.push_str(part);
                }
                line.push_str(number.format(body_bytes));
                line.push_str(r#","duration_us":"#);
                line.push_str(number.format(took));
                if let Some(route) = self.route.and_then(|at| self.local.plan.routes.get(at)) {
                    line.push_str(r#","route":""#);
                    line.push_str(&route.path);
                    line.push('"');
                }
                if let Some(micros) = self.upstream_micros {
                    line.push_str(r#","upstream_us":"#);
                    line.push_str(number.format(micros));
                }
                if let Some(admitted) = &self.admitted {
                    line.push_str(&admitted.log_members);
                }
                if let Some((reason, cause)) = &self.refusal {
                    let _ = write!(line, r#","refusal":"{reason}""#);
                    if let Some(cause) = cause {
                        let _ = write!(line, r#","cause":{}"#, serde_json::Value::from(cause.as_str()));
                    }
                }
                if !is_complete {
                    line.push_str(r#","complete":false"#);
                }
            } else {
                let _ = write!(line, "{} {} {path} {took}us", self.status.as_u16(), self.method);
                if let Some(admitted) = &self.admitted {
                    let _ = write!(line, " subject={:?}", admitted.caller.token.subject());
                }
                if let Some((reason, cause)) = &self.refusal {
                    let _ = write!(line, " refused={reason}");
                    if let Some(cause) = cause {
                        let _ = write!(line, " ({cause})");
                    }
                }
            }
        });
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
