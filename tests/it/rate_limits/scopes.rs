//! What is counted together, and what several limits say of one request.

use serde_json::json;

use super::{passes, rates, slow, world};
use crate::support::{
    Client, Plan, TestIssuer, TestUser, Upstream, World, eventually, json as body_of,
};

const PROXIES: &str = "trusted_proxies = [\"127.0.0.0/8\"]";

fn from(world: &World, path: &str, address: &str, token: &str) -> u16 {
    let bearer =
        if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    world.ask("GET", path, &format!("X-Forwarded-For: {address}\r\n{bearer}"), "").status
}

#[test]
fn a_token_gets_exactly_its_burst_and_another_one_its_own() {
    let upstream = Upstream::start();
    let world = world(&upstream, &rates(&[slow("token", 5)]));
    let alice = world.key(TestUser::ALICE);
    let other = world.api(TestUser::ALICE).mint(&alice.token);
    // On many connections, so of both workers.
    assert_eq!(passes(20, || world.get_with("/limited/x", &alice.token)), 5);
    assert_eq!(passes(20, || world.get_with("/limited/x", &other.token)), 5);
    assert_eq!(world.status_with(&alice.token), 200, "another route has no such limit");
    assert_eq!(upstream.take().heads.len(), 11, "what is refused is not forwarded");
}

#[test]
fn requests_at_the_same_time_get_exactly_one_burst() {
    let upstream = Upstream::start();
    let world = world(&upstream, &rates(&[slow("token", 25)]));
    let token = world.key(TestUser::ALICE).token;
    let passed: usize = std::thread::scope(|scope| {
        let ask = || passes(20, || world.get_with("/limited/x", &token));
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().expect("answers")).sum()
    });
    assert_eq!(passed, 25);
}

#[test]
fn permits_come_back_one_by_one() {
    let upstream = Upstream::start();
    let world = world(&upstream, "rate_limits = [{ per = \"token\", rate = \"30/m\", burst = 1 }]");
    let token = world.key(TestUser::ALICE).token;
    let begun = std::time::Instant::now();
    let mut passed = 0_u32;
    assert!(eventually(|| {
        passed += u32::from(world.get_with("/limited/x", &token).status == 200);
        passed == 3
    }));
    let took = begun.elapsed().as_millis();
    assert!(took >= 3_900, "two of them came back, each after two seconds: {took} ms");
}

#[test]
fn all_tokens_of_a_holder_count_together_and_another_holder_alone() {
    let upstream = Upstream::start();
    let world = world(&upstream, &rates(&[slow("subject", 4)]));
    let alice = world.key(TestUser::ALICE);
    let other = world.api(TestUser::ALICE).mint(&alice.token);
    let bob = world.key(TestUser::BOB);
    assert_eq!(passes(3, || world.get_with("/limited/x", &alice.token)), 3);
    assert_eq!(passes(3, || world.get_with("/limited/x", &other.token)), 1);
    assert_eq!(passes(6, || world.get_with("/limited/x", &bob.token)), 4);
}

#[test]
fn all_holders_of_a_tenant_count_together() {
    let upstream = Upstream::start();
    let world = world(&upstream, &rates(&[slow("tenant", 4)]));
    let alice = world.key(TestUser::ALICE);
    let colleague = TestUser { subject: "auth0|carla", username: "carla", ..TestUser::ALICE };
    let carla = world.key(colleague);
    let stranger = TestUser {
        subject: "auth0|dora",
        username: "dora",
        organization: "elsewhere",
        ..TestUser::ALICE
    };
    let dora = world.key(stranger);
    assert_eq!(passes(3, || world.get_with("/limited/x", &alice.token)), 3);
    assert_eq!(passes(3, || world.get_with("/limited/x", &carla.token)), 1);
    assert_eq!(passes(6, || world.get_with("/limited/x", &dora.token)), 4);
}

#[test]
fn a_route_counts_everything_that_is_permitted_and_nothing_else() {
    let upstream = Upstream::start();
    let world = world(&upstream, &rates(&[slow("route", 4)]));
    let (alice, bob) = (world.key(TestUser::ALICE), world.key(TestUser::BOB));
    for _ in 0..10 {
        assert_eq!(world.get_with("/limited/x", "a.b.c").status, 401);
        assert_eq!(world.ask("GET", "/limited/x", "", "").status, 401);
    }
    assert_eq!(passes(3, || world.get_with("/limited/x", &alice.token)), 3);
    assert_eq!(passes(3, || world.get_with("/limited/y", &bob.token)), 1);
}

#[test]
fn an_address_is_that_of_the_client_and_of_ipv6_its_network() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .listener(PROXIES)
        .route(&format!(
            "path = \"/open/{{*rest}}\"\nupstream = \"app\"\npublic = true\n{}",
            rates(&[slow("address", 2)])
        ))
        .start();
    let ask = |address: &str| from(&world, "/open/x", address, "");
    for address in ["203.0.113.1", "203.0.113.2"] {
        assert_eq!([ask(address), ask(address), ask(address)], [200, 200, 429], "{address}");
    }
    let one_network = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:0:9::3"];
    assert_eq!(one_network.map(ask), [200, 200, 429]);
    assert_eq!(ask("2001:db8:0:1::1"), 200);
    // The proxy itself, as its own client.
    let statuses = [(); 3].map(|()| world.ask("GET", "/open/x", "", "").status);
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn guessing_is_bounded_by_address_before_the_credential_is_looked_at() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .listener(PROXIES)
        .route(&format!(
            "path = \"/limited/{{*rest}}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n{}",
            rates(&[slow("address", 3)])
        ))
        .start();
    let token = world.key(TestUser::ALICE).token;
    let ask = |token: &str| from(&world, "/limited/x", "203.0.113.1", token);
    assert_eq!([ask("a.b.c"), ask(""), ask("d.e.f")], [401; 3]);
    assert_eq!([ask("g.h.i"), ask(""), ask(&token)], [429; 3], "whatever the credential");
    assert_eq!(from(&world, "/limited/x", "203.0.113.2", &token), 200);
    assert!(eventually(|| world.metric("keyward_rate_limited_total", "\"address\"") == 3.0));
}

#[test]
fn all_limits_hold_and_the_one_that_refuses_uses_up_nothing_of_the_others() {
    let upstream = Upstream::start();
    let world = world(&upstream, &rates(&[slow("route", 6), slow("token", 2), slow("subject", 5)]));
    let alice = world.key(TestUser::ALICE);
    let other = world.api(TestUser::ALICE).mint(&alice.token);
    let bob = world.key(TestUser::BOB);
    // The token refuses, again and again.
    assert_eq!(passes(20, || world.get_with("/limited/x", &alice.token)), 2);
    assert_eq!(passes(20, || world.get_with("/limited/x", &other.token)), 2);
    // So the holder and the route have counted four.
    let third = world.api(TestUser::ALICE).mint(&alice.token);
    assert_eq!(passes(20, || world.get_with("/limited/x", &third.token)), 1, "the holder");
    assert_eq!(passes(20, || world.get_with("/limited/x", &bob.token)), 1, "the route");
}

#[test]
fn the_limits_of_a_token_api_hold_on_all_routes_and_for_its_calls_together() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .in_every("token_api", &rates(&[slow("token", 5)]))
        .route("path = \"/more/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]")
        .start();
    let alice = world.key(TestUser::ALICE);
    assert_eq!(world.get_with("/private/x", &alice.token).status, 200);
    assert_eq!(world.get_with("/more/x", &alice.token).status, 200);
    let api = world.api(TestUser::ALICE);
    assert_eq!(api.list(&alice.token).status, 200);
    let other = api.mint(&alice.token);
    assert_eq!(world.get_with("/more/x", &alice.token).status, 200);
    assert_eq!(world.get_with("/private/x", &alice.token).status, 429);
    assert_eq!(api.list(&alice.token).status, 429);
    assert_eq!(world.get_with("/more/x", &other.token).status, 200, "another token is good");
    assert_eq!(api.revoke_all(&alice.token).status, 200, "a revocation is not put off");
    assert_eq!(world.get_with("/more/x", &other.token).status, 401);
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
}

#[test]
fn a_connection_that_is_kept_counts_each_of_its_requests() {
    let upstream = Upstream::start();
    let world = world(&upstream, &rates(&[slow("token", 3)]));
    let token = world.key(TestUser::ALICE).token;
    let mut client: Client = world.client();
    let request = format!(
        "GET /limited/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let statuses: Vec<_> = (0..5).map(|_| client.ask(&request).status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429], "and goes on after a refusal");
}

#[test]
fn a_holder_is_the_same_with_a_jwt_and_with_the_keys_made_with_it_and_a_tenant_is_that_of_the_path()
{
    let (upstream, issuer) = (Upstream::start(), TestIssuer::open());
    let accepting = |path: &str, scope: &str, burst| {
        format!(
            "path = {path:?}\nupstream = \"app\"\naccept = [\"platform\", \"keycloak\"]\n{}",
            rates(&[slow(scope, burst)])
        )
    };
    let world = Plan::usual(&upstream)
        .table("issuer", &issuer.table("keycloak"))
        .table(
            "token_api",
            "name = \"platform\"\nstyle = \"tenant-tokens\"\nmount = \"/api/v1\"\n\
             issuer = \"keycloak\"",
        )
        .route(&accepting("/people/{*rest}", "subject", 3))
        .route(&accepting("/seen/{tenant_id}/{*rest}", "tenant", 2))
        .start();
    let tenants = json!({ "tenants": ["acme", "globex"], "active_tenant": "acme" });
    let jwt = issuer.access("alice", tenants);
    let made = world.ask(
        "POST",
        "/api/v1/acme/tokens/",
        &format!("Authorization: Bearer {jwt}\r\nContent-Type: application/json\r\n"),
        r#"{ "name": "key", "expiry_date": "2099-12-31T23:59:59Z" }"#,
    );
    assert_eq!(made.status, 201, "{made}");
    let key = body_of(&made)["token"].as_str().expect("a token").to_owned();
    let bob = issuer.access("bob", json!({ "tenants": ["acme"] }));
    assert_eq!(passes(2, || world.get_with("/people/x", &jwt)), 2);
    assert_eq!(passes(3, || world.get_with("/people/x", &key)), 1);
    assert_eq!(passes(4, || world.get_with("/people/x", &bob)), 3);
    // By whichever name it is called, and whoever of it calls.
    assert_eq!(world.get_with("/seen/active/x", &jwt).status, 200);
    assert_eq!(world.get_with("/seen/acme/x", &bob).status, 200);
    assert_eq!(world.get_with("/seen/acme/x", &key).status, 429);
    assert_eq!(passes(3, || world.get_with("/seen/globex/x", &jwt)), 2);
}
