//! What the access log says of a trace is JSON of three members, whatever a client sends.

use serde_json::{Map, Value};

use super::field_lines::field_lines;
use crate::gateway::fuzzing::trace_members;

pub(super) fn run(input: &[u8]) -> bool {
    let headers = field_lines(input);
    let Some(members) = trace_members(&headers) else { return false };
    assert!(members.starts_with(','));
    let line = format!("{{\"before\":1{members},\"after\":2}}");
    assert!(line.bytes().all(|byte| matches!(byte, 0x20..=0x7e)), "{line}");
    let parsed = serde_json::from_str::<Map<String, Value>>(&line);
    assert!(parsed.is_ok(), "this is no JSON: {line}");
    let mut line = parsed.unwrap_or_default();
    assert_eq!((line.remove("before"), line.remove("after")), (Some(1.into()), Some(2.into())));
    for (name, length) in [("trace_id", 32), ("span_id", 16)] {
        let id = line.remove(name);
        let id = id.as_ref().and_then(Value::as_str).unwrap_or_default();
        let is_id = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        assert!(id.len() == length && id.bytes().all(is_id) && id.bytes().any(|byte| byte != b'0'));
        // It is in the one field of the request.
        let mut parents = headers.get_all("traceparent").iter();
        let is_there = |value: &[u8]| value.windows(length).any(|part| part == id.as_bytes());
        assert!(parents.next().is_some_and(|value| is_there(value.as_bytes())));
        assert!(parents.next().is_none());
    }
    if let Some(state) = line.remove("tracestate") {
        let state = state.as_str().unwrap_or_default();
        assert!((3..=512).contains(&state.len()), "{state}");
        assert!(state.split(',').all(|member| member.matches('=').count() == 1), "{state}");
    }
    assert!(line.is_empty(), "{line:?}");
    true
}
