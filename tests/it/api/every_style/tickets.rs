//! Every style makes tickets, for its own keys alone; and whatever the store, one is redeemed once.

use super::over_both_stores;
use crate::api::worlds::{AGENT_KEY, AllStylesWorld, api_key_field, bearer, expect_json, members};
use crate::support::{TestUser, World, eventually};

over_both_stores! {
    each_style_makes_tickets_for_its_keys;
    no_other_credential_gets_a_ticket;
}

const EVENTS: &str = "Accept: text/event-stream\r\n";

fn status(world: &World, ticket: &str) -> u16 {
    world.ask("GET", &format!("/live/x?ticket={ticket}"), EVENTS, "").status
}

/// Where each style makes tickets, with the field of a key of it.
fn calls(world: &AllStylesWorld) -> Vec<(String, String)> {
    let session = world.session("hershel");
    let key = world.api_key(&session).0;
    vec![
        (world.keyward.api(TestUser::ALICE).path("/tickets"), bearer(&world.allowlist_jwt_key())),
        ("/api/v1/tickets".to_owned(), bearer(&world.tenant_key("acme").0)),
        ("/api/agent-tokens/tickets".to_owned(), bearer(&world.agent_key())),
        ("/v1/auth/tickets".to_owned(), bearer(&key)),
        ("/v1/auth/tickets".to_owned(), api_key_field(&key)),
    ]
}

fn made(world: &World, target: &str, fields: &str) -> String {
    let body = expect_json(&world.ask("POST", target, fields, ""), 201);
    assert_eq!(members(&body), ["ticket", "expires_in"]);
    assert_eq!(body["expires_in"], 30);
    body["ticket"].as_str().expect("a ticket").to_owned()
}

fn each_style_makes_tickets_for_its_keys(world: &AllStylesWorld) {
    for (target, fields) in calls(world) {
        let ticket = made(&world.keyward, &target, &fields);
        world.upstream.take();
        assert_eq!(status(&world.keyward, &ticket), 200, "{target}");
        let seen = world.upstream.take().requests.pop().expect("it was forwarded");
        let of_key = world.forwarded_with("/live/x", &fields);
        for name in ["subject", "organization", "username", "credential", "token-id"] {
            let name = format!("x-keyward-{name}");
            assert_eq!(seen.fields.all(&name), of_key.fields.all(&name), "{target}: {name}");
        }
        assert!(seen.fields.has("x-keyward-subject"));
        assert_eq!(status(&world.keyward, &ticket), 401, "{target}");
    }
}

fn no_other_credential_gets_a_ticket(world: &AllStylesWorld) {
    let calls = calls(world);
    let jarvispy = &calls[0].0;
    let (session, access) = (world.session("judith"), world.alice());
    let bootstrap = world.keyward.bootstrap(TestUser::ALICE, 1);
    let key = world.allowlist_jwt_key();
    for (target, fields, expected) in [
        // They open no route, or have no record.
        (&**jarvispy, bearer(&bootstrap), 403),
        ("/api/v1/tickets", bearer(&access), 403),
        ("/api/agent-tokens/tickets", bearer(&access), 403),
        ("/api/agent-tokens/tickets", bearer(&session), 403),
        ("/v1/auth/tickets", bearer(&session), 403),
        // They are of another token API.
        ("/api/v1/tickets", bearer(&key), 401),
        ("/api/agent-tokens/tickets", bearer(&key), 401),
        ("/v1/auth/tickets", bearer(&key), 401),
        ("/v1/auth/tickets", api_key_field(&key), 401),
        (&**jarvispy, bearer(&session), 401),
        (&**jarvispy, bearer(&access), 401),
        // They are none.
        (&**jarvispy, String::new(), 401),
        ("/api/v1/tickets", bearer("tkt_nonsense"), 401),
        ("/v1/auth/tickets", String::new(), 401),
    ] {
        expect_json(&world.keyward.ask("POST", target, &fields, ""), expected);
    }
    // Another user's mount.
    let bob = world.keyward.api(TestUser::BOB).path("/tickets");
    expect_json(&world.keyward.ask("POST", &bob, &bearer(&key), ""), 403);
    for (target, fields) in &calls {
        let refused = world.keyward.ask("GET", target, fields, "");
        assert!(expect_json(&refused, 405).is_object(), "{refused}");
        assert_eq!(refused.fields.one("allow").as_deref(), Some("POST"), "{refused}");
    }
    // Each in its own words.
    let words = |target: &str, fields: &str| {
        let body = expect_json(&world.keyward.ask("POST", target, fields, ""), 403);
        members(&body).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(words(jarvispy, &bearer(&bootstrap)), ["status", "message", "data"]);
    assert_eq!(words("/api/v1/tickets", &bearer(&access)), ["detail"]);
    assert_eq!(words("/api/agent-tokens/tickets", &bearer(&access)), ["error"]);
    assert_eq!(words("/v1/auth/tickets", &bearer(&session)), ["detail"]);
}

/// A ticket that was made at one instance is redeemed at any, and of several that try at the same
/// time at one.
#[test]
fn of_two_instances_that_are_shown_a_ticket_at_the_same_time_exactly_one_lets_it_in() {
    let world = AllStylesWorld::with_redis();
    let second = world.second_instance();
    let (target, fields) = calls(&world).swap_remove(0);
    for _ in 0..10 {
        let ticket = made(&world.keyward, &target, &fields);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let askers: Vec<_> = [&world.keyward, &second, &world.keyward, &second]
                .into_iter()
                .map(|instance| scope.spawn(|| status(instance, &ticket)))
                .collect();
            askers.into_iter().map(|asker| asker.join().expect("an answer")).collect()
        });
        assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [200, 401].contains(status)), "{statuses:?}");
    }
    let ticket = made(&second, &target, &fields);
    assert_eq!([status(&world.keyward, &ticket), status(&second, &ticket)], [200, 401]);
    let ticket = made(&second, "/api/agent-tokens/tickets", &bearer(&world.agent_key()));
    assert_eq!(world.call("DELETE", AGENT_KEY, &world.alice(), "").status, 204);
    assert_eq!(status(&second, &ticket), 401, "its token is revoked");
}

/// "No" would have the page ask for another ticket, which it could not get either.
#[test]
fn while_redis_is_away_a_ticket_gets_503_and_when_it_has_lost_its_data_401() {
    let mut world = AllStylesWorld::with_redis();
    let (target, fields) = calls(&world).swap_remove(0);
    let ticket = made(&world.keyward, &target, &fields);
    world.redis.as_mut().expect("a fleet has Redis").kill();
    assert_eq!(status(&world.keyward, &ticket), 503);
    expect_json(&world.keyward.ask("POST", &target, &fields, ""), 503);
    world.redis.as_mut().expect("a fleet has Redis").restart_empty();
    assert!(eventually(|| status(&world.keyward, &ticket) == 401), "{}", world.keyward.output());
}
