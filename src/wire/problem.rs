//! Problem details (RFC 9457): the body of every refusal that no token API words in its own way.

use http::StatusCode;

/// The media type.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The body: `type` is left out, which means `about:blank`, so `title` is the status' own phrase
/// (RFC 9457, section 4.2.1).
#[must_use]
pub fn body(status: StatusCode, detail: &str, request_id: &str) -> Vec<u8> {
    serde_json::json!({
        "title": status.canonical_reason().unwrap_or("Refused"),
        "status": status.as_u16(),
        "detail": detail,
        "request_id": request_id,
    })
    .to_string()
    .into_bytes()
}
