//! The life of a credential through all four faces and over both stores, and the wrong kind of
//! credential at every door.

use std::sync::Barrier;

use serde_json::{Value, json};

use super::accounts::{House, bearer, field};
use super::platform::{Platform, answered};
use crate::support::redis::RedisServer;
use crate::support::{Client, Person, Plan, Request, World, json as body_of};

/// A keyward with all four faces, and its store.
struct Site {
    // In this order: keyward ends before its store.
    house: House,
    redis: Option<RedisServer>,
}

const TENANT_KEY: &str = r#"{ "name": "my-api-token", "expiry_date": "2099-12-31T23:59:59Z" }"#;
const ME: &str = "/api/agent-tokens/me";
const GET_OR_CREATE: &str = "/api/agent-tokens/me/get-or-create";

impl Site {
    fn embedded() -> Self {
        Self { house: House::open_with(Self::crowded), redis: None }
    }

    /// Everybody comes from one address here, and all at once.
    fn crowded(plan: Plan) -> Plan {
        plan.set("logins", "registrations_per_address", "1000").set(
            "logins",
            "hashing_threads",
            "4",
        )
    }

    /// As crowded, with a lease that outlives a machine's pauses: no time is judged here.
    fn fleet(plan: Plan, redis: &RedisServer) -> Plan {
        Self::crowded(plan).redis(&redis.url()).set("store", "coherence_lease", "\"10s\"")
    }

    fn redis() -> Self {
        let redis = RedisServer::start();
        let house = House::open_with(|plan| Self::fleet(plan, &redis));
        Self { house, redis: Some(redis) }
    }

    fn platform(&self) -> &Platform {
        &self.house.platform
    }

    /// A key for a tenant of Alice, and its id.
    fn tenant_key(&self, tenant: &str) -> (String, String) {
        let platform = self.platform();
        let target = format!("/api/v1/{tenant}/tokens/");
        let made = answered(&platform.call("POST", &target, &platform.alice(), TENANT_KEY), 201);
        (text(&made, "token"), text(&made, "id"))
    }

    /// A key for Alice's agents.
    fn agent_key(&self) -> String {
        text(
            &answered(&self.platform().call("POST", ME, &self.platform().alice(), ""), 200),
            "token",
        )
    }
}

fn text(body: &Value, member: &str) -> String {
    body[member].as_str().unwrap_or_else(|| panic!("no {member} in {body}")).to_owned()
}

#[track_caller]
fn names(seen: &Request, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(seen.fields.all(&format!("x-keyward-{name}")), [*value], "{name}");
    }
    assert!(
        !seen.fields.has("authorization") && !seen.fields.has("x-api-key"),
        "the credential stays here"
    );
}

/// Makes each case a test over each store.
macro_rules! over_both_stores {
    ($($case:ident;)+) => {
        mod embedded {
            $(#[test] fn $case() { super::$case(&super::Site::embedded()); })+
        }
        mod redis {
            $(#[test] fn $case() { super::$case(&super::Site::redis()); })+
        }
    };
}

over_both_stores! {
    allowlist_jwt_from_creation_to_revocation;
    tenant_tokens_from_creation_to_revocation;
    agent_tokens_from_creation_to_revocation;
    accounts_from_creation_to_revocation;
    the_wrong_kind_of_credential_is_refused_at_every_door;
    a_token_of_one_tenant_is_refused_at_another;
    a_slash_at_the_end_of_a_call_changes_nothing;
    people_and_their_keys_are_refused_at_every_other_door;
    nothing_that_opens_anything_is_at_rest;
    no_password_login_or_key_of_a_person_is_at_rest;
    a_mac_key_is_rotated_and_its_tokens_live_until_it_is_removed;
    a_pepper_is_rotated_and_its_tokens_live_until_it_is_removed;
    of_a_hundred_registrations_of_one_name_one_wins;
    of_a_hundred_registrations_with_one_email_one_wins;
}

fn allowlist_jwt_from_creation_to_revocation(site: &Site) {
    let platform = site.platform();
    let api = platform.world.api(Person::ALICE);
    let first = platform.world.key(Person::ALICE);
    let made = body_of(&api.issue(&first.token, r#"{"name":"laptop","expires_in_minutes":5}"#));
    let (token, id) = (text(&made["data"], "token"), text(&made["data"], "jti"));
    assert_eq!(api.jtis(&first.token), [first.jti.clone(), id.clone()]);
    let listed = body_of(&api.list(&token))["data"]["tokens"][1].clone();
    assert_eq!(
        (&listed["name"], &listed["expires_at"]),
        (&json!("laptop"), &made["data"]["expires_at"])
    );
    let seen = platform.seen("/private/x", &token);
    let of_alice =
        [("subject", Person::ALICE.subject), ("username", "alice"), ("organization", "my-org")];
    names(&seen, &of_alice);
    names(&seen, &[("role", "user"), ("credential", "jarvispy"), ("token-id", &id)]);
    let gone = body_of(&api.revoke_by_jti(&first.token, &id));
    assert_eq!(gone["data"]["status"], "revoked");
    assert_eq!(platform.status("/private/x", &token), 401, "at once");
    assert_eq!(api.list(&token).status, 401);
    assert_eq!(api.jtis(&first.token), std::slice::from_ref(&first.jti));
    assert_eq!(body_of(&api.revoke_by_jti(&first.token, &id))["data"]["status"], "not_found");
    assert_eq!(api.revoke_all(&first.token).status, 200);
    assert_eq!(platform.status("/private/x", &first.token), 401);
}

fn tenant_tokens_from_creation_to_revocation(site: &Site) {
    let (platform, alice) = (site.platform(), site.platform().alice());
    let (token, id) = site.tenant_key("globex");
    let list = || answered(&platform.call("GET", "/api/v1/globex/tokens/", &alice, ""), 200);
    assert_eq!(
        list(),
        json!([{ "id": id, "name": "my-api-token", "expiry_date": "2099-12-31T23:59:59Z" }])
    );
    let seen = platform.seen("/api/v1/active/x", &token);
    assert_eq!(seen.target, "/api/v1/globex/x");
    names(
        &seen,
        &[
            ("subject", "alice"),
            ("organization", "globex"),
            ("credential", "platform"),
            ("token-id", &id),
        ],
    );
    let path = format!("/api/v1/globex/tokens/{id}");
    assert_eq!(platform.call("DELETE", &path, &alice, "").status, 204);
    assert_eq!(platform.status("/api/v1/globex/x", &token), 401, "at once");
    assert_eq!(list(), json!([]));
    assert_eq!(platform.call("DELETE", &path, &alice, "").status, 404);
}

fn agent_tokens_from_creation_to_revocation(site: &Site) {
    let (platform, alice) = (site.platform(), site.platform().alice());
    let shown = || answered(&platform.call("GET", ME, &alice, ""), 200);
    assert_eq!(shown(), json!({ "has_token": false, "token_prefix": null }));
    let made = answered(&platform.call("POST", GET_OR_CREATE, &alice, ""), 200);
    let first = text(&made, "token");
    assert_eq!(
        (&made["is_new"], &shown()["token_prefix"]),
        (&json!(true), &json!(format!("{}...", &first[..15])))
    );
    names(
        &platform.seen("/agents/x", &first),
        &[("subject", "alice"), ("email", "alice@example.com")],
    );
    names(
        &platform.seen("/agents/x", &first),
        &[("credential", "agents"), ("organization", "acme")],
    );
    let again = answered(&platform.call("POST", GET_OR_CREATE, &alice, ""), 200);
    assert_eq!((&again["is_new"], &again["token"]), (&json!(false), &json!(null)));
    let second = site.agent_key();
    assert_eq!(
        (platform.status("/agents/x", &first), platform.status("/agents/x", &second)),
        (401, 200),
        "rotated"
    );
    assert_eq!(shown()["token_prefix"], json!(format!("{}...", &second[..15])));
    assert_eq!(platform.call("DELETE", ME, &alice, "").status, 204);
    assert_eq!(platform.status("/agents/x", &second), 401, "at once");
    assert_eq!(shown(), json!({ "has_token": false, "token_prefix": null }));
}

fn accounts_from_creation_to_revocation(site: &Site) {
    let (house, platform) = (&site.house, site.platform());
    let session = house.session("hershel");
    let (key, id) = house.key(&session);
    let list = || answered(&platform.call("GET", "/v1/auth/api-keys", &session, ""), 200);
    let (listed, rows) = (list(), list().as_array().map_or(0, Vec::len));
    assert_eq!((rows, &listed[0]["id"], &listed[0]["is_active"]), (1, &json!(id), &json!(true)));
    platform.upstream.take();
    assert_eq!(house.get("/v1/me/x", &field(&key)), 200);
    let seen = platform.upstream.take().requests.pop().expect("it was forwarded");
    names(&seen, &[("username", "hershel"), ("credential", "accounts"), ("token-id", &id)]);
    names(&seen, &[("email", "hershel@example.com")]);
    let path = format!("/v1/auth/api-keys/{id}");
    for _ in 0..2 {
        assert_eq!(platform.call("DELETE", &path, &session, "").status, 204);
        assert_eq!(
            (house.get("/v1/me/x", &field(&key)), house.get("/v1/me/x", &bearer(&key))),
            (401, 401),
            "at once"
        );
        assert_eq!(list()[0]["is_active"], false, "it stays listed");
    }
    // Shutting the person out ends what is left.
    let (other, _) = house.key(&session);
    let disabled = platform.world.run(&["user", "disable", "hershel"]);
    assert!(disabled.status.success(), "{}", String::from_utf8_lossy(&disabled.stderr));
    assert_eq!(house.get("/v1/me/x", &field(&other)), 401);
    assert_eq!(platform.call("GET", "/v1/auth/api-keys", &session, "").status, 401);
}

/// One credential of each kind, in the order of the table.
fn credentials(site: &Site) -> Vec<(&'static str, String)> {
    let platform = site.platform();
    let bootstrap = platform.world.bootstrap(Person::ALICE, 2);
    vec![
        ("a key of allowlist-jwt", platform.world.key(Person::ALICE).token),
        ("a bootstrap token", bootstrap),
        ("a key of tenant-tokens", site.tenant_key("acme").0),
        ("a key of agent-tokens", site.agent_key()),
        ("an access token", platform.alice()),
        ("an ID token", platform.login.identity("alice")),
    ]
}

fn the_wrong_kind_of_credential_is_refused_at_every_door(site: &Site) {
    let platform = site.platform();
    let keys = platform.world.api(Person::ALICE).path("/auth/tokens");
    //                                          allowlist bootstrap tenant agent access ID
    let doors = [
        (("GET", keys.as_str(), ""), [200, 200, 401, 401, 401, 401]),
        (("GET", "/api/v1/active/tokens/", ""), [401, 401, 200, 401, 200, 401]),
        (("POST", "/api/v1/acme/tokens/", TENANT_KEY), [401, 401, 201, 401, 201, 401]),
        (("GET", ME, ""), [401, 401, 401, 401, 200, 401]),
        (("POST", GET_OR_CREATE, ""), [401, 401, 401, 401, 200, 401]),
        (
            ("DELETE", "/api/v1/acme/tokens/00000000-0000-4000-8000-000000000000", ""),
            [401, 401, 404, 401, 404, 401],
        ),
        (("GET", "/private/x", ""), [200, 403, 401, 401, 401, 401]),
        (("GET", "/api/v1/acme/x", ""), [401, 403, 200, 401, 200, 401]),
        (("GET", "/agents/x", ""), [401, 403, 401, 200, 401, 401]),
        (("GET", "/people/x", ""), [401, 403, 401, 401, 200, 401]),
        // Last, for the access token rotates and revokes the agent's key.
        (("POST", ME, ""), [401, 401, 401, 401, 200, 401]),
        (("DELETE", ME, ""), [401, 401, 401, 401, 204, 401]),
    ];
    let credentials = credentials(site);
    let mut wrong = Vec::new();
    for ((method, target, body), expected) in doors {
        for ((kind, token), expected) in credentials.iter().zip(expected) {
            let found = platform.call(method, target, token, body).status;
            if found != expected {
                wrong.push(format!("{kind} at {method} {target}: {found}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn a_token_of_one_tenant_is_refused_at_another(site: &Site) {
    let platform = site.platform();
    let (acme, _) = site.tenant_key("acme");
    let (globex, id) = site.tenant_key("globex");
    for tenant in ["globex", "initech", "ACME"] {
        assert_eq!(platform.status(&format!("/api/v1/{tenant}/x"), &acme), 403, "{tenant}");
        assert_eq!(platform.status(&format!("/api/v1/{tenant}/tokens/"), &acme), 403, "{tenant}");
    }
    assert_eq!(
        platform.call("DELETE", &format!("/api/v1/globex/tokens/{id}"), &acme, "").status,
        403
    );
    assert_eq!(platform.status("/api/v1/globex/x", &globex), 200);
    assert_eq!(platform.status("/api/v1/acme/x", &platform.bob()), 403);
}

/// A call that went past us to an upstream, which says yes to it, would seem to have revoked.
fn a_slash_at_the_end_of_a_call_changes_nothing(site: &Site) {
    let (house, platform) = (&site.house, site.platform());
    let (api, alice) = (platform.world.api(Person::ALICE), platform.alice());
    let (first, second) = (platform.world.key(Person::ALICE), platform.world.key(Person::ALICE));
    let agent = site.agent_key();
    let (session, (tenant, id)) = (house.session("hershel"), site.tenant_key("acme"));
    let (key, key_id) = house.key(&session);
    platform.upstream.take();
    let call = |method, target: &str, token: &str| {
        platform.call(method, &format!("{target}/"), token, "").status
    };
    assert_eq!(call("GET", &api.path("/auth/tokens"), &first.token), 200);
    assert_eq!(call("POST", &api.path("/auth/issue-token"), &first.token), 200);
    assert_eq!(call("POST", &api.path(&format!("/auth/revoke/{}", second.jti)), &first.token), 200);
    assert_eq!(call("POST", &api.path("/auth/revoke"), &first.token), 200);
    assert_eq!((call("GET", ME, &alice), call("DELETE", ME, &alice)), (200, 204));
    assert_eq!(call("POST", GET_OR_CREATE, &alice), 200);
    assert_eq!(call("DELETE", &format!("/api/v1/acme/tokens/{id}"), &alice), 204);
    assert_eq!(call("DELETE", &format!("/v1/auth/api-keys/{key_id}"), &session), 204);
    assert!(platform.upstream.take().requests.is_empty(), "none of it was forwarded");
    for (target, token) in [
        ("/private/x", &first.token),
        ("/private/x", &second.token),
        ("/agents/x", &agent),
        ("/api/v1/acme/x", &tenant),
        ("/v1/me/x", &key),
    ] {
        assert_eq!(platform.status(target, token), 401, "{target}");
    }
}

fn people_and_their_keys_are_refused_at_every_other_door(site: &Site) {
    let (house, platform) = (&site.house, site.platform());
    let session = house.session("hershel");
    let (key, id) = house.key(&session);
    let keys = platform.world.api(Person::ALICE).path("/auth/tokens");
    for target in [
        keys.as_str(),
        "/api/v1/active/tokens/",
        "/private/x",
        "/api/v1/acme/x",
        "/agents/x",
        "/people/x",
    ] {
        // A login is known everywhere, and opens no route.
        let is_call = target.contains("tokens");
        assert_eq!(
            house.get(target, &bearer(&session)),
            if is_call { 401 } else { 403 },
            "a login at {target}"
        );
        assert_eq!(house.get(target, &bearer(&key)), 401, "a key at {target}");
        assert_eq!(house.get(target, &field(&key)), 401, "a key in its field at {target}");
    }
    assert_eq!(house.get("/v1/me/x", &bearer(&session)), 403, "a login opens no route");
    assert_eq!((house.get(ME, &bearer(&session)), house.get(ME, &bearer(&key))), (200, 401));
    for fields in [bearer(&key), field(&key), field(&session)] {
        assert_eq!(house.get("/v1/auth/api-keys", &fields), 401, "{fields}");
        assert_eq!(
            house.post("/v1/auth/api-keys", &fields, r#"{"name":"a"}"#).status,
            401,
            "{fields}"
        );
        let target = format!("/v1/auth/api-keys/{id}");
        assert_eq!(platform.world.ask("DELETE", &target, &fields, "").status, 401, "{fields}");
    }
    assert_eq!(house.get("/v1/me/x", &field(&key)), 200, "nothing has happened to it");
    for (kind, token) in credentials(site) {
        let on_a_route = if kind == "a bootstrap token" { 403 } else { 401 };
        assert_eq!(house.get("/v1/auth/api-keys", &bearer(&token)), 401, "{kind}");
        assert_eq!(house.get("/v1/me/x", &bearer(&token)), on_a_route, "{kind}");
        assert_eq!(house.get("/v1/me/x", &field(&token)), 401, "{kind}");
    }
}

/// Nothing of these is in any file of keyward (but its keys), nor in Redis, its files included.
#[track_caller]
fn at_rest(site: &Site, secrets: &[String]) {
    fn files(folder: &std::path::Path, visit: &mut dyn FnMut(String, Vec<u8>)) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("a file has a type"));
            if kind.is_dir() && !path.ends_with("keys") {
                files(&path, visit);
            } else if kind.is_file() {
                visit(
                    path.display().to_string(),
                    std::fs::read(&path).expect("a file can be read"),
                );
            }
        }
    }
    let mut places = Vec::new();
    files(site.platform().world.folder(), &mut |path, bytes| places.push((path, bytes)));
    if let Some(redis) = &site.redis {
        files(redis.directory(), &mut |path, bytes| places.push((path, bytes)));
        let everything = redis.everything();
        assert!(everything.len() > 1000, "it holds something");
        places.push(("Redis".into(), everything));
    } else {
        assert!(
            places.iter().any(|(path, bytes)| path.ends_with("keyward.db") && bytes.len() > 4096)
        );
    }
    for secret in secrets {
        // The whole, and each part that would be of use: what is random, a signature, a payload.
        let parts = secret.split(['.', '_', '-', ' ']).filter(|part| part.len() >= 16);
        for part in parts.chain([secret.as_str()]) {
            let half = &part[part.len() / 2..];
            for word in [part, if half.len() >= 16 { half } else { part }] {
                for (place, bytes) in &places {
                    let is_there =
                        bytes.windows(word.len()).any(|window| window == word.as_bytes());
                    assert!(!is_there, "{place} holds {word} of {secret}");
                }
            }
        }
    }
}

fn nothing_that_opens_anything_is_at_rest(site: &Site) {
    let platform = site.platform();
    let (alice, bootstrap) =
        (platform.world.key(Person::ALICE), platform.world.bootstrap(Person::ALICE, 2));
    let (tenant, id) = site.tenant_key("acme");
    let revoked = site.tenant_key("globex");
    let agent = site.agent_key();
    let renewed = site.agent_key();
    let outside = [platform.alice(), platform.bob(), platform.login.identity("alice")];
    let secrets =
        [[alice.token, bootstrap, tenant, revoked.0, agent, renewed].as_slice(), &outside].concat();
    for token in &secrets {
        for target in ["/private/x", "/agents/x", "/api/v1/active/x", "/people/x"] {
            platform.call("GET", target, token, "");
        }
    }
    let gone = platform.call(
        "DELETE",
        &format!("/api/v1/globex/tokens/{}", revoked.1),
        &platform.alice(),
        "",
    );
    assert_eq!((gone.status, id.len()), (204, 36));
    at_rest(site, &secrets);
}

fn no_password_login_or_key_of_a_person_is_at_rest(site: &Site) {
    let (house, platform) = (&site.house, site.platform());
    let session = house.session("hershel");
    let (key, id) = house.key(&session);
    let (revoked, _) = house.key(&session);
    let body = json!({ "username": "hershel", "password": "a password that is wrong" }).to_string();
    assert_eq!(house.post("/v1/auth/login", "", &body).status, 401);
    for fields in [bearer(&session), bearer(&key), field(&revoked)] {
        house.get("/v1/me/x", &fields);
    }
    assert_eq!(
        platform.call("DELETE", &format!("/v1/auth/api-keys/{id}"), &session, "").status,
        204
    );
    let passwords = ["correct horse", "a password that is wrong"].map(str::to_owned);
    at_rest(site, &[session, key, revoked].into_iter().chain(passwords).collect::<Vec<_>>());
}

/// DESIGN, section 3: a current key and retired ones that still verify. `first`: the file of the
/// one that was made at the start.
fn rotate_and_retire(site: &Site, first: &str, next: &str) {
    let (house, platform, world) = (&site.house, site.platform(), &site.platform().world);
    let keys = world.keys();
    let session = house.session("hershel");
    // One of each format, each with a route that it opens. The agent's key is renewed by the next
    // call.
    let make = |agent: String| {
        [
            (site.tenant_key("acme").0, "/api/v1/acme/x"),
            (agent, "/agents/x"),
            (house.key(&session).0, "/v1/me/x"),
        ]
    };
    let statuses = |tokens: &[(String, &str)]| {
        tokens.iter().map(|(token, route)| house.get(route, &bearer(token))).collect::<Vec<_>>()
    };
    let old = make(site.agent_key());
    let (victim, id) = site.tenant_key("acme");
    let jwts = [world.key(Person::ALICE).token, world.key(Person::ALICE).token];
    let jwt_statuses =
        || jwts.iter().map(|token| platform.status("/private/x", token)).collect::<Vec<_>>();
    assert_eq!((statuses(&old), jwt_statuses()), (vec![200; 3], vec![200; 2]));

    world.add_key(next);
    world.reload();
    for _ in 0..2 {
        assert_eq!(
            (statuses(&old), jwt_statuses()),
            (vec![200; 3], vec![200; 2]),
            "the retired key still verifies"
        );
    }
    assert_eq!(house.get(ME, &bearer(&session)), 200, "and so it does for a login");
    // Bob's: Alice's own has to stay.
    let new = make(text(&answered(&platform.call("POST", ME, &platform.bob(), ""), 200), "token"));
    assert_eq!(statuses(&new), [200; 3]);
    assert_eq!(platform.status("/api/v1/acme/x", &victim), 200);
    let path = format!("/api/v1/acme/tokens/{id}");
    assert_eq!(platform.call("DELETE", &path, &platform.alice(), "").status, 204);
    assert_eq!(
        platform.status("/api/v1/acme/x", &victim),
        401,
        "what an old key has made is revoked like any other"
    );
    assert_eq!(world.api(Person::ALICE).revoke(&jwts[1]).status, 200);
    assert_eq!(jwt_statuses(), [200, 401]);

    // On a connection that has used them before, too.
    let mut open = world.client();
    let (token, route) = &old[0];
    let on_it = |open: &mut Client| {
        open.ask(format!(
            "GET {route} HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
        .status
    };
    assert_eq!(on_it(&mut open), 200);
    std::fs::rename(keys.join(first), world.folder().join("away")).expect("moved");
    world.reload();
    assert_eq!(
        (statuses(&old), on_it(&mut open)),
        (vec![401; 3], 401),
        "a key that is removed ends its tokens"
    );
    assert_eq!(statuses(&new), [200; 3], "which were made with the new one");
    assert_eq!(platform.status("/api/v1/acme/x", &victim), 401);
    // Their records are there, so nothing but the key was missing.
    std::fs::rename(world.folder().join("away"), keys.join(first)).expect("moved back");
    world.reload();
    assert_eq!(
        (statuses(&old), statuses(&new), on_it(&mut open)),
        (vec![200; 3], vec![200; 3], 200)
    );
    assert_eq!((platform.status("/api/v1/acme/x", &victim), jwt_statuses()), (401, vec![200, 401]));
}

fn a_mac_key_is_rotated_and_its_tokens_live_until_it_is_removed(site: &Site) {
    rotate_and_retire(site, "mac-1.key", "mac-20270625T100000Z.key");
}

fn a_pepper_is_rotated_and_its_tokens_live_until_it_is_removed(site: &Site) {
    rotate_and_retire(site, "pepper.key", "pepper-20270625T100000Z.key");
}

/// The statuses of so many calls at once.
fn at_once<T: Send>(count: usize, call: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(count);
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..count)
            .map(|number| {
                let (barrier, call) = (&barrier, &call);
                scope.spawn(move || {
                    barrier.wait();
                    call(number)
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().expect("a call")).collect()
    })
}

/// A hundred people who register at once, at these keywards in turn: one gets the account, the
/// others are told that it is taken.
#[track_caller]
fn one_of_a_hundred_wins(
    worlds: &[&World],
    person: impl Fn(usize) -> (String, String) + Sync,
    taken: &str,
) {
    let answers = at_once(100, |number| {
        let (username, email) = person(number);
        let body = json!({
            "username": username, "email": email, "password": "correct horse", "full_name": "A \
             Person",
        });
        let (world, body) = (worlds[number % worlds.len()], body.to_string());
        loop {
            let answer =
                world.ask("POST", "/v1/auth/register", "Content-Type: application/json\r\n", &body);
            // A password that waited too long on a busy machine was not tried.
            if answer.status != 503 {
                return (answer.status, body_of(&answer));
            }
        }
    });
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 200);
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(lost, vec![(409, json!({ "detail": taken })); 99]);
    let users = worlds[0].run(&["user", "list", "--json"]);
    let users: Value = serde_json::from_slice(&users.stdout).expect("JSON");
    assert_eq!(users.as_array().map(Vec::len), Some(1), "{users}");
    assert_eq!(users[0]["id"], won[0].1["id"]);
}

/// One spelling or another of one name.
fn of_one_name(number: usize) -> (String, String) {
    (
        if number % 4 < 2 { "hershel" } else { "Hershel" }.to_owned(),
        format!("h{number}@example.com"),
    )
}

fn of_one_address(number: usize) -> (String, String) {
    (
        format!("hershel{number}"),
        if number % 4 < 2 { "h@example.com" } else { "H@Example.com" }.to_owned(),
    )
}

fn of_a_hundred_registrations_of_one_name_one_wins(site: &Site) {
    one_of_a_hundred_wins(&[&site.platform().world], of_one_name, "Username already registered");
}

fn of_a_hundred_registrations_with_one_email_one_wins(site: &Site) {
    one_of_a_hundred_wins(&[&site.platform().world], of_one_address, "Email already registered");
}

/// Another instance of the same fleet.
fn sibling(platform: &Platform, redis: &RedisServer) -> World {
    let keys = format!("{:?}", platform.world.keys().display().to_string());
    let plan = House::furnish(Platform::plan(&platform.upstream, &platform.login));
    Site::fleet(plan, redis).set("keys", "directory", &keys).start()
}

#[test]
fn of_a_hundred_calls_on_two_instances_exactly_one_gets_the_agents_key() {
    let site = Site::redis();
    let (platform, redis) = (site.platform(), site.redis.as_ref().expect("Redis"));
    let other = sibling(platform, redis);
    let worlds = [&platform.world, &other];
    for round in 0..3 {
        let user = platform.login.access(&format!("user-{round}"), json!({}));
        let answers = at_once(100, |number| {
            let answer = worlds[number % 2].ask("POST", GET_OR_CREATE, &bearer(&user), "");
            answered(&answer, 200)
        });
        let new: Vec<_> = answers.iter().filter(|answer| answer["is_new"] == true).collect();
        assert_eq!(new.len(), 1, "{answers:?}");
        let token = text(new[0], "token");
        let prefixes =
            answers.iter().all(|answer| answer["token_prefix"] == new[0]["token_prefix"]);
        assert!(prefixes, "all are told of the same key: {answers:?}");
        let open = || worlds.map(|world| world.ask("GET", "/agents/x", &bearer(&token), "").status);
        assert_eq!(open(), [200, 200]);
        // Revoked at one, refused at both as soon as that is answered.
        assert_eq!(other.ask("DELETE", ME, &bearer(&user), "").status, 204);
        assert_eq!(open(), [401, 401]);
    }
}

#[test]
fn of_a_hundred_registrations_on_two_instances_one_wins() {
    for (person, taken) in [
        (of_one_name as fn(usize) -> (String, String), "Username already registered"),
        (of_one_address, "Email already registered"),
    ] {
        let site = Site::redis();
        let other = sibling(site.platform(), site.redis.as_ref().expect("Redis"));
        one_of_a_hundred_wins(&[&site.platform().world, &other], person, taken);
    }
}
