//! Limits of routes: what is inherited, what is wrong.

use std::time::Duration;

use super::{SMALL, faults, small_with};
use crate::gateway::{Limit, LimitKey, RouteLimits};

fn limits(more: &str) -> RouteLimits {
    small_with(more).routes[0].limits
}

fn milliseconds(milliseconds: u64, key: LimitKey) -> Limit<Duration> {
    Limit { most: Some(Duration::from_millis(milliseconds)), key }
}

#[test]
fn a_route_has_the_times_of_the_table_but_for_those_that_it_sets_itself() {
    let found = limits(
        "timeouts = { response_head = \"5m\", request = \"off\" }\n[timeouts]\nbody = \"10ms\"\n\
         request = \"24h\"\nrequest_body = \"off\"\n",
    );
    let expected = RouteLimits {
        response_head: milliseconds(300_000, LimitKey::Route("timeouts.response_head")),
        request_body: Limit { most: None, key: LimitKey::Common("timeouts", "request_body") },
        response_body: milliseconds(10, LimitKey::Common("timeouts", "body")),
        request: Limit { most: None, key: LimitKey::Route("timeouts.request") },
        max_body: Limit { most: None, key: LimitKey::Common("limits", "body") },
    };
    assert_eq!(found, expected);
    let found = limits("[timeouts]\nresponse_body = \"2s\"\nrequest = \"3s\"\n");
    assert_eq!(
        found.response_body,
        milliseconds(2000, LimitKey::Common("timeouts", "response_body"))
    );
    assert_eq!(found.request, milliseconds(3000, LimitKey::Common("timeouts", "request")));
}

#[test]
fn a_route_has_the_limit_of_bodies_of_the_table_unless_it_sets_one() {
    let of = |most, key| Limit { most, key };
    let common = LimitKey::Common("limits", "body");
    let own = LimitKey::Route("max_body");
    for (more, expected) in [
        ("[limits]\nbody = \"1KiB\"\n", of(Some(1024), common)),
        ("max_body = \"0B\"\n[limits]\nbody = \"1KiB\"\n", of(Some(0), own)),
        ("max_body = \"off\"\n[limits]\nbody = \"1KiB\"\n", of(None, own)),
        ("max_body = \"1024GiB\"\n", of(Some(1 << 40), own)),
    ] {
        assert_eq!(limits(more).max_body, expected, "{more}");
    }
}

#[test]
fn what_is_wrong_with_a_limit_is_said_with_its_place_and_what_is_allowed() {
    let found = faults(&format!(
        "{SMALL}timeouts = {{ response_head = \"5 m\", respone_body = \"1m\", request = 0 }}\n\
         max_body = \"10MB\"\n[timeouts]\nrequest_body = \"none\"\nbody = \"off\"\n\
         response_head = \"25h\"\n[limits]\nbody = \"2000GiB\"\n"
    ));
    let time = "must be a duration from \"10ms\" to \"1d\", or \"off\"";
    let size = "must be a size from \"0B\" to \"1024GiB\", or \"off\"";
    assert_eq!(
        found,
        [
            format!(
                "k.toml:14:30: \"response_head\" {time}, found \"5 m\": \" m\" is no unit (ms, s, m, h \
                 or d)"
            ),
            "k.toml:14:37: unknown key \"respone_body\"; did you mean \"response_body\"?".to_owned(),
            format!("k.toml:14:68: \"request\" {time}, found the integer 0"),
            format!(
                "k.toml:15:12: \"max_body\" {size}, found \"10MB\": \"MB\" is no unit (B, KiB, MiB or \
                 GiB)"
            ),
            format!(
                "k.toml:17:16: \"request_body\" {time}, found \"none\": it must start with a digit"
            ),
            "k.toml:18:8: \"body\" must be a duration from \"10ms\" to \"1h\", found \"off\": it must \
             start with a digit"
                .to_owned(),
            format!("k.toml:19:17: \"response_head\" {time}, found \"25h\""),
            format!("k.toml:21:8: \"body\" {size}, found \"2000GiB\""),
        ]
    );
    let found = faults(&format!("{SMALL}timeouts = \"5m\"\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("k.toml:14:12: \"timeouts\" must be a table"), "{found:?}");
}
