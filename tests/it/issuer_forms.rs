//! Outside issuers that write things in another form than most: what has one reading counts, and
//! of what does not, the log says what was found and what would be right.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::outside_jwts::forge::{
    KEYS, b64, document, ec_jwk, ed_jwk, header, key_set, merged, raw, rsa_jwk, token,
};
use crate::support::{Person, Plan, Reply, Response, Upstream, World, eventually};

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn claims() -> Value {
    json!({"iss": "https://id.example", "aud": "api", "sub": "7d9f", "exp": now() + 300})
}

/// A good token but for these claims; null takes one away.
fn with(changed: Value) -> String {
    token("ES256", &header("ES256"), &merged(claims(), changed))
}

/// A token with this key's name.
fn by(algorithm: &str, kid: &str) -> String {
    token(algorithm, &json!({"alg": algorithm, "kid": kid}), &claims())
}

fn ask(world: &World, target: &str, token: &str) -> Response {
    world.ask("GET", target, &format!("Authorization: Bearer {token}\r\n"), "")
}

fn cause_of(world: &World, target: &str, status: u16, fields: &str) -> String {
    assert_eq!(world.ask("GET", target, fields, "").status, status, "{target}");
    world.access_line(target)["cause"].as_str().unwrap_or_default().to_owned()
}

fn cause(world: &World, target: &str, token: &str) -> String {
    cause_of(world, target, 401, &format!("Authorization: Bearer {token}\r\n"))
}

fn answer(body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    Reply::bytes([head.as_bytes(), body].concat())
}

/// A plan with an issuer whose keys come as this line says.
fn plan(upstream: &Upstream, keys: &str) -> Plan {
    let issuer =
        format!("name = \"id\"\nissuer = \"https://id.example\"\naudience = [\"api\"]\n{keys}");
    Plan::usual(upstream)
        .table("issuer", &issuer)
        .route("path = \"/outside/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]")
}

/// A keyward whose issuer publishes these keys.
fn world(upstream: &Upstream, id: &Upstream, keys: &[Value]) -> World {
    id.answer("/keys", answer(document(keys)));
    plan(upstream, &format!("jwks_url = \"http://{}/keys\"", id.address())).start()
}

/// What the probe says of issuers.
fn readiness(world: &World) -> String {
    let response = world.admin_get("/readyz");
    response.map(|response| response.text().replace('\\', "")).unwrap_or_default()
}

/// A key on P-256 whose first coordinate begins with a zero byte.
fn key_with_a_zero_in_front() -> EcdsaKeyPair {
    let any = std::iter::repeat_with(|| {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")
    });
    any.take(10_000).find(|key| key.public_key().as_ref()[1] == 0).expect("one of 256 is so")
}

/// keycloak#14933, jjwt#901 and oxAuth#1595 for the coordinates; null, as some libraries write what
/// is absent; padding, as RFC 4648 has it and RFC 7515 does not.
#[test]
fn a_key_in_another_form_than_most_is_the_same_key() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let short = key_with_a_zero_in_front();
    let coordinate = |key: &EcdsaKeyPair, at: usize| {
        key.public_key().as_ref()[1 + 32 * at..33 + 32 * at].to_vec()
    };
    let mut nulls = rsa_jwk("nulls", &KEYS.rsa);
    for absent in ["alg", "use", "key_ops", "d", "p", "q", "dp", "dq", "qi", "oth", "x5c", "crv"] {
        nulls[absent] = Value::Null;
    }
    let n = rsa_jwk("", &KEYS.rsa)["n"].as_str().expect("text").to_owned();
    let keys = [
        nulls,
        merged(rsa_jwk("padded", &KEYS.rsa), json!({ "n": format!("{n}==") })),
        merged(
            ec_jwk("longer", "P-256", &KEYS.p256),
            json!({
                "x": b64([vec![0], coordinate(&KEYS.p256, 0)].concat()),
                "y": b64([vec![0], coordinate(&KEYS.p256, 1)].concat()),
            }),
        ),
        merged(
            ec_jwk("shorter", "P-256", &short),
            json!({ "x": b64(&coordinate(&short, 0)[1..]) }),
        ),
    ];
    let world = world(&upstream, &id, &keys);
    for (algorithm, kid) in [("RS256", "nulls"), ("RS256", "padded"), ("ES256", "longer")] {
        assert_eq!(ask(&world, "/outside/x", &by(algorithm, kid)).status, 200, "{kid}");
    }
    let header = json!({"alg": "ES256", "kid": "shorter"}).to_string();
    let token = raw(header, claims().to_string(), |message| {
        short.sign(&SystemRandom::new(), message).expect("signed").as_ref().to_vec()
    });
    assert_eq!(ask(&world, "/outside/x", &token).status, 200);
    let stranger = by("ES256", "shorter");
    assert_eq!(cause(&world, "/outside/stranger", &stranger), "its signature is wrong");
}

#[test]
fn a_key_that_is_published_and_cannot_be_used_is_named_with_its_reason() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let keys = [
        merged(rsa_jwk("enc", &KEYS.rsa), json!({"use": "enc"})),
        json!({"kty": "RSA", "kid": "certificate", "x5c": ["MIIB"]}),
        json!({"kty": "AKP", "kid": "lattice", "alg": "ML-DSA-44", "pub": "AA"}),
        merged(rsa_jwk("pinned", &KEYS.rsa), json!({"alg": "RS512"})),
        ed_jwk("good"),
    ];
    let one = world(&upstream, &id, &keys);
    let unusable = "its key is not published: issuer id has a key called ";
    for (kid, why) in [
        ("enc", "\"enc\" that cannot be used: its \"use\" is not \"sig\""),
        ("certificate", "\"certificate\" that cannot be used: it has no \"n\""),
        ("lattice", "\"lattice\" that cannot be used: its type is not one that is understood"),
    ] {
        let said = cause(&one, &format!("/outside/{kid}"), &by("RS256", kid));
        assert_eq!(said, format!("{unusable}{why}"));
    }
    assert_eq!(
        cause(&one, "/outside/pinned", &by("RS256", "pinned")),
        "its algorithm is not accepted: it is \"RS256\"; its key is good for RS512"
    );
    assert_eq!(ask(&one, "/outside/good", &by("EdDSA", "good")).status, 200);
    // Nine that fit, and the one that signed is the last.
    let nameless = |exponent: u8| {
        let key = merged(rsa_jwk("", &KEYS.rsa), json!({"e": b64([1, 0, exponent])}));
        merged(key, json!({ "kid": null }))
    };
    let nine: Vec<_> = [3, 5, 7, 9, 11, 13, 15, 17, 1].into_iter().map(nameless).collect();
    let several = world(&upstream, &id, &nine);
    let unnamed = token("RS256", &json!({"alg": "RS256"}), &claims());
    assert_eq!(
        cause(&several, "/outside/ninth", &unnamed),
        "its signature is wrong: it is of none of the 8 keys that were tried, and 1 more could \
         not be: its issuer should tell its keys apart by \"kid\""
    );
    // None at all.
    id.answer("/keys", answer(document(&keys[..2])));
    let url = format!("jwks_url = \"http://{}/keys\"", id.address());
    let none = plan(&upstream, &url).launch();
    let why = "it publishes no key that can be used: key \"enc\": its \"use\" is not \"sig\"; key \
               \"certificate\": it has no \"n\"";
    assert!(eventually(|| readiness(&none).contains(why)), "{}", readiness(&none));
    assert_eq!(
        cause(&none, "/outside/none", &by("RS256", "enc")),
        format!("the keys of issuer id are not available: {why}")
    );
}

#[test]
fn a_refusal_says_what_was_found_and_what_would_be_right() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let subject = "\"claims.subject\" says which claim it is)";
    let world = world(&upstream, &id, &key_set());
    let later = now() + 300;
    for (at, (changed, expected)) in [
        (json!({"aud": {"api": 1}}), "it is {\"api\":1}, it must be a string or a list of strings"),
        (json!({"exp": later.to_string()}), "must be a number of seconds since the start of 1970"),
        (json!({"exp": later * 1000}), "it looks like milliseconds"),
        (json!({"iat": "2026-01-01"}), "it is \"2026-01-01\", it must be a number of seconds"),
        (json!({"exp": null}), "so the token never expires; it must be there"),
        (json!({"sub": null}), "\"sub\" is missing, it must be a string"),
        (json!({"sub": 1.5}), "\"sub\" is 1.5, it must be a string"),
        (json!({"sub": true}), subject),
        (
            json!({"iss": "http://id.example"}),
            "which is that of no [[issuer]]; configured are \"https://id.example\"",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let said = cause(&world, &format!("/outside/claim-{at}"), &with(changed.clone()));
        assert!(said.contains(expected), "{changed}: {said}");
    }
    let typ = token("ES256", &json!({"alg": "ES256", "kid": "p256", "typ": "dpop+jwt"}), &claims());
    assert_eq!(
        cause(&world, "/outside/typ", &typ),
        "its header is refused: its \"typ\" is not that of an access token: it is \"dpop+jwt\", it \
         must be \"JWT\" or \"at+jwt\""
    );
    // As Auth0 gives out where no audience was asked for.
    assert_eq!(
        cause(&world, "/outside/jwe", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA"),
        "it is not a JWT: it has five parts, so it is encrypted (JWE), and only signed ones can be \
         judged"
    );
}

#[test]
fn a_request_without_a_credential_that_counts_says_what_it_has_instead() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .table(
            "token_api",
            "name = \"users\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"\nprefix = \"rst_\"",
        )
        .route("path = \"/keys/{*rest}\"\nupstream = \"app\"\naccept = [\"users\"]")
        .start();
    let key = world.key(Person::ALICE).token;
    let scheme = "its Authorization field does not begin with \"Bearer \"";
    for (at, (path, status, fields, expected)) in [
        ("/private", 401, "Authorization: Basic YTpi\r\n".to_owned(), scheme),
        ("/private", 401, format!("Authorization: {key}\r\n"), scheme),
        (
            "/private",
            401,
            "Authorization: Bearer \r\n".to_owned(),
            "it is empty: \"Bearer\" must be followed by a token",
        ),
        (
            "/private",
            401,
            "X-API-Key: rst_x\r\n".to_owned(),
            "it has X-API-Key, which is read only on routes that accept a token API of style \
             \"accounts\"",
        ),
        (
            "/keys",
            401,
            "X-API-Key: hello\r\n".to_owned(),
            "it is unknown: X-API-Key takes the API keys of token APIs of style \"accounts\", and \
             it does not begin with the prefix of one",
        ),
        ("/private", 401, String::new(), "a bearer token is required"),
        (
            "/private",
            401,
            format!("Authorization: Bearer {}\r\n", "e".repeat(9000)),
            "it has 9000 bytes, more than the 8192 that \"token\" in [limits] allows",
        ),
        (
            "/keys",
            400,
            "X-API-Key: a\r\nX-API-Key: b\r\n".to_owned(),
            "it has X-API-Key more than once",
        ),
        (
            "/keys",
            400,
            "X-API-Key: a\r\nAuthorization: Bearer b\r\n".to_owned(),
            "it has both X-API-Key and Authorization: Bearer",
        ),
        (
            "/private",
            400,
            "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n".to_owned(),
            "it has Authorization more than once",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let said = cause_of(&world, &format!("{path}/{at}"), status, &fields);
        assert_eq!(said, expected, "{at}: {path} {status}");
        assert!(!said.contains(&key));
    }
}

/// A login of one's own with Flask-JWT-Extended or Simple JWT may sign so.
#[test]
fn a_shared_secret_signs_with_the_hash_that_the_configuration_names_and_is_as_long_as_it() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let secret = [b"0123456789abcdef".as_slice(); 4].concat();
    let file = |name: &str, length: usize| {
        let path = folder.path().join(name);
        std::fs::write(&path, &secret[..length]).expect("a file");
        format!("secret_file = {path:?}")
    };
    let signed = |algorithm: &str| {
        let how = match algorithm {
            "HS384" => hmac::HMAC_SHA384,
            "HS512" => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        };
        let key = hmac::Key::new(how, &secret);
        raw(json!({ "alg": algorithm }).to_string(), claims().to_string(), |message| {
            hmac::sign(&key, message).as_ref().to_vec()
        })
    };
    let long = file("long", 64);
    for (algorithms, passes) in [
        ("", vec!["HS256"]),
        ("algorithms = [\"HS512\"]", vec!["HS512"]),
        ("algorithms = [\"HS384\", \"HS512\"]", vec!["HS384", "HS512"]),
    ] {
        let world = plan(&upstream, &format!("{long}\n{algorithms}")).start();
        for algorithm in ["HS256", "HS384", "HS512"] {
            let is_accepted = passes.contains(&algorithm);
            let status = ask(&world, "/outside/x", &signed(algorithm)).status;
            assert_eq!(status, if is_accepted { 200 } else { 401 }, "{algorithms}: {algorithm}");
        }
    }
    let world = plan(&upstream, &long).prepare();
    for (algorithm, length, expected) in
        [("HS256", 31, "31 bytes"), ("HS384", 47, "47 bytes"), ("HS512", 63, "63 bytes")]
    {
        let short = file("short", length);
        world.configure(&plan(&upstream, &format!("{short}\nalgorithms = [{algorithm:?}]")));
        let output = world.run(&["validate"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected) && said.contains(algorithm), "{said}");
    }
}

#[test]
fn metadata_may_have_a_byte_order_mark_and_a_redirect_says_where_it_leads() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let issuer = format!("http://{}/login", id.address());
    let keys = format!("http://{}/keys", id.address());
    id.answer("/keys", answer(document(&key_set())));
    let path = "/login/.well-known/openid-configuration";
    let metadata = json!({"issuer": issuer, "jwks_uri": keys});
    id.answer(path, answer(format!("\u{feff}{metadata}")));
    let plan = Plan::usual(&upstream)
        .table("issuer", &format!("name = \"id\"\nissuer = {issuer:?}\naudience = [\"api\"]"))
        .route("path = \"/outside/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]");
    let world = plan.clone().start();
    assert_eq!(ask(&world, "/outside/x", &with(json!({ "iss": issuer }))).status, 200);
    id.answer(
        path,
        Reply::bytes(
            "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://b.example/login?state=canary\r\n\
             Content-Length: 0\r\n\r\n",
        ),
    );
    let world = plan.launch();
    let expected = "the answer is 308 Permanent Redirect, a redirect to \
                    \"https://b.example/login\": redirects are not followed";
    assert!(eventually(|| readiness(&world).contains(expected)), "{}", readiness(&world));
    assert!(!readiness(&world).contains("canary") && !world.output().contains("canary"));
}
