//! What is answered beyond a limit, and what every answer says of limits.

use super::{passes, rates, slow, world};
use crate::support::h2::{Connection, Head};
use crate::support::{Plan, Reply, Response, TestUser, Upstream, World, eventually, json};

/// `RateLimit-Policy` and `RateLimit`.
fn fields(response: &Response) -> (String, String) {
    let all = |name| response.fields.all(name).join(", ");
    (all("ratelimit-policy"), all("ratelimit"))
}

/// Seconds in `Retry-After`.
#[track_caller]
fn retry_after(response: &Response) -> u64 {
    let value = response.fields.one("retry-after").expect("Retry-After");
    value.parse().expect("whole seconds")
}

#[track_caller]
fn is_refused_in_time(response: &Response) {
    assert_eq!(response.status, 429, "{response}");
    let seconds = retry_after(response);
    assert!((3_500..=3_600).contains(&seconds), "{response}");
    assert_eq!(response.fields.one("cache-control").as_deref(), Some("no-store"), "{response}");
}

#[test]
fn every_answer_says_what_is_left_and_a_refusal_when_to_come_again() {
    let upstream = Upstream::start();
    let world = world(&upstream, &rates(&[slow("token", 3), slow("subject", 2)]));
    let token = world.key(TestUser::ALICE).token;
    let first = world.get_with("/limited/first", &token);
    let policy = "\"token\";q=1;w=3600, \"subject\";q=1;w=3600";
    assert_eq!(
        fields(&first),
        (policy.to_owned(), "\"token\";r=2;t=3600, \"subject\";r=1;t=3600".to_owned())
    );
    assert!(!first.fields.has("retry-after"), "{first}");
    assert_eq!(world.get_with("/limited/second", &token).status, 200);
    let refused = world.get_with("/limited/third", &token);
    is_refused_in_time(&refused);
    let (found, left) = fields(&refused);
    assert_eq!(found, policy);
    let seconds = retry_after(&refused);
    assert!(left.starts_with("\"token\";r=1;t="), "{left}");
    assert!(left.ends_with(&format!("\"subject\";r=0;t={seconds}")), "{left} {seconds}");
    let body = json(&refused);
    assert_eq!(
        refused.fields.one("content-type").as_deref(),
        Some("application/problem+json"),
        "{refused}"
    );
    assert_eq!(
        (&body["status"], &body["detail"]),
        (&429.into(), &"too many requests; please try again later".into())
    );
    let line = world.access_line("/limited/third");
    assert_eq!(line["refusal"], "rate_limited", "{line}");
    assert_eq!(line["cause"], "beyond 1/h, 2 at once per subject (\"rate_limits\")", "{line}");
    assert_eq!((&line["status"], &line["route"]), (&429.into(), &"/limited/{*rest}".into()));
    assert_eq!(world.metric("keyward_rate_limited_total", "by=\"subject\""), 1.0);
    assert_eq!(world.metric("keyward_rate_limited_total", "by=\"token\""), 0.0);
    assert_eq!(world.metric("keyward_refusals_total", "rate_limited"), 1.0);
}

#[test]
fn without_limits_no_answer_speaks_of_them() {
    let upstream = Upstream::start();
    let world = world(&upstream, &rates(&[slow("token", 3)]));
    let token = world.key(TestUser::ALICE).token;
    for answer in [world.get_with("/private/x", &token), world.ask("GET", "/public/x", "", "")] {
        assert_eq!(fields(&answer), (String::new(), String::new()), "{answer}");
    }
}

#[test]
fn the_limits_of_an_upstream_stay_beside_those_of_keyward() {
    let upstream = Upstream::start();
    let own = "RateLimit-Policy: \"own\";q=5;w=1\r\nRateLimit: \"own\";r=4;t=1\r\n";
    upstream.answer("/limited/x", Reply::of("200 OK", own, ""));
    let world = world(&upstream, &rates(&[slow("route", 3)]));
    let token = world.key(TestUser::ALICE).token;
    let (policy, left) = fields(&world.get_with("/limited/x", &token));
    assert_eq!(policy, "\"own\";q=5;w=1, \"route\";q=1;w=3600");
    assert_eq!(left, "\"own\";r=4;t=1, \"route\";r=2;t=3600");
}

#[test]
fn two_limits_of_one_scope_have_names_of_their_own_and_those_of_the_token_api_theirs() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream).in_every("token_api", &rates(&[slow("token", 3)])).route(
        "path = \"/limited/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             rate_limits = [{ per = \"token\", rate = \"1/h\" }, \
             { per = \"token\", rate = \"2/d\", burst = 2 }]\nconcurrent_requests = 4",
    );
    let world = plan.start();
    let token = world.key(TestUser::ALICE).token;
    let (policy, left) = fields(&world.get_with("/limited/x", &token));
    assert_eq!(
        policy,
        "\"token\";q=1;w=3600, \"token-2\";q=2;w=86400, \"api-token\";q=1;w=3600, \
         \"concurrent\";q=4;qu=\"concurrent-requests\""
    );
    assert_eq!(left, "\"token\";r=0;t=3600, \"token-2\";r=1;t=43200, \"api-token\";r=2;t=3600");
}

#[test]
fn a_token_api_refuses_in_its_own_form() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).in_every("token_api", &rates(&[slow("token", 1)])).start();
    let alice = world.key(TestUser::ALICE);
    let api = world.api(TestUser::ALICE);
    let list = api.list(&alice.token);
    assert_eq!(list.status, 200);
    assert_eq!(fields(&list).1, "\"api-token\";r=0;t=3600");
    let refused = api.list(&alice.token);
    is_refused_in_time(&refused);
    assert_eq!(refused.fields.one("content-type").as_deref(), Some("application/json"));
    let body = json(&refused);
    assert_eq!(
        (&body["status"], &body["message"], &body["data"]),
        (
            &"error".into(),
            &"Too many requests; please try again later".into(),
            &serde_json::Value::Null
        )
    );
    let is_logged = || world.access_lines().iter().any(|line| line["refusal"] == "rate_limited");
    assert!(eventually(is_logged), "not as a refusal of the token API");
}

#[test]
fn a_grpc_call_gets_a_status_of_its_own_as_trailers_only() {
    let upstream = Upstream::start();
    let world = world(&upstream, &rates(&[slow("token", 1)]));
    let token = world.key(TestUser::ALICE).token;
    assert_eq!(world.get_with("/limited/x", &token).status, 200);
    let mut connection = Connection::open(world.address());
    let id = connection.next_id();
    let head = Head::post("/limited/call")
        .with("content-type", "application/grpc")
        .with("te", "trailers")
        .with("authorization", format!("Bearer {token}"));
    connection.send(head.with_body(id, b"\0\0\0\0\0"));
    let response = connection.answer(id);
    assert_eq!(response.status, 200, "{response}");
    assert!(connection.state.stream(id).is_head_only, "{response}");
    assert_eq!(response.fields.all("grpc-status"), ["8"], "{response}");
    assert!((3_500..=3_600).contains(&retry_after(&response)), "{response}");
    assert_eq!(fields(&response).0, "\"token\";q=1;w=3600");
    assert_eq!(world.access_line("/limited/call")["refusal"], "rate_limited");
}

#[test]
fn a_page_of_another_origin_can_read_why_it_was_refused_and_preflights_do_not_count() {
    let upstream = Upstream::start();
    let lines = rates(&[slow("token", 1), slow("address", 4), slow("route", 1)]);
    let world = world(&upstream, &format!("{lines}\ncors.origins = [\"https://app.example.com\"]"));
    let token = world.key(TestUser::ALICE).token;
    let ask = |method: &str, more: &str| {
        let fields = format!("Origin: https://app.example.com\r\n{more}");
        world.ask(method, "/limited/x", &fields, "")
    };
    for _ in 0..6 {
        let preflight = ask("OPTIONS", "Access-Control-Request-Method: GET\r\n");
        assert_eq!(preflight.status, 204, "{preflight}");
        assert_eq!(fields(&preflight), (String::new(), String::new()));
    }
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(ask("GET", &bearer).status, 200);
    let refused = ask("GET", &bearer);
    assert_eq!(refused.status, 429);
    let expose = refused.fields.one("access-control-expose-headers").expect("exposed names");
    for name in ["RateLimit", "RateLimit-Policy", "Retry-After"] {
        assert!(expose.split(", ").any(|exposed| exposed.eq_ignore_ascii_case(name)), "{expose}");
    }
}

#[test]
fn explain_says_what_limits_there_are_and_uses_up_nothing() {
    let upstream = Upstream::start();
    let world: World = Plan::usual(&upstream)
        .in_every("token_api", &rates(&[slow("subject", 9)]))
        .route(&format!(
            "path = \"/limited/{{*rest}}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             concurrent_requests = 3\n{}",
            rates(&[slow("token", 2)])
        ))
        .start();
    let token = world.key(TestUser::ALICE).token;
    for _ in 0..5 {
        let output =
            world.run_reading(&["explain", "GET", "http://a.example/limited/x", "--json"], &token);
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(said["decision"], "forwarded", "{said}");
        assert_eq!(
            said["rate_limits"],
            serde_json::json!([
                "1/h, 2 at once, per token (\"rate_limits\" of the route)",
                "3 under way per token (\"concurrent_requests\" of the route)",
                "1/h, 9 at once, per subject (\"rate_limits\" of \"jarvispy\")",
            ])
        );
    }
    assert_eq!(passes(5, || world.get_with("/limited/x", &token)), 2);
}
