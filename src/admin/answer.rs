//! The bytes of the administrator's answers: JSON, plain text, and errors as
//! `application/problem+json` (RFC 9457).

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::wire::retry_after::{SHORTLY, whole_seconds};

/// An answer: always whole, so hyper frames it by its length.
pub(super) type Answer = Response<Full<Bytes>>;

/// Enough for any answer that holds a token: the buffer does not move and leaves no copy behind.
const BUFFER_BYTES: usize = 16 * 1024;

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// A value as JSON. Its bytes are wiped once they have been sent: it may hold a token.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut body = Zeroizing::new(Vec::with_capacity(BUFFER_BYTES));
    match serde_json::to_writer(&mut *body, value) {
        Ok(()) => answer(status, "application/json", Bytes::from_owner(body)),
        Err(_) => {
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written as JSON")
        }
    }
}

/// Metrics in the Prometheus text format, version 0.0.4.
pub(super) fn metrics(text: String) -> Answer {
    answer(StatusCode::OK, "text/plain; version=0.0.4", text.into())
}

/// An error. Its type is `about:blank`: the status says what kind it is.
pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    let mut answer = answer(status, "application/problem+json", body.to_string().into());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(SHORTLY)));
    }
    answer
}

pub(super) fn not_found() -> Answer {
    problem(StatusCode::NOT_FOUND, "there is nothing at this path")
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Answer {
    let mut answer =
        problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not answer to this method");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Closes the connection after the answer: the request's body was not read to its end.
pub(super) fn and_close(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
