//! `keyward explain`: what it says of a request is what becomes of it, and it leaves no trace.

mod api_keys;

use std::process::Output;

use serde_json::{Value, json};

use crate::outside_jwts::forge::{document, header as jose, key_set, token};
use crate::support::{Plan, Reply, TestUser, Upstream, World, eventually, now};

const URL: &str = "http://a.example/private/x";

/// The usual world, with a route for administrators.
fn start() -> (World, Upstream) {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .route(
            "path = \"/admin/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             require = { role = [\"admin\", \"owner\"] }",
        )
        .route(
            "path = \"/narrow\"\nmethods = [\"POST\"]\nupstream = \"app\"\naccept = [\"jarvispy\"]",
        )
        .start();
    (world, upstream)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What is said of a request, with the exit code that goes with the decision.
#[track_caller]
fn explained(world: &World, method: &str, url: &str, input: &str) -> Value {
    let output = world.run_reading(&["explain", method, url, "--json"], input);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|fault| {
        panic!("{fault}: {} {}", text(&output.stdout), text(&output.stderr))
    });
    let code = i32::from(said["decision"] == "refused");
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// Neither output holds any of these.
#[track_caller]
fn holds_none(output: &Output, secrets: &[&str]) {
    let said = text(&output.stdout) + &text(&output.stderr);
    for secret in secrets {
        assert!(!said.contains(secret), "{said}");
    }
}

fn header<'a>(said: &'a Value, name: &str) -> Option<&'a str> {
    let headers = said["identity_headers"].as_array().expect("a list");
    headers.iter().find(|header| header["name"] == name).and_then(|header| header["value"].as_str())
}

#[track_caller]
fn is_forwarded_as(said: &Value, person: TestUser, jti: &str) {
    assert_eq!(said["decision"], "forwarded", "{said}");
    assert_eq!(said["status"], Value::Null);
    assert_eq!((&said["path"], &said["host"]), (&"/private/x".into(), &"a.example".into()));
    assert_eq!(said["route"]["path"], "/private/{*rest}");
    assert_eq!(
        (&said["route"]["upstream"], &said["route"]["accept"][0]),
        (&"app".into(), &"jarvispy".into())
    );
    let holder = &said["credential"]["holder"];
    assert_eq!((&holder["kind"], &holder["issued_by"]), (&"API key".into(), &"jarvispy".into()));
    assert_eq!((&holder["subject"], &holder["token_id"]), (&person.subject.into(), &jti.into()));
    assert_eq!(header(said, "x-keyward-subject"), Some(person.subject), "{said}");
    assert_eq!(header(said, "x-keyward-role"), Some(person.role), "{said}");
}

#[test]
fn a_good_key_is_forwarded_with_its_route_its_holder_and_the_headers_that_the_upstream_gets() {
    let (world, upstream) = start();
    let alice = world.key(TestUser::ALICE);
    let said = explained(&world, "GET", URL, &alice.token);
    is_forwarded_as(&said, TestUser::ALICE, &alice.jti);
    assert!(upstream.take().requests.is_empty(), "the upstream hears nothing");
    assert_eq!(world.status_with(&alice.token), 200);
    let request = upstream.take().requests.pop().expect("forwarded");
    for sent in said["identity_headers"].as_array().expect("a list") {
        let name = sent["name"].as_str().expect("a name");
        assert_eq!(request.fields.one(name).as_deref(), sent["value"].as_str(), "{name}");
    }
    // The same with all headers, a dot in the path and a query.
    let fields = format!(
        "Host: a.example\r\nAuthorization: Bearer {}\r\nX-Keyward-Role: admin\r\n",
        alice.token
    );
    let said = explained(&world, "GET", "http://127.0.0.1:1/private/y/../x?q=1", &fields);
    is_forwarded_as(&said, TestUser::ALICE, &alice.jti);
    let output = world.run_reading(&["explain", "GET", URL], &alice.token);
    let lines = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{lines}");
    for line in [
        "decision: forwarded",
        "route: /private/{*rest}",
        "identity header: x-keyward-subject: auth0|alice",
    ] {
        assert!(lines.lines().any(|known| known == line), "{line:?} is missing in\n{lines}");
    }
}

/// Makes the request, too: both say the same.
#[track_caller]
fn is_refused_as_logged(world: &World, method: &str, path: &str, token: Option<&str>) -> Value {
    let fields =
        token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let said = explained(world, method, &format!("http://a.example{path}"), &fields);
    let response = world.ask(method, path, &fields, "");
    let line = world.access_line(path);
    assert_eq!(said["decision"], "refused", "{said}");
    assert_eq!(said["status"], response.status, "{said}");
    assert_eq!(
        said["challenge"].as_str(),
        response.fields.one("www-authenticate").as_deref(),
        "{said}"
    );
    assert_eq!(said["allow"].as_str(), response.fields.one("allow").as_deref(), "{said}");
    assert_eq!(
        (&said["reason"], &said["cause"], &said["route"]["path"], &said["client"]),
        (&line["refusal"], &line["cause"], &line["route"], &line["client"]),
        "{said} {line}"
    );
    said
}

#[test]
fn a_refusal_is_explained_with_the_words_of_the_access_log() {
    let (world, _upstream) = start();
    let (alice, bob) = (world.key(TestUser::ALICE), world.key(TestUser::BOB));
    assert_eq!(world.api(TestUser::BOB).revoke(&bob.token).status, 200);
    let revoked = is_refused_as_logged(&world, "GET", "/private/revoked", Some(&bob.token));
    assert_eq!(
        (&revoked["status"], &revoked["reason"]),
        (&401.into(), &"no_record".into()),
        "{revoked}"
    );
    assert!(revoked["cause"].as_str().expect("a cause").contains("revoked"), "{revoked}");
    assert_eq!(revoked["credential"]["holder"], Value::Null);
    let made_up =
        is_refused_as_logged(&world, "GET", "/private/made-up", Some("canary-which-is-no-token"));
    assert_eq!(made_up["reason"], "bad_credential", "{made_up}");
    let none = is_refused_as_logged(&world, "GET", "/private/none", None);
    assert_eq!((&none["reason"], &none["credential"]), (&"no_credential".into(), &Value::Null));
    let lines = |fields: &str| text(&world.run_reading(&["explain", "GET", URL], fields).stdout);
    assert!(lines("").contains("\ncredential: none\n"), "{}", lines(""));
    let twice = format!("Authorization: Bearer {0}\nAuthorization: Bearer {0}\n", alice.token);
    assert!(lines(&twice).contains("\nreason: ambiguous_credential\n"), "{}", lines(&twice));
    assert!(lines(&twice).contains("\ncredential: several, or"), "{}", lines(&twice));
    let unknown = is_refused_as_logged(&world, "GET", "/nowhere", Some(&alice.token));
    assert_eq!((&unknown["reason"], &unknown["route"]), (&"no_route".into(), &Value::Null));
    let method = is_refused_as_logged(&world, "GET", "/narrow", Some(&alice.token));
    assert_eq!((&method["status"], &method["allow"]), (&405.into(), &"POST".into()));
    let role = is_refused_as_logged(&world, "GET", "/admin/x", Some(&alice.token));
    assert_eq!(role["status"], 403);
    assert_eq!(role["route"]["require"][0], "role \"admin\" or \"owner\"");
    assert_eq!(
        role["cause"],
        "the route asks for role \"admin\" or \"owner\", the token has \"user\""
    );
    assert_eq!(role["credential"]["holder"]["subject"], TestUser::ALICE.subject);
    // Of a head that is refused, the log has no path.
    let path = explained(&world, "GET", "http://a.example/private/%2f", &alice.token);
    assert_eq!(
        (&path["status"], &path["reason"]),
        (&400.into(), &"malformed_request".into()),
        "{path}"
    );
    assert_eq!(world.ask("GET", "/private/%2f", "", "").status, 400);
}

#[test]
fn calls_of_token_apis_and_what_is_public_are_explained_too() {
    let (world, _upstream) = start();
    let alice = world.key(TestUser::ALICE);
    let bootstrap = world.bootstrap(TestUser::BOB, 1);
    let list = "http://a.example/jarvispy/my-org/alice/api/v1/auth/tokens";
    let said = explained(&world, "GET", list, &alice.token);
    assert_eq!(said["decision"], "answered by keyward", "{said}");
    assert_eq!(said["answered_by"], "the token API \"jarvispy\"");
    let other = "/jarvispy/my-org/bob/api/v1/auth/tokens";
    let foreign = is_refused_as_logged(&world, "GET", other, Some(&alice.token));
    assert_eq!(foreign["reason"], "token_api", "{foreign}");
    let said = explained(&world, "GET", URL, &bootstrap);
    assert_eq!(
        (&said["status"], &said["credential"]["holder"]["kind"]),
        (&403.into(), &"bootstrap token".into())
    );
    // It was not spent by that.
    world.api(TestUser::BOB).mint(&bootstrap);
    let said = explained(&world, "GET", "http://a.example/public/x", "");
    assert_eq!(
        (&said["decision"], &said["route"]["accept"]),
        (&"forwarded".into(), &Value::Array(Vec::new()))
    );
    let said = explained(&world, "GET", "http://a.example/.well-known/jwks.json", "");
    assert_eq!((&said["decision"], &said["status"]), (&"answered by keyward".into(), &200.into()));
}

#[test]
fn explaining_leaves_no_line_and_no_count_and_shows_no_token() {
    let (world, _upstream) = start();
    let (alice, bob) = (world.key(TestUser::ALICE), world.key(TestUser::BOB));
    assert_eq!(world.api(TestUser::BOB).revoke(&bob.token).status, 200);
    assert!(
        eventually(|| world.access_lines().len() >= 3),
        "two keys were made, and one was revoked"
    );
    let counts = || {
        let names = [
            "keyward_requests_total",
            "keyward_refusals_total",
            "keyward_request_duration_seconds_count",
        ];
        let caches = ["keyward_token_cache_hits_total", "keyward_token_cache_misses_total"];
        names
            .into_iter()
            .chain(caches)
            .map(|name| world.metric(name, "").to_string())
            .collect::<Vec<_>>()
    };
    let (lines, before) = (world.access_lines().len(), counts());
    let secrets = [alice.token.as_str(), &bob.token, "canary"];
    for token in secrets {
        for url in [URL, "http://a.example/admin/x", "http://a.example/nowhere"] {
            for form in [&["explain", "GET", url][..], &["explain", "GET", url, "--json"]] {
                holds_none(&world.run_reading(form, token), &secrets);
                holds_none(
                    &world.run_reading(form, format!("Authorization: Bearer {token}\n")),
                    &secrets,
                );
            }
        }
    }
    assert_eq!(counts(), before);
    // The line of a later request is there, and those of the explained ones are not.
    assert_eq!(world.ask("GET", "/public/after", "", "").status, 200);
    world.access_line("/public/after");
    assert_eq!(world.access_lines().len(), lines + 1);
    for secret in secrets {
        assert!(!world.output().contains(secret));
    }
    let last_use = || {
        let listed: Value =
            serde_json::from_slice(&world.run(&["token", "list", "--json"]).stdout).expect("JSON");
        listed[0]["last_used_at"].clone()
    };
    assert_eq!(last_use(), Value::Null, "it is no use of the key");
    assert_eq!(world.status_with(&alice.token), 200);
    assert!(eventually(|| last_use().is_string()), "nor does it keep a use from being noted");
}

#[test]
fn the_store_alone_explains_as_the_running_keyward_does() {
    let (mut world, _upstream) = start();
    let (alice, bob) = (world.key(TestUser::ALICE), world.key(TestUser::BOB));
    assert_eq!(world.api(TestUser::BOB).revoke(&bob.token).status, 200);
    let ask = |world: &World| {
        let of = |method, url, token| explained(world, method, url, token);
        [
            of("GET", URL, alice.token.as_str()),
            of("GET", URL, &bob.token),
            of("GET", URL, ""),
            of("POST", "http://a.example/admin/x", &alice.token),
            of("GET", "http://a.example/nowhere", &alice.token),
            of("GET", "http://a.example/jarvispy/my-org/alice/api/v1/auth/tokens", &alice.token),
        ]
    };
    let running = ask(&world);
    is_forwarded_as(&running[0], TestUser::ALICE, &alice.jti);
    world.stop();
    assert_eq!(ask(&world), running);
}

#[test]
fn the_client_is_where_it_is_said_to_be_and_trusted_proxies_are_believed() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).listener("trusted_proxies = [\"10.0.0.0/8\"]").start();
    let client = |from: &str| {
        let arguments = ["explain", "GET", "http://a.example/public/x", "--json", "--from", from];
        let output = world.run_reading(&arguments, "X-Forwarded-For: 6.6.6.6, 192.0.2.7\n");
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        said["client"].as_str().expect("text").to_owned()
    };
    assert_eq!(client("10.1.2.3"), "192.0.2.7");
    assert_eq!(client("192.0.2.1"), "192.0.2.1");
}

#[test]
fn what_is_no_request_is_wrong_usage_in_words_that_repeat_nothing_of_it() {
    let (world, _upstream) = start();
    let long = format!("Cookie: {}canary", "x".repeat(64 * 1024));
    for (arguments, input) in [
        (&["explain", "GET", "/private/canary"][..], ""),
        (&["explain", "GET", "http://a b/canary"], ""),
        (&["explain", "GET", "http://u:canary@a.example/"], ""),
        (&["explain", "ca nary", URL], ""),
        (&["explain", "GET", URL], "Accept: */*\ncanary"),
        (&["explain", "GET", URL], "Authorization: Bearer canary\u{7}"),
        (&["explain", "GET", URL], &long),
        (&["explain", "GET"], ""),
        (&["explain", "GET", URL, "--from", "nowhere"], ""),
    ] {
        let output = world.run_reading(arguments, input);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
        assert!(!output.stderr.is_empty());
        holds_none(&output, &["nary"]);
    }
    let output = world.run_reading(&["explain", "GET", URL], b"Cookie: \xff\n");
    assert_eq!(output.status.code(), Some(2));
}

/// Without a running keyward, the keys are fetched for the question.
#[test]
fn the_token_of_an_issuer_is_explained_with_the_scope_that_it_lacks_by_both() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let keys = String::from_utf8(document(&key_set())).expect("JSON");
    id.answer(
        "/keys",
        Reply::bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{keys}", keys.len())),
    );
    let issuer = format!("audience = [\"api\"]\njwks_url = \"http://{}/keys\"", id.address());
    let mut world = Plan::usual(&upstream)
        .table("issuer", &format!("name = \"id\"\nissuer = \"https://id.example\"\n{issuer}"))
        .route(
            "path = \"/reports\"\nupstream = \"app\"\naccept = [\"id\"]\n\
                require.scope = [\"read\", \"admin\"]",
        )
        .start();
    let expires = now() + 300;
    let with = |scope: &str, audience: &str| {
        let claims = json!({
            "iss": "https://id.example", "aud": audience, "sub": "7d9f", "exp": expires,
            "scope": scope,
        });
        token("ES256", &jose("ES256"), &claims)
    };
    let (good, unfit, other) =
        (with("openid read", "api"), with("openid", "api"), with("read", "another"));
    let ask = |world: &World| {
        [&good, &unfit, &other]
            .map(|token| explained(world, "GET", "http://a.example/reports", token.as_str()))
    };
    let running = ask(&world);
    let [forwarded, lacking, foreign] = &running;
    assert_eq!(forwarded["decision"], "forwarded", "{forwarded}");
    let holder = &forwarded["credential"]["holder"];
    assert_eq!((&holder["kind"], &holder["issued_by"]), (&"JWT of an issuer".into(), &"id".into()));
    assert_eq!(
        lacking["cause"],
        "the route asks for scope \"read\" or \"admin\", the token has \"openid\""
    );
    assert_eq!(
        lacking["challenge"],
        r#"Bearer realm="keyward", error="insufficient_scope", scope="read admin""#
    );
    assert_eq!(
        (&foreign["status"], &foreign["reason"]),
        (&401.into(), &"bad_credential".into()),
        "{foreign}"
    );
    assert!(foreign["cause"].as_str().is_some_and(|cause| cause.contains("another")), "{foreign}");
    world.stop();
    assert_eq!(ask(&world), running);
}

#[test]
fn what_is_not_modelled_is_said_by_the_help() {
    let (world, _upstream) = start();
    let help = text(&world.run(&["explain", "--help"]).stdout);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("what HTTP/2, gRPC and certificates of clients change"), "{help}");
}
