//! Claims in the shapes that issuers give them (FIELD.md, F19), and what the log says of tokens
//! that are refused.

use super::*;

fn outside(changed: Value) -> Arc<Outside> {
    passed(verify(&usual(), with_claims(changed)))
}

/// A good token with a claim that is null, and not absent.
fn with_null(name: &str) -> String {
    let mut members = claims();
    members[name] = Value::Null;
    token("ES256", &header("ES256"), &members)
}

#[test]
fn an_integer_subject_is_its_decimal_digits_and_a_list_of_one_is_that_one() {
    for (subject, expected) in [
        (json!(5), "5"),
        (json!(0), "0"),
        (json!(-12), "-12"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!(["7d9f"]), "7d9f"),
        (json!([42]), "42"),
        (json!("007"), "007"),
    ] {
        assert_eq!(outside(json!({"sub": subject})).claims.identity.subject, expected, "{subject}");
    }
    let lists = outside(json!({
        "preferred_username": ["ann"], "email": ["ann@example.com"], "active_tenant": ["t1"],
    }));
    assert_eq!(lists.claims.identity.username.as_deref(), Some("ann"));
    assert_eq!(lists.claims.identity.email.as_deref(), Some("ann@example.com"));
    assert_eq!(lists.claims.active_tenant.as_deref(), Some("t1"));
    assert_eq!(outside(json!({"jti": ["x-1"]})).claims.token_id.as_deref(), Some("x-1"));
}

#[test]
fn an_optional_claim_that_cannot_be_used_is_left_out_and_the_token_passes() {
    let unusable = [
        json!(5),
        json!(1.5),
        json!(true),
        json!([]),
        json!(["a", "b"]),
        json!([["a"]]),
        json!([null]),
        json!({"a": 1}),
        json!("a\r\nX-Role: admin"),
        json!("a\0b"),
        json!("\u{1b}[31m"),
        json!("\u{85}"),
        json!(["a\nb"]),
    ];
    for value in &unusable {
        let outside = outside(json!({
            "preferred_username": value, "email": value, "active_tenant": value, "jti": value,
        }));
        assert_eq!(
            (&outside.claims.identity.username, &outside.claims.identity.email),
            (&None, &None),
            "{value}"
        );
        assert_eq!(
            (outside.claims.active_tenant.as_deref(), outside.claims.token_id.as_deref()),
            (None, None),
            "{value}"
        );
    }
    assert_eq!(outside(json!({"jti": "j".repeat(256)})).claims.token_id.as_deref(), None);
    // Of a list, what can be used stays.
    let mixed = json!([7, "admin", null, "a\nb", ["x"], "editor", {"a": 1}]);
    let outside_of =
        outside(json!({"realm_access": {"roles": mixed}, "tenants": mixed, "organization": mixed}));
    assert_eq!(outside_of.roles().collect::<Vec<_>>(), ["admin", "editor"]);
    assert_eq!(outside_of.claims.tenants, ["admin", "editor"].map(Box::<str>::from));
    assert_eq!(outside_of.claims.identity.role.as_deref(), Some("admin"));
    assert_eq!(outside_of.claims.identity.organization.as_deref(), Some("admin"));
    // Members of an object are names where each says more, and not where they say yes or no.
    let names = json!({"reader": {"1": "acme"}, "a\nb": {}, "writer": {}});
    assert_eq!(
        outside(json!({"realm_access": {"roles": names}})).roles().collect::<Vec<_>>(),
        ["reader", "writer"]
    );
    for flags in [
        json!({"admin": false, "user": true}),
        json!({"admin": {}, "user": 1}),
        json!(5),
        json!(true),
    ] {
        assert_eq!(
            outside(json!({"realm_access": {"roles": flags}})).roles().count(),
            0,
            "{flags}"
        );
    }
}

#[test]
fn null_is_absent_and_dates_are_strict_otherwise() {
    let set = usual();
    for name in
        ["nbf", "iat", "jti", "email", "preferred_username", "realm_access", "tenants", "scope"]
    {
        passed(verify(&set, with_null(name)));
    }
    for name in ["exp", "sub", "aud"] {
        let name_of = |fault: Option<OutsideFault>| matches!(fault, Some(OutsideFault::Claim(claim)) if claim.starts_with(name));
        assert!(name_of(refused(&verify(&set, with_null(name)))), "{name}");
    }
    for name in ["exp", "nbf", "iat"] {
        let text = with_claims(json!({name: now().to_string()}));
        assert_eq!(refused(&verify(&set, text)), Some(OutsideFault::Claim(name)), "{name}");
    }
}

#[test]
fn scopes_come_from_scope_and_scp_as_words_or_lists() {
    let scopes =
        |changed: Value| outside(changed).scopes().map(str::to_owned).collect::<Vec<_>>().join(",");
    for (claims, expected) in [
        (json!({}), ""),
        (json!({"scope": "openid read:reports"}), "openid,read:reports"),
        (json!({"scope": ["openid", "read:reports"]}), "openid,read:reports"),
        (json!({"scp": "access_as_user"}), "access_as_user"),
        (json!({"scp": ["a", "b c"]}), "a,b,c"),
        (json!({"scope": "a  b ", "scp": ["b", "c"]}), "a,b,c"),
        (json!({"scope": 5, "scp": [true, "a"]}), "a"),
    ] {
        assert_eq!(scopes(claims.clone()), expected, "{claims}");
    }
}

#[test]
fn without_an_audience_the_required_claims_say_for_whom_a_token_is() {
    let rule = |path: &str, value: &str| ClaimRule {
        path: path.parse().expect("a path"),
        one_of: vec![ClaimValue::Text(value.into())],
    };
    let settings = IssuerSettings {
        audience: Vec::new(),
        required_claims: vec![rule("client_id", "portal"), rule("token_use", "access")],
        ..settings()
    };
    let set = set_of(vec![issuer(settings, &key_set())]);
    let access = json!({"aud": null, "client_id": "portal", "token_use": "access"});
    let verify = |changed: Value| verify(&set, with_claims(changed));
    passed(verify(access.clone()));
    passed(verify(merged(access.clone(), json!({"aud": 5}))));
    let id_token = json!({"aud": "portal", "client_id": "portal", "token_use": "id"});
    assert_eq!(
        cause(&verify(id_token)),
        "a required claim is not as it must be: \"token_use\" is \"id\", it must be \"access\"; it \
         looks like an id token, \
         not an access token"
    );
    assert_eq!(
        cause(&verify(merged(access, json!({"client_id": "other"})))),
        "a required claim is not as it must be: \"client_id\" is \"other\", it must be \"portal\""
    );
}

#[test]
fn the_log_says_what_was_found_and_what_would_be_right() {
    let leeway = Duration::from_secs(30);
    let set = set_of(vec![issuer(IssuerSettings { leeway, ..settings() }, &key_set())]);
    let by = |changed: Value| cause(&verify(&set, with_claims(changed)));
    for (claims, expected) in [
        (
            json!({"aud": ["portal", "web"]}),
            r#"its audience is another: it is for ["portal","web"], accepted is "account" or "api""#,
        ),
        (
            json!({"aud": "portal", "nonce": "x"}),
            "its audience is another: it is for \"portal\", accepted is \"account\" or \"api\"; it \
             looks like an id token, not \
             an access token",
        ),
        (json!({"exp": now() - 100}), "it has expired: 100 seconds ago"),
        (
            json!({"nbf": now() + 90}),
            "it is not valid yet: its \"nbf\" is 90 seconds ahead of the clock of this machine, \
             and \"leeway\" is 30 seconds: is \
             the issuer's clock ahead, or this one behind?",
        ),
        (
            json!({"typ": null}),
            "a required claim is not as it must be: \"typ\" is missing, it must be \"Bearer\"",
        ),
        (
            json!({"sub": true}),
            "its claim \"subject\" is missing or malformed: \"sub\" is true, it must be a string \
             without control characters or an integer of at most 64 bits (\"claims.subject\" says \
             which claim it is)",
        ),
        (
            json!({"aud": ["api", 3]}),
            "its claim \"aud\" is missing or malformed: it is [\"api\",3], it must be a string or a \
             list of strings",
        ),
        (
            json!({"exp": null}),
            "its claim \"exp\" is missing or malformed: it is missing, so the token never expires; \
             it must be there",
        ),
        (
            json!({"exp": "1800000300"}),
            "its claim \"exp\" is missing or malformed: it is \"1800000300\", it must be a number \
             of seconds since the start of 1970",
        ),
        (
            json!({"nbf": 1_800_000_000_000_i64}),
            "its claim \"nbf\" is missing or malformed: it is 1800000000000, it must be a number \
             of seconds since the start of 1970; it looks like milliseconds",
        ),
    ] {
        assert_eq!(by(claims.clone()), expected, "{claims}");
    }
    let long = by(json!({"aud": "ä".repeat(5000)}));
    assert!(long.chars().count() < 200, "{long}");
    let header = |changed: Value| cause(&verify(&set, with_header(changed)));
    assert_eq!(
        header(json!({"kid": "new"})),
        "its key is not published: issuer main publishes no key called \"new\""
    );
    assert!(
        header(json!({"alg": "HS256"}))
            .starts_with("its algorithm is not accepted: it is \"HS256\"; accepted are RS256,")
    );
    let graph = cause(&verify(
        &set,
        raw(
            json!({"alg": "ES256", "kid": "p256", "nonce": "n"}).to_string(),
            claims().to_string(),
            |_| vec![7; 64],
        ),
    ));
    assert!(
        graph.starts_with(
            "its signature is wrong: its header has a \"nonce\", as tokens for Microsoft Graph"
        ),
        "{graph}"
    );
}

#[test]
fn a_tenant_of_a_template_is_what_its_issuer_says_and_nothing_that_it_writes() {
    let template: Arc<str> = "https://id.example.com/{tenant}/v2.0".into();
    let of = |tenant: &str, keys: &[Value]| {
        let settings = IssuerSettings {
            issuer: template.replace("{tenant}", tenant),
            tenancy: Some(Tenancy::new("main", Arc::clone(&template), tenant)),
            claims: ClaimNames { organization: None, ..ClaimNames::default() },
            ..settings()
        };
        issuer(settings, keys)
    };
    let set = set_of(vec![of("one", &key_set()[..1]), of("two", &key_set()[1..2])]);
    let iss = |tenant: &str| {
        json!({
            "iss": template.replace("{tenant}", tenant), "tenants": ["two"], "active_tenant": "two",
        })
    };
    let one = passed(verify(&set, token("RS256", &header("RS256"), &merged(claims(), iss("one")))));
    assert_eq!((&**one.issuer(), one.origin()), ("main", "main/one"));
    assert_eq!(
        (one.claims.tenants.clone(), one.claims.active_tenant.as_deref()),
        (vec![Box::<str>::from("one")], Some("one"))
    );
    assert_eq!(one.claims.identity.organization.as_deref(), Some("one"));
    let two = passed(verify(&set, with_claims(iss("two"))));
    assert_eq!(
        (&**two.issuer(), two.origin(), two.claims.active_tenant.as_deref()),
        ("main", "main/two", Some("two"))
    );
    // The key of one tenant does not sign for another.
    let forged = token("RS256", &header("RS256"), &merged(claims(), iss("two")));
    assert_eq!(refused(&verify(&set, forged)), Some(OutsideFault::UnknownKey));
    let other = with_claims(iss("three"));
    assert!(matches!(verify(&set, &other), OutsideVerdict::Foreign));
    let stranger =
        |token: &str| set.foreign_issuer(token.as_bytes(), "keyward").expect("a stranger");
    assert_eq!(
        stranger(&other),
        "it is \"https://id.example.com/three/v2.0\", whose tenant is not in \"tenants\" of \
         [[issuer]] main"
    );
    assert_eq!(
        stranger(&with_claims(json!({"iss": "https://x"}))),
        "it is \"https://x\", which is that of no [[issuer]]; configured are \
         \"https://id.example.com/{tenant}/v2.0\""
    );
    assert_eq!(stranger(&with_claims(json!({"iss": null}))), "it has no \"iss\"");
    let slash = with_claims(json!({"iss": format!("{ISS}/")}));
    assert_eq!(
        usual().foreign_issuer(slash.as_bytes(), "keyward").expect("a stranger"),
        format!(
            "it is \"{ISS}/\", and [[issuer]] main has {ISS:?}: they differ in the slash at the end"
        )
    );
    assert_eq!(
        set.foreign_issuer(with_claims(json!({"iss": "keyward"})).as_bytes(), "keyward"),
        None,
        "ours"
    );
    assert_eq!(set.foreign_issuer(b"no token", "keyward"), None);
}
