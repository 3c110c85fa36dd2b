//! Forwarding between well-behaved peers: bodies both ways, the Host, connections that are used
//! again, upstreams that are away.

use std::time::{Duration, Instant};

use crate::support::{Act, Gate, Plan, Reply, TestUser, Upstream, json, lateness};

#[test]
fn bodies_of_any_size_pass_both_ways_unchanged() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    for size in [0_usize, 1, 4095, 65_536, 1_000_003, 8 << 20] {
        let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        upstream.answer("/public/big", Reply::bytes([head.as_bytes(), &body].concat()));
        let response = world.ask("POST", "/public/big", "", &body);
        assert_eq!(response.status, 200);
        assert!(response.body == body, "{size} bytes come back");
        assert!(
            upstream.take().requests.pop().is_some_and(|request| request.body == body),
            "{size} bytes went out"
        );
    }
}

/// Streamed, not buffered: the first half of a body is at the other side before the second exists.
#[test]
fn bodies_are_streamed_both_ways() {
    let upstream = Upstream::start();
    let gate = Gate::default();
    upstream.answer(
        "/public/stream",
        Reply::acts([
            Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".into()),
            Act::Wait(gate.clone()),
            Act::Send(b"-last".into()),
        ])
        .early(),
    );
    let world = Plan::usual(&upstream).start();
    let mut client = world.client();
    client
        .send("POST /public/stream HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhello");
    let mut seen = String::new();
    while !seen.ends_with("first") {
        let more = client.some().expect("the first half comes before the second exists");
        assert!(!more.is_empty(), "cut after {seen}");
        seen.push_str(&String::from_utf8_lossy(&more));
    }
    gate.open();
    client.send("-more");
    assert_eq!(client.exactly(5).expect("the second half"), b"-last");
    assert!(
        upstream
            .wait_until(|log| { log.requests.iter().any(|request| request.body == b"hello-more") })
    );
}

#[test]
fn connections_to_the_upstream_are_used_again() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let mut client = world.client();
    for _ in 0..50 {
        assert_eq!(client.ask("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n").status, 200);
    }
    assert_eq!(upstream.connections(), 1, "one client on one connection needs one");
}

/// An upstream may close an idle connection at any time; a client does not notice.
#[test]
fn a_pooled_connection_that_the_upstream_closed_costs_no_request() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    upstream.answer("/public/once", Reply::bytes(fine).then(Act::Close));
    let mut client = world.client();
    for _ in 0..30 {
        let response = client.ask("GET /public/once HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    }
}

#[test]
fn the_host_is_kept_or_replaced_as_the_upstream_wants_it() {
    let upstream = Upstream::start();
    let address = upstream.address();
    let world = Plan::usual(&upstream)
        .table(
            "upstream",
            &format!("name = \"own\"\nendpoints = [\"http://{address}\"]\npreserve_host = false"),
        )
        .route("path = \"/own/{*rest}\"\nupstream = \"own\"\npublic = true")
        .start();
    let _ = world.ask("GET", "/public/x", "", "");
    let _ = world.ask("GET", "/own/x", "", "");
    let requests = upstream.take().requests;
    assert_eq!(requests[0].fields.all("host"), ["a.example"]);
    assert_eq!(requests[1].fields.all("host"), [address.to_string()]);
    assert_eq!(requests[1].fields.all("x-forwarded-host"), ["a.example"]);
}

#[test]
fn each_of_several_endpoints_sees_its_own_host_also_where_a_request_is_sent_again() {
    let upstreams = [Upstream::start(), Upstream::start()];
    let [one, two] = upstreams.each_ref().map(|upstream| upstream.address());
    let lines = "preserve_host = false\nejection = { failures = 0 }\n\
                 retries = { budget = 100, floor = 100 }";
    let table = format!("name = \"own\"\nendpoints = [\"http://{one}\", \"http://{two}\"]\n");
    let world = Plan::usual(&upstreams[0])
        .table("upstream", &format!("{table}{lines}"))
        .table(
            "upstream",
            &format!("{}{lines}", table.replace("own", "kept")).replace("false", "true"),
        )
        .route("path = \"/own/{*rest}\"\nupstream = \"own\"\npublic = true")
        .route("path = \"/kept/{*rest}\"\nupstream = \"kept\"\npublic = true")
        .start();
    // The first one breaks off, and the other one answers.
    upstreams[0].answer("/own/again", Reply::acts([Act::Close]));
    let destination = "Destination: http://a.example/own/to\r\n";
    for _ in 0..10 {
        assert_eq!(world.ask("GET", "/own/x", "", "").status, 200);
        assert_eq!(world.ask("GET", "/own/again", "", "").status, 200);
        assert_eq!(world.ask("MOVE", "/own/x", destination, "").status, 200);
        assert_eq!(world.ask("GET", "/kept/x", "", "").status, 200);
    }
    let old = world.client().ask("GET /kept/old HTTP/1.0\r\n\r\n");
    assert_eq!(old.status, 200, "{old}");
    let mut again = 0;
    for upstream in &upstreams {
        let requests = upstream.take().requests;
        assert!(requests.len() >= 15, "{}", requests.len());
        for request in requests {
            let own = upstream.address().to_string();
            let host =
                if request.target == "/kept/x" { "a.example".to_owned() } else { own.clone() };
            assert_eq!(request.fields.all("host"), [host], "{request:?}");
            if request.method == "MOVE" {
                let there = format!("http://{own}/own/to");
                assert_eq!(request.fields.all("destination"), [there], "{request:?}");
            }
            again += usize::from(request.target == "/own/again");
        }
    }
    assert!(again > 10, "some were sent again");
}

#[test]
fn an_upstream_that_is_away_is_502_and_back_at_once_when_it_is_back() {
    let upstream = Upstream::start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let world = Plan::usual(&upstream)
        .upstream("away", address)
        .route("path = \"/away/{*rest}\"\nupstream = \"away\"\npublic = true")
        .start();
    let response = world.ask("GET", "/away/x", "", "");
    assert_eq!(response.status, 502, "{response}");
    assert_eq!(response.fields.one("content-type").as_deref(), Some("application/problem+json"));
    let text = response.to_string();
    assert!(
        !text.contains(&address.port().to_string()),
        "the upstream's address is not told: {text}"
    );
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
}

#[test]
fn routes_are_chosen_by_host_then_path_then_method() {
    let (a, b) = (Upstream::start(), Upstream::start());
    let world = Plan::bare()
        .upstream("a", a.address())
        .upstream("b", b.address())
        .route("path = \"/x/{*rest}\"\nupstream = \"a\"\npublic = true")
        .route("path = \"/x/exact\"\nupstream = \"b\"\npublic = true")
        .route("host = \"b.example\"\npath = \"/x/{*rest}\"\nupstream = \"b\"\npublic = true")
        .route("path = \"/m\"\nmethods = [\"GET\"]\nupstream = \"a\"\npublic = true")
        .start();
    let status = |host: &str, method: &str, target: &str| {
        let mut client = world.client();
        client
            .ask(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
            .status
    };
    let served = |host: &str, target: &str| {
        assert_eq!(status(host, "GET", target), 200, "{host}{target}");
        (a.take().requests.len(), b.take().requests.len())
    };
    assert_eq!(served("a.example", "/x/y"), (1, 0));
    assert_eq!(served("a.example", "/x/exact"), (0, 1));
    assert_eq!(served("b.example", "/x/y"), (0, 1));
    assert_eq!(served("B.EXAMPLE", "/x/y"), (0, 1));
    assert_eq!(served("b.example:8080", "/x/y"), (0, 1));
    assert_eq!(served("b.example.", "/x/y"), (0, 1));
    assert_eq!(served("b.example.evil", "/x/y"), (1, 0));
    assert_eq!(served("a.example", "/m"), (1, 0));
    assert_eq!(status("a.example", "POST", "/m"), 405);
}

/// RELIABILITY 92: what one route lets pass, another need not; the cache does not mix them up.
#[test]
fn a_token_that_is_warm_on_one_route_is_judged_anew_on_another() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route(
            "path = \"/admins/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             require = { role = [\"admin\"] }",
        )
        .start();
    let (alice, admin) = (world.key(TestUser::ALICE), world.key(TestUser::ADMIN));
    let status = |token: &str| world.get_with("/admins/x", token);
    for _ in 0..3 {
        assert_eq!(world.status_with(&alice.token), 200);
        let refused = status(&alice.token);
        assert_eq!(refused.status, 403, "{refused}");
        let challenge = refused.fields.one("www-authenticate").unwrap_or_default();
        assert!(
            challenge.starts_with("Bearer") && challenge.contains("insufficient_scope"),
            "{challenge}"
        );
        assert_eq!(status(&admin.token).status, 200);
    }
}

#[test]
fn the_credential_goes_on_only_where_the_route_says_so() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route(
            "path = \"/with/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             forward_credential = true",
        )
        .start();
    let alice = world.key(TestUser::ALICE);
    let fields = format!("Authorization: Bearer {}\r\n", alice.token);
    assert!(!world.ask("GET", "/private/x", &fields, "").text().contains(&alice.token));
    assert!(world.ask("GET", "/with/x", &fields, "").text().contains(&alice.token));
}

#[test]
fn presets_and_names_of_ones_own_rename_the_identity_fields_and_guard_them() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .set("identity_headers", "preset", "\"remote-user\"")
        .set("identity_headers", "role", "\"x-my-role\"")
        .start();
    let alice = world.key(TestUser::ALICE);
    let token = format!("Authorization: Bearer {}\r\n", alice.token);
    let spoofs = "Remote-User: evil\r\nREMOTE_USER: evil\r\nX-My-Role: evil\r\nx_my_role: evil\r\n\
                  X-Keyward-Subject: evil\r\n";
    for (target, fields) in
        [("/public/x", spoofs.to_owned()), ("/private/x", format!("{token}{spoofs}"))]
    {
        let response = world.ask("GET", target, &fields, "");
        assert_eq!(response.status, 200, "{response}");
        assert!(!response.text().contains("evil"), "{response}");
    }
    let requests = upstream.take().requests;
    assert_eq!(requests[1].fields.all("x-my-role"), ["user"]);
    assert!(requests[1].fields.has("remote-user"), "{:?}", requests[1].fields);
}

#[test]
fn a_trusted_peer_may_speak_of_others() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).listener("trusted_proxies = [\"127.0.0.0/8\"]").start();
    let spoken = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: shop.example\r\n";
    assert_eq!(world.ask("GET", "/public/x", spoken, "").status, 200);
    let request = upstream.take().requests.pop().expect("a request");
    let chain = request.fields.one("x-forwarded-for").expect("one chain");
    assert_eq!(chain.replace(' ', ""), "6.6.6.6,127.0.0.1");
    assert_eq!(request.fields.all("x-forwarded-proto"), ["https"]);
    assert_eq!(request.fields.all("x-forwarded-host"), ["shop.example"]);
}

#[test]
fn a_forged_token_never_asks_the_upstream() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    for token in ["x", "a.b.c", &"A".repeat(8000)] {
        assert_eq!(world.status_with(token), 401);
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn the_admin_pages_answer_on_their_own_listener_alone() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    for page in ["/livez", "/readyz", "/startupz", "/healthz", "/metrics"] {
        assert_eq!(world.admin_get(page).map(|response| response.status), Some(200), "{page}");
        assert_eq!(world.ask("GET", page, "", "").status, 404, "{page} on the public listener");
    }
    assert_eq!(world.admin_get("/public/x").map(|response| response.status), Some(404));
    assert_ne!(world.address(), world.admin_address());
}

#[test]
fn the_echo_says_what_was_sent() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let response = world.ask("PUT", "/public/x?y=z", "X-A: b\r\n", "hello");
    let body = json(&response);
    assert_eq!(
        (body["method"].as_str(), body["target"].as_str(), body["body"].as_str()),
        (Some("PUT"), Some("/public/x?y=z"), Some("hello"))
    );
    assert!(response.fields.has("via"), "{response}");
}

/// An upstream may answer before an upload has come to its end, and keep the connection. As long as
/// the upload goes on, that connection is no place for another client's request.
#[test]
fn an_upload_that_was_answered_early_delays_no_other_request() {
    let upstream = Upstream::start();
    upstream.answer(
        "/public/early",
        Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").early(),
    );
    let world = Plan::usual(&upstream).set("server", "workers", "1").start();
    let mut slow: Vec<_> = (0..3)
        .map(|_| {
            let mut client = world.client();
            client.send(
                "POST /public/early HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n\
                 start",
            );
            assert_eq!(client.response().expect("the early answer").status, 200);
            client
        })
        .collect();
    let begun = Instant::now();
    for _ in 0..5 {
        assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    }
    assert!(!lateness::is_over(begun, Duration::from_secs(5)), "{:?}", begun.elapsed());
    slow.clear();
}
