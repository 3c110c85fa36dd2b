//! A token is valid as it was issued, and in no other form.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{AllowlistJwtWorld, error};

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The three parts of a token.
fn parts(token: &str) -> [String; 3] {
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().expect("a JWT has three parts")
}

fn header(token: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(&parts(token)[0]).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Signs with a key of our own choosing.
fn signed(header: &Value, payload: &str, key: &[u8]) -> String {
    let input = format!("{}.{payload}", encode(header.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), input.as_bytes());
    format!("{input}.{}", encode(tag))
}

/// The token opens no route and makes no call.
#[track_caller]
fn assert_refused(world: &AllowlistJwtWorld, what: &str, token: &str) {
    let response = world.keyward.get_with("/private/x", token);
    assert_eq!(response.status, 401, "{what} on a route: {response}");
    let response = world.api().list(token);
    assert_eq!(response.status, 401, "{what} at the token API: {response}");
    assert!(
        response.fields.one("www-authenticate").is_some_and(|value| value.starts_with("Bearer")),
        "{response}"
    );
    error(&response, 401);
}

#[test]
fn a_token_of_no_algorithm_is_refused() {
    let world = AllowlistJwtWorld::start();
    let [_, payload, signature] = parts(&world.alice.token);
    for alg in ["none", "None", "NONE", "nOnE", "", " none", "null", "HS256none"] {
        let mut header = header(&world.alice.token);
        header["alg"] = json!(alg);
        let head = encode(header.to_string());
        assert_refused(&world, alg, &format!("{head}.{payload}."));
        assert_refused(&world, alg, &format!("{head}.{payload}.{signature}"));
        assert_refused(&world, alg, &format!("{head}.{payload}"));
        header.as_object_mut().expect("an object").remove("kid");
        assert_refused(&world, alg, &format!("{}.{payload}.", encode(header.to_string())));
    }
    for alg in [json!(null), json!(0), json!(["HS256"]), json!({}), json!(true)] {
        let mut header = header(&world.alice.token);
        header["alg"] = alg.clone();
        assert_refused(
            &world,
            &alg.to_string(),
            &format!("{}.{payload}.{signature}", encode(header.to_string())),
        );
    }
}

#[test]
fn a_token_under_another_algorithm_is_refused() {
    let world = AllowlistJwtWorld::start();
    let [_, payload, signature] = parts(&world.alice.token);
    for alg in [
        "HS384", "HS512", "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA", "hs256", "HS-256",
        "A128KW", "dir",
    ] {
        let mut header = header(&world.alice.token);
        header["alg"] = json!(alg);
        assert_refused(
            &world,
            alg,
            &format!("{}.{payload}.{signature}", encode(header.to_string())),
        );
        assert_refused(&world, alg, &signed(&header, &payload, b""));
    }
}

#[test]
fn a_token_under_another_key_is_refused() {
    let world = AllowlistJwtWorld::start();
    let [_, payload, _] = parts(&world.alice.token);
    let header = header(&world.alice.token);
    let own = header.to_string();
    let keys: [&[u8]; 8] =
        [b"", b"secret", b"keyward", b"\0", &[0; 32], &[0; 64], own.as_bytes(), payload.as_bytes()];
    for key in keys {
        assert_refused(&world, &format!("{key:?}"), &signed(&header, &payload, key));
    }
}

#[test]
fn a_token_whose_claims_were_edited_is_refused() {
    let world = AllowlistJwtWorld::start();
    let [head, _, signature] = parts(&world.alice.token);
    let claims = crate::support::claims(&world.alice.token);
    let edits = [
        ("role", json!("admin")),
        ("sub", json!("auth0|root")),
        ("username", json!("bob")),
        ("organization", json!("other")),
        ("jti", json!("f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b")),
        ("exp", json!(4_102_444_800_i64)),
        ("iat", json!(0)),
        ("iss", json!("other")),
        ("x", json!(1)),
    ];
    for (claim, value) in edits {
        let mut edited = claims.clone();
        edited[claim] = value;
        assert_refused(
            &world,
            claim,
            &format!("{head}.{}.{signature}", encode(edited.to_string())),
        );
    }
    let respaced = format!(" {claims}");
    assert_refused(&world, "a space", &format!("{head}.{}.{signature}", encode(respaced)));
}

#[test]
fn a_token_with_a_doctored_header_is_refused() {
    let world = AllowlistJwtWorld::start();
    let [_, payload, signature] = parts(&world.alice.token);
    let jwk = json!({"kty": "oct", "k": encode([0; 32])});
    let edits = [
        ("kid", json!("")),
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("/dev/null")),
        ("kid", json!("x' UNION SELECT 'secret' --")),
        ("kid", json!("a\u{0}b")),
        ("kid", json!("k".repeat(2000))),
        ("kid", json!(0)),
        ("kid", json!(null)),
        ("kid", json!(["x"])),
        ("crit", json!(["exp"])),
        ("crit", json!(["x-unknown"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("jku", json!("http://127.0.0.1:1/jwks")),
        ("x5u", json!("http://127.0.0.1:1/cert")),
        ("x5c", json!(["AAAA"])),
        ("jwk", jwk),
        ("zip", json!("DEF")),
        ("typ", json!("JWE")),
        ("x", json!(1)),
    ];
    for (field, value) in edits {
        let mut header = header(&world.alice.token);
        header[field] = value.clone();
        let what = format!("{field}: {value}");
        assert_refused(
            &world,
            &what,
            &format!("{}.{payload}.{signature}", encode(header.to_string())),
        );
        assert_refused(&world, &what, &signed(&header, &payload, &[0; 32]));
    }
}

#[test]
fn a_token_is_one_string_and_no_other() {
    let world = AllowlistJwtWorld::start();
    let token = &world.alice.token;
    let [head, payload, signature] = parts(token);
    let last = signature.chars().last().expect("a signature");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = alphabet.find(last).expect("base64url");
    // The last character of 43 holds two bits that mean nothing: three other spellings of the same
    // 32 bytes.
    for other in alphabet.chars().skip(place / 4 * 4).take(4).filter(|&c| c != last) {
        assert_refused(
            &world,
            "a tail that is not canonical",
            &format!("{head}.{payload}.{}{other}", &signature[..42]),
        );
    }
    let variants = [
        ("padding", format!("{head}.{payload}.{signature}=")),
        ("padding of the payload", format!("{head}.{payload}==.{signature}")),
        ("padding of the header", format!("{head}=.{payload}.{signature}")),
        ("a fourth part", format!("{token}.x")),
        ("an empty fourth part", format!("{token}.")),
        ("five parts", format!("{token}.x.y")),
        ("a dot before", format!(".{token}")),
        ("two parts", format!("{head}.{payload}")),
        ("one part", head.clone()),
        ("no signature", format!("{head}.{payload}.")),
        ("no payload", format!("{head}..{signature}")),
        ("no header", format!(".{payload}.{signature}")),
        ("dots", "..".into()),
        ("many dots", ".".repeat(1000)),
        ("a byte behind", format!("{token}A")),
        ("four bytes behind", format!("{token}AAAA")),
        ("a byte before", format!("A{token}")),
        ("a byte less", token[..token.len() - 1].into()),
        ("a signature cut in half", format!("{head}.{payload}.{}", &signature[..20])),
        ("a signature twice", format!("{head}.{payload}.{signature}{signature}")),
        ("the signature of nothing", format!("{head}.{payload}.{}", encode([0; 32]))),
        ("upper case", token.to_uppercase()),
        ("standard base64", format!("{head}.{payload}.+{}", &signature[1..])),
        ("a slash", format!("{head}.{payload}./{}", &signature[1..])),
        ("a percent sign", format!("{head}.{payload}.%41{}", &signature[1..])),
        ("a tilde", format!("{head}.{payload}.~{}", &signature[1..])),
    ];
    for (what, variant) in variants {
        assert_refused(&world, what, &variant);
    }
    assert_eq!(world.keyward.status_with(token), 200, "the token itself still works");
}

/// A change of any one character makes a token invalid.
#[test]
fn a_token_with_any_character_changed_is_refused() {
    let world = AllowlistJwtWorld::start();
    let token = world.alice.token.as_bytes();
    let mut client = world.keyward.client();
    for place in 0..token.len() {
        let mut changed = token.to_vec();
        changed[place] = match token[place] {
            b'.' => b'A',
            b'A' => b'Q',
            _ => b'A',
        };
        let changed = String::from_utf8(changed).expect("ASCII");
        let response = client.ask(format!(
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {changed}\r\n\r\n"
        ));
        assert_eq!(response.status, 401, "place {place}: {changed}");
    }
}
