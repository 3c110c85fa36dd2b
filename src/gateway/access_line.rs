//! The lines of the access log: how they are written, as JSON or as text, and where they wait.

use std::fmt::Write as _;

use super::admitted::Admitted;
use super::plan::RouteSettings;
use crate::domain::Timestamp;
use crate::telemetry::Reason;

/// What a line says of one exchange, behind its time.
pub(super) struct LineFacts<'a> {
    pub(super) request_id: &'a str,
    pub(super) client: &'a str,
    pub(super) peer: &'a str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) protocol: &'a str,
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) bytes_received: Option<u64>,
    pub(super) took_micros: u64,
    pub(super) route: Option<&'a RouteSettings>,
    pub(super) upstream_micros: Option<u64>,
    pub(super) admitted: Option<&'a Admitted>,
    pub(super) refusal: Option<Reason>,
    pub(super) cause: Option<&'a str>,
    pub(super) is_complete: bool,
}

/// What is written unescaped was checked against a grammar without quotes and backslashes. A
/// `fmt::Write` into a `String` cannot fail.
impl LineFacts<'_> {
    pub(super) fn write_json(&self, line: &mut String) {
        let mut number = itoa::Buffer::new();
        for part in [
            r#","request_id":""#,
            self.request_id,
            r#"","client":""#,
            self.client,
            r#"","peer":""#,
            self.peer,
            r#"","method":""#,
            self.method,
            r#"","path":""#,
            self.path,
            r#"","protocol":""#,
            self.protocol,
            r#"","status":"#,
            number.format(self.status),
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
        line.push_str(number.format(self.took_micros));
        if let Some(route) = self.route {
            line.push_str(r#","route":""#);
            line.push_str(&route.path);
            line.push('"');
        }
        if let Some(micros) = self.upstream_micros {
            line.push_str(r#","upstream_us":"#);
            line.push_str(number.format(micros));
        }
        if let Some(admitted) = self.admitted {
            line.push_str(&admitted.log_members);
        }
        if let Some(reason) = self.refusal {
            let _ = write!(line, r#","refusal":"{}""#, reason.as_str());
        }
        if let Some(cause) = self.cause {
            let _ = write!(line, r#","cause":{}"#, serde_json::Value::from(cause));
        }
        if !self.is_complete {
            line.push_str(r#","complete":false"#);
        }
    }

    pub(super) fn write_text(&self, line: &mut String) {
        let Self { client, peer, status, method, path, took_micros, .. } = self;
        let _ = write!(line, "{client} {status} {method} {path} {took_micros}us");
        if client != peer {
            let _ = write!(line, " peer={peer}");
        }
        if let Some(admitted) = self.admitted {
            let _ = write!(line, " subject={:?}", admitted.caller.token.subject());
        }
        if let Some(reason) = self.refusal {
            let _ = write!(line, " refused={}", reason.as_str());
        }
        if let Some(cause) = self.cause {
            let _ = write!(line, " ({cause})");
        }
    }
}

/// Collects lines until there are many of them or a second has passed.
#[derive(Default)]
pub(super) struct LineBuffer {
    lines: String,
    /// The second that `stamp` shows.
    second: i64,
    stamp: String,
}

const BUFFER_BYTES: usize = 64 * 1024;

impl LineBuffer {
    /// Adds a line that begins with this time; `write` adds what follows.
    pub(super) fn add(
        &mut self,
        at: Timestamp,
        is_json: bool,
        write: impl FnOnce(&mut String, bool),
    ) {
        let Self { lines, second, stamp } = self;
        if *second != at.unix_seconds() || stamp.is_empty() {
            *second = at.unix_seconds();
            let text = at.to_rfc3339_zulu();
            text.trim_end_matches('Z').clone_into(stamp);
        }
        // Three digits: the leading one of 1000 to 1999 is left out.
        let millis = 1000 + at.unix_millis().rem_euclid(1000);
        let mut number = itoa::Buffer::new();
        let millis = number.format(millis).get(1..).unwrap_or_default();
        lines.push_str(if is_json { r#"{"time":""# } else { "" });
        lines.push_str(stamp);
        lines.push('.');
        lines.push_str(millis);
        lines.push_str(if is_json { r#"Z""# } else { "Z " });
        write(lines, is_json);
        lines.push_str(if is_json { "}\n" } else { "\n" });
    }

    /// Whether the lines are to be taken before the next one is added.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.lines.len() > BUFFER_BYTES * 3 / 4
    }

    /// The lines that wait, if there are any.
    pub(super) fn take(&mut self) -> Option<String> {
        (!self.lines.is_empty())
            .then(|| std::mem::replace(&mut self.lines, String::with_capacity(BUFFER_BYTES)))
    }
}
