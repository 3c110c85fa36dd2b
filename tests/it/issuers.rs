//! Outside issuers around the process: what it needs of them to start, to be ready, and to reload.

use rustix::process::Signal;

use serde_json::{Value, json};

use crate::outside_jwts::forge::{KEYS, document, ec_jwk, header, key_set, merged, rsa_jwk, token};
use crate::support::{Act, Person, Plan, Reply, Response, Upstream, World, eventually};

/// The public key of RFC 8037, appendix A.2.
const RFC_8037: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

const FETCHES: &str = "keyward_issuer_key_fetches_total";

fn answer(status: &str, body: &str) -> Reply {
    Reply::bytes(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// A plan with an issuer whose keys come from this line.
fn plan(upstream: &Upstream, keys: &str) -> Plan {
    Plan::usual(upstream)
        .table(
            "issuer",
            &format!(
                "name = \"id\"\nissuer = \"https://id.example\"\naudience = [\"api\"]\n{keys}"
            ),
        )
        .route("path = \"/outside/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]")
}

fn url(id: &Upstream) -> String {
    format!("jwks_url = \"http://{}/keys\"", id.address())
}

fn said(world: &World, path: &str) -> String {
    world.admin_get(path).map(|response| response.text()).unwrap_or_default()
}

/// R13: down at the start, keyward starts all the same, says what it lacks, and gets ready by
/// itself.
#[test]
fn an_issuer_that_is_away_at_the_start_keeps_keyward_from_being_ready_and_no_longer() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", answer("500 Internal Server Error", "down"));
    let world = plan(&upstream, &url(&id)).launch();
    assert!(eventually(
        || said(&world, "/readyz").contains("issuer id has no keys yet: the answer is 500")
    ));
    assert_eq!(world.ready(), Some(503));
    assert_eq!(world.admin_get("/livez").map(|response| response.status), Some(200));
    assert!(said(&world, "/healthz").contains("issuer id"));
    let fetches =
        |outcome: &str| world.metric(FETCHES, &format!("issuer=\"id\",outcome=\"{outcome}\""));
    assert!(fetches("failed") >= 1.0, "{}", said(&world, "/metrics"));
    assert_eq!((fetches("done"), world.metric("keyward_issuer_keys", "issuer=\"id\"")), (0.0, 0.0));
    assert!(
        !said(&world, "/metrics").contains("\nkeyward_issuer_keys_age_seconds{"),
        "keys that never came have no age"
    );
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    assert_eq!(world.ask("GET", "/outside/x", "", "").status, 401, "no request is let through");
    id.answer("/keys", answer("200 OK", RFC_8037));
    assert!(eventually(|| world.ready() == Some(200)), "{}", said(&world, "/readyz"));
    assert!(id.take().heads.len() <= 8, "it is not flooded");
    assert_eq!((fetches("done"), world.metric("keyward_issuer_keys", "issuer=\"id\"")), (1.0, 1.0));
    let young = world.metric("keyward_issuer_keys_age_seconds", "issuer=\"id\"");
    assert!((0.0..60.0).contains(&young), "{young}");
    assert!(
        eventually(|| world.metric("keyward_issuer_keys_age_seconds", "issuer=\"id\"") > young),
        "they age"
    );
}

#[test]
fn an_issuer_that_goes_away_later_is_told_of_and_harms_nobody() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", answer("200 OK", RFC_8037));
    let world = plan(&upstream, &url(&id)).start();
    id.answer("/keys", Reply::acts([Act::Reset]));
    // A reload fetches anew; its keys stay meanwhile.
    world.signal(Signal::HUP);
    assert!(
        eventually(|| said(&world, "/healthz").contains("\"degraded\"")),
        "{}",
        said(&world, "/healthz")
    );
    assert_eq!(world.ready(), Some(200));
    assert!(world.metric(FETCHES, "outcome=\"failed\"") >= 1.0, "{}", said(&world, "/metrics"));
    assert_eq!(world.metric("keyward_issuer_keys", "issuer=\"id\""), 1.0, "the keys stay");
}

/// CVE-2026-54762 and CVE-2026-27586: a file that cannot be loaded lets nobody in.
#[test]
fn keys_that_cannot_be_used_are_refused_at_the_start_and_by_a_reload() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).start();
    let file = |name: &str, text: &str| {
        let path = world.folder().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (empty, short) = (file("empty", ""), file("short", "0123456789abcdef"));
    let public = file(
        "public",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----\n",
    );
    let garbage = file("garbage", "<html>");
    let secrets_only = file("oct", r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}"#);
    let cases = [
        ("secret_file = \"/nowhere/secret\"".to_owned(), "\"/nowhere/secret\" cannot be read"),
        (format!("secret_file = {empty:?}"), "empty\" is empty"),
        (format!("secret_file = {short:?}"), "the secret has 16 bytes"),
        (format!("secret_file = {public:?}"), "may be public"),
        ("jwks_file = \"/nowhere/keys\"".to_owned(), "\"/nowhere/keys\" cannot be read"),
        (format!("jwks_file = {garbage:?}"), "garbage: not valid JSON"),
        (format!("jwks_file = {secrets_only:?}"), "it holds no key that can be used"),
        (
            "jwks_url = \"https://id.example/k\"\nca_file = \"/nowhere/ca\"".to_owned(),
            "\"/nowhere/ca\" cannot be read",
        ),
    ];
    for (keys, why) in &cases {
        world.configure(&plan(&upstream, keys));
        let refused = || world.metric("keyward_config_reloads_total", "outcome=\"refused\"");
        let before = refused();
        world.reload();
        assert!(refused() > before, "{keys}: the reload is refused");
        assert!(world.output().replace('\\', "").contains(why), "{keys}: {why}");
        assert_eq!(
            world.ask("GET", "/public/x", "", "").status,
            200,
            "and the old configuration stays"
        );
    }
    world.kill();
    for (keys, why) in &cases {
        world.configure(&plan(&upstream, keys));
        let output = world.run(&["run"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{keys}: {stderr}");
        assert!(stderr.contains(why), "{keys}: {stderr}");
        let output = world.run(&["validate"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{keys}: {stderr}");
        assert!(stderr.contains(why), "{keys}: {stderr}");
    }
}

/// The seconds since 1970.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A good token but for these claims; null takes one away.
fn with(changed: Value) -> String {
    let base =
        json!({"iss": "https://id.example", "aud": "api", "sub": "7d9f", "exp": now() + 300});
    token("ES256", &header("ES256"), &merged(base, changed))
}

fn ask(world: &World, target: &str, token: &str) -> Response {
    world.ask("GET", target, &format!("Authorization: Bearer {token}\r\n"), "")
}

fn cause(world: &World, target: &str, token: &str) -> String {
    assert_eq!(ask(world, target, token).status, 401, "{target}");
    world.access_line(target)["cause"].as_str().unwrap_or_default().to_owned()
}

fn keys_of(jwks: &[Value]) -> Reply {
    answer("200 OK", &String::from_utf8(document(jwks)).expect("JSON"))
}

/// FIELD.md, F5; RFC 6750, section 3.1.
#[test]
fn a_route_asks_for_one_of_several_scopes_and_says_which_when_the_token_has_none_of_them() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", keys_of(&key_set()));
    let world = plan(&upstream, &url(&id))
        .route(
            "path = \"/reports/{*rest}\"\nupstream = \"app\"\naccept = [\"id\", \"jarvispy\"]\n\
             require.scope = [\"read:reports\", \"admin\"]",
        )
        .start();
    for good in [
        json!({"scope": "openid read:reports"}),
        json!({"scope": ["email", "admin"]}),
        json!({"scp": "read:reports"}),
        json!({"scp": ["a", "read:reports"]}),
        json!({"scope": "openid", "scp": ["admin"]}),
    ] {
        assert_eq!(ask(&world, "/reports/good", &with(good.clone())).status, 200, "{good}");
    }
    for (at, wrong) in [
        json!({}),
        json!({"scope": ""}),
        json!({"scope": "read:report read:reportss"}),
        json!({"scope": "READ:REPORTS"}),
        json!({"scope": {"read:reports": true}}),
        json!({"scopes": "read:reports"}),
        json!({"roles": ["admin"]}),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/reports/wrong-{at}");
        let response = ask(&world, &path, &with(wrong.clone()));
        assert_eq!(response.status, 403, "{wrong}");
        assert_eq!(
            response.fields.one("www-authenticate").as_deref(),
            Some(
                r#"Bearer realm="keyward", error="insufficient_scope", scope="read:reports admin""#
            ),
            "{wrong}"
        );
        let line = world.access_line(&path);
        assert_eq!(line["refusal"], "forbidden", "{line}");
        let said = line["cause"].as_str().unwrap_or_default();
        assert!(
            said.starts_with(
                "the route asks for scope \"read:reports\" or \"admin\", the token has "
            ),
            "{said}"
        );
    }
    assert_eq!(
        ask(&world, "/reports/own", &world.key(Person::ALICE).token).status,
        403,
        "a token of ours has none"
    );
    assert_eq!(
        ask(&world, "/outside/x", &with(json!({}))).status,
        200,
        "other routes ask for nothing"
    );
}

/// FIELD.md, F3: also for a set that has always been there, and one that is fetched because a key
/// is missing.
#[test]
fn keys_without_names_or_with_one_name_are_told_apart_by_their_type_and_their_signature() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let nameless = |mut jwk: Value| {
        jwk.as_object_mut().expect("an object").remove("kid");
        jwk
    };
    let (other, rsa) = (nameless(rsa_jwk("", &KEYS.other_rsa)), nameless(rsa_jwk("", &KEYS.rsa)));
    id.answer("/keys", keys_of(&[other, rsa, nameless(ec_jwk("", "P-256", &KEYS.p256))]));
    let unnamed = |algorithm: &str, signer: &str| {
        let claims =
            json!({"iss": "https://id.example", "aud": "api", "sub": "7d9f", "exp": now() + 300});
        token(signer, &json!({"alg": algorithm, "typ": "JWT"}), &claims)
    };
    let world = plan(&upstream, &url(&id)).start();
    for (algorithm, signer) in
        [("RS256", "RS256"), ("RS256", "another RSA key"), ("ES256", "ES256")]
    {
        assert_eq!(
            ask(&world, "/outside/x", &unnamed(algorithm, signer)).status,
            200,
            "{algorithm} by {signer}"
        );
    }
    let said = cause(&world, "/outside/stranger", &with(json!({})));
    assert_eq!(said, "its key is not published: issuer id publishes no key called \"p256\"");
    assert!(id.take().heads.len() <= 2, "it is asked once more, for the key that was named");
    id.answer("/keys", keys_of(&[rsa_jwk("k", &KEYS.rsa), ec_jwk("k", "P-256", &KEYS.p256)]));
    let world = plan(&upstream, &url(&id)).start();
    let named = |algorithm: &str| {
        let claims =
            json!({"iss": "https://id.example", "aud": "api", "sub": "7d9f", "exp": now() + 300});
        token(algorithm, &json!({"alg": algorithm, "typ": "JWT", "kid": "k"}), &claims)
    };
    assert_eq!(
        ["RS256", "ES256"].map(|algorithm| ask(&world, "/outside/x", &named(algorithm)).status),
        [200; 2]
    );
    // A file, which is read before keyward starts.
    let file = world.folder().join("set.json");
    std::fs::write(&file, document(&[rsa_jwk("k", &KEYS.rsa), ec_jwk("k", "P-256", &KEYS.p256)]))
        .expect("a file");
    let world = plan(&upstream, &format!("jwks_file = {file:?}")).start();
    assert_eq!(
        ["RS256", "ES256"].map(|algorithm| ask(&world, "/outside/x", &named(algorithm)).status),
        [200; 2]
    );
}

/// FIELD.md, F19 and F21.
#[test]
fn clocks_may_be_off_by_half_a_minute_and_claims_have_the_shapes_that_issuers_give_them() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", keys_of(&key_set()));
    let world = plan(&upstream, &url(&id)).start();
    let status = |changed: Value| ask(&world, "/outside/x", &with(changed)).status;
    assert_eq!(
        (status(json!({"nbf": now() + 20})), status(json!({"exp": now() - 20}))),
        (200, 200)
    );
    assert_eq!(
        (status(json!({"nbf": now() + 60})), status(json!({"exp": now() - 60}))),
        (401, 401)
    );
    let shapes = json!({
        "sub": 42, "email": ["ann@example.com"], "preferred_username": {"first": "Ann"}, "jti": 7,
        "realm_access": {"roles": [3, "editor", null]}, "organization": 5,
    });
    let response = ask(&world, "/outside/shapes", &with(shapes));
    assert_eq!(response.status, 200, "{response}");
    let text = response.text();
    for told in [
        r#"["X-Keyward-Subject","42"]"#,
        r#"["X-Keyward-Email","ann@example.com"]"#,
        r#"["X-Keyward-Role","editor"]"#,
    ] {
        assert!(text.to_ascii_lowercase().contains(&told.to_ascii_lowercase()), "{told} in {text}");
    }
    for absent in ["x-keyward-username", "x-keyward-organization", "x-keyward-token-id"] {
        assert!(!text.to_ascii_lowercase().contains(absent), "{absent} in {text}");
    }
    assert_eq!(status(json!({"exp": (now() + 300).to_string()})), 401, "dates are strict");
}

/// FIELD.md, F27: revoked, unknown, of another issuer, for another audience, expired, not valid
/// yet.
#[test]
fn the_access_log_says_why_a_token_is_refused() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", keys_of(&key_set()));
    let world = plan(&upstream, &url(&id))
        .route("path = \"/both/{*rest}\"\nupstream = \"app\"\naccept = [\"id\", \"jarvispy\"]")
        .start();
    let api = world.api(Person::ALICE);
    let key = world.key(Person::ALICE);
    assert_eq!(ask(&world, "/both/ours", &key.token).status, 200);
    assert_eq!(api.revoke(&key.token).status, 200);
    let begins = |what: &str, token: &str, expected: &str| {
        let cause = cause(&world, &format!("/both/{what}"), token);
        assert!(cause.starts_with(expected), "{what}: {cause}");
    };
    begins("revoked", &key.token, "it is revoked: it was made with a key of this keyward");
    // A token of another keyward: the same issuer, a key that is not here.
    let other = Plan::usual(&upstream).start();
    begins("unknown", &other.key(Person::ALICE).token, "its key is unknown: ");
    begins("no-jwt", "hunter2", "it is not a JWT");
    begins(
        "issuer",
        &with(json!({"iss": "https://other.example"})),
        "its issuer is another: it is \"https://other.example\"",
    );
    begins(
        "audience",
        &with(json!({"aud": "web"})),
        "its audience is another: it is for \"web\", accepted is \"api\"",
    );
    begins(
        "id-token",
        &with(json!({"aud": "web", "nonce": "n"})),
        "its audience is another: it is for \"web\", accepted is \"api\"; it looks like an id \
         token",
    );
    begins("expired", &with(json!({"exp": now() - 500})), "it has expired: 50");
    begins("early", &with(json!({"nbf": now() + 500})), "it is not valid yet: its \"nbf\" is ");
    // Where no issuer is configured, too.
    let alone = Plan::usual(&upstream).start();
    let said = cause(&alone, "/private/outside", &with(json!({})));
    assert_eq!(
        said,
        "its issuer is another: it is \"https://id.example\", which is that of no [[issuer]]"
    );
}

/// FIELD.md, F27: what the route asks for, and what the token has.
#[test]
fn the_access_log_says_why_a_good_token_does_not_pass() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", keys_of(&key_set()));
    let world = plan(&upstream, &url(&id))
        .route(
            "path = \"/editors/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]\n\
             require = { role = [\"editor\", \"admin\"] }",
        )
        .route(
            "path = \"/acme/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]\n\
                require.organization = [\"acme\"]",
        )
        .route(
            "path = \"/plan/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]\n\
             require.claims = { plan = [\"pro\", 2] }",
        )
        .route("path = \"/t/{tenant_id}/x\"\nupstream = \"app\"\naccept = [\"id\"]")
        .start();
    let reader = json!({"realm_access": {"roles": ["reader", "guest"]}, "tenants": ["t1"]});
    for (path, token, status, said) in [
        (
            "/editors/x",
            with(reader.clone()),
            403,
            r#"the route asks for role "editor" or "admin", the token has "reader", "guest""#,
        ),
        (
            "/acme/x",
            with(reader.clone()),
            403,
            r#"the route asks for organization "acme", the token has none"#,
        ),
        (
            "/plan/x",
            with(reader.clone()),
            403,
            r#"the route asks for the claim "plan" with "pro" or 2, the token has none"#,
        ),
        (
            "/t/t2/x",
            with(reader.clone()),
            403,
            r#"the path names the tenant "t2", which is none that the caller acts for"#,
        ),
        (
            "/private/outside",
            with(reader.clone()),
            401,
            r#"it is of "id", and the route accepts "jarvispy""#,
        ),
        (
            "/outside/ours",
            world.key(Person::ALICE).token,
            401,
            r#"it is of "jarvispy", and the route accepts "id""#,
        ),
        (
            "/private/bootstrap",
            world.bootstrap(Person::ALICE, 1),
            403,
            "it is a login or a bootstrap token, which makes calls of token APIs and opens no \
             route",
        ),
    ] {
        assert_eq!(ask(&world, path, &token).status, status, "{path}");
        assert_eq!(world.access_line(path)["cause"], said, "{path}");
    }
}

/// OpenID Connect Discovery 1.0, section 4.3.
#[test]
fn metadata_say_where_the_keys_are_and_those_of_another_issuer_are_not_believed() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let issuer = format!("http://{}/login", id.address());
    let metadata = |issuer: &str, keys: &str| {
        answer("200 OK", &json!({"issuer": issuer, "jwks_uri": keys}).to_string())
    };
    let path = "/login/.well-known/openid-configuration";
    let of_oauth = "/.well-known/oauth-authorization-server/login";
    id.answer(of_oauth, answer("404 Not Found", ""));
    let keys = format!("http://{}/keys", id.address());
    id.answer("/keys", keys_of(&key_set()));
    let plan = Plan::usual(&upstream)
        .table("issuer", &format!("name = \"id\"\nissuer = {issuer:?}\naudience = [\"api\"]"))
        .route("path = \"/outside/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]");
    for (reply, why) in [
        (answer("404 Not Found", ""), "the metadata of the issuer: the answer is 404 Not Found"),
        (metadata(&format!("{issuer}/"), &keys), "\"issuer\" must be written exactly so in both"),
        (metadata("https://evil.example", &keys), "they are of issuer"),
        (metadata(&issuer, "https://169.254.169.254/keys"), "it has another scheme than"),
        (
            metadata(&issuer, "http://169.254.169.254/keys"),
            "it would be fetched in clear from another host",
        ),
        (metadata(&issuer, "file:///etc/passwd"), "the only schemes are https and http"),
        (answer("200 OK", "<html>"), "they are no JSON object"),
        (answer("200 OK", &json!({"issuer": issuer}).to_string()), "they have no"),
    ] {
        id.answer(path, reply);
        let world = plan.clone().launch();
        assert!(
            eventually(|| said(&world, "/readyz").replace('\\', "").contains(why)),
            "{why}: {}",
            said(&world, "/readyz")
        );
        assert_eq!(ask(&world, "/outside/x", &with(json!({"iss": issuer}))).status, 401, "{why}");
    }
    id.answer(path, metadata(&issuer, &keys));
    let world = plan.clone().start();
    assert_eq!(ask(&world, "/outside/x", &with(json!({"iss": issuer}))).status, 200);
    assert_eq!(ask(&world, "/outside/x", &with(json!({"iss": format!("{issuer}/")}))).status, 401);
    // A server of OAuth 2.0 that is none of OpenID Connect: RFC 8414, section 3.1.
    id.answer(path, answer("404 Not Found", ""));
    id.answer(of_oauth, metadata(&issuer, &keys));
    let world = plan.start();
    assert_eq!(ask(&world, "/outside/x", &with(json!({"iss": issuer}))).status, 200);
}

/// Each tenant has keys of its own, and is somebody else than a subject of the same name in another
/// one.
#[test]
fn an_issuer_by_template_lets_its_tenants_in_each_by_its_own_keys_and_keeps_them_apart() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let iss = |tenant: &str| format!("http://{}/{tenant}/v2.0", id.address());
    for (tenant, keys) in
        [("one", vec![rsa_jwk("k", &KEYS.rsa)]), ("two", vec![ec_jwk("k", "P-256", &KEYS.p256)])]
    {
        let keys_path = format!("/{tenant}/keys");
        let uri = format!("http://{}{keys_path}", id.address());
        let metadata = json!({"issuer": iss(tenant), "jwks_uri": uri}).to_string();
        id.answer(
            &format!("/{tenant}/v2.0/.well-known/openid-configuration"),
            answer("200 OK", &metadata),
        );
        id.answer(&keys_path, keys_of(&keys));
    }
    let issuer = |tenants: &str| {
        format!(
            "name = \"id\"\nissuer = {:?}\ntenants = {tenants}\naudience = [\"api\"]",
            iss("{tenant}")
        )
    };
    let plan = |tenants: &str| {
        Plan::usual(&upstream)
            .table("issuer", &issuer(tenants))
            .table(
                "token_api",
                "name = \"agents\"\nstyle = \"agent-tokens\"\nmount = \"/agents\"\nissuer = \"id\"",
            )
            .route("path = \"/outside/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]")
            .route("path = \"/tenant/{tenant_id}/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]")
    };
    let world = plan("[\"one\", \"two\"]").start();
    let by = |algorithm: &str, tenant: &str| {
        let claims = json!({
            "iss": iss(tenant), "aud": "api", "sub": "ann", "exp": now() + 300, "tenants": ["two"], "active_tenant": "two",
        });
        token(algorithm, &json!({"alg": algorithm, "kid": "k"}), &claims)
    };
    let (one, two) = (by("RS256", "one"), by("ES256", "two"));
    for (tenant, token) in [("one", &one), ("two", &two)] {
        let response = ask(&world, "/outside/x", token);
        assert_eq!(response.status, 200, "{response}");
        let told = format!("[\"x-keyward-organization\",\"{tenant}\"]");
        assert!(response.text().to_ascii_lowercase().contains(&told), "{response}");
    }
    assert_eq!(ask(&world, "/outside/x", &by("ES256", "one")).status, 401, "another tenant's key");
    assert_eq!(ask(&world, "/tenant/one/x", &one).status, 200);
    assert_eq!(ask(&world, "/tenant/two/x", &one).status, 403, "whatever the token says");
    // The same subject in two tenants is two users.
    let made = world.ask("POST", "/agents/me", &format!("Authorization: Bearer {one}\r\n"), "");
    assert_eq!(made.status, 200, "{made}");
    assert!(ask(&world, "/agents/me", &one).text().contains("\"has_token\":true"));
    assert!(ask(&world, "/agents/me", &two).text().contains("\"has_token\":false"));
    for ring in ["id/one", "id/two"] {
        assert_eq!(
            world.metric("keyward_issuer_keys", &format!("issuer=\"{ring}\"")),
            1.0,
            "{ring}"
        );
    }
    // A reload takes a tenant out at once, and the other keeps its keys.
    id.take();
    world.configure(&plan("[\"one\"]"));
    world.reload();
    assert_eq!(
        (ask(&world, "/outside/x", &one).status, ask(&world, "/outside/y", &two).status),
        (200, 401)
    );
    let line = world.access_line("/outside/y");
    assert!(
        line["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("whose tenant is not in \"tenants\"")),
        "{line}"
    );
}

/// The connection goes through the proxy that is named, and through that of the environment where
/// the configuration says so.
#[test]
fn keys_are_fetched_through_a_proxy_that_the_configuration_or_at_its_word_the_environment_names() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let authorities = folder.path().join("ca.pem");
    let made =
        rcgen::generate_simple_self_signed(["id.invalid".to_owned()]).expect("a certificate");
    std::fs::write(&authorities, made.cert.pem()).expect("a file");
    let issuer = |proxy: &str| {
        let lines = format!("audience = [\"api\"]\nca_file = {authorities:?}\n{proxy}");
        Plan::usual(&upstream)
            .table("issuer", &format!("name = \"id\"\nissuer = \"https://id.invalid\"\n{lines}"))
    };
    // A proxy that refuses every request, and notes it.
    let proxy = Upstream::start();
    proxy.answer("id.invalid:443", answer("403 Forbidden", ""));
    let address = format!("http://{}", proxy.address());
    for line in ["proxy = \"environment\"".to_owned(), format!("proxy = {address:?}")] {
        proxy.take();
        let world =
            issuer(&line).launch_with(&[("HTTPS_PROXY", &address), ("NO_PROXY", "other.invalid")]);
        assert!(
            eventually(|| said(&world, "/readyz").contains("it answers 403 Forbidden")),
            "{}",
            said(&world, "/readyz")
        );
        assert!(proxy.take().heads.contains(&"id.invalid:443".to_owned()), "{line}");
    }
    let world = issuer("proxy = \"environment\"").prepare();
    let output = world.run_with(&["validate"], &[("HTTPS_PROXY", "socks5://proxy.invalid")]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && stderr.contains("HTTPS_PROXY of the environment: "),
        "{stderr}"
    );
}
