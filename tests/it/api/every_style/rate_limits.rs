//! Beyond a limit, each style refuses in its own form, with the same header fields.

use serde_json::{Value, json};

use crate::api::worlds::{AGENT_KEY, AccountsWorld, bearer, expect_json};
use crate::support::{Ongoing, Response, open};

const TENANT_KEYS: &str = "/api/v1/acme/tokens/";
const ACCOUNT_KEYS: &str = "/v1/auth/api-keys";
const WORDS: &str = "Too many requests; please try again later";

fn start(limits: &str) -> AccountsWorld {
    AccountsWorld::start_with(|plan| plan.in_every("token_api", limits))
}

/// What each style says, but that of `allowlist-jwt`, which the tests of limits have.
fn body(style: &str) -> Value {
    match style {
        "agent-tokens" => json!({ "error": WORDS }),
        _ => json!({ "detail": WORDS }),
    }
}

/// A 429 in the form of this style, with these fields. Returns what `Retry-After` says.
#[track_caller]
fn expect_refusal(response: &Response, style: &str, policy: &str) -> u64 {
    assert_eq!(expect_json(response, 429), body(style), "{style}: {response}");
    assert_eq!(response.fields.all("content-type"), ["application/json"], "{response}");
    assert_eq!(response.fields.all("ratelimit-policy"), [policy], "{style}: {response}");
    assert!(!response.fields.has("www-authenticate"), "{style}: {response}");
    let retry_after = response.fields.all("retry-after");
    assert_eq!(retry_after.len(), 1, "{style}: {response}");
    retry_after[0].parse().expect("whole seconds")
}

#[test]
fn beyond_a_rate_each_style_refuses_in_its_own_form_and_says_when_to_come_again() {
    let world = start("rate_limits = [{ per = \"subject\", rate = \"1/h\", burst = 2 }]");
    let (alice, session) = (world.alice(), world.session("hershel"));
    let policy = "\"api-subject\";q=1;w=3600";
    for (style, credential, target) in [
        ("tenant-tokens", &alice, TENANT_KEYS),
        ("agent-tokens", &alice, AGENT_KEY),
        ("accounts", &session, ACCOUNT_KEYS),
    ] {
        let call = |method: &str| world.call(method, target, credential, "");
        for left in [1, 0] {
            let answer = call("GET");
            assert_eq!(answer.status, 200, "{style}: {answer}");
            assert_eq!(answer.fields.all("ratelimit-policy"), [policy], "{style}: {answer}");
            let state = answer.fields.all("ratelimit").join(", ");
            assert!(state.starts_with(&format!("\"api-subject\";r={left};t=")), "{state}");
            assert!(!answer.fields.has("retry-after"), "{style}: {answer}");
        }
        for method in ["GET", "POST"] {
            let refused = call(method);
            let seconds = expect_refusal(&refused, style, policy);
            assert!((3_500..=3_600).contains(&seconds), "{style}: {refused}");
            let state = format!("\"api-subject\";r=0;t={seconds}");
            assert_eq!(refused.fields.all("ratelimit"), [state], "{style}: {refused}");
        }
        // Without a body, as to every HEAD.
        let head = call("HEAD");
        assert_eq!((head.status, &*head.body), (429, &b""[..]), "{style}: {head}");
        assert!(head.fields.has("retry-after"), "{style}: {head}");
    }
    // A key can be taken back whatever is done with it.
    let unknown = "00000000-0000-4000-8000-000000000000";
    for (credential, target, status) in [
        (&alice, format!("{TENANT_KEYS}{unknown}"), 404),
        (&alice, AGENT_KEY.to_owned(), 204),
        (&session, format!("{ACCOUNT_KEYS}/{unknown}"), 404),
    ] {
        let answer = world.call("DELETE", &target, credential, "");
        assert_eq!(answer.status, status, "{target}: {answer}");
    }
    let refused = world.keyward.metric("keyward_rate_limited_total", "by=\"subject\"");
    assert_eq!(refused, 9.0);
}

#[test]
fn while_a_key_has_as_much_under_way_as_it_may_its_calls_are_refused_in_the_form_of_its_style() {
    let world = start("concurrent_requests = 1");
    let session = world.session("hershel");
    let policy = "\"api-concurrent\";q=1;qu=\"concurrent-requests\"";
    for (style, key, route, tickets) in [
        ("tenant-tokens", world.tenant_key("acme").0, "/api/v1/acme/open", "/api/v1/tickets"),
        ("agent-tokens", world.agent_key(), "/agents/open", "/api/agent-tokens/tickets"),
        ("accounts", world.api_key(&session).0, "/v1/me/open", "/v1/auth/tickets"),
    ] {
        let (client, gate) = open(&world.keyward, &world.upstream, route, Ongoing::WebSocket, &key);
        let refused = world.call("POST", tickets, &key, "");
        assert_eq!(expect_refusal(&refused, style, policy), 1, "{style}: {refused}");
        assert!(!refused.fields.has("ratelimit"), "{style}: {refused}");
        gate.open();
        drop(client);
    }
    let others = world.keyward.ask("GET", "/private/x", &bearer(&world.allowlist_jwt_key()), "");
    assert_eq!(others.status, 200, "{others}");
}
