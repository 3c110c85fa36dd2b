//! What passes, what is taken from it, and how long it is remembered.

use super::*;

#[test]
fn every_algorithm_passes_with_its_own_key() {
    let set = usual();
    for algorithm in OutsideAlgorithm::PUBLIC.map(OutsideAlgorithm::name) {
        let outside = passed(verify(&set, token(algorithm, &header(algorithm), &claims())));
        assert_eq!(outside.claims.identity.subject, "7d9f", "{algorithm}");
        assert_eq!(&**outside.issuer(), "main");
    }
    assert_eq!(set.len(), OutsideAlgorithm::PUBLIC.len());
    let set = with_secret();
    for header in [json!({"alg": "HS256"}), json!({"alg": "HS256", "kid": "whatever"})] {
        passed(verify(&set, token("HS256", &header, &claims())));
    }
}

#[test]
fn harmless_headers_pass_and_what_points_at_keys_is_not_looked_at() {
    let set = usual();
    let evil = rsa_jwk("p256", &KEYS.other_rsa);
    for members in [
        json!({"typ": "jwt"}),
        json!({"typ": "at+jwt"}),
        json!({"typ": "AT+JWT"}),
        json!({"typ": "application/at+jwt"}),
        json!({"typ": "application/JWT"}),
        json!({"b64": true}),
        json!({"x5t": "abc", "nonce": "abc", "org.example": {"a": [1]}}),
        json!({
            "jku": "https://evil.example/keys", "x5u": "https://evil.example/x5u", "x5c": ["AAAA"],
            "jwk": evil,
        }),
        json!({"cty": "json"}),
    ] {
        passed(verify(&set, with_header(members)));
    }
    let without_typ = json!({"alg": "ES256", "kid": "p256"});
    passed(verify(&set, token("ES256", &without_typ, &claims())));
}

#[test]
fn dates_may_have_fractions_and_count_to_the_millisecond() {
    let (set, token) = (
        usual(),
        with_claims(json!({"exp": 1_800_000_000.5, "nbf": 1_799_999_999.25, "iat": 1.5})),
    );
    let at = Timestamp::from_unix_millis;
    for (now, expected) in [
        (1_799_999_999_249, Some(OutsideFault::NotYet)),
        (1_799_999_999_250, None),
        (1_800_000_000_499, None),
        (1_800_000_000_500, Some(OutsideFault::Expired)),
    ] {
        assert_eq!(refused(&verify_at(&set, &token, at(now))), expected, "{now}");
    }
    for exp in [json!(253_402_300_799_i64), json!(1.8e9 + 1.0), json!(1_800_000_001)] {
        passed(verify(&set, with_claims(json!({"exp": exp}))));
    }
}

#[test]
fn leeway_is_for_both_ends() {
    let leeway = Duration::from_secs(30);
    let set = set_of(vec![issuer(IssuerSettings { leeway, ..settings() }, &key_set())]);
    let late = with_claims(json!({"exp": 1_799_999_971}));
    assert_eq!(passed(verify(&set, &late)).claims.expires_at.unix_millis(), 1_800_000_001_000);
    assert_eq!(
        refused(&verify_at(&set, &late, NOW.after(Duration::from_secs(1)))),
        Some(OutsideFault::Expired)
    );
    passed(verify(&set, with_claims(json!({"nbf": 1_800_000_030}))));
    let early = with_claims(json!({"nbf": 1_800_000_031}));
    assert_eq!(refused(&verify(&set, early)), Some(OutsideFault::NotYet));
}

#[test]
fn claims_are_found_where_the_configuration_says() {
    let path = |text: &str| Some(text.parse::<ClaimPath>().expect("a path"));
    let claim_names = ClaimNames {
        subject: "user.id".parse().expect("a path"),
        username: path("https://example.com/name"),
        email: None,
        role: path("'https://example.com/claims'.role"),
        ..ClaimNames::default()
    };
    let kept = vec!["plan".parse().expect("a path"), "a.b".parse().expect("a path")];
    let settings = IssuerSettings { claims: claim_names, kept_claims: kept, ..settings() };
    let set = set_of(vec![issuer(settings, &key_set())]);
    let outside = passed(verify(
        &set,
        with_claims(json!({
            "user": {"id": "u-1"}, "https://example.com/name": "Ann Ä", "email": 5,
            "https://example.com/claims": {"role": ["editor", "admin"]},
            "tenants": ["t1", "t2"], "active_tenant": "t2", "plan": "gold", "a": {"b": [1, 2]},
            "jti": "x-1",
        })),
    ));
    let expected = Identity {
        subject: "u-1".into(),
        username: Some("Ann Ä".into()),
        organization: Some("t2".into()),
        role: Some("editor".into()),
        email: None,
    };
    assert_eq!(outside.claims.identity, expected);
    assert_eq!(outside.roles().collect::<Vec<_>>(), ["editor", "admin"]);
    assert_eq!(outside.claims.tenants, ["t1", "t2"].map(Box::<str>::from));
    assert_eq!(
        (outside.claims.active_tenant.as_deref(), outside.claims.token_id.as_deref()),
        (Some("t2"), Some("x-1"))
    );
    let meets = |text: &str, value| {
        outside.meets(&ClaimRule { path: text.parse().expect("a path"), one_of: vec![value] })
    };
    assert!(meets("plan", ClaimValue::Text("gold".into())) && meets("a.b", ClaimValue::Integer(2)));
    assert!(
        !meets("plan", ClaimValue::Text("silver".into())) && !meets("a", ClaimValue::Integer(2))
    );
    assert!(!meets("jti", ClaimValue::Text("x-1".into())), "what was not kept meets nothing");
}

#[test]
fn the_issuer_is_chosen_by_its_name_and_another_ones_key_does_not_help() {
    let other = IssuerSettings {
        name: "other".into(),
        issuer: "https://other.example".into(),
        ..settings()
    };
    let set = set_of(vec![issuer(settings(), &key_set()[..1]), issuer(other, &key_set()[1..2])]);
    let mine = token("RS256", &header("RS256"), &claims());
    let theirs = with_claims(json!({"iss": "https://other.example"}));
    assert_eq!(&**passed(verify(&set, &mine)).issuer(), "main");
    assert_eq!(&**passed(verify(&set, &theirs)).issuer(), "other");
    assert_eq!(
        refused(&verify(&set, with_claims(json!({})))),
        Some(OutsideFault::UnknownKey),
        "their key, my name"
    );
    let renamed = token(
        "RS256",
        &header("RS256"),
        &merged(claims(), json!({"iss": "https://other.example"})),
    );
    assert_eq!(
        refused(&verify(&set, renamed)),
        Some(OutsideFault::UnknownKey),
        "my key, their name"
    );
}

#[test]
fn what_passed_is_remembered_until_it_expires() {
    let (set, token) = (usual(), with_claims(json!({"exp": 1_800_000_001})));
    let digest = set.digest(token.as_bytes());
    let recall = |now| set.recall(&digest, at(now)).expect("its keys are here");
    assert!(recall(NOW).is_none());
    let first = passed(verify(&set, &token));
    assert!(recall(NOW).is_some_and(|again| Arc::ptr_eq(&again, &first)));
    assert!(recall(NOW.after(Duration::from_secs(1))).is_none() && set.len() == 0);
    assert_eq!(
        refused(&verify_at(&set, &token, NOW.after(Duration::from_secs(1)))),
        Some(OutsideFault::Expired)
    );
}

#[test]
fn a_key_that_is_gone_takes_its_tokens_with_it_and_leaves_the_others() {
    let set = usual();
    let (es, rs) = (with_claims(json!({})), token("RS256", &header("RS256"), &claims()));
    let (es_was, rs_was) = (passed(verify(&set, &es)), passed(verify(&set, &rs)));
    let ring = &set.issuers()[0].ring;
    let read = |keys: &[Value]| {
        KeySet::read(&document(keys), &OutsideAlgorithm::PUBLIC).expect("a key set")
    };
    ring.take(read(&key_set()), Instant::now());
    assert!(
        es_was.is_current(at(NOW)).expect("here") && rs_was.is_current(at(NOW)).expect("here"),
        "nothing has changed"
    );
    ring.take(read(&key_set()[1..]), Instant::now());
    assert!(
        es_was.is_current(at(NOW)).expect("here") && !rs_was.is_current(at(NOW)).expect("here")
    );
    assert_eq!(refused(&verify(&set, &rs)), Some(OutsideFault::UnknownKey));
    // Another key under the same name is another key.
    ring.take(
        read(&[ec_jwk("p384", "P-384", &KEYS.p384), rsa_jwk("p256", &KEYS.rsa)]),
        Instant::now(),
    );
    assert!(!es_was.is_current(at(NOW)).expect("here"));
    assert_eq!(refused(&verify(&set, &es)), Some(OutsideFault::Algorithm));
    // And when it comes back, what is dead stays dead, and what is new passes.
    ring.take(read(&key_set()), Instant::now());
    assert!(!es_was.is_current(at(NOW)).expect("here"));
    passed(verify(&set, &es));
    // A set without a key: nothing can be judged.
    ring.take(read(&[]), Instant::now());
    assert!(block_on(set.verify(es.as_bytes(), at(NOW))).is_err());
}

#[test]
fn another_configuration_ends_what_the_old_one_let_pass() {
    let (before, token) = (usual(), with_claims(json!({})));
    let outside = passed(verify(&before, &token));
    let same = IssuerSet::new(
        before.issuers().to_vec(),
        Arc::new(Peppers::new(&SecretBytes::new([9; 32]), [])),
        100,
        8192,
    );
    same.replace(&before);
    assert!(outside.is_current(at(NOW)).expect("here"), "the issuer is the same");
    let stricter = set_of(vec![issuer(
        IssuerSettings { audience: vec!["api".into()], ..settings() },
        &key_set(),
    )]);
    stricter.replace(&same);
    assert!(!outside.is_current(at(NOW)).expect("here"));
    assert_eq!(refused(&verify(&stricter, &token)), Some(OutsideFault::Audience));
}

#[test]
fn the_memory_is_bounded() {
    let set = usual();
    for number in 0..300 {
        passed(verify(&set, with_claims(json!({"jti": number.to_string()}))));
    }
    assert!(set.len() <= 100, "{}", set.len());
}
