//! Routes that keyward answers itself: redirects and fixed answers.

use crate::support::h2::{Connection, Head};
use crate::support::{Plan, Response, TestUser, Upstream, World, eventually};

fn start(routes: &[&str]) -> World {
    let plan = routes.iter().fold(Plan::bare(), |plan, route| plan.route(&public(route)));
    plan.start()
}

fn public(lines: &str) -> String {
    format!("public = true\n{lines}")
}

/// Status and `Location`, the same over HTTP/1.1 and over HTTP/2.
#[track_caller]
fn location(world: &World, method: &str, target: &str) -> (u16, Option<String>) {
    let first = world.ask(method, target, "", "");
    let second = Connection::open(world.address()).ask(&Head::new(method, target));
    let found = (first.status, first.fields.one("location"));
    let other = second.fields.all("location").first().map(ToString::to_string);
    assert_eq!((second.status, other), found, "{target}: both versions are answered alike");
    assert!(first.body.is_empty() || first.status >= 400, "{first}");
    found
}

#[test]
fn a_redirect_leads_to_the_address_of_its_template() {
    let world = start(&[
        "path = \"/old/{*rest}\"\nredirect.to = \"https://www.example.com/new/{rest}\"",
        "path = \"/users/{name}/{*rest}\"\n\
         redirect = { to = \"/people/{name}?from=old\", status = 302 }",
        "path = \"/dropped\"\nredirect = { to = \"/x\", status = 303, keep_query = false }",
        "path = \"/moved\"\nmethods = [\"POST\"]\n\
         redirect = { to = \"https://{host}:8443{path}\", status = 307 }",
    ]);
    for (method, target, status, expected) in [
        ("GET", "/old/a/b", 308, "https://www.example.com/new/a/b"),
        ("GET", "/old/", 308, "https://www.example.com/new/"),
        ("HEAD", "/old/a", 308, "https://www.example.com/new/a"),
        ("GET", "/old/a?x=1&y=%2f", 308, "https://www.example.com/new/a?x=1&y=%2f"),
        ("GET", "/users/alice/x?a=1", 302, "/people/alice?from=old&a=1"),
        ("GET", "/dropped?a=1", 303, "/x"),
        ("POST", "/moved?a", 307, "https://a.example:8443/moved?a"),
    ] {
        let found = location(&world, method, target);
        assert_eq!(found, (status, Some(expected.to_owned())), "{method} {target}");
    }
    assert_eq!(location(&world, "GET", "/moved"), (405, None));
    let line = {
        world.ask("GET", "/old/logged", "", "");
        world.access_line("/old/logged")
    };
    assert_eq!(
        (&line["status"], &line["route"], &line["upstream_us"]),
        (&308.into(), &"/old/{*rest}".into(), &serde_json::Value::Null),
        "{line}"
    );
}

#[test]
fn no_request_leads_to_another_server_than_the_configuration_names() {
    let world = start(&[
        "path = \"/{*rest}\"\nredirect.to = \"/to/{rest}\"",
        "path = \"/to/{*rest}\"\nrespond.body = \"here\"",
        "path = \"/www/{*rest}\"\nredirect.to = \"https://www.example.com/{rest}\"",
        "path = \"/one/{name}\"\nredirect.to = \"/{name}\"",
    ]);
    for (target, expected) in [
        ("//evil.example/x", "/to/evil.example/x"),
        ("/www//evil.example", ""),
        ("/www/@evil.example", "https://www.example.com/@evil.example"),
        ("/www/:80/", "https://www.example.com/:80/"),
        ("/www/%0d%0aSet-Cookie", ""),
        ("/www/%5cevil.example", ""),
        ("/www/a%2fb", ""),
        ("/one/evil.example", "/evil.example"),
        ("/one/%2fevil.example", ""),
        ("/one/%25%32%46", "/%2525%32%46"),
        ("/www/x?q=%0d%0aSet-Cookie:a", "https://www.example.com/x?q=%0d%0aSet-Cookie:a"),
    ] {
        let (status, found) = location(&world, "GET", target);
        if expected.is_empty() {
            assert_eq!((status, found), (400, None), "{target}");
        } else {
            let found = found.unwrap_or_default();
            assert_eq!(status, 308, "{target}");
            assert!(found.starts_with('/') || found.starts_with("https://www.example.com/"));
            assert!(!found.starts_with("//"), "{target}: {found}");
        }
    }
    let absolute = world.ask("GET", "http://evil.example/one/x", "", "");
    assert_eq!(absolute.fields.one("location").as_deref(), Some("/x"), "{absolute}");
}

#[test]
fn one_route_leads_all_that_comes_in_the_clear_to_tls() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream)
        .route(&public(
            "path = \"/{*rest}\"\nscheme = \"http\"\nredirect.to = \"https://{host}{path}\"",
        ))
        .listener("trusted_proxies = [\"127.0.0.1\"]");
    let world = plan.start();
    for target in ["/", "/public/x?a=1", "/private/x"] {
        let expected = format!("https://a.example{target}");
        assert_eq!(location(&world, "GET", target), (308, Some(expected)), "{target}");
    }
    assert!(upstream.take().heads.is_empty(), "no upstream is asked");
    let over_tls = "X-Forwarded-Proto: https\r\n";
    assert_eq!(world.ask("GET", "/public/x", over_tls, "").status, 200);
    assert_eq!(world.ask("GET", "/private/x", over_tls, "").status, 401);
    // The host that a trusted proxy was asked for, without its port.
    let behind = "X-Forwarded-Host: shop.example:8080\r\n";
    let response = world.ask("GET", "/x", behind, "");
    assert_eq!(response.fields.one("location").as_deref(), Some("https://shop.example/x"));
    // A client of HTTP/1.0 that names no host cannot be led to one.
    let mut client = world.client();
    assert_eq!(client.ask("GET /x HTTP/1.0\r\n\r\n").status, 400);
}

#[test]
fn a_fixed_answer_is_the_same_each_time_and_follows_the_rules_of_its_status() {
    let world = start(&[
        "path = \"/robots.txt\"\nrespond.body = \"User-agent: *\\n\"",
        "path = \"/json\"\n\
         respond = { status = 503, body = \"{}\", content_type = \"application/json\" }",
        "path = \"/nothing\"\nrespond.status = 204",
        "path = \"/empty\"\nrespond = {}",
    ]);
    let response = world.ask("GET", "/robots.txt", "", "");
    assert_eq!((response.status, response.text().as_str()), (200, "User-agent: *\n"));
    let content_type = |response: &Response| response.fields.one("content-type");
    assert_eq!(content_type(&response).as_deref(), Some("text/plain; charset=utf-8"));
    assert_eq!(response.fields.one("content-length").as_deref(), Some("14"));
    let response = world.ask("HEAD", "/robots.txt", "", "");
    assert_eq!((response.status, response.text().as_str()), (200, ""));
    assert_eq!(response.fields.one("content-length").as_deref(), Some("14"), "{response}");
    let response = world.ask("GET", "/json", "", "");
    assert_eq!((response.status, response.text().as_str()), (503, "{}"), "{response}");
    assert_eq!(content_type(&response).as_deref(), Some("application/json"));
    let response = world.ask("GET", "/nothing", "", "");
    assert_eq!((response.status, content_type(&response)), (204, None), "{response}");
    let response = world.ask("GET", "/empty", "", "");
    assert_eq!((response.status, content_type(&response)), (200, None), "{response}");
    assert_eq!(response.fields.one("content-length").as_deref(), Some("0"));
    let mut connection = Connection::open(world.address());
    for (path, status, body) in
        [("/robots.txt", 200, "User-agent: *\n"), ("/nothing", 204, ""), ("/json", 503, "{}")]
    {
        let answer = connection.ask(&Head::get(path));
        assert_eq!((answer.status, answer.body.as_slice()), (status, body.as_bytes()), "{path}");
    }
    // It is no refusal.
    let line = {
        world.ask("GET", "/json?logged", "", "");
        assert!(eventually(|| world.access_lines().iter().any(|line| line["status"] == 503)));
        world.access_lines().into_iter().find(|line| line["status"] == 503).expect("a line")
    };
    assert_eq!(line["refusal"], serde_json::Value::Null, "{line}");
}

#[test]
fn an_answer_of_a_guarded_route_asks_for_its_token_and_for_what_it_requires() {
    let guarded = "accept = [\"jarvispy\"]";
    let world = Plan::bare()
        .route(&format!("path = \"/r\"\nredirect.to = \"/x\"\n{guarded}"))
        .route(&format!("path = \"/f\"\nrespond.body = \"secret\"\n{guarded}"))
        .route(&format!(
            "path = \"/a\"\nrespond.body = \"secret\"\n{guarded}\nrequire.role = [\"admin\"]"
        ))
        .route(&format!(
            "path = \"/q\"\nredirect.to = \"/x\"\n{guarded}\ncredentials.query = \"access_token\""
        ))
        .start();
    let alice = world.key(TestUser::ALICE);
    for path in ["/r", "/f", "/a", "/q"] {
        let response = world.ask("GET", path, "", "");
        assert_eq!((response.status, response.fields.one("location")), (401, None), "{path}");
        assert!(!response.text().contains("secret"), "{response}");
    }
    assert_eq!(world.get_with("/r", &alice.token).status, 308);
    assert_eq!(world.get_with("/f", &alice.token).text(), "secret");
    assert_eq!(world.get_with("/a", &alice.token).status, 403);
    // A token in the query is not led on, and the answer is not shared.
    let target = format!("/q?a=1&access_token={}&b", alice.token);
    let response = world.ask("GET", &target, "", "");
    assert_eq!(response.fields.one("location").as_deref(), Some("/x?a=1&b"), "{response}");
    assert_eq!(response.fields.one("cache-control").as_deref(), Some("private"));
    assert_eq!(response.fields.one("referrer-policy").as_deref(), Some("no-referrer"));
}

#[test]
fn a_body_that_is_not_read_is_not_taken_for_the_next_request() {
    let world =
        start(&["path = \"/r\"\nredirect.to = \"/x\"", "path = \"/f\"\nrespond.body = \"fixed\""]);
    for path in ["/r", "/f"] {
        let mut client = world.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 60\r\n\r\n\
             GET /f HTTP/1.1\r\nHost: a.example\r\n\r\n"
        ));
        let (response, _) = client.final_response("POST").expect("an answer");
        assert_eq!(response.fields.one("connection").as_deref(), Some("close"), "{response}");
        assert_eq!(client.rest().expect("it closes"), b"", "{path}");
        // One that expects to be asked for its body is not.
        let mut client = world.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\
             Expect: 100-continue\r\n\r\n"
        ));
        let (_, interim) = client.final_response("POST").expect("an answer");
        assert!(interim.is_empty(), "{path}");
        // Over HTTP/2 other streams go on.
        let mut connection = Connection::open(world.address());
        let id = connection.next_id();
        connection.send(Head::post(path).with_body(id, vec![b'x'; 10_000]));
        assert!(connection.read_until(|state| state.stream(id).status.is_some()));
        assert_eq!(connection.ask(&Head::get("/f")).body, b"fixed", "{path}");
    }
    // Without a body the connection stays.
    let mut client = world.client();
    for _ in 0..3 {
        let response = client.ask("GET /f HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(response.text(), "fixed");
    }
}

#[test]
fn nothing_switches_on_a_route_without_an_upstream() {
    let world = start(&["path = \"/f\"\nrespond.body = \"fixed\""]);
    let handshake = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut client = world.client();
    client.send(format!("GET /f HTTP/1.1\r\nHost: a.example\r\n{handshake}\r\n"));
    assert_eq!(client.response().expect("an answer").text(), "fixed");
    let connect = Head::empty()
        .with(":method", "CONNECT")
        .with(":protocol", "websocket")
        .with(":scheme", "http")
        .with(":path", "/f")
        .with(":authority", "a.example")
        .with("sec-websocket-version", "13");
    assert_eq!(Connection::open(world.address()).ask(&connect).status, 501);
}

#[test]
fn pages_of_other_origins_may_read_an_answer_where_its_policy_says_so() {
    let world = start(&[
        "path = \"/f\"\nrespond.body = \"fixed\"\ncors.origins = [\"https://page.example\"]",
    ]);
    let origin = "Origin: https://page.example\r\n";
    let response = world.ask("GET", "/f", origin, "");
    assert_eq!(
        response.fields.one("access-control-allow-origin").as_deref(),
        Some("https://page.example")
    );
    let asked = format!("{origin}Access-Control-Request-Method: GET\r\n");
    assert_eq!(world.ask("OPTIONS", "/f", &asked, "").status, 204);
}

#[test]
fn explain_says_where_a_redirect_leads() {
    let world =
        start(&["path = \"/old/{*rest}\"\nredirect.to = \"https://www.example.com/{rest}\""]);
    let url = "http://a.example/old/x?a=1";
    let output = world.run_reading(&["explain", "GET", url, "--json"], "");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["location"], "https://www.example.com/x?a=1", "{said}");
    assert_eq!((&said["decision"], &said["status"]), (&"answered by keyward".into(), &308.into()));
    assert_eq!(
        said["route"]["answer"], "a redirect (308) to \"https://www.example.com/{rest}\"",
        "{said}"
    );
}
