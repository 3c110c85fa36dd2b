//! `POST /login`, and what a session is good for.

use serde_json::json;

use crate::api::worlds::{AGENT_KEY, AccountsWorld, bearer, expect_json, members, text};

#[test]
fn a_login_is_answered_with_a_session_and_its_type() {
    let world = AccountsWorld::start();
    expect_json(&world.register("hershel", "correct horse"), 200);
    let login = expect_json(&world.login("hershel", "correct horse"), 200);
    assert_eq!(members(&login), ["access_token", "token_type"]);
    assert_eq!(login["token_type"], "bearer");
    let session = text(&login, "access_token");
    assert_eq!(world.status("/v1/auth/api-keys", &session), 200);
}

#[test]
fn a_password_is_the_same_in_every_form_in_which_it_is_typed() {
    let world = AccountsWorld::start();
    let login = |username: &str, password: &str| world.login(username, password).status;
    let forms = ["cr\u{e8}me\u{a0}br\u{fb}l\u{e9}e", "cre\u{300}me bru\u{302}le\u{301}e"];
    for (username, chosen, other) in
        [("composed", forms[0], forms[1]), ("decomposed", forms[1], forms[0])]
    {
        expect_json(&world.register(username, chosen), 200);
        assert_eq!([login(username, chosen), login(username, other)], [200, 200], "{username}");
        assert_eq!(login(username, "creme brulee"), 401, "{username}");
    }
    assert_eq!(login("composed", "tab\tulated"), 401);
}

#[test]
fn a_session_manages_agent_tokens_and_not_those_of_an_issuers_user_with_the_same_subject() {
    let world = AccountsWorld::start();
    let session = world.session("hershel");
    let token = text(&expect_json(&world.call("POST", AGENT_KEY, &session, ""), 200), "token");
    assert_eq!(world.status_with("/agents/x", &bearer(&token)), 200);
    // The same subject of the issuer is another owner.
    let seen = world.forwarded("/agents/x", &token);
    let subject = seen.fields.one("x-keyward-subject").expect("a subject");
    let namesake = world.issuer.access(&subject, json!({}));
    assert_eq!(expect_json(&world.call("GET", AGENT_KEY, &namesake, ""), 200)["has_token"], false);
    assert_eq!(world.call("DELETE", AGENT_KEY, &namesake, "").status, 204);
    assert_eq!(world.status_with("/agents/x", &bearer(&token)), 200);
    let (key, _) = world.api_key(&session);
    assert_eq!(world.call("POST", AGENT_KEY, &key, "").status, 401, "an API key is no login");
    assert_eq!(world.call("DELETE", AGENT_KEY, &session, "").status, 204);
    assert_eq!(world.status_with("/agents/x", &bearer(&token)), 401);
}

#[test]
fn a_wrong_password_is_refused_and_too_many_are_slowed() {
    let world = AccountsWorld::start();
    world.session("hershel");
    expect_json(&world.login("hershel", "wrong password"), 401);
    let slowed = (0..10)
        .map(|_| world.login("hershel", "wrong password"))
        .find(|answer| answer.status == 429);
    let slowed = slowed.expect("it is slowed");
    assert!(slowed.fields.has("retry-after"), "{slowed}");
}

/// An address from which the owner has logged in keeps its attempts, and a new address keeps one.
#[test]
fn failures_from_many_addresses_do_not_lock_the_owner_out() {
    let world = AccountsWorld::start_with(|plan| {
        plan.listener("trusted_proxies = [\"127.0.0.0/8\"]")
            .set("logins", "failures", "2")
            .set("logins", "suspect_from", "4")
            .set("logins", "failures_of_strangers", "1")
    });
    world.session("hershel");
    let login = |from: &str, username: &str, password: &str| {
        let body = json!({ "username": username, "password": password }).to_string();
        world.post("/v1/auth/login", &format!("X-Forwarded-For: {from}\r\n"), &body)
    };
    assert_eq!(
        login("198.51.100.1", "hershel", "correct horse").status,
        200,
        "the owner's address"
    );
    // Two failures each, until the account is under suspicion; then one each. Every spelling is the
    // same account.
    for (host, spelling) in ["hershel", "Hershel", "HERSHEL", "hersheL"].into_iter().enumerate() {
        let statuses =
            [0; 3].map(|_| login(&format!("192.0.2.{host}"), spelling, "a wrong one").status);
        assert_eq!(
            statuses,
            if host < 2 { [401, 401, 429] } else { [401, 429, 429] },
            "{spelling}"
        );
    }
    let slowed = login("192.0.2.1", "hershel", "correct horse");
    expect_json(&slowed, 429);
    let wait: u64 =
        slowed.fields.one("retry-after").expect("when to come back").parse().expect("seconds");
    assert!((1..=900).contains(&wait), "{slowed}");
    assert_eq!(login("198.51.100.1", "hershel", "mistyped").status, 401);
    assert_eq!(
        login("198.51.100.1", "hershel", "correct horse").status,
        200,
        "where the owner is known"
    );
    assert_eq!(login("203.0.113.7", "hershel", "correct horse").status, 200, "and elsewhere");
    // A username without an account is slowed in the same way: the two cannot be told apart.
    let statuses = [0; 3].map(|_| login("203.0.113.9", "unknown", "a wrong one").status);
    assert_eq!(statuses, [401, 401, 429]);
}
