//! The metrics by route, upstream, token API and credential: what is counted where, and that no
//! client makes a series.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::json;

use crate::support::{Act, Gate, Plan, Reply, TestIssuer, TestUser, Upstream, World, eventually};

/// An address on which no server listens.
fn closed() -> SocketAddr {
    Upstream::start().address()
}

/// The series of a metric that are not 0, without those of the histogram's buckets: labels in the
/// order of the page, and value.
fn series(world: &World, name: &str) -> BTreeMap<String, f64> {
    let page = world.admin_text("/metrics");
    let lines = page.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    let values = lines.filter(|(labels, _)| labels.is_empty() || labels.starts_with('{'));
    let values =
        values.map(|(labels, value)| (labels.to_owned(), value.parse().expect("a number")));
    values.filter(|(_, value)| *value != 0.0).collect()
}

fn expected<const N: usize>(lines: [(&str, f64); N]) -> BTreeMap<String, f64> {
    lines.into_iter().map(|(labels, value)| (format!("{{{labels}}}"), value)).collect()
}

/// Waits until the metric has these series that are not 0, and no others: what is counted when an
/// exchange ends may be counted a moment after its client has the answer.
#[track_caller]
fn assert_series<const N: usize>(world: &World, name: &str, lines: [(&str, f64); N]) {
    let expected = expected(lines);
    eventually(|| series(world, name) == expected);
    assert_eq!(series(world, name), expected, "{name}");
}

#[test]
fn requests_are_counted_by_route_and_upstream_and_never_by_what_a_client_sent() {
    let (one, two) = (Upstream::start(), Upstream::start());
    two.answer("/b/gone", Reply::of("410 Gone", "", ""));
    let world = Plan::bare()
        .upstream("one", one.address())
        .upstream("two", two.address())
        .route("path = \"/a/{*rest}\"\nupstream = \"one\"\npublic = true")
        .route("path = \"/b/{*rest}\"\nmethods = [\"GET\"]\nupstream = \"two\"\npublic = true")
        .route("path = \"/b/{*rest}\"\nmethods = [\"POST\"]\nupstream = \"two\"\npublic = true")
        .route("path = \"/b/{*rest}\"\nmethods = [\"PUT\"]\nupstream = \"one\"\npublic = true")
        .route("path = \"/b/{*rest}\"\nhost = \"h.example\"\nupstream = \"one\"\npublic = true")
        .route("path = \"/c\"\nredirect.to = \"/d\"\npublic = true")
        .start();
    let ask = |method: &str, target: &str| world.ask(method, target, "", "").status;
    assert_eq!(ask("GET", "/a/secret-of-a-client"), 200);
    assert_eq!(ask("GET", "/b/x"), 200);
    assert_eq!(ask("POST", "/b/x"), 200);
    assert_eq!(ask("GET", "/b/gone"), 410);
    assert_eq!(ask("PUT", "/b/x"), 200);
    assert_eq!(ask("GET", "/c"), 308);
    assert_eq!(ask("GET", "/nothing-of-the-kind"), 404);
    assert_eq!(ask("GET", "/%00"), 400);
    let of_host = "GET /b/x HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n\r\n";
    assert_eq!(world.client().ask(of_host).status, 200);
    assert_series(
        &world,
        "keyward_route_requests_total",
        [
            (r#"route="/a/{*rest}",upstream="one",class="2xx""#, 1.0),
            (r#"route="/b/{*rest}",upstream="two",class="2xx""#, 2.0),
            (r#"route="/b/{*rest}",upstream="two",class="4xx""#, 1.0),
            (r#"route="/b/{*rest}",upstream="one",class="2xx""#, 1.0),
            (r#"route="/b/{*rest}",host="h.example",upstream="one",class="2xx""#, 1.0),
            (r#"route="/c",class="3xx""#, 1.0),
            (r#"route="",class="4xx""#, 2.0),
        ],
    );
    let durations = "keyward_route_request_duration_seconds_count";
    let sum = |name: &str| series(&world, name).values().sum::<f64>();
    assert_eq!((sum(durations), sum("keyward_route_requests_total")), (9.0, 9.0));
    assert_eq!(sum("keyward_requests_total"), 9.0);
    assert_eq!(sum("keyward_request_duration_seconds_count"), 9.0);
    assert_series(
        &world,
        "keyward_upstream_requests_total",
        [
            (r#"upstream="one",outcome="2xx""#, 3.0),
            (r#"upstream="two",outcome="2xx""#, 2.0),
            (r#"upstream="two",outcome="4xx""#, 1.0),
        ],
    );
    assert_series(
        &world,
        "keyward_upstream_response_head_seconds_count",
        [(r#"upstream="one""#, 3.0), (r#"upstream="two""#, 3.0)],
    );
    let page = world.admin_text("/metrics");
    for sent in ["secret-of-a-client", "nothing-of-the-kind", "a.example"] {
        assert!(!page.contains(sent), "{sent} in\n{page}");
    }
}

#[test]
fn refusals_are_counted_by_the_route_that_refused() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route(
            "path = \"/few\"\nupstream = \"app\"\npublic = true\n\
             rate_limits = [{ per = \"address\", rate = \"1/h\", burst = 1 }]",
        )
        .start();
    assert_eq!(world.ask("GET", "/private/x", "", "").status, 401);
    assert_eq!(world.get_with("/private/x", "forged").status, 401);
    assert_eq!(world.ask("GET", "/few", "", "").status, 200);
    assert_eq!(world.ask("GET", "/few", "", "").status, 429);
    assert_eq!(world.ask("GET", "/elsewhere", "", "").status, 404);
    assert_series(
        &world,
        "keyward_route_refusals_total",
        [
            (r#"route="/private/{*rest}",upstream="app",reason="no_credential""#, 1.0),
            (r#"route="/private/{*rest}",upstream="app",reason="bad_credential""#, 1.0),
            (r#"route="/few",upstream="app",reason="rate_limited""#, 1.0),
            (r#"route="",reason="no_route""#, 1.0),
        ],
    );
    // Nothing of these was sent on.
    assert_series(
        &world,
        "keyward_upstream_requests_total",
        [(r#"upstream="app",outcome="2xx""#, 1.0)],
    );
}

#[test]
fn what_is_refused_before_its_credential_is_read_has_its_route_too() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer("/public/held", Reply::acts([Act::Wait(gate.clone())]));
    let world = Plan::usual(&upstream).set("limits", "requests", "1").start();
    let mut client = world.client();
    client.send("GET /public/held HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(upstream.wait_until(|log| !log.requests.is_empty()));
    assert_eq!(world.ask("GET", "/private/x", "", "").status, 503);
    assert_eq!(world.access_line("/private/x")["route"], "/private/{*rest}");
    let refused = r#"route="/private/{*rest}",upstream="app",reason="overloaded""#;
    assert_series(&world, "keyward_route_refusals_total", [(refused, 1.0)]);
    gate.open();
}

#[test]
fn a_request_for_an_upstream_is_counted_by_its_answer_or_by_why_there_was_none() {
    let upstream = Upstream::start();
    upstream.answer("/public/broken", Reply::acts([Act::Close]));
    upstream.answer("/public/failing", Reply::of("503 Service Unavailable", "", ""));
    let gate = Gate::default();
    upstream.answer("/public/held", Reply::acts([Act::Wait(gate.clone())]));
    upstream.answer("/public/slow", Reply::acts([Act::Wait(gate.clone())]));
    let world = Plan::usual(&upstream)
        .table(
            "route",
            "path = \"/public/slow\"\nupstream = \"app\"\npublic = true\n\
             timeouts = { response_head = \"100ms\" }",
        )
        .upstream("away", closed())
        .route("path = \"/away\"\nupstream = \"away\"\npublic = true")
        .start();
    let get = |target: &str| world.ask("GET", target, "", "").status;
    assert_eq!(get("/public/x"), 200);
    assert_eq!(get("/public/failing"), 503);
    assert_eq!(world.ask("POST", "/public/broken", "", "x").status, 502);
    assert_eq!(get("/public/slow"), 504);
    assert_eq!(get("/away"), 502);
    let mut client = world.client();
    client.send("GET /public/held HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let is_held = |request: &crate::support::Request| request.target == "/public/held";
    assert!(upstream.wait_until(|log| log.requests.iter().any(is_held)));
    client.reset();
    assert_series(
        &world,
        "keyward_upstream_requests_total",
        [
            (r#"upstream="app",outcome="2xx""#, 1.0),
            (r#"upstream="app",outcome="5xx""#, 1.0),
            (r#"upstream="app",outcome="broken""#, 1.0),
            (r#"upstream="app",outcome="timeout""#, 1.0),
            (r#"upstream="app",outcome="unfinished""#, 1.0),
            (r#"upstream="away",outcome="connect_failed""#, 1.0),
        ],
    );
    let heads = "keyward_upstream_response_head_seconds_count";
    assert_series(&world, heads, [(r#"upstream="app""#, 2.0)]);
    gate.open();
}

#[test]
fn requests_and_failures_are_counted_by_endpoint_and_outlive_a_reload() {
    let (upstream, away) = (Upstream::start(), closed());
    let good = upstream.address();
    let plan = |more: &str| {
        let endpoints = format!("endpoints = [\"http://{good}\", \"http://{away}\"]\n{more}");
        Plan::bare()
            .table("upstream", &format!("name = \"app\"\n{endpoints}"))
            .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
    };
    let never_out = "ejection = { failures = 0 }";
    let world = plan(never_out).start();
    let get = || assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    let requests = "keyward_upstream_endpoint_requests_total";
    let failures = || world.metric("keyward_upstream_endpoint_failures_total", "");
    (0..10).for_each(|_| get());
    let of_good = format!("upstream=\"app\",endpoint=\"{good}\"");
    assert_series(&world, requests, [(&of_good, 10.0)]);
    let failed = failures();
    assert!(failed >= 1.0);
    assert_eq!(world.metric("keyward_upstream_endpoint_failures_total", &of_good), 0.0);
    world.configure(&plan(&format!("{never_out}\nmax_requests = 100")));
    world.reload();
    get();
    assert_series(&world, requests, [(&of_good, 11.0)]);
    assert!(failures() >= failed);
}

#[test]
fn calls_of_a_token_api_are_counted_by_what_they_ask_for_and_their_outcome() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .table("token_api", "name = \"accounts\"\nstyle = \"accounts\"\nmount = \"/accounts\"")
        .start();
    let api = world.api(TestUser::ALICE);
    let bootstrap = world.bootstrap(TestUser::ALICE, 2);
    let key = api.mint(&bootstrap);
    assert_eq!(api.list(&key.token).status, 200);
    assert_eq!(api.list("forged").status, 401);
    assert_eq!(api.call("DELETE", "/auth/tokens", &key.token, "").status, 405);
    assert_eq!(api.revoke(&key.token).status, 200);
    assert_eq!(api.revoke(&key.token).status, 401);
    let login = json!({ "username": "nobody", "password": "a wrong password" }).to_string();
    let fields = "Content-Type: application/json\r\n";
    assert_eq!(world.ask("POST", "/accounts/login", fields, login).status, 401);
    assert_series(
        &world,
        "keyward_token_api_calls_total",
        [
            (r#"token_api="jarvispy",operation="issue",outcome="done""#, 1.0),
            (r#"token_api="jarvispy",operation="list",outcome="done""#, 1.0),
            (r#"token_api="jarvispy",operation="list",outcome="refused""#, 1.0),
            (r#"token_api="jarvispy",operation="revoke",outcome="done""#, 1.0),
            (r#"token_api="jarvispy",operation="revoke",outcome="refused""#, 1.0),
            (r#"token_api="jarvispy",operation="other",outcome="refused""#, 1.0),
            (r#"token_api="accounts",operation="login",outcome="refused""#, 1.0),
        ],
    );
}

#[test]
fn checks_of_credentials_are_counted_by_whose_they_are_and_their_outcome() {
    let upstream = Upstream::start();
    let issuer = TestIssuer::open();
    let world = Plan::usual(&upstream)
        .table("issuer", &issuer.table("login"))
        .table(
            "token_api",
            "name = \"agents\"\nstyle = \"agent-tokens\"\nmount = \"/agents\"\nissuer = \"login\"",
        )
        .route(
            "path = \"/all\"\nupstream = \"app\"\naccept = [\"login\", \"agents\", \"jarvispy\"]",
        )
        .start();
    let key = world.key(TestUser::ALICE);
    let status = |token: &str| world.get_with("/all", token).status;
    let good = issuer.access("u-1", json!({}));
    for _ in 0..3 {
        assert_eq!(status(&key.token), 200);
        assert_eq!(status(&good), 200);
    }
    assert_eq!(status(&issuer.access("u-1", json!({ "exp": 1000 }))), 401);
    assert_eq!(status(&issuer.access("u-1", json!({ "aud": "another" }))), 401);
    assert_eq!(status(&format!("sk_agt_{}", "0".repeat(64))), 401);
    assert_eq!(status("forged"), 401);
    assert_eq!(world.api(TestUser::ALICE).revoke(&key.token).status, 200);
    assert_eq!(status(&key.token), 401);
    assert_series(
        &world,
        "keyward_token_checks_total",
        [
            // Of the bootstrap token, the requests, and the revocation.
            (r#"credential="jarvispy",outcome="accepted""#, 5.0),
            (r#"credential="login",outcome="accepted""#, 3.0),
            (r#"credential="login",outcome="expired""#, 1.0),
            (r#"credential="login",outcome="bad_credential""#, 1.0),
            (r#"credential="agents",outcome="bad_credential""#, 1.0),
            (r#"credential="",outcome="bad_credential""#, 1.0),
            (r#"credential="",outcome="no_record""#, 1.0),
        ],
    );
}

#[test]
fn a_reload_keeps_the_counts_of_what_stays_and_drops_the_series_of_what_goes() {
    let upstream = Upstream::start();
    let plan = |path: &str| {
        Plan::bare()
            .upstream("app", upstream.address())
            .upstream(if path == "/b" { "b" } else { "c" }, upstream.address())
            .route("path = \"/a/{*rest}\"\nupstream = \"app\"\npublic = true")
            .route(&format!("path = \"{path}\"\nupstream = \"app\"\npublic = true"))
    };
    let gate = Gate::default();
    let answer = b"HTTP/1.1 203 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    upstream.answer("/a/held", Reply::acts([Act::Wait(gate.clone()), Act::Send(answer)]));
    let world = plan("/b").start();
    let get = |target: &str| world.ask("GET", target, "", "").status;
    assert_eq!((get("/a/x"), get("/b")), (200, 200));
    let mut client = world.client();
    client.send("GET /a/held HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(upstream.wait_until(|log| log.requests.iter().any(|one| one.target == "/a/held")));
    world.configure(&plan("/c"));
    world.reload();
    assert_eq!((get("/a/x"), get("/b"), get("/c")), (200, 404, 200));
    gate.open();
    assert_eq!(client.response().expect("an answer").status, 203);
    let of =
        |route: &str, class: &str| format!("route=\"{route}\",upstream=\"app\",class=\"{class}\"");
    assert_series(
        &world,
        "keyward_route_requests_total",
        [
            // One of them had begun before the reload.
            (&of("/a/{*rest}", "2xx"), 3.0),
            (&of("/c", "2xx"), 1.0),
            ("route=\"\",class=\"4xx\"", 1.0),
        ],
    );
    let page = world.admin_text("/metrics");
    assert!(!page.contains("route=\"/b\"") && !page.contains("upstream=\"b\""), "{page}");
    assert!(page.contains("upstream=\"c\""), "{page}");
    assert_eq!(world.metric("keyward_requests_total", ""), 6.0, "sums go on");
}
