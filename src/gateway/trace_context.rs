//! The trace that a request says it belongs to (W3C Trace Context), for the access log. To the
//! upstream its fields go on as they came. keyward makes no spans: a request that names no trace
//! gets none.

use http::header::{HeaderMap, HeaderValue};
use serde_json::Value;

/// The field that names the trace.
pub(super) const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The longest `tracestate` that is logged: so much of it must go on everywhere (section 3.3.1.5).
const STATE_LIMIT: usize = 512;
/// The most members that it may have (section 3.3.1.1), and the longest key and value.
const STATE_MEMBERS: usize = 32;
const STATE_PART: usize = 256;

/// `trace_id`, `span_id` and `tracestate` as members of a JSON log line. `None`: the request names
/// no trace, or not in the one way there is. A `tracestate` that is malformed or too long is left
/// out.
pub(super) fn log_members(headers: &HeaderMap) -> Option<Box<str>> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let parent = parents.next().filter(|_| parents.next().is_none())?;
    let Parent { trace_id, span_id } = Parent::read(parent.as_bytes())?;
    let mut members = format!(r#","trace_id":"{trace_id}","span_id":"{span_id}""#);
    if let Some(state) = state(headers) {
        members.push_str(r#","tracestate":"#);
        members.push_str(&Value::from(state).to_string());
    }
    Some(members.into())
}

/// What a `traceparent` says.
#[derive(Debug, PartialEq, Eq)]
struct Parent<'a> {
    trace_id: &'a str,
    span_id: &'a str,
}

impl<'a> Parent<'a> {
    /// Version, id of the trace, id of the span, flags, in lower-case hexadecimal digits (section
    /// 3.2). A later version may have more behind them.
    fn read(value: &'a [u8]) -> Option<Self> {
        let value = std::str::from_utf8(value).ok()?;
        let mut parts = value.splitn(5, '-');
        let (version, trace_id) = (hex(parts.next()?, 2)?, hex(parts.next()?, 32)?);
        let (span_id, _) = (hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
        let has_more = parts.next().is_some();
        let is_known = version != "ff" && (version != "00" || !has_more);
        let is_none = |id: &str| id.bytes().all(|digit| digit == b'0');
        (is_known && !is_none(trace_id) && !is_none(span_id)).then_some(Self { trace_id, span_id })
    }
}

/// The text, if it has this length and is lower-case hexadecimal.
fn hex(text: &str, length: usize) -> Option<&str> {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == length && text.bytes().all(is_digit)).then_some(text)
}

/// `tracestate` on one line, if it is well formed and no longer than is logged.
fn state(headers: &HeaderMap) -> Option<String> {
    let mut whole = String::new();
    let mut members = 0;
    let lines = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str);
    for line in lines {
        for member in line.ok()?.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            members += 1;
            if !whole.is_empty() {
                whole.push(',');
            }
            whole.push_str(member);
            if !is_member(member) || members > STATE_MEMBERS || whole.len() > STATE_LIMIT {
                return None;
            }
        }
    }
    (!whole.is_empty()).then_some(whole)
}

/// `key=value` (section 3.3.1.2).
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let is_key = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    let is_value = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'=';
    (1..=STATE_PART).contains(&key.len())
        && (1..=STATE_PART).contains(&value.len())
        && key.bytes().all(is_key)
        && value.bytes().all(is_value)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn read(fields: &[(&'static str, &str)]) -> Option<Value> {
        let fields = fields.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            (HeaderName::from_static(name), value)
        });
        let members = log_members(&fields.collect())?;
        let line = format!("{{{}}}", members.strip_prefix(',').expect("a comma"));
        Some(serde_json::from_str(&line).expect("JSON"))
    }

    fn parent() -> String {
        format!("00-{TRACE}-{SPAN}-01")
    }

    #[test]
    fn a_well_formed_parent_is_read_in_every_version_that_there_may_be() {
        for value in [
            parent(),
            format!("00-{TRACE}-{SPAN}-ff"),
            format!("01-{TRACE}-{SPAN}-00"),
            format!("cc-{TRACE}-{SPAN}-01-what-comes"),
            format!("cc-{TRACE}-{SPAN}-01-"),
        ] {
            let read = read(&[(TRACEPARENT, &value)]).expect("a trace");
            assert_eq!(read, serde_json::json!({"trace_id": TRACE, "span_id": SPAN}), "{value}");
        }
    }

    #[test]
    fn what_is_not_well_formed_names_no_trace() {
        let zeros = "0".repeat(32);
        for value in [
            String::new(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_ascii_uppercase()),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00_{TRACE}_{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
            format!("00-{}\"}},\"x\":\"-{SPAN}-01", &TRACE[..24]),
            format!("00-é{}-{SPAN}-01", &TRACE[2..]),
        ] {
            let state = (TRACESTATE, "a=b");
            assert_eq!(read(&[(TRACEPARENT, &value), state]), None, "{value}");
        }
        assert_eq!(read(&[(TRACESTATE, "a=b")]), None);
        assert_eq!(read(&[(TRACEPARENT, &parent()), (TRACEPARENT, &parent())]), None);
    }

    #[test]
    fn a_state_is_one_line_of_all_its_members_or_is_left_out() {
        let long = format!("a={}", "b".repeat(256));
        let most = format!("{long},c={}", "d".repeat(STATE_LIMIT - long.len() - 3));
        let many: Vec<_> = (0..32).map(|at| format!("k{at}=v")).collect();
        let many = many.join(",");
        let (too_long, too_many) = (format!("{most}e"), format!("{many},z=v"));
        let longer_value = format!("{long}b");
        for (lines, logged) in [
            (&["a=b"][..], Some("a=b")),
            (&["a=b , c=d", "", "e=f"], Some("a=b,c=d,e=f")),
            (
                &["rojo=00f067aa0ba902b7,t@v-_*/1=~\"\\!"],
                Some("rojo=00f067aa0ba902b7,t@v-_*/1=~\"\\!"),
            ),
            (&[&most], Some(&most)),
            (&[&many], Some(&many)),
            (&[&too_long], None),
            (&[&too_many], None),
            (&[&longer_value], None),
            (&["a=b", "é=f"], None),
            (&["a"], None),
            (&["A=b"], None),
            (&["=b"], None),
            (&["a="], None),
            (&["a=b=c"], None),
            (&["a=\tb"], None),
            (&[",,"], None),
            (&[], None),
        ] {
            let parent = parent();
            let mut fields = vec![(TRACEPARENT, parent.as_str())];
            fields.extend(lines.iter().map(|line| (TRACESTATE, *line)));
            let read = read(&fields).expect("a trace");
            assert_eq!(read.get("tracestate").and_then(Value::as_str), logged, "{lines:?}");
            assert_eq!(read["trace_id"], TRACE);
        }
    }
}
