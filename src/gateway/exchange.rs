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

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

/// Makes request ids without asking the operating system each time.
pub(super) struct RequestIds {
    /// The first half of each, as text.
    worker: [u8; 16],
    next: Cell<u64>,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let mut seed = [0; 16];
        // Without randomness ids are still unique within the worker: worth a log line that nobody would read, not an end.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        let [a, b] = [seed.first_chunk::<8>(), seed.last_chunk::<8>()].map(|half| half.copied().unwrap_or_default());
        Self { worker: hex(u64::from_le_bytes(a)), next: Cell::new(u64::from_le_bytes(b)) }
    }

    pub(super) fn next(&self) -> RequestId {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let mut text = [0; 32];
        let (first, second) = text.split_at_mut(16);
        first.copy_from_slice(&self.worker);
        second.copy_from_slice(&hex(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        RequestId(text)
    }
}

/// Sixteen hexadecimal digits, eight at a time: a byte of a word becomes a digit each.
fn hex(number: u64) -> [u8; 16] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let eight = |half: u64| {
        let pairs = (half & 0xffff_0000) << 16 | half & 0xffff;
        let bytes = (pairs << 8 | pairs) & 0x00ff_00ff_00ff_00ff;
        let digits = (bytes << 4 | bytes) & (ONES * 0x0f);
        let is_letter = (digits + ONES * 6) >> 4 & ONES;
        (digits + ONES * u64::from(b'0') + is_letter * u64::from(b'a' - b'0' - 10)).to_be_bytes()
    };
    let mut text = [0; 16];
    let (high, low) = text.split_at_mut(8);
    high.copy_from_slice(&eight(number >> 32));
    low.copy_from_slice(&eight(number & 0xffff_ffff));
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 1 << 63, 0x9090_a0a0] {
            assert_eq!(hex(number), *format!("{number:016x}").as_bytes(), "{number:x}");
        }
    }

    #[test]
    fn no_two_ids_of_a_worker_are_alike() {
        let ids = RequestIds::new();
        let mut seen: Vec<_> = (0..1000).map(|_| ids.next().0).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
    }
}
