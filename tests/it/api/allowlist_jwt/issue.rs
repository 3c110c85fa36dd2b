//! `POST /auth/issue-token`.

use super::{AllowlistJwtWorld, data, error, is_uuid, json, keys, seconds};
use crate::support::{TestUser, claims, now};

const ISSUED: &str = "Token issued successfully";
const YEAR: i64 = 525_600;

#[test]
fn the_seeds_example_gets_the_seeds_answer() {
    let world = AllowlistJwtWorld::start();
    let before = now();
    let response = world
        .api()
        .issue(&world.alice.token, r#"{ "name": "CI pipeline", "expires_in_minutes": 525600 }"#);
    let data = data(&response, ISSUED);
    assert_eq!(keys(&data), ["expires_at", "expires_in_minutes", "jti", "name", "token"]);
    assert_eq!(data["name"], "CI pipeline");
    assert_eq!(data["expires_in_minutes"], YEAR);
    let lifetime = seconds(&data["expires_at"]) - before;
    assert!((YEAR * 60..=YEAR * 60 + 10).contains(&lifetime), "{data}");
    assert!(is_uuid(data["jti"].as_str().expect("a jti")), "{data}");
    assert!(
        response.fields.one("cache-control").is_some_and(|value| value.contains("no-store")),
        "{response}"
    );
    assert_eq!(world.keyward.status_with(data["token"].as_str().expect("a token")), 200);
}

#[test]
fn a_token_carries_exactly_the_identity_of_the_one_that_made_it() {
    let world = AllowlistJwtWorld::start();
    let first = claims(&world.alice.token);
    assert_eq!(first["sub"], TestUser::ALICE.subject);
    assert_eq!(first["username"], TestUser::ALICE.username);
    assert_eq!(first["organization"], TestUser::ALICE.organization);
    assert_eq!(first["role"], TestUser::ALICE.role);
    assert_eq!(first["iss"], "keyward");
    assert_eq!(first["jti"], world.alice.jti.as_str());
    assert!(
        (now() - 10..=now()).contains(&first["iat"].as_i64().expect("a whole number")),
        "{first}"
    );
    assert_eq!(
        keys(&first),
        ["iat", "iss", "jti", "organization", "role", "sub", "username"],
        "no exp: it never expires"
    );

    let body = serde_json::json!({
        "expires_in_minutes": 5,
        "name": "x",
        "sub": "auth0|root",
        "username": "root",
        "role": "admin",
        "organization": "other",
        "jti": "00000000-0000-0000-0000-000000000000",
        "iat": 0,
    });
    let response = world.api().issue(&world.alice.token, &body.to_string());
    if response.status == 200 {
        let child = claims(json(&response)["data"]["token"].as_str().expect("a token"));
        for key in ["sub", "username", "organization", "role", "iss"] {
            assert_eq!(child[key], first[key], "{key}");
        }
        assert_ne!(child["jti"], "00000000-0000-0000-0000-000000000000");
        assert_eq!(child["exp"].as_i64().expect("exp") - child["iat"].as_i64().expect("iat"), 300);
        assert_eq!(
            keys(&child),
            ["exp", "iat", "iss", "jti", "organization", "role", "sub", "username"]
        );
    } else {
        error(&response, 422);
    }
}

#[test]
fn a_body_is_optional_and_so_is_every_field() {
    let world = AllowlistJwtWorld::start();
    for body in [
        "",
        "{}",
        r#"{"name":null}"#,
        r#"{"expires_in_minutes":null}"#,
        r#"{"expires_in_minutes":0}"#,
        r#"{"name":null,"expires_in_minutes":null}"#,
        " \r\n\t{ }\n",
        r#"{"expires_in_minutes":-0}"#,
    ] {
        let response = world.api().issue(&world.alice.token, body);
        if body.contains("-0") && response.status == 422 {
            continue;
        }
        let data = data(&response, ISSUED);
        assert!(
            data["name"].is_null()
                && data["expires_at"].is_null()
                && data["expires_in_minutes"].is_null(),
            "{data}"
        );
        assert_eq!(keys(&data).len(), 5, "what is null is there all the same: {data}");
        assert_eq!(world.keyward.status_with(data["token"].as_str().expect("a token")), 200);
    }
}

#[test]
fn lifetimes_from_a_minute_to_a_year_are_taken() {
    let world = AllowlistJwtWorld::start();
    for minutes in [1, 2, 60, 1440, YEAR - 1, YEAR] {
        let response = world
            .api()
            .issue(&world.alice.token, &format!(r#"{{"expires_in_minutes":{minutes}}}"#));
        let data = data(&response, ISSUED);
        assert_eq!(data["expires_in_minutes"], minutes);
        let claims = claims(data["token"].as_str().expect("a token"));
        assert_eq!(
            claims["exp"].as_i64().expect("exp") - claims["iat"].as_i64().expect("iat"),
            minutes * 60
        );
        assert_eq!(seconds(&data["expires_at"]), claims["exp"].as_i64().expect("exp"));
    }
}

#[test]
fn a_lifetime_that_is_no_whole_number_of_0_to_525600_gets_422_and_names_the_field() {
    let world = AllowlistJwtWorld::start();
    for value in [
        "-1",
        "525601",
        "9223372036854775807",
        "-9223372036854775808",
        "1.5",
        "5.0",
        "0.0",
        "1e2",
        "5e-1",
        "true",
        "false",
        r#""5""#,
        r#""""#,
        r#""five""#,
        "[]",
        "[5]",
        "{}",
        r#"{"minutes":5}"#,
        "4294967297",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        let response =
            world.api().issue(&world.alice.token, &format!(r#"{{"expires_in_minutes":{value}}}"#));
        let message = error(&response, 422);
        assert!(message.contains("expires_in_minutes"), "{value}: {message}");
    }
    assert_eq!(world.api().jtis(&world.alice.token).len(), 1, "nothing was issued");
}

#[test]
fn a_name_has_at_most_120_characters_and_characters_are_not_bytes() {
    let world = AllowlistJwtWorld::start();
    for unit in ["a", "ä", "漢", "😀", "\u{10ffff}"] {
        let fits = unit.repeat(120);
        let response =
            world.api().issue(&world.alice.token, &serde_json::json!({ "name": fits }).to_string());
        assert_eq!(data(&response, ISSUED)["name"], fits, "120 × {unit}");
        let long = unit.repeat(121);
        let response =
            world.api().issue(&world.alice.token, &serde_json::json!({ "name": long }).to_string());
        let message = error(&response, 422);
        assert!(message.contains("name"), "121 × {unit}: {message}");
    }
    // The same characters, escaped: a surrogate pair is one character.
    let escaped = format!(r#"{{"name":"{}"}}"#, r"\ud83d\ude00".repeat(120));
    let response = world.api().issue(&world.alice.token, &escaped);
    assert_eq!(data(&response, ISSUED)["name"], "😀".repeat(120));
    let escaped = format!(r#"{{"name":"{}"}}"#, r"\ud83d\ude00".repeat(121));
    error(&world.api().issue(&world.alice.token, &escaped), 422);
}

#[test]
fn a_name_is_kept_to_the_letter() {
    let world = AllowlistJwtWorld::start();
    for name in [
        "CI pipeline",
        " leading and trailing ",
        "quote \" backslash \\ slash /",
        "tab\tand\nnewline",
        "ünï ☃ 😀",
        "<script>alert(1)</script>",
        "'; DROP TABLE tokens; --",
        "null",
        "\u{202e}rtl",
        "a\u{0}b",
    ] {
        let response =
            world.api().issue(&world.alice.token, &serde_json::json!({ "name": name }).to_string());
        if name.contains('\0') && response.status == 422 {
            continue;
        }
        let data = data(&response, ISSUED);
        assert_eq!(data["name"], name);
        let list = json(&world.api().list(&world.alice.token));
        let listed = list["data"]["tokens"]
            .as_array()
            .expect("tokens")
            .iter()
            .any(|entry| entry["name"] == name);
        assert!(listed, "{name:?} is listed");
    }
}

#[test]
fn a_name_that_is_no_string_gets_422_and_names_the_field() {
    let world = AllowlistJwtWorld::start();
    for value in ["5", "0", "1.5", "true", "false", "[]", r#"["x"]"#, "{}", r#"{"x":"y"}"#] {
        let message =
            error(&world.api().issue(&world.alice.token, &format!(r#"{{"name":{value}}}"#)), 422);
        assert!(message.contains("name"), "{value}: {message}");
    }
}

#[test]
fn an_empty_name_is_a_name_or_is_refused_but_never_null() {
    let world = AllowlistJwtWorld::start();
    let response = world.api().issue(&world.alice.token, r#"{"name":""}"#);
    if response.status == 200 {
        assert_eq!(json(&response)["data"]["name"], "");
    } else {
        error(&response, 422);
    }
}

#[test]
fn no_two_tokens_share_an_id() {
    let world = AllowlistJwtWorld::start();
    let mut ids: Vec<_> = (0..50).map(|_| world.api().mint(&world.alice.token).jti).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
}
