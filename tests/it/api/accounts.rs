//! The style `accounts`, from the outside: what people log in with opens calls, and what they make
//! with it opens routes.

use serde_json::json;

use super::platform::{Platform, answered, members};
use crate::support::{Plan, Response};

pub(super) struct House {
    pub(super) platform: Platform,
}

impl House {
    fn open() -> Self {
        Self::open_with(|plan| plan)
    }

    pub(super) fn open_with(more: impl FnOnce(Plan) -> Plan) -> Self {
        Self { platform: Platform::open_with(|plan| more(Self::furnish(plan))) }
    }

    /// What a house has beside a platform.
    pub(super) fn furnish(plan: Plan) -> Plan {
        plan.table("token_api", "name = \"accounts\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"")
            .route("path = \"/v1/me/{*rest}\"\nupstream = \"app\"\naccept = [\"accounts\"]")
            .route(
                "path = \"/mixed/{*rest}\"\nupstream = \"app\"\n\
                    accept = [\"accounts\", \"jarvispy\"]",
            )
            .route(
                "path = \"/kept/{*rest}\"\nupstream = \"app\"\naccept = [\"accounts\"]\n\
                    forward_credential = true",
            )
    }

    pub(super) fn post(&self, target: &str, fields: &str, body: &str) -> Response {
        let fields = format!("{fields}Content-Type: application/json\r\n");
        self.platform.world.ask("POST", target, &fields, body)
    }

    /// Registers, logs in and returns the session.
    pub(super) fn session(&self, username: &str) -> String {
        let body = json!({
            "username": username, "email": format!("{username}@example.com"), "password": "correct \
             horse",
            "full_name": "A Person",
        });
        let made = answered(&self.post("/v1/auth/register", "", &body.to_string()), 200);
        assert_eq!(members(&made), ["id", "username", "email", "full_name"]);
        let body = json!({ "username": username, "password": "correct horse" }).to_string();
        let login = answered(&self.post("/v1/auth/login", "", &body), 200);
        assert_eq!(members(&login), ["access_token", "token_type"]);
        login["access_token"].as_str().expect("a token").to_owned()
    }

    pub(super) fn key(&self, session: &str) -> (String, String) {
        let fields = format!("Authorization: Bearer {session}\r\n");
        let made = answered(&self.post("/v1/auth/api-keys", &fields, r#"{"name":"laptop"}"#), 200);
        assert_eq!(members(&made), ["id", "name", "raw_key", "prefix", "is_active", "created_at"]);
        let text = |member: &str| made[member].as_str().expect("text").to_owned();
        assert!(
            text("raw_key").starts_with("rst_") && text("raw_key").starts_with(&text("prefix"))
        );
        (text("raw_key"), text("id"))
    }

    pub(super) fn get(&self, target: &str, fields: &str) -> u16 {
        self.platform.world.ask("GET", target, fields, "").status
    }
}

pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

pub(super) fn field(key: &str) -> String {
    format!("X-API-Key: {key}\r\n")
}

/// On a route for others, and on a public one: the upstream there has no business with it.
#[test]
fn a_key_in_its_own_field_never_reaches_an_upstream_unless_the_route_says_so() {
    let house = House::open();
    let session = house.session("hershel");
    let (key, _) = house.key(&session);
    let alice = bearer(&house.platform.alice());
    let seen = |target: &str, fields: &str| {
        house.platform.upstream.take();
        assert_eq!(house.get(target, fields), 200, "{target}");
        house
            .platform
            .upstream
            .take()
            .requests
            .pop()
            .expect("it was forwarded")
            .fields
            .one("x-api-key")
    };
    assert_eq!(seen("/public/x", &field(&key)), None);
    assert_eq!(seen("/people/x", &(alice.clone() + &field(&key))), None);
    assert_eq!(seen("/v1/me/x", &field(&key)), None);
    assert_eq!(seen("/kept/x", &field(&key)).as_deref(), Some(key.as_str()));
    // What is between the client and the upstream goes on.
    assert_eq!(seen("/public/x", &field("sk-theirs")).as_deref(), Some("sk-theirs"));
    assert_eq!(seen("/people/x", &(alice + &field("theirs"))).as_deref(), Some("theirs"));
}

#[test]
fn a_key_opens_the_routes_in_its_own_field_and_as_a_bearer_and_never_beside_another() {
    let house = House::open();
    let session = house.session("hershel");
    let (key, id) = house.key(&session);
    assert_eq!(house.get("/v1/me/x", &field(&key)), 200);
    assert_eq!(house.get("/v1/me/x", &bearer(&key)), 200);
    assert_eq!(house.get("/v1/me/x", &format!("Authorization: Basic x\r\n{}", field(&key))), 200);
    for fields in [
        bearer(&key) + &field(&key),
        bearer(&session) + &field(&key),
        field(&key) + &field(&key),
        bearer(&key) + &bearer(&key),
    ] {
        assert_eq!(house.get("/v1/me/x", &fields), 400, "{fields}");
    }
    for fields in [
        String::new(),
        field(""),
        field("x"),
        field(&session),
        field(&format!("rst_{}", "0".repeat(39))),
    ] {
        assert_eq!(house.get("/v1/me/x", &fields), 401, "{fields}");
    }
    // A key of another token API does not come in this field, also where the route accepts both.
    let other = house.platform.foreign_key();
    assert_eq!(
        (house.get("/mixed/x", &bearer(&other)), house.get("/mixed/x", &field(&other))),
        (200, 401)
    );
    assert_eq!(house.get("/mixed/x", &field(&key)), 200);
    assert_eq!(house.get("/people/x", &field(&key)), 401, "that route does not read it");
    // Revoked, it opens nothing at once, in either way.
    let gone = house.platform.call("DELETE", &format!("/v1/auth/api-keys/{id}"), &session, "");
    assert_eq!(gone.status, 204, "{gone}");
    assert_eq!(
        (house.get("/v1/me/x", &field(&key)), house.get("/v1/me/x", &bearer(&key))),
        (401, 401)
    );
}

#[test]
fn the_upstream_sees_neither_form_of_the_credential_unless_the_route_says_so() {
    let house = House::open();
    let (key, _) = house.key(&house.session("hershel"));
    let upstream = &house.platform.upstream;
    let seen = |target: &str| {
        upstream.take();
        assert_eq!(house.get(target, &field(&key)), 200);
        upstream.take().requests.pop().expect("it was forwarded")
    };
    let request = seen("/v1/me/x");
    assert!(!request.fields.has("x-api-key") && !request.fields.has("authorization"));
    assert_eq!(request.fields.one("x-keyward-username").as_deref(), Some("hershel"));
    assert_eq!(request.fields.one("x-keyward-credential").as_deref(), Some("accounts"));
    assert_eq!(seen("/kept/x").fields.one("x-api-key").as_deref(), Some(key.as_str()));
}

#[test]
fn keys_do_not_manage_keys_and_sessions_open_no_routes() {
    let house = House::open();
    let session = house.session("hershel");
    let (key, _) = house.key(&session);
    for token in [key.as_str(), &house.platform.alice(), &house.platform.foreign_key(), "x"] {
        for method in ["GET", "POST"] {
            let body = if method == "POST" { r#"{"name":"a"}"# } else { "" };
            answered(&house.platform.call(method, "/v1/auth/api-keys", token, body), 401);
        }
    }
    answered(&house.platform.world.ask("GET", "/v1/auth/api-keys", &field(&key), ""), 401);
    assert_eq!(house.get("/v1/me/x", &bearer(&session)), 403);
    assert_eq!(house.platform.call("GET", "/api/v1/active/tokens/", &session, "").status, 401);
}

#[test]
fn a_password_is_the_same_in_every_form_in_which_it_is_typed() {
    let house = House::open();
    let register = |username: &str, password: &str| {
        let body = json!({
            "username": username, "email": format!("{username}@example.com"), "password": password,
            "full_name": "A Person",
        });
        house.post("/v1/auth/register", "", &body.to_string())
    };
    let login = |username: &str, password: &str| {
        let body = json!({ "username": username, "password": password }).to_string();
        house.post("/v1/auth/login", "", &body).status
    };
    let forms = ["cr\u{e8}me\u{a0}br\u{fb}l\u{e9}e", "cre\u{300}me bru\u{302}le\u{301}e"];
    for (username, chosen, other) in
        [("composed", forms[0], forms[1]), ("decomposed", forms[1], forms[0])]
    {
        answered(&register(username, chosen), 200);
        assert_eq!([login(username, chosen), login(username, other)], [200, 200], "{username}");
        assert_eq!(login(username, "creme brulee"), 401, "{username}");
    }
    // Counted in the form that is hashed.
    assert_eq!(register("short", &"e\u{301}".repeat(7)).status, 422);
    assert_eq!(register("longest", &"e\u{301}".repeat(128)).status, 200);
    assert_eq!(login("longest", &"\u{e9}".repeat(128)), 200);
    assert_eq!(register("toolong", &"\u{e9}".repeat(129)).status, 422);
    for wrong in ["tab\tulated", "null\0byte", "line\nbreak", "delete\u{7f}d", "next\u{85}line"] {
        let refused = register("control", wrong);
        assert_eq!(refused.status, 422, "{wrong:?}");
        assert!(refused.text().contains("control characters"), "{refused}");
    }
    assert_eq!(login("composed", "tab\tulated"), 401);
}

#[test]
fn a_login_of_ours_is_good_for_agent_tokens_whose_owner_is_nobody_elses_namesake() {
    let house = House::open();
    let session = house.session("hershel");
    let me = "/api/agent-tokens/me";
    let made = answered(&house.platform.call("POST", me, &session, ""), 200);
    let token = made["token"].as_str().expect("a token").to_owned();
    assert_eq!(house.get("/agents/x", &bearer(&token)), 200);
    // The same subject at the site's login is another person.
    let seen = house.platform.seen("/agents/x", &token);
    let subject = seen.fields.one("x-keyward-subject").expect("a subject");
    let namesake = house.platform.login.access(&subject, json!({}));
    assert_eq!(answered(&house.platform.call("GET", me, &namesake, ""), 200)["has_token"], false);
    assert_eq!(house.platform.call("DELETE", me, &namesake, "").status, 204);
    assert_eq!(house.get("/agents/x", &bearer(&token)), 200);
    let (key, _) = house.key(&session);
    assert_eq!(house.platform.call("POST", me, &key, "").status, 401, "an API key is no login");
    assert_eq!(house.platform.call("DELETE", me, &session, "").status, 204);
    assert_eq!(house.get("/agents/x", &bearer(&token)), 401);
}

#[test]
fn a_wrong_password_is_refused_and_too_many_are_slowed() {
    let house = House::open();
    house.session("hershel");
    let body = json!({ "username": "hershel", "password": "wrong password" }).to_string();
    let refused = house.post("/v1/auth/login", "", &body);
    answered(&refused, 401);
    let slowed = (0..10)
        .map(|_| house.post("/v1/auth/login", "", &body))
        .find(|answer| answer.status == 429);
    let slowed = slowed.expect("it is slowed");
    assert!(slowed.fields.has("retry-after"), "{slowed}");
}

/// Whoever fails from wherever: the owner's own address keeps its attempts, and a new one keeps
/// one.
#[test]
fn an_attacker_from_everywhere_cannot_lock_the_owner_out() {
    let house = House::open_with(|plan| {
        plan.listener("trusted_proxies = [\"127.0.0.0/8\"]")
            .set("logins", "failures", "2")
            .set("logins", "suspect_from", "4")
            .set("logins", "failures_of_strangers", "1")
    });
    house.session("hershel");
    let login = |from: &str, username: &str, password: &str| {
        let body = json!({ "username": username, "password": password }).to_string();
        house.post("/v1/auth/login", &format!("X-Forwarded-For: {from}\r\n"), &body)
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
    answered(&slowed, 429);
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
    // Nobody's account is told from somebody's by being slowed.
    let statuses = [0; 3].map(|_| login("203.0.113.9", "nobody", "a wrong one").status);
    assert_eq!(statuses, [401, 401, 429]);
}
