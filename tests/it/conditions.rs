//! Routes that are told apart by header fields, by the query and by the scheme.

use serde_json::Value;

use crate::support::h2::{Connection, Head};
use crate::support::http2_upstream::Http2Upstream;
use crate::support::tls::{ask, self_signed};
use crate::support::{Plan, Response, TestUser, Upstream, World};

/// A public route whose answers name it.
fn named(name: &str, lines: &str) -> String {
    format!("public = true\nrespond.body = {name:?}\n{lines}")
}

fn start(routes: &[(&str, &str)]) -> World {
    let plan =
        routes.iter().fold(Plan::bare(), |plan, (name, lines)| plan.route(&named(name, lines)));
    plan.start()
}

/// The route that answers over HTTP/1.1 and over HTTP/2, or the status of both.
#[track_caller]
fn answers(world: &World, target: &str, fields: &[(&str, &str)]) -> Result<String, u16> {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let first = world.ask("GET", target, &lines, "");
    let head = fields.iter().fold(Head::get(target), |head, (name, value)| {
        head.with(name.to_ascii_lowercase(), *value)
    });
    let second = Connection::open(world.address()).ask(&head);
    assert_eq!(first.status, second.status, "{target} {fields:?}: both versions are judged alike");
    if first.status == 200 { Ok(first.text()) } else { Err(first.status) }
}

#[test]
fn a_route_is_chosen_by_header_and_query_and_more_conditions_are_more_specific() {
    let world = start(&[
        ("plain", "path = \"/{*rest}\""),
        ("two", "path = \"/{*rest}\"\nwhen.headers = { X-Version = \"2\" }"),
        (
            "beta",
            "path = \"/{*rest}\"\nwhen = { headers = { x-version = [\"2\", \"3\"] }, \
             query = { beta = \"true\" } }",
        ),
        (
            "new",
            "path = \"/{*rest}\"\nwhen = { headers = { X-Version = \"4\", X-Old = false, \
             X-New = true } }",
        ),
    ]);
    for (target, fields, expected) in [
        ("/", &[][..], "plain"),
        ("/", &[("X-Version", "1")], "plain"),
        ("/", &[("x-VERSION", "2")], "two"),
        ("/?beta=true", &[("X-Version", "2")], "beta"),
        ("/?beta=true", &[("X-Version", "3")], "beta"),
        ("/?a&%62eta=%74rue&b", &[("X-Version", "3")], "beta"),
        ("/?beta=true", &[], "plain"),
        ("/?beta=True", &[("X-Version", "2")], "two"),
        ("/", &[("X-Version", "2, 3")], "plain"),
        ("/", &[("X-Version", "4"), ("X-New", "anything")], "new"),
        ("/", &[("X-Version", "4"), ("X-New", "x"), ("X-Old", "")], "plain"),
        ("/", &[("X-Version", "4")], "plain"),
    ] {
        assert_eq!(answers(&world, target, fields).as_deref(), Ok(expected), "{target} {fields:?}");
    }
}

#[test]
fn what_a_route_is_chosen_by_has_one_value_or_the_request_is_refused() {
    let world = start(&[
        ("plain", "path = \"/{*rest}\""),
        ("two", "path = \"/{*rest}\"\nwhen.headers = { X-Version = \"2\" }"),
        ("beta", "path = \"/q\"\nwhen.query = { beta = \"true\" }"),
        ("q", "path = \"/q\""),
    ]);
    for (target, fields) in [
        ("/", &[("X-Version", "2"), ("X-Version", "2")][..]),
        ("/", &[("X-Version", "1"), ("x-version", "2")]),
        ("/q?beta=true&beta=true", &[]),
        ("/q?beta=false&be%74a=true", &[]),
        ("/q?x=1;beta=true", &[]),
        ("/q?beta=true;x=1", &[]),
    ] {
        assert_eq!(answers(&world, target, fields), Err(400), "{target} {fields:?}");
    }
    // Where no condition asks for it, it may come as often as it likes.
    let fields = [("X-Version", "1"), ("X-Version", "2")];
    assert_eq!(answers(&world, "/q", &fields).as_deref(), Ok("q"));
    assert_eq!(answers(&world, "/?beta=1&beta=2", &[]).as_deref(), Ok("plain"));
}

#[test]
fn where_no_condition_holds_no_wider_route_opens() {
    let world = start(&[
        ("wide", "path = \"/{*rest}\""),
        ("narrow", "path = \"/admin/{*rest}\"\nwhen.headers = { X-Inside = \"1\" }"),
        ("get", "path = \"/m\"\nmethods = [\"GET\"]\nwhen.headers = { X-Inside = \"1\" }"),
        ("post", "path = \"/m\"\nmethods = [\"POST\"]"),
    ]);
    assert_eq!(answers(&world, "/admin/x", &[("X-Inside", "1")]).as_deref(), Ok("narrow"));
    assert_eq!(answers(&world, "/admin/x", &[]), Err(404));
    assert_eq!(world.ask("GET", "/admin/logged", "", "").status, 404);
    let line = world.access_line("/admin/logged");
    assert_eq!(line["refusal"], "no_route", "{line}");
    assert!(line["cause"].as_str().is_some_and(|cause| cause.contains("\"when\"")), "{line}");
    assert_eq!(answers(&world, "/m", &[]), Err(404));
    assert_eq!(answers(&world, "/m", &[("X-Inside", "1")]).as_deref(), Ok("get"));
    assert_eq!(world.ask("PUT", "/m", "", "").status, 405);
}

#[test]
fn a_condition_opens_nothing_that_a_token_must_open() {
    let upstream = Upstream::start();
    let guarded = "path = \"/x\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n";
    let world = Plan::usual(&upstream)
        .route(&format!("{guarded}when.headers = {{ X-Version = \"2\" }}"))
        .route(&format!("{guarded}require = {{ role = [\"admin\"] }}"))
        .start();
    let alice = world.key(TestUser::ALICE);
    let bearer = format!("Authorization: Bearer {}\r\n", alice.token);
    for (fields, status) in [
        ("X-Version: 2\r\n".to_owned(), 401),
        (format!("X-Version: 2\r\n{bearer}"), 200),
        (bearer.clone(), 403),
        (format!("X-Version: 1\r\n{bearer}"), 403),
    ] {
        assert_eq!(world.ask("GET", "/x", &fields, "").status, status, "{fields}");
    }
}

#[test]
fn every_reading_of_a_path_that_is_forwarded_as_it_came_is_chosen_by_the_same_conditions() {
    let upstream = Upstream::start();
    let raw = "upstream = \"app\"\npublic = true\npath = \"/{*rest}\"\nforward_path = \"raw\"";
    let inner = "upstream = \"app\"\npublic = true\npath = \"/in/{*rest}\"";
    let world = Plan::bare()
        .upstream("app", upstream.address())
        .route(raw)
        .route(&format!("{raw}\nwhen.headers = {{ X-Version = \"2\" }}"))
        .route(&format!("{inner}\nwhen.headers = {{ X-In = \"1\" }}"))
        .start();
    for fields in ["", "X-Version: 2\r\n", "X-In: 1\r\n"] {
        assert_eq!(world.ask("GET", "/a%2fb", fields, "").status, 200, "{fields}");
        // One reading is a path below "/in", whether or not its conditions hold.
        assert_eq!(world.ask("GET", "/in%2fb", fields, "").status, 400, "{fields}");
    }
    let twice = "X-Version: 2\r\nX-Version: 2\r\n";
    assert_eq!(world.ask("GET", "/a%2fb", twice, "").status, 400);
}

#[test]
fn a_preflight_takes_the_policy_of_the_route_that_the_fields_it_names_may_lead_to() {
    let world = start(&[
        ("plain", "path = \"/a\"\ncors.origins = [\"https://plain.example\"]"),
        (
            "two",
            "path = \"/a\"\nwhen.headers = { X-Version = \"2\" }\n\
             cors.origins = [\"https://two.example\"]\ncors.headers = [\"*\"]",
        ),
        ("none", "path = \"/b\""),
        (
            "query",
            "path = \"/b\"\nwhen.query = { beta = true }\ncors.origins = [\"https://two.example\"]",
        ),
    ]);
    let preflight = |path: &str, origin: &str, more: &str| -> Response {
        let fields = format!("Origin: {origin}\r\nAccess-Control-Request-Method: GET\r\n{more}");
        world.ask("OPTIONS", path, &fields, "")
    };
    let names = "Access-Control-Request-Headers: x-version\r\n";
    assert_eq!(preflight("/a", "https://plain.example", "").status, 204);
    assert_eq!(preflight("/a", "https://two.example", "").status, 403);
    assert_eq!(preflight("/a", "https://two.example", names).status, 204);
    assert_eq!(preflight("/a", "https://plain.example", names).status, 403);
    // The query of a preflight is that of the request behind it.
    assert_eq!(preflight("/b?beta", "https://two.example", "").status, 204);
    let response = preflight("/b", "https://two.example", "");
    assert_eq!((response.status, response.text().as_str()), (200, "none"));
    // The request itself goes by its own fields.
    let origin = "Origin: https://two.example\r\n";
    let response = world.ask("GET", "/a", &format!("{origin}X-Version: 2\r\n"), "");
    assert_eq!(response.text(), "two");
    assert_eq!(
        response.fields.one("access-control-allow-origin").as_deref(),
        Some("https://two.example")
    );
    let response = world.ask("GET", "/a", &format!("{origin}X-Version: 3\r\n"), "");
    assert_eq!(response.text(), "plain");
    assert_eq!(response.fields.one("access-control-allow-origin"), None);
}

#[test]
fn a_route_for_one_scheme_comes_before_all_for_both_on_every_path() {
    let routes = [
        ("api", "path = \"/api/{*rest}\""),
        ("clear", "path = \"/{*rest}\"\nscheme = \"http\""),
        ("proof", "path = \"/.well-known/acme-challenge/{name}\"\nscheme = \"http\""),
        ("tls", "path = \"/{*rest}\"\nscheme = \"https\"\nhost = \"a.example\""),
    ];
    let world = routes
        .iter()
        .fold(Plan::bare(), |plan, (name, lines)| plan.route(&named(name, lines)))
        .listener("trusted_proxies = [\"127.0.0.1\"]")
        .start();
    for (target, fields, expected) in [
        ("/api/x", &[][..], "clear"),
        ("/.well-known/acme-challenge/t", &[], "proof"),
        ("/api/x", &[("X-Forwarded-Proto", "https")], "tls"),
        ("/x", &[("X-Forwarded-Proto", "https")], "tls"),
    ] {
        assert_eq!(answers(&world, target, fields).as_deref(), Ok(expected), "{target} {fields:?}");
    }
    // Of a peer that is not trusted, the field says nothing.
    let world = start(&routes);
    let fields = [("X-Forwarded-Proto", "https")];
    assert_eq!(answers(&world, "/api/x", &fields).as_deref(), Ok("clear"));
}

#[test]
fn a_route_for_one_scheme_goes_by_the_listener_that_the_client_came_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = self_signed(folder.path(), "a.example");
    let routes = [("clear", "scheme = \"http\""), ("tls", "scheme = \"https\"")];
    let world = routes
        .iter()
        .fold(Plan::bare(), |plan, (name, lines)| {
            plan.route(&named(name, &format!("path = \"/{{*rest}}\"\n{lines}")))
        })
        .listener(&format!("tls = {}", certificate.line))
        .start();
    // What an untrusted client says of its scheme makes no difference.
    let request = "GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
                   X-Forwarded-Proto: http\r\nForwarded: proto=http\r\n\r\n";
    let answer = ask(world.address(), "a.example", &[&certificate], request).expect("an answer");
    assert_eq!(answer.text(), "tls", "{answer}");
}

#[test]
fn explain_says_why_a_route_was_chosen_and_why_others_were_not() {
    let world = start(&[
        ("plain", "path = \"/{*rest}\""),
        ("two", "path = \"/{*rest}\"\nwhen.headers = { X-Version = \"2\" }"),
        ("get", "path = \"/{*rest}\"\nmethods = [\"PUT\"]"),
    ]);
    let explained = |input: &str| -> Value {
        let url = "http://a.example/x?beta=canary";
        let output = world.run_reading(&["explain", "GET", url, "--json"], input);
        serde_json::from_slice(&output.stdout).expect("an explanation")
    };
    let said = explained("X-Version: 2");
    assert_eq!(said["route"]["when"], serde_json::json!(["the header \"x-version\" is \"2\""]));
    assert_eq!(said["route"]["answer"], "a fixed answer (200) of 3 bytes", "{said}");
    assert_eq!((&said["decision"], &said["status"]), (&"answered by keyward".into(), &200.into()));
    let said = explained("X-Version: canary");
    assert_eq!(
        said["passed_over"],
        serde_json::json!([
            "the route for when the method is PUT: the method is GET",
            "the route for when the header \"x-version\" is \"2\": the header \"x-version\" is \
             another"
        ]),
        "{said}"
    );
    assert!(!said["passed_over"].to_string().contains("canary"), "{said}");
    let said = explained("X-Version: 2\nX-Version: 2");
    assert_eq!((&said["status"], &said["reason"]), (&400.into(), &"malformed_request".into()));
    let cause = said["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("\"x-version\""), "{said}");
    let lines = world.run_reading(&["explain", "GET", "http://a.example/x"], "X-Version: 2");
    let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
    assert!(lines.contains("route's condition: the header \"x-version\" is \"2\""), "{lines}");
}

#[test]
fn the_destination_of_a_move_is_judged_by_the_fields_of_the_request() {
    let upstream = Upstream::start();
    let other = Http2Upstream::start(10);
    let world = Plan::bare()
        .upstream("app", upstream.address())
        .table(
            "upstream",
            &format!(
                "name = \"other\"\nendpoints = [\"http://{}\"]\nprotocol = \"http2\"",
                other.address()
            ),
        )
        .route("path = \"/{*rest}\"\nupstream = \"app\"\npublic = true")
        .route(
            "path = \"/{*rest}\"\nupstream = \"other\"\npublic = true\n\
             when.headers = { X-Version = \"2\" }",
        )
        .route("path = \"/dav/{*rest}\"\nupstream = \"app\"\npublic = true")
        .start();
    let moved = |fields: &str| {
        world.ask("MOVE", "/dav/x", &format!("Destination: /y\r\n{fields}"), "").status
    };
    assert_eq!(moved(""), 200);
    assert_eq!(moved("X-Version: 2\r\n"), 403, "it leads to another upstream");
}
