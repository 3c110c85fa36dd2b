//! Of calls at once of which one can succeed, exactly one does; also on two instances of a fleet.

use std::sync::Barrier;

use serde_json::{Value, json};

use super::over_both_stores;
use crate::api::worlds::{AGENT_KEY, AGENT_KEY_ONCE, AllStylesWorld, bearer, expect_json, text};
use crate::support::{World, json as body_of};

over_both_stores! {
    of_a_hundred_registrations_of_one_name_one_wins;
    of_a_hundred_registrations_with_one_email_one_wins;
}

/// The results of this many calls at once.
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

/// A hundred registrations at once, at these instances in turn: one gets the account, the others
/// are told that it is taken.
#[track_caller]
fn one_of_a_hundred_wins(
    instances: &[&World],
    person: impl Fn(usize) -> (String, String) + Sync,
    taken: &str,
) {
    let answers = at_once(100, |number| {
        let (username, email) = person(number);
        let body = json!({
            "username": username, "email": email,
            "password": "correct horse", "full_name": "A TestUser",
        });
        let (keyward, body) = (instances[number % instances.len()], body.to_string());
        loop {
            let answer = keyward.ask(
                "POST",
                "/v1/auth/register",
                "Content-Type: application/json\r\n",
                &body,
            );
            // A password that waited too long on a busy machine was not tried.
            if answer.status != 503 {
                return (answer.status, body_of(&answer));
            }
        }
    });
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 200);
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(lost, vec![(409, json!({ "detail": taken })); 99]);
    let users = instances[0].run(&["user", "list", "--json"]);
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

fn of_a_hundred_registrations_of_one_name_one_wins(world: &AllStylesWorld) {
    one_of_a_hundred_wins(&[&world.keyward], of_one_name, "Username already registered");
}

fn of_a_hundred_registrations_with_one_email_one_wins(world: &AllStylesWorld) {
    one_of_a_hundred_wins(&[&world.keyward], of_one_address, "Email already registered");
}

#[test]
fn of_a_hundred_calls_on_two_instances_exactly_one_gets_the_agents_key() {
    let world = AllStylesWorld::with_redis();
    let other = world.second_instance();
    let instances = [&world.keyward, &other];
    for round in 0..3 {
        let user = world.issuer.access(&format!("user-{round}"), json!({}));
        let answers = at_once(100, |number| {
            let answer = instances[number % 2].ask("POST", AGENT_KEY_ONCE, &bearer(&user), "");
            expect_json(&answer, 200)
        });
        let new: Vec<_> = answers.iter().filter(|answer| answer["is_new"] == true).collect();
        assert_eq!(new.len(), 1, "{answers:?}");
        let token = text(new[0], "token");
        let prefixes =
            answers.iter().all(|answer| answer["token_prefix"] == new[0]["token_prefix"]);
        assert!(prefixes, "all are told of the same key: {answers:?}");
        let open =
            || instances.map(|keyward| keyward.ask("GET", "/agents/x", &bearer(&token), "").status);
        assert_eq!(open(), [200, 200]);
        // Revoked at one, refused at both as soon as that is answered.
        assert_eq!(other.ask("DELETE", AGENT_KEY, &bearer(&user), "").status, 204);
        assert_eq!(open(), [401, 401]);
    }
}

#[test]
fn of_a_hundred_registrations_on_two_instances_one_wins() {
    for (person, taken) in [
        (of_one_name as fn(usize) -> (String, String), "Username already registered"),
        (of_one_address, "Email already registered"),
    ] {
        let world = AllStylesWorld::with_redis();
        let other = world.second_instance();
        one_of_a_hundred_wins(&[&world.keyward, &other], person, taken);
    }
}
