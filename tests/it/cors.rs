//! CORS of routes: who is let in, what preflights become, and that every answer, refusals included,
//! says so.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::h2::{Connection, Head};
use crate::support::{Gate, Plan, Reply, Response, TestUser, Upstream, World, eventually};

const PAGE: &str = "https://app.example.com";

/// A world with routes that have policies, and those of the usual world, which have none.
fn plan(upstream: &Upstream) -> Plan {
    Plan::usual(upstream)
        .route(&guarded(
            "/app/{*rest}",
            "cors.origins = [\"HTTPS://App.Example.com:443\", \"https://*.example.org\", \
             \"http://localhost:5173\"]",
        ))
        .route(&guarded("/any/{*rest}", "cors.origins = [\"*\"]\ncors.headers = [\"*\"]"))
        .route(&guarded(
            "/cookies/{*rest}",
            "cors.origins = [\"https://app.example.com\"]\ncors.credentials = true\n\
             cors.headers = [\"*\"]\ncors.expose = [\"X-Total\"]\ncors.max_age = \"1m\"",
        ))
        .route(&guarded(
            "/split/{*rest}",
            "methods = [\"GET\", \"PUT\"]\ncors.origins = [\"https://app.example.com\"]",
        ))
        .route(
            "path = \"/split/{*rest}\"\nmethods = [\"POST\", \"OPTIONS\"]\nupstream = \"app\"\n\
             public = true",
        )
        .route(&guarded(
            "/admin/{*rest}",
            "require = { role = [\"admin\"] }\ncors.origins = [\"https://app.example.com\"]",
        ))
}

fn guarded(path: &str, lines: &str) -> String {
    format!("path = {path:?}\nupstream = \"app\"\naccept = [\"jarvispy\"]\n{lines}")
}

fn start() -> (World, Upstream) {
    let upstream = Upstream::start();
    (plan(&upstream).start(), upstream)
}

fn preflight(world: &World, path: &str, origin: &str, method: &str, more: &str) -> Response {
    let fields = format!("Origin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n{more}");
    world.ask("OPTIONS", path, &fields, "")
}

fn field(response: &Response, name: &str) -> Option<String> {
    response.fields.one(&format!("access-control-{name}"))
}

/// What says that an origin is let in, and all else of the protocol.
fn of_protocol(response: &Response) -> Vec<&str> {
    let names = response.fields.0.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.to_ascii_lowercase().starts_with("access-control-")).collect()
}

#[track_caller]
fn lets_in(response: &Response, origin: &str) {
    assert_eq!(field(response, "allow-origin").as_deref(), Some(origin), "{response}");
    let vary = response.fields.all("vary").join(",").to_ascii_lowercase();
    assert_eq!(vary.matches("origin").count(), 1, "{response}");
}

#[track_caller]
fn lets_none_in(response: &Response) {
    assert_eq!(of_protocol(response), Vec::<&str>::new(), "{response}");
    let vary = response.fields.all("vary").join(",").to_ascii_lowercase();
    assert_eq!(vary.matches("origin").count(), 1, "{response}");
}

#[test]
fn a_preflight_is_answered_without_a_credential_and_the_upstream_hears_nothing_of_it() {
    let (world, upstream) = start();
    let asked = "Access-Control-Request-Headers: authorization, content-type\r\n\
                 Access-Control-Request-Private-Network: true\r\n";
    let response = preflight(&world, "/app/x", PAGE, "PUT", asked);
    assert_eq!((response.status, response.text().as_str()), (204, ""), "{response}");
    lets_in(&response, PAGE);
    let vary = response.fields.one("vary").expect("vary");
    for name in ["origin", "access-control-request-method", "access-control-request-headers"] {
        assert!(vary.contains(name), "{response}");
    }
    assert_eq!(
        field(&response, "allow-methods").as_deref(),
        Some("GET, HEAD, POST, PUT, PATCH, DELETE")
    );
    let headers = field(&response, "allow-headers").expect("headers");
    for name in ["Authorization", "Content-Type", "X-API-Key", "Last-Event-ID", "If-Match"] {
        assert!(headers.split(", ").any(|listed| listed == name), "{headers}");
    }
    assert_eq!(field(&response, "max-age").as_deref(), Some("600"));
    for absent in ["allow-credentials", "allow-private-network", "expose-headers"] {
        assert_eq!(field(&response, absent), None, "{response}");
    }
    // A method of the upstream's own is listed beside the usual ones.
    let response = preflight(&world, "/app/x", PAGE, "PROPFIND", "");
    assert!(field(&response, "allow-methods").is_some_and(|names| names.ends_with(", PROPFIND")));
    assert!(upstream.take().heads.is_empty());
    assert_eq!(preflight(&world, "/app/logged", PAGE, "PUT", "").status, 204);
    let line = world.access_line("/app/logged");
    assert_eq!(
        (&line["status"], &line["route"], &line["refusal"]),
        (&204.into(), &"/app/{*rest}".into(), &Value::Null),
        "{line}"
    );
}

/// Fetch: `Authorization` is not covered by `*`.
#[test]
fn all_headers_means_those_that_are_asked_for_by_name() {
    let (world, _upstream) = start();
    for (path, origin) in [("/any/x", "*"), ("/cookies/x", PAGE)] {
        let asked = "Access-Control-Request-Headers: authorization,x-own\r\n\
                     Access-Control-Request-Headers: x-more, bad name\r\n";
        let response = preflight(&world, path, PAGE, "GET", asked);
        lets_in(&response, origin);
        let names = field(&response, "allow-headers");
        assert_eq!(names.as_deref(), Some("authorization, x-own, x-more"), "{response}");
        let response = preflight(&world, path, PAGE, "GET", "");
        assert_eq!(field(&response, "allow-headers"), None, "{response}");
    }
}

#[test]
fn origins_are_compared_whole_and_a_preflight_of_another_is_refused_and_logged() {
    let (world, _upstream) = start();
    for origin in [
        PAGE,
        "https://a.example.org",
        "https://a.b.example.org",
        "http://localhost:5173",
        // Not as browsers write them, and the same origins.
        "https://app.example.com:443",
        "HTTPS://App.Example.COM",
        "https://A.example.org:443",
    ] {
        let response = preflight(&world, "/app/x", origin, "GET", "");
        assert_eq!(response.status, 204, "{origin}: {response}");
        lets_in(&response, origin);
    }
    for origin in [
        "null",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "https://example.org",
        "https://evilexample.org",
        "https://.example.org",
        "https://evil.example/.example.org",
        "https://evil.example:1.example.org",
        "https://app.example.com https://evil.example",
        "https://app.example.com, https://evil.example",
        "HTTPS://APP.EXAMPLE.COM:80",
        "*",
        "",
        "https://app.example.com\r\nOrigin: https://evil.example",
        "https://evil.example\r\nOrigin: https://app.example.com",
        "https://app.example.com\r\nOrigin: https://app.example.com",
    ] {
        let response = preflight(&world, "/app/other", origin, "GET", "");
        assert_eq!(response.status, 403, "{origin:?}: {response}");
        lets_none_in(&response);
        assert!(!response.fields.has("www-authenticate"), "{response}");
    }
    let lines =
        || world.access_lines().into_iter().filter(|line| line["path"] == "/app/other").collect();
    assert!(eventually(|| Vec::len(&lines()) == 17));
    let lines: Vec<Value> = lines();
    assert!(lines.iter().all(|line| line["refusal"] == "origin_not_allowed"), "{lines:?}");
    let with = |cause: &str| lines.iter().filter(|line| line["cause"] == cause).count();
    assert_eq!(with("the origin \"null\" is none of \"origins\" in \"cors\""), 1);
    assert_eq!(with("it has several Origin fields"), 3);
    assert_eq!(world.metric("keyward_refusals_total", "reason=\"origin_not_allowed\""), 17.0);
}

#[test]
fn every_origin_is_let_in_by_the_asterisk_and_null_by_nothing_else() {
    let (world, _upstream) = start();
    let token = world.key(TestUser::ALICE).token;
    for origin in ["https://x.example", "null", "", "a\r\nOrigin: b"] {
        let response = preflight(&world, "/any/x", origin, "DELETE", "");
        assert_eq!(response.status, 204, "{origin:?}: {response}");
        lets_in(&response, "*");
        let fields = format!("Origin: {origin}\r\nAuthorization: Bearer {token}\r\n");
        let response = world.ask("GET", "/any/x", &fields, "");
        assert_eq!(response.status, 200, "{origin:?}: {response}");
        lets_in(&response, "*");
        assert_eq!(field(&response, "allow-credentials"), None, "{response}");
    }
}

#[test]
fn a_request_of_another_origin_goes_on_and_is_kept_from_its_page_by_the_browser() {
    let (world, upstream) = start();
    let token = world.key(TestUser::ALICE).token;
    for origin in ["Origin: https://evil.example\r\n", "Origin: null\r\n", ""] {
        let fields = format!("{origin}Authorization: Bearer {token}\r\n");
        let response = world.ask("GET", "/app/x", &fields, "");
        assert_eq!(response.status, 200, "{response}");
        lets_none_in(&response);
        let request = upstream.take().requests.pop().expect("forwarded");
        assert_eq!(request.fields.all("origin").len(), usize::from(!origin.is_empty()));
    }
}

#[test]
fn what_the_upstream_says_of_cors_is_replaced_and_vary_is_merged() {
    let (world, upstream) = start();
    let token = world.key(TestUser::ALICE).token;
    upstream.answer(
        "/app/x",
        Reply::bytes(
            "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\n\
             Access-Control-Allow-Origin: https://evil.example\r\n\
             access-control-allow-credentials: true\r\n\
             Access-Control-Allow-Private-Network: true\r\n\
             Access-Control-Expose-Headers: X-Theirs\r\nVary: Accept-Encoding\r\n\
             Vary: Origin, Cookie\r\nContent-Length: 0\r\n\r\n",
        ),
    );
    let ask = |path: &str, origin: &str| {
        let fields = format!("Origin: {origin}\r\nAuthorization: Bearer {token}\r\n");
        world.ask("GET", path, &fields, "")
    };
    let response = ask("/app/x", PAGE);
    lets_in(&response, PAGE);
    assert_eq!(of_protocol(&response).len(), 2, "{response}");
    let exposed = field(&response, "expose-headers").expect("names");
    for name in ["WWW-Authenticate", "X-Request-Id", "Retry-After", "ETag"] {
        assert!(exposed.split(", ").any(|listed| listed == name), "{exposed}");
    }
    assert!(!exposed.contains("Theirs"), "{exposed}");
    assert_eq!(response.fields.all("vary"), ["Accept-Encoding", "Origin, Cookie"]);
    let response = ask("/app/x", "https://evil.example");
    assert_eq!(of_protocol(&response), Vec::<&str>::new(), "{response}");
    upstream.answer(
        "/cookies/x",
        Reply::bytes("HTTP/1.1 200 OK\r\nVary: Accept-Encoding\r\nContent-Length: 0\r\n\r\n"),
    );
    let response = ask("/cookies/x", PAGE);
    assert_eq!(response.fields.one("vary").as_deref(), Some("Accept-Encoding, origin"));
    assert_eq!(field(&response, "allow-credentials").as_deref(), Some("true"));
    assert_eq!(field(&response, "expose-headers").as_deref(), Some("X-Total"));
}

/// Refusals of keyward's own are read by a page as the upstream's answers are.
#[test]
fn every_refusal_of_a_route_is_given_to_the_page() {
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let (upstream, silent) = (Upstream::start(), Gate::default());
    let line = "cors.origins = [\"https://app.example.com\"]";
    let world = plan(&upstream)
        .set("timeouts", "response_head", "\"300ms\"")
        .upstream("gone", gone.expect("a port"))
        .route(&format!("path = \"/gone\"\nupstream = \"gone\"\npublic = true\n{line}"))
        .start();
    upstream.answer("/app/slow", Reply::acts([crate::support::Act::Wait(silent.clone())]));
    upstream.answer("/app/broken", Reply::acts([crate::support::Act::Close]));
    let token = world.key(TestUser::ALICE).token;
    let good = format!("Authorization: Bearer {token}\r\n");
    for (method, path, fields, status) in [
        ("GET", "/app/x", "", 401),
        ("GET", "/app/x", "Authorization: Bearer nonsense\r\n", 401),
        ("GET", "/app/x", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", 400),
        ("GET", "/admin/x", &*good, 403),
        ("DELETE", "/split/x", &*good, 405),
        ("GET", "/gone", "", 502),
        ("GET", "/app/broken", &*good, 502),
        ("GET", "/app/slow", &*good, 504),
    ] {
        let fields = format!("Origin: {PAGE}\r\n{fields}");
        let response = world.ask(method, path, &fields, "");
        assert_eq!(response.status, status, "{path}: {response}");
        lets_in(&response, PAGE);
        let exposed = field(&response, "expose-headers").unwrap_or_default();
        assert!(exposed.contains("WWW-Authenticate"), "{response}");
    }
    silent.open();
}

#[test]
fn a_preflight_takes_the_route_of_the_method_that_it_asks_for() {
    let (world, upstream) = start();
    // Each of the two routes for one path by itself.
    for method in ["GET", "PUT"] {
        let response = preflight(&world, "/split/x", PAGE, method, "");
        assert_eq!(response.status, 204, "{response}");
        assert_eq!(field(&response, "allow-methods").as_deref(), Some("GET, PUT"));
    }
    assert!(upstream.take().heads.is_empty());
    // The route for POST has no policy: what was for the upstream stays so.
    let response = preflight(&world, "/split/x", PAGE, "POST", "");
    assert_eq!(response.status, 200, "{response}");
    assert_eq!(of_protocol(&response), Vec::<&str>::new(), "{response}");
    assert_eq!(upstream.take().heads, ["/split/x"]);
    // No route takes it: the browser is told which methods there are.
    let response = preflight(&world, "/split/x", PAGE, "DELETE", "");
    assert_eq!(response.status, 204, "{response}");
    assert_eq!(field(&response, "allow-methods").as_deref(), Some("GET, PUT"));
    assert_eq!(preflight(&world, "/nowhere", PAGE, "GET", "").status, 404);
}

#[test]
fn an_options_that_is_no_preflight_goes_on_as_any_request() {
    let (world, upstream) = start();
    let token = world.key(TestUser::ALICE).token;
    let origin = "Origin: https://app.example.com\r\n";
    let method = "Access-Control-Request-Method: GET\r\n";
    for (fields, what) in [
        (String::new(), "nothing of CORS"),
        (origin.to_owned(), "no method"),
        (method.to_owned(), "no origin"),
        (format!("{origin}{method}{method}"), "two methods"),
        (format!("{origin}Access-Control-Request-Method: a b\r\n"), "no method's name"),
    ] {
        assert_eq!(world.ask("OPTIONS", "/app/x", &fields, "").status, 401, "{what}");
        assert!(upstream.take().heads.is_empty());
        let fields = format!("{fields}Authorization: Bearer {token}\r\n");
        assert_eq!(world.ask("OPTIONS", "/app/x", &fields, "").status, 200, "{what}");
        assert_eq!(upstream.take().requests.pop().expect("forwarded").method, "OPTIONS");
    }
}

#[test]
fn a_route_without_a_policy_is_the_upstreams_to_open() {
    let (world, upstream) = start();
    upstream.answer(
        "/public/x",
        Reply::bytes(
            "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nVary: Accept\r\n\
             Content-Length: 0\r\n\r\n",
        ),
    );
    let response = preflight(&world, "/public/x", PAGE, "PUT", "");
    assert_eq!(field(&response, "allow-origin").as_deref(), Some("*"), "{response}");
    assert_eq!(response.fields.all("vary"), ["Accept"]);
    assert_eq!(upstream.take().requests.pop().expect("forwarded").method, "OPTIONS");
    let response = preflight(&world, "/private/x", PAGE, "PUT", "");
    assert_eq!(response.status, 401, "{response}");
    assert_eq!((of_protocol(&response).len(), response.fields.has("vary")), (0, false));
}

/// What a client sends behind a preflight is not the next request.
#[test]
fn a_preflight_with_a_body_ends_its_connection() {
    let (world, upstream) = start();
    let mut client = world.client();
    client.send(
        "OPTIONS /app/x HTTP/1.1\r\nHost: a.example\r\nOrigin: https://app.example.com\r\n\
         Access-Control-Request-Method: GET\r\nContent-Length: 100\r\n\r\n\
         GET /public/x HTTP/1.1\r\n",
    );
    let response = client.response().expect("an answer");
    assert_eq!(response.status, 204, "{response}");
    assert_eq!(response.fields.one("connection").as_deref(), Some("close"));
    assert!(upstream.take().heads.is_empty());
}

#[test]
fn all_of_it_holds_over_http2() {
    let (world, upstream) = start();
    let token = world.key(TestUser::ALICE).token;
    let mut connection = Connection::open(world.address());
    let preflight = |origin: &str| {
        Head::new("OPTIONS", "/app/x")
            .with("origin", origin)
            .with("access-control-request-method", "PUT")
            .with("access-control-request-headers", "authorization")
    };
    let response = connection.ask(&preflight(PAGE));
    assert_eq!((response.status, response.body.len()), (204, 0), "{response}");
    lets_in(&response, PAGE);
    let response = connection.ask(&preflight("https://evil.example"));
    assert_eq!(response.status, 403, "{response}");
    lets_none_in(&response);
    let response = connection.ask(&preflight(PAGE).with("origin", PAGE));
    assert_eq!(response.status, 403, "{response}");
    assert!(upstream.take().heads.is_empty());
    let get = |path: &str| Head::get(path).with("origin", PAGE);
    let response = connection.ask(&get("/app/x"));
    assert_eq!(response.status, 401, "{response}");
    lets_in(&response, PAGE);
    let token = format!("Bearer {token}");
    let response = connection.ask(&get("/app/x").with("authorization", &token));
    assert_eq!(response.status, 200, "{response}");
    lets_in(&response, PAGE);
    let response = connection.ask(&get("/admin/x").with("authorization", &token));
    assert_eq!(response.status, 403, "{response}");
    lets_in(&response, PAGE);
    // A refused gRPC call, too, is an answer.
    let response = connection
        .ask(&Head::post("/app/x").with("origin", PAGE).with("content-type", "application/grpc"));
    assert_eq!((response.status, response.fields.one("grpc-status")), (200, Some("16".into())));
    lets_in(&response, PAGE);
}

#[test]
fn a_policy_is_changed_by_a_reload() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    assert_eq!(preflight(&world, "/private/x", PAGE, "GET", "").status, 401);
    world.configure(&Plan::usual(&upstream).in_every("route", "cors.origins = [\"*\"]"));
    world.reload();
    let response = preflight(&world, "/private/x", PAGE, "GET", "");
    assert_eq!(response.status, 204, "{response}");
    lets_in(&response, "*");
}

#[test]
fn explain_says_what_becomes_of_a_preflight_and_what_a_page_gets() {
    let (world, upstream) = start();
    let explained = |method: &str, path: &str, input: &str| -> Value {
        let url = format!("http://a.example{path}");
        let output = world.run_reading(&["explain", method, &url, "--json"], input);
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let asks =
        "Access-Control-Request-Method: PUT\nAccess-Control-Request-Headers: authorization\n";
    let said = explained("OPTIONS", "/app/x", &format!("Origin: {PAGE}\n{asks}"));
    assert_eq!(
        (&said["decision"], &said["status"], &said["route"]["path"]),
        (&"answered by keyward".into(), &204.into(), &"/app/{*rest}".into()),
        "{said}"
    );
    assert_eq!(said["cors"]["lets_in"], true, "{said}");
    let headers = said["cors"]["headers"].as_array().expect("a list");
    let names: Vec<_> = headers.iter().filter_map(|header| header["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "access-control-allow-origin",
            "access-control-allow-methods",
            "access-control-allow-headers",
            "access-control-max-age"
        ]
    );
    let said = explained("OPTIONS", "/app/x", &format!("Origin: https://evil.example\n{asks}"));
    assert_eq!(
        (&said["decision"], &said["status"], &said["reason"], &said["cors"]["lets_in"]),
        (&"refused".into(), &403.into(), &"origin_not_allowed".into(), &false.into()),
        "{said}"
    );
    let said = explained("GET", "/app/x", &format!("Origin: {PAGE}\n"));
    assert_eq!((&said["status"], &said["cors"]["lets_in"]), (&401.into(), &true.into()), "{said}");
    let said = explained("OPTIONS", "/private/x", &format!("Origin: {PAGE}\n{asks}"));
    assert_eq!((&said["status"], &said["cors"]), (&401.into(), &Value::Null), "{said}");
    let url = "http://a.example/app/x";
    let input = format!("Origin: {PAGE}\n{asks}");
    let output = world.run_reading(&["explain", "OPTIONS", url], &input);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{lines}");
    for line in [
        "answered by: the policy in \"cors\", as a preflight",
        "CORS: a browser lets the page have the answer",
        "CORS header: access-control-allow-origin: https://app.example.com",
    ] {
        assert!(lines.lines().any(|known| known == line), "{line:?} is missing in\n{lines}");
    }
    assert!(upstream.take().heads.is_empty());
}

/// A page learns that there is no such method, whichever of the policies of the path lets it in.
#[test]
fn of_several_policies_of_a_path_the_one_that_lets_the_origin_in_speaks_where_no_route_does() {
    let upstream = Upstream::start();
    let other = "https://other.example.com";
    let world = Plan::usual(&upstream)
        .route(&guarded(
            "/both/{*rest}",
            "methods = [\"GET\"]\ncors.origins = [\"https://app.example.com\"]",
        ))
        .route(&guarded(
            "/both/{*rest}",
            "methods = [\"POST\"]\ncors.origins = [\"https://other.example.com\"]",
        ))
        .start();
    for (origin, methods) in [(PAGE, "GET"), (other, "POST")] {
        let response = preflight(&world, "/both/x", origin, "DELETE", "");
        assert_eq!(response.status, 204, "{origin}: {response}");
        lets_in(&response, origin);
        assert_eq!(field(&response, "allow-methods").as_deref(), Some(methods), "{response}");
        let fields = format!("Origin: {origin}\r\n");
        let response = world.ask("DELETE", "/both/x", &fields, "");
        assert_eq!(response.status, 405, "{origin}: {response}");
        lets_in(&response, origin);
    }
    let evil = "https://evil.example";
    assert_eq!(preflight(&world, "/both/x", evil, "DELETE", "").status, 403);
    lets_none_in(&world.ask("DELETE", "/both/x", &format!("Origin: {evil}\r\n"), ""));
    // Where a route takes the method, its own policy speaks.
    for (origin, method) in [(PAGE, "POST"), (other, "GET")] {
        assert_eq!(preflight(&world, "/both/x", origin, method, "").status, 403, "{origin}");
    }
}
