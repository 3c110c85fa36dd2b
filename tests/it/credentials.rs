//! Credentials in the places that a route names: each is taken there alone, never beside another
//! one, and never reaches the upstream.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::h2::{Connection, Head, flag};
use crate::support::{
    Fields, Plan, Reply, Request, Response, TIMEOUT, TestUser, Upstream, WebSocketServer, World,
};

/// The keys of a route that takes credentials from everywhere.
const EVERYWHERE: &str = "credentials.headers = [\"X-API-Key\", \"Private-Token\", \
                          \"Authorization\"]\ncredentials.basic = true\n\
                          credentials.websocket_protocol = true\ncredentials.cookie = \"token\"\n\
                          credentials.query = \"access_token\"\n\
                          credentials.origins = [\"https://app.example.com\"]\n";

/// A route below a path, for tokens of `jarvispy`.
fn route(path: &str, upstream: &str, more: &str) -> String {
    format!("path = \"{path}/{{*rest}}\"\nupstream = {upstream:?}\naccept = [\"jarvispy\"]\n{more}")
}

/// The usual world, with `/placed/` in front of the upstream and `/sockets/` in front of the
/// WebSocket server; both take credentials from everywhere.
struct Placed {
    world: World,
    upstream: Upstream,
    sockets: WebSocketServer,
}

impl Placed {
    fn start() -> Self {
        Self::start_with(|plan| plan)
    }

    fn start_with(more: impl FnOnce(Plan) -> Plan) -> Self {
        let (upstream, sockets) = (Upstream::start(), WebSocketServer::start());
        let plan = Plan::usual(&upstream)
            .upstream("sockets", sockets.address)
            .route(&route("/placed", "app", EVERYWHERE))
            .route(&route("/sockets", "sockets", EVERYWHERE));
        let world = more(plan).start();
        Self { world, upstream, sockets }
    }
}

fn basic(user_info: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(user_info))
}

/// Where a token is: a query, or a field, for requests that are no handshakes.
type Place = (String, Option<(&'static str, String)>);

fn places(token: &str) -> Vec<(&'static str, Place)> {
    let field = |name, value: String| (String::new(), Some((name, value)));
    vec![
        ("bearer", field("authorization", format!("Bearer {token}"))),
        ("no scheme", field("authorization", token.to_owned())),
        ("basic", field("authorization", basic(format!("ann:{token}")))),
        ("the username of basic", field("authorization", basic(format!("{token}:")))),
        ("basic as for GitHub", field("authorization", basic(format!("{token}:x-oauth-basic")))),
        ("x-api-key", field("x-api-key", token.to_owned())),
        ("a header", field("private-token", token.to_owned())),
        ("a cookie", field("cookie", format!("a=1; token={token}; b=2"))),
        ("a quoted cookie", field("cookie", format!("token=\"{token}\"; a=1; b=2"))),
        ("the query", (format!("access_token={token}&q=%201"), None)),
        ("the encoded query", (format!("%61ccess%5Ftoken={token}&q=%201"), None)),
    ]
}

/// Makes a request over HTTP/1.1 and over HTTP/2: both answers.
fn ask(world: &World, method: &str, target: &str, fields: &[(&str, String)]) -> [Response; 2] {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let first = world.ask(method, target, &lines, "");
    let head =
        fields.iter().fold(Head::new(method, target), |head, (name, value)| head.with(name, value));
    let second = Connection::open(world.address()).ask(&head);
    [first, second]
}

#[track_caller]
fn statuses(answers: &[Response; 2]) -> [u16; 2] {
    [answers[0].status, answers[1].status]
}

/// No part of a request holds this text, or its base64.
#[track_caller]
fn holds_none(request: &Request, token: &str) {
    let text = format!("{} {:?}", request.target, request.fields);
    assert!(!text.contains(token), "{text}");
    assert!(!text.contains("Basic"), "{text}");
}

#[test]
fn a_token_is_taken_from_each_place_that_the_route_names_and_never_reaches_the_upstream() {
    let placed = Placed::start();
    let alice = placed.world.key(TestUser::ALICE);
    for (name, (query, field)) in places(&alice.token) {
        let fields: Vec<_> = field.into_iter().collect();
        let answers = ask(&placed.world, "GET", &format!("/placed/x?{query}"), &fields);
        assert_eq!(statuses(&answers), [200; 2], "{name}: {answers:?}");
        let requests = placed.upstream.take().requests;
        assert_eq!(requests.len(), 2, "{name}");
        for request in &requests {
            holds_none(request, &alice.token);
            let subject = request.fields.one("x-keyward-subject");
            assert_eq!(subject.as_deref(), Some("auth0|alice"), "{name}");
            // What is beside it stays.
            if name.ends_with("cookie") {
                assert_eq!(request.fields.all("cookie"), ["a=1; b=2"], "{name}");
            }
            let target = if query.is_empty() { "/placed/x?" } else { "/placed/x?q=%201" };
            assert_eq!(request.target, target, "{name}");
        }
    }
}

#[test]
fn a_spelling_of_a_listed_header_that_some_servers_take_for_it_does_not_go_on() {
    let placed = Placed::start();
    let token = placed.world.key(TestUser::ALICE).token;
    let fields = [
        ("x-api-key", token.clone()),
        ("x_api_key", token.clone()),
        ("private_token", token.clone()),
    ];
    for answer in ask(&placed.world, "GET", "/placed/x", &fields) {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for request in placed.upstream.take().requests {
        holds_none(&request, &token);
    }
}

#[test]
fn a_token_that_is_the_whole_query_leaves_none() {
    let placed = Placed::start();
    let alice = placed.world.key(TestUser::ALICE);
    let answer = ask(&placed.world, "GET", &format!("/placed/x?access_token={}", alice.token), &[]);
    assert_eq!(statuses(&answer), [200; 2]);
    let targets: Vec<_> =
        placed.upstream.take().requests.into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/placed/x"; 2]);
}

#[test]
fn no_place_is_read_on_a_route_that_does_not_name_it() {
    let placed = Placed::start();
    let alice = placed.world.key(TestUser::ALICE);
    for (name, (query, field)) in places(&alice.token).into_iter().skip(1) {
        let fields: Vec<_> = field.into_iter().collect();
        let answers = ask(&placed.world, "GET", &format!("/private/x?{query}"), &fields);
        assert_eq!(statuses(&answers), [401; 2], "{name}: {answers:?}");
    }
    assert!(placed.upstream.take().heads.is_empty());
}

#[test]
fn two_credentials_in_any_two_places_are_ambiguous_be_they_the_same_or_not() {
    let placed = Placed::start();
    let alice = placed.world.key(TestUser::ALICE);
    let other = placed.world.key(TestUser::BOB);
    let (first, second) = (places(&alice.token), places(&other.token));
    for (at, (name, (query, field))) in first.iter().enumerate() {
        for (other_name, (other_query, other_field)) in &second[at..] {
            let fields: Vec<_> = field.iter().chain(other_field).cloned().collect();
            let target = format!("/placed/x?{query}&{other_query}");
            let answers = ask(&placed.world, "GET", &target, &fields);
            assert_eq!(statuses(&answers), [400; 2], "{name} and {other_name}: {answers:?}");
        }
        let target = format!("/placed/x?{query}");
        let twice: Vec<_> = field.iter().chain(field).cloned().collect();
        if !twice.is_empty() {
            let answers = ask(&placed.world, "GET", &target, &twice);
            assert_eq!(statuses(&answers), [400; 2], "{name} twice: {answers:?}");
        }
    }
    // One that is empty or malformed counts as well; and one that only some upstreams would see.
    for field in [
        ("authorization", "Bearer".to_owned()),
        ("authorization", "Basic !".to_owned()),
        ("private-token", String::new()),
        ("cookie", "token=".to_owned()),
    ] {
        let target = format!("/placed/x?access_token={}", alice.token);
        let answers = ask(&placed.world, "GET", &target, std::slice::from_ref(&field));
        assert_eq!(statuses(&answers), [400; 2], "{field:?}");
    }
    let lines = format!("Authorization: Bearer {}\r\n", alice.token);
    let target = "/placed/semicolon?a=1;access_token=x";
    assert_eq!(placed.world.ask("GET", target, &lines, "").status, 400);
    assert!(placed.upstream.take().heads.is_empty());
    let line = placed.world.access_line("/placed/semicolon");
    assert_eq!(line["refusal"], "ambiguous_credential", "{line}");
}

#[test]
fn basic_is_decoded_strictly_and_its_username_is_no_identity() {
    let placed = Placed::start();
    let (alice, bob) = (placed.world.key(TestUser::ALICE), placed.world.key(TestUser::BOB));
    let status = |value: String| {
        statuses(&ask(&placed.world, "GET", "/placed/x", &[("authorization", value)]))
    };
    let user_info = format!("{}:{}", TestUser::BOB.username, alice.token);
    assert_eq!(status(basic(&user_info)), [200; 2]);
    for request in placed.upstream.take().requests {
        let subject = request.fields.one("x-keyward-subject");
        assert_eq!(subject.as_deref(), Some("auth0|alice"));
    }
    let encoded = STANDARD.encode(format!("a:{}", alice.token));
    let url_safe = base64::engine::general_purpose::URL_SAFE.encode("a:\u{ff}\u{ff}\u{ff}");
    for (value, expected) in [
        (format!("basic   {encoded}"), 200),
        (format!("Basic {encoded}="), 401),
        (
            format!("Basic {}", encoded.trim_end_matches('=')),
            if encoded.ends_with('=') { 401 } else { 200 },
        ),
        (format!("Basic {url_safe}"), 401),
        (format!("Basic {} {}", &encoded[..8], &encoded[8..]), 401),
        ("Basic".to_owned(), 401),
        ("Basic ====".to_owned(), 401),
        (basic(":"), 401),
        (basic(&alice.token), 401),
        (basic(format!("a\n:{}", alice.token)), 401),
        (basic(format!("a:{}\0", alice.token)), 401),
        (basic(format!("a:{} ", alice.token)), 401),
        (basic(format!("a:{}", "x".repeat(9000))), 401),
        (basic(format!("{}:{}", "u".repeat(1000), alice.token)), 200),
        // Which of the two is meant cannot be told.
        (basic(format!("{}:{}", bob.token, alice.token)), 400),
    ] {
        assert_eq!(status(value.clone()), [expected; 2], "{value}");
    }
}

/// The fields of a handshake of HTTP/1.1.
const HANDSHAKE: &str = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Opens a WebSocket over HTTP/1.1 and over HTTP/2 (RFC 8441): both statuses, 101 for a switch, and
/// the protocols that were chosen.
fn handshakes(world: &World, target: &str, fields: &[(&str, &str)]) -> [(u16, Vec<String>); 2] {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let first = world
        .client()
        .ask(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{HANDSHAKE}{lines}\r\n"));
    let mut connection = Connection::open(world.address());
    let id = connection.next_id();
    let head = Head::new("CONNECT", target)
        .with(":protocol", "websocket")
        .with("sec-websocket-version", "13");
    let head = fields.iter().fold(head, |head, (name, value)| head.with(name, value));
    connection.send(head.frame(id, flag::END_HEADERS));
    connection.read_until(|state| state.stream(id).status.is_some() || state.is_over(id));
    let stream = connection.state.stream(id);
    let status = match stream.status {
        Some(200) if !stream.is_over() => 101,
        status => status.unwrap_or_default(),
    };
    let chosen = |fields: &Fields| fields.all("sec-websocket-protocol");
    [(first.status, chosen(&first.fields)), (status, chosen(&stream.fields))]
}

#[test]
fn a_websocket_takes_its_token_from_the_protocols_and_one_that_was_offered_is_chosen() {
    let placed = Placed::start();
    let alice = placed.world.key(TestUser::ALICE);
    let token = &alice.token;
    for (offers, chosen, left) in [
        (vec![format!("bearer, {token}")], "bearer", vec![]),
        (vec![format!("bearer,{token}, mqtt")], "bearer", vec!["mqtt"]),
        (vec![format!("chat, bearer, {token}")], "chat", vec!["chat"]),
        (
            vec!["bearer".to_owned(), format!("{token}, mqtt"), "chat".to_owned()],
            "chat",
            vec!["mqtt, chat"],
        ),
    ] {
        let fields: Vec<_> =
            offers.iter().map(|offer| ("sec-websocket-protocol", offer.as_str())).collect();
        let found = handshakes(&placed.world, "/sockets/x", &fields);
        assert_eq!(found, [(101, vec![chosen.to_owned()]), (101, vec![chosen.to_owned()])]);
        for _ in 0..2 {
            let asked = placed.sockets.asked.recv_timeout(TIMEOUT).expect("the upstream is asked");
            holds_none(&asked, token);
            assert_eq!(asked.fields.all("sec-websocket-protocol"), left, "{offers:?}");
            assert_eq!(asked.fields.one("x-keyward-subject").as_deref(), Some("auth0|alice"));
        }
    }
    for (offer, expected) in [
        ("bearer".to_owned(), 401),
        ("chat".to_owned(), 401),
        ("bearer, nothing".to_owned(), 401),
        // Names of protocols are compared exactly.
        (format!("Bearer, {token}"), 401),
        (format!("bearer, {token}, bearer, {token}"), 400),
    ] {
        let found = handshakes(&placed.world, "/sockets/x", &[("sec-websocket-protocol", &offer)]);
        assert_eq!(found.map(|(status, _)| status), [expected; 2], "{offer}");
    }
    let offer = format!("bearer, {token}");
    let bearer = format!("Bearer {token}");
    let fields = [("sec-websocket-protocol", &*offer), ("authorization", &*bearer)];
    let found = handshakes(&placed.world, "/sockets/x", &fields);
    assert_eq!(found.map(|(status, _)| status), [400; 2]);
    // Without a handshake the field is nothing that a client would send, and is not read; what
    // looks like a token is kept from the upstream all the same.
    let offer = [("sec-websocket-protocol", offer.clone())];
    assert_eq!(statuses(&ask(&placed.world, "GET", "/placed/x", &offer)), [401; 2]);
    let with_another = [offer[0].clone(), ("private-token", token.clone())];
    assert_eq!(statuses(&ask(&placed.world, "GET", "/placed/x", &with_another)), [200; 2]);
    for request in placed.upstream.take().requests {
        holds_none(&request, token);
    }
}

#[test]
fn a_websocket_without_a_token_among_its_protocols_gets_what_the_upstream_chose() {
    let placed = Placed::start();
    let alice = placed.world.key(TestUser::ALICE);
    let bearer = format!("Bearer {}", alice.token);
    for (offer, chosen) in
        [(Some("chat, mqtt"), vec!["chat".to_owned()]), (Some("mqtt"), vec![]), (None, vec![])]
    {
        let mut fields = vec![("authorization", &*bearer)];
        fields.extend(offer.map(|offer| ("sec-websocket-protocol", offer)));
        let found = handshakes(&placed.world, "/sockets/x", &fields);
        assert_eq!(found, [(101, chosen.clone()), (101, chosen)], "{offer:?}");
    }
}

#[test]
fn a_websocket_ends_with_its_token_wherever_that_came_from() {
    let placed = Placed::start();
    for place in ["protocols", "cookie", "basic", "query"] {
        let alice = placed.world.key(TestUser::ALICE);
        let (query, field) = match place {
            "protocols" => ("", format!("Sec-WebSocket-Protocol: bearer, {}", alice.token)),
            "cookie" => ("", format!("Cookie: token={}\r\nOrigin: http://a.example", alice.token)),
            "basic" => ("", format!("Authorization: {}", basic(format!("a:{}", alice.token)))),
            _ => (&*format!("?access_token={}", alice.token), "X: y".to_owned()),
        };
        let mut client = placed.world.client();
        let head = format!("GET /sockets/x{query} HTTP/1.1\r\nHost: a.example\r\n");
        let answer = client.ask(format!("{head}{HANDSHAKE}{field}\r\n\r\n"));
        assert_eq!(answer.status, 101, "{place}: {answer:?}");
        client.send("still open");
        assert_eq!(client.exactly(10).expect("an echo"), b"still open", "{place}");
        assert_eq!(placed.world.api(TestUser::ALICE).revoke(&alice.token).status, 200);
        client.rest().unwrap_or_else(|fault| panic!("{place}: still open: {fault:?}"));
    }
}

#[test]
fn a_page_of_another_origin_changes_nothing_with_a_cookie_or_with_basic() {
    let placed = Placed::start();
    let alice = placed.world.key(TestUser::ALICE);
    let cookie = ("cookie", format!("token={}", alice.token));
    let password = ("authorization", basic(format!("a:{}", alice.token)));
    let field = |name, value: &str| (name, value.to_owned());
    let (site, origin) = ("sec-fetch-site", "origin");
    let cases = [
        (vec![], false),
        (vec![field(site, "same-origin")], true),
        (vec![field(site, "none")], false),
        (vec![field(site, "same-site")], false),
        (vec![field(site, "cross-site")], false),
        (vec![field(site, "cross-site"), field(origin, "http://a.example")], false),
        (vec![field(origin, "http://a.example")], true),
        (vec![field(origin, "http://A.EXAMPLE:80")], true),
        (vec![field(origin, "https://a.example")], false),
        (vec![field(origin, "http://a.example:81")], false),
        (vec![field(origin, "http://a.example.evil.example")], false),
        (vec![field(origin, "null")], false),
        (vec![field(origin, "https://app.example.com"), field(site, "cross-site")], true),
        (vec![field(origin, "http://a.example"), field(origin, "https://evil.example")], false),
        (vec![field(site, "same-origin"), field(site, "cross-site")], false),
    ];
    for (fields, passes) in cases {
        for credential in [&cookie, &password] {
            // A program says nothing of a page, and has no cookies of its own accord.
            let passes = passes || fields.is_empty() && credential.0 == "authorization";
            let fields: Vec<_> = fields.iter().chain([credential]).cloned().collect();
            let expected = if passes { 200 } else { 403 };
            for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE"] {
                let answers = ask(&placed.world, method, "/placed/x", &fields);
                assert_eq!(statuses(&answers), [expected; 2], "{method} {fields:?}");
                if !passes {
                    assert!(!answers[0].fields.has("www-authenticate"), "{answers:?}");
                }
            }
            for method in ["GET", "HEAD", "OPTIONS"] {
                let answers = ask(&placed.world, method, "/placed/x", &fields);
                assert_eq!(statuses(&answers), [200; 2], "{method} {fields:?}");
            }
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let found = handshakes(&placed.world, "/sockets/x", &fields);
            let expected = if passes { 101 } else { 403 };
            assert_eq!(found.map(|(status, _)| status), [expected; 2], "{fields:?}");
        }
    }
    // What a page must set itself needs no such proof.
    let fields = [field("private-token", &alice.token), field(site, "cross-site")];
    assert_eq!(statuses(&ask(&placed.world, "POST", "/placed/x", &fields)), [200; 2]);
    let lines = format!("Cookie: {}\r\nSec-Fetch-Site: cross-site\r\n", cookie.1);
    assert_eq!(placed.world.ask("POST", "/placed/evil", &lines, "").status, 403);
    let line = placed.world.access_line("/placed/evil");
    assert_eq!(line["refusal"], "cross_origin", "{line}");
    let counted = placed.world.metric("keyward_refusals_total", "reason=\"cross_origin\"");
    assert!(counted > 0.0);
}

#[test]
fn behind_a_trusted_proxy_the_origin_is_what_the_client_asked_for() {
    let placed = Placed::start_with(|plan| plan.listener("trusted_proxies = [\"127.0.0.0/8\"]"));
    let alice = placed.world.key(TestUser::ALICE);
    let status = |origin: &str, forwarded: &[(&'static str, &str)]| {
        let mut fields =
            vec![("cookie", format!("token={}", alice.token)), ("origin", origin.to_owned())];
        fields.extend(forwarded.iter().map(|(name, value)| (*name, (*value).to_owned())));
        statuses(&ask(&placed.world, "POST", "/placed/x", &fields))
    };
    let proto = ("x-forwarded-proto", "https");
    assert_eq!(status("https://a.example", &[proto]), [200; 2]);
    assert_eq!(status("http://a.example", &[proto]), [403; 2]);
    let host = ("x-forwarded-host", "www.example.org");
    assert_eq!(status("https://www.example.org", &[proto, host]), [200; 2]);
    // What the client wrote itself stands to the left.
    let lists =
        [("x-forwarded-proto", "https, http"), ("x-forwarded-host", "evil.example, b.example")];
    assert_eq!(status("https://evil.example", &lists), [403; 2]);
    assert_eq!(status("http://b.example", &lists), [200; 2]);
}

#[test]
fn a_response_to_a_token_in_the_query_is_private_and_tells_no_address() {
    let placed = Placed::start();
    let alice = placed.world.key(TestUser::ALICE);
    let reply = |fields: &str| {
        Reply::bytes(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n"))
    };
    placed.upstream.answer("/placed/bare", reply(""));
    placed.upstream.answer(
        "/placed/public",
        reply("Cache-Control: public, max-age=60\r\nReferrer-Policy: unsafe-url\r\n"),
    );
    let query = format!("access_token={}", alice.token);
    for (path, expected) in [("/placed/bare", "private"), ("/placed/public", "max-age=60, private")]
    {
        for answer in ask(&placed.world, "GET", &format!("{path}?{query}"), &[]) {
            assert_eq!(answer.fields.all("cache-control"), [expected], "{answer:?}");
            assert_eq!(answer.fields.all("referrer-policy"), ["no-referrer"], "{answer:?}");
        }
        let cookie = [("cookie", format!("token={}", alice.token))];
        let header = [("private-token", alice.token.clone())];
        for fields in [&cookie, &header] {
            for answer in ask(&placed.world, "GET", path, fields) {
                assert_eq!(answer.fields.all("cache-control"), [expected], "{answer:?}");
            }
        }
    }
    let bearer = [("authorization", format!("Bearer {}", alice.token))];
    for answer in ask(&placed.world, "GET", "/placed/public", &bearer) {
        assert_eq!(answer.fields.all("cache-control"), ["public, max-age=60"], "{answer:?}");
        assert_eq!(answer.fields.all("referrer-policy"), ["unsafe-url"], "{answer:?}");
    }
    assert!(!placed.world.output().contains(&alice.token), "neither log has the token");
}

#[test]
fn a_destination_goes_by_the_credential_rules_of_its_own_route_and_holds_no_token() {
    let open = "path = \"/open/{*rest}\"\nupstream = \"app\"\npublic = true";
    let placed = Placed::start_with(|plan| plan.route(open));
    let token = placed.world.key(TestUser::ALICE).token;
    let (query, header) = (format!("access_token={token}"), ("private-token", token.clone()));
    let bearer = ("authorization", format!("Bearer {token}"));
    let copy = |target: &str, to: &str, field: Option<&(&'static str, String)>| {
        let mut fields = vec![("destination", to.to_owned())];
        fields.extend(field.cloned());
        let answers = statuses(&ask(&placed.world, "COPY", target, &fields));
        assert_eq!(answers[0], answers[1], "{target} to {to}");
        answers[0]
    };
    let with_token = format!("/placed/a?{query}");
    for to in [format!("/placed/b?{query}"), format!("/placed/b?%61ccess_token={token}")] {
        assert_eq!(copy(&with_token, &to, None), 200, "{to}");
    }
    for request in placed.upstream.take().requests {
        assert_eq!(request.fields.all("destination"), ["/placed/b"]);
        holds_none(&request, &token);
    }
    for (field, to, expected) in [
        (&header, "/placed/b", 200),
        (&header, "/private/b", 403),
        (&header, "/open/b", 200),
        (&bearer, "/private/b", 200),
        (&bearer, "/open/b", 200),
    ] {
        assert_eq!(copy("/placed/a", to, Some(field)), expected, "{} to {to}", field.0);
    }
}

#[test]
fn a_route_asks_for_a_credential_in_the_scheme_and_the_realm_that_it_names() {
    let basic_route = "credentials.basic = true\nchallenge = \"basic\"\nrealm = \"the index\"";
    let placed = Placed::start_with(|plan| {
        plan.route(&route("/index", "app", basic_route))
            .route(&route("/named", "app", "realm = \"reports\""))
            .route(&route("/admins", "app", &format!("{basic_route}\nrequire.role = [\"owner\"]")))
    });
    let alice = placed.world.key(TestUser::ALICE);
    let challenge = |path: &str, fields: &[(&str, String)]| {
        let answers = ask(&placed.world, "GET", path, fields);
        assert_eq!(
            answers[0].fields.all("www-authenticate"),
            answers[1].fields.all("www-authenticate")
        );
        (answers[0].status, answers[0].fields.one("www-authenticate").unwrap_or_default())
    };
    let of = |status: u16, text: &str| (status, text.to_owned());
    let asks = r#"Basic realm="the index", charset="UTF-8""#;
    let wrong = [("authorization", basic("a:b"))];
    let good = [("authorization", basic(format!("a:{}", alice.token)))];
    assert_eq!(challenge("/index/x", &[]), of(401, asks));
    assert_eq!(challenge("/index/x", &wrong), of(401, asks));
    assert_eq!(challenge("/index/x", &good), of(200, ""));
    let twice = [good[0].clone(), good[0].clone()];
    let invalid = r#"Bearer realm="the index", error="invalid_request""#;
    assert_eq!(challenge("/index/x", &twice), of(400, invalid));
    let forbidden = r#"Bearer realm="the index", error="insufficient_scope""#;
    assert_eq!(challenge("/admins/x", &good), of(403, forbidden));
    assert_eq!(challenge("/named/x", &[]), of(401, r#"Bearer realm="reports""#));
    assert_eq!(challenge("/private/x", &[]), of(401, r#"Bearer realm="keyward""#));
    assert_eq!(challenge("/placed/x", &[]), of(401, r#"Bearer realm="keyward""#));
}

#[test]
fn a_route_that_forwards_credentials_forwards_them_as_they_came() {
    let more = format!("{EVERYWHERE}forward_credential = true");
    let placed = Placed::start_with(|plan| plan.route(&route("/open", "app", &more)));
    let alice = placed.world.key(TestUser::ALICE);
    for (name, (query, field)) in places(&alice.token) {
        let fields: Vec<_> = field.into_iter().collect();
        let target = format!("/open/x?{query}");
        assert_eq!(statuses(&ask(&placed.world, "GET", &target, &fields)), [200; 2], "{name}");
        for request in placed.upstream.take().requests {
            assert_eq!(request.target, target);
            for (field, value) in &fields {
                assert_eq!(request.fields.all(field), [value.as_str()], "{name}");
            }
        }
    }
}

#[test]
fn explain_says_where_the_credential_is_and_what_becomes_of_the_request() {
    let placed = Placed::start();
    let alice = placed.world.key(TestUser::ALICE);
    let token = &alice.token;
    let explained = |method: &str, path: &str, fields: &str| -> Value {
        let url = format!("http://a.example{path}");
        let output = placed.world.run_reading(&["explain", method, &url, "--json"], fields);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!said.contains(token.as_str()), "{said}");
        serde_json::from_str(&said).unwrap_or_else(|fault| panic!("{fault}: {said}"))
    };
    let of_basic = format!("Authorization: {}\r\n", basic(format!("a:{token}")));
    for (path, fields, source) in [
        (
            "/placed/x".to_owned(),
            format!("Authorization: Bearer {token}\r\n"),
            "Authorization: Bearer",
        ),
        ("/placed/x".to_owned(), of_basic, "Authorization: Basic"),
        ("/placed/x".to_owned(), format!("Authorization: {token}\r\n"), "authorization"),
        ("/placed/x".to_owned(), format!("X-API-Key: {token}\r\n"), "x-api-key"),
        ("/placed/x".to_owned(), format!("Private-Token: {token}\r\n"), "private-token"),
        ("/placed/x".to_owned(), format!("Cookie: token={token}\r\n"), "the cookie \"token\""),
        (
            format!("/placed/x?access_token={token}"),
            "Accept: x/y\r\n".to_owned(),
            "the parameter \"access_token\" of the query",
        ),
        (
            "/sockets/x".to_owned(),
            format!("{HANDSHAKE}Sec-WebSocket-Protocol: bearer, {token}\r\n"),
            "Sec-WebSocket-Protocol",
        ),
    ] {
        let said = explained("GET", &path, &fields);
        assert_eq!(said["decision"], "forwarded", "{said}");
        assert_eq!(said["credential"]["source"], source, "{said}");
        assert_eq!(said["credential"]["holder"]["subject"], TestUser::ALICE.subject, "{said}");
    }
    let said = explained("POST", "/placed/x", &format!("Cookie: token={token}\r\n"));
    assert_eq!((&said["status"], &said["reason"]), (&403.into(), &"cross_origin".into()), "{said}");
    let both = format!("Cookie: token={token}\r\nX-API-Key: {token}\r\n");
    let said = explained("GET", "/placed/x", &both);
    assert_eq!(said["reason"], "ambiguous_credential", "{said}");
}
