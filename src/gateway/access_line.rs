//! What a line of the access log says of an exchange behind its time, as JSON or as text.
//!
//! What is written unescaped was checked against a grammar without quotes and backslashes. A
//! `fmt::Write` into a `String` cannot fail.

use std::fmt::Write as _;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, Version};

use super::exchange::{Exchange, ExchangeEnd};

impl Exchange {
    pub(super) fn write_json(&self, line: &mut String, outcome: &ExchangeEnd<'_>) {
        let mut number = itoa::Buffer::new();
        for part in [
            r#","request_id":""#,
            self.id_text(),
            r#"","client":""#,
            self.client_text(),
            r#"","peer":""#,
            &self.client.peer,
            r#"","method":""#,
            self.method_text(),
            r#"","path":""#,
            self.path_text(),
            r#"","protocol":""#,
            self.protocol(),
            r#"","status":"#,
            number.format(outcome.status),
            r#","bytes":"#,
        ] {
            line.push_str(part);
        }
        line.push_str(number.format(self.bytes));
        if let Some(bytes) = self.bytes_received {
            line.push_str(r#","bytes_received":"#);
            line.push_str(number.format(bytes));
        }
        line.push_str(r#","duration_us":"#);
        line.push_str(number.format(micros(outcome.took)));
        if let Some(route) = self.route.and_then(|at| self.local.plan.routes.get(at)) {
            line.push_str(r#","route":""#);
            line.push_str(&route.path);
            line.push('"');
        }
        if let Some(took) = self.upstream_took {
            line.push_str(r#","upstream_us":"#);
            line.push_str(number.format(micros(took)));
        }
        if let Some(trace) = &self.trace {
            line.push_str(trace);
        }
        if let Some(admitted) = &self.admitted {
            line.push_str(&admitted.log_members);
        }
        if let Some((reason, _)) = &self.refusal {
            let _ = write!(line, r#","refusal":"{reason}""#);
        }
        if let Some(cause) = outcome.cause {
            let _ = write!(line, r#","cause":{}"#, serde_json::Value::from(cause));
        }
        if !self.is_complete {
            line.push_str(r#","complete":false"#);
        }
    }

    pub(super) fn write_text(&self, line: &mut String, outcome: &ExchangeEnd<'_>) {
        let (client, peer) = (self.client_text(), &*self.client.peer);
        let (method, path) = (self.method_text(), self.path_text());
        let (status, took) = (outcome.status, micros(outcome.took));
        let _ = write!(line, "{client} {status} {method} {path} {took}us");
        if client != peer {
            let _ = write!(line, " peer={peer}");
        }
        if let Some(admitted) = &self.admitted {
            let _ = write!(line, " subject={:?}", admitted.caller.token.subject());
        }
        if let Some((reason, _)) = &self.refusal {
            let _ = write!(line, " refused={reason}");
        }
        if let Some(cause) = outcome.cause {
            let _ = write!(line, " ({cause})");
        }
    }

    fn method_text(&self) -> &str {
        self.method.as_ref().map_or("-", Method::as_str)
    }

    fn path_text(&self) -> &str {
        self.target.as_ref().map_or("-", PathAndQuery::path)
    }

    const fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
