//! The metrics by route, upstream and endpoint: what is counted where, and that no client makes a
//! series.

use crate::support::h2::{Connection, Head};
use crate::support::{Act, ClosedPort, Gate, Plan, Reply, Upstream};

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
    world.assert_series(
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
    let sum = |name: &str| world.series(name).values().sum::<f64>();
    assert_eq!((sum(durations), sum("keyward_route_requests_total")), (9.0, 9.0));
    assert_eq!(sum("keyward_requests_total"), 9.0);
    assert_eq!(sum("keyward_request_duration_seconds_count"), 9.0);
    world.assert_series(
        "keyward_upstream_requests_total",
        [
            (r#"upstream="one",outcome="2xx""#, 3.0),
            (r#"upstream="two",outcome="2xx""#, 2.0),
            (r#"upstream="two",outcome="4xx""#, 1.0),
        ],
    );
    world.assert_series(
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
    world.assert_series(
        "keyward_route_refusals_total",
        [
            (r#"route="/private/{*rest}",upstream="app",reason="no_credential""#, 1.0),
            (r#"route="/private/{*rest}",upstream="app",reason="bad_credential""#, 1.0),
            (r#"route="/few",upstream="app",reason="rate_limited""#, 1.0),
            (r#"route="",reason="no_route""#, 1.0),
        ],
    );
    // Nothing of these was sent on.
    world.assert_series(
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
    world.assert_series("keyward_route_refusals_total", [(refused, 1.0)]);
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
    let away = ClosedPort::reserve();
    let world = Plan::usual(&upstream)
        .table(
            "route",
            "path = \"/public/slow\"\nupstream = \"app\"\npublic = true\n\
             timeouts = { response_head = \"100ms\" }",
        )
        .upstream("away", away.address())
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
    world.assert_series(
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
    world.assert_series(heads, [(r#"upstream="app""#, 2.0)]);
    gate.open();
}

#[test]
fn a_request_that_no_endpoint_may_take_is_counted_by_what_kept_it_from_one() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer("/full", Reply::acts([Act::Wait(gate.clone())]));
    let endpoints = format!("endpoints = [\"http://{}\"]", upstream.address());
    let closed = ClosedPort::reserve();
    let away = format!("endpoints = [\"http://{}\"]", closed.address());
    let world = Plan::bare()
        .table("upstream", &format!("name = \"full\"\n{endpoints}\nmax_requests = 1"))
        .route("path = \"/full\"\nupstream = \"full\"\npublic = true")
        .table(
            "upstream",
            &format!("name = \"out\"\n{away}\ncircuit = true\nejection = {{ failures = 1 }}"),
        )
        .route("path = \"/out\"\nupstream = \"out\"\npublic = true")
        .start();
    let mut client = world.client();
    client.send("GET /full HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(upstream.wait_until(|log| !log.requests.is_empty()));
    let get = |target: &str| world.ask("GET", target, "", "").status;
    assert_eq!((get("/full"), get("/out"), get("/out")), (503, 502, 503));
    world.assert_series(
        "keyward_upstream_requests_total",
        [
            (r#"upstream="full",outcome="busy""#, 1.0),
            (r#"upstream="out",outcome="connect_failed""#, 1.0),
            (r#"upstream="out",outcome="circuit_open""#, 1.0),
        ],
    );
    gate.open();
}

#[test]
fn switched_protocols_and_requests_over_http2_are_counted_like_others() {
    let upstream = Upstream::start();
    upstream.answer(
        "/public/tcp",
        Reply::bytes("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            .then(Act::Close),
    );
    let world = Plan::bare()
        .upstream("app", upstream.address())
        .route(
            "path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true\n\
             upgrades = [\"tcp\"]",
        )
        .start();
    let answer = Connection::open(world.address()).ask(&Head::get("/public/x"));
    assert_eq!(answer.status, 200);
    let mut client = world.client();
    client.send(
        "GET /public/tcp HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
         Upgrade: tcp\r\n\r\n",
    );
    let (switched, _) = client.final_response("GET").expect("a switch");
    assert_eq!(switched.status, 101);
    client.finish();
    for (name, label) in
        [("keyward_upstream_requests_total", "outcome"), ("keyward_route_requests_total", "class")]
    {
        let of = if label == "class" { r#"route="/public/{*rest}","# } else { "" };
        let line = |class: &str| format!(r#"{of}upstream="app",{label}="{class}""#);
        world.assert_series(name, [(&line("1xx"), 1.0), (&line("2xx"), 1.0)]);
    }
}

#[test]
fn requests_and_failures_are_counted_by_endpoint_and_outlive_a_reload() {
    let (upstream, closed) = (Upstream::start(), ClosedPort::reserve());
    let (good, away) = (upstream.address(), closed.address());
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
    world.assert_series(requests, [(&of_good, 10.0)]);
    let failed = failures();
    assert!(failed >= 1.0);
    assert_eq!(world.metric("keyward_upstream_endpoint_failures_total", &of_good), 0.0);
    world.configure(&plan(&format!("{never_out}\nmax_requests = 100")));
    world.reload();
    get();
    world.assert_series(requests, [(&of_good, 11.0)]);
    assert!(failures() >= failed);
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
    world.assert_series(
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
