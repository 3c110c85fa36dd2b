//! The style `allowlist-jwt`: one file for each operation, and one for each guarantee that
//! concerns all of them.

mod bodies;
mod bootstrap;
mod credentials;
mod forged_tokens;
mod issue;
mod list;
mod revoke;
mod revoke_all;
mod revoke_by_jti;

use crate::support::{Issued, Plan, Response, TestUser, TokenApi, Upstream, World, json};
use serde_json::Value;

/// A keyward with a token API of this style, a route that accepts its keys, and a key of Alice.
struct AllowlistJwtWorld {
    keyward: World,
    _upstream: Upstream,
    alice: Issued,
}

impl AllowlistJwtWorld {
    fn start() -> Self {
        let upstream = Upstream::start();
        let keyward = Plan::usual(&upstream).start();
        let alice = keyward.key(TestUser::ALICE);
        Self { keyward, _upstream: upstream, alice }
    }

    /// The token API as Alice calls it.
    fn api(&self) -> TokenApi<'_> {
        self.keyward.api(TestUser::ALICE)
    }
}

/// The `data` of a success with this message.
#[track_caller]
fn data(response: &Response, message: &str) -> Value {
    assert_eq!(response.status, 200, "{response}");
    assert_eq!(
        response.fields.one("content-type").as_deref(),
        Some("application/json"),
        "{response}"
    );
    let body = json(response);
    assert_eq!(body["status"], "success", "{body}");
    assert_eq!(body["message"], message, "{body}");
    assert_eq!(keys(&body), ["data", "message", "status"], "{body}");
    body["data"].clone()
}

/// An error of this status in the envelope; returns its message.
#[track_caller]
fn error(response: &Response, status: u16) -> String {
    assert_eq!(response.status, status, "{response}");
    assert_eq!(
        response.fields.one("content-type").as_deref(),
        Some("application/json"),
        "{response}"
    );
    assert!(
        response.fields.one("cache-control").is_some_and(|value| value.contains("no-store")),
        "a refusal that caches may keep: {response}"
    );
    let body = json(response);
    assert_eq!(body["status"], "error", "{body}");
    assert!(body["data"].is_null() && keys(&body).contains(&"data".into()), "{body}");
    let message = body["message"].as_str().unwrap_or_else(|| panic!("no message in {body}"));
    assert!(!message.is_empty());
    message.to_owned()
}

/// The keys of an object, in the order of the alphabet.
fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
    keys.sort();
    keys
}

/// Seconds since 1970 of a time in the one form that the contract knows:
/// `2027-06-25T10:00:00+00:00`.
#[track_caller]
fn seconds(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "9999-99-99T99:99:99+99:99", "{text}");
    assert!(text.ends_with("+00:00"), "{text}");
    text.parse::<jiff::Timestamp>().expect("a time").as_second()
}

/// The version-independent form of a UUID: `8-4-4-4-12` in lower-case hex.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text == text.to_lowercase() && uuid::Uuid::parse_str(text).is_ok()
}
