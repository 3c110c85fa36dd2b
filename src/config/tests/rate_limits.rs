//! Limits of requests: what is read, and what is wrong.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{SMALL, faults, small_with};
use crate::limits::{LimitSettings, Quota, RateSettings, Scope};

fn rate(scope: Scope, count: u32, seconds: u64, burst: u32, is_shared: bool) -> RateSettings {
    let number = |number| NonZeroU32::new(number).unwrap();
    let period = Duration::from_secs(seconds);
    let quota = Quota { count: number(count), period, burst: number(burst) };
    RateSettings { scope, quota, is_shared }
}

#[test]
fn a_limit_has_a_scope_a_rate_and_a_burst_of_one_second_by_default() {
    let config = small_with(
        "rate_limits = [{ per = 'token', rate = '100/s' }, \
         { per = 'address', rate = '90/m', shared = false }, \
         { per = 'token', rate = '5/d', burst = 7 }]\nconcurrent_requests = 3\n",
    );
    let expected = LimitSettings {
        rates: vec![
            rate(Scope::Token, 100, 1, 100, true),
            rate(Scope::Address, 90, 60, 1, false),
            rate(Scope::Token, 5, 86_400, 7, true),
        ],
        concurrent_requests: NonZeroU32::new(3),
    };
    assert_eq!(config.routes[0].rate_limits.as_deref(), Some(&expected));
    assert_eq!(small_with("rate_limits = []\n").routes[0].rate_limits, None);
    assert_eq!(config.token_apis[0].rate_limits, None);
}

#[test]
fn what_is_wrong_with_a_limit_is_said_with_its_place_and_what_is_allowed() {
    let found = faults(&format!(
        "{SMALL}rate_limits = [\n{{ per = 'tokens', rate = '1/s' }},\n{{ rate = '1.5/s' }},\n\
         {{ per = 'token', rate = '10/sec', burst = 0 }},\n{{ per = 'token', rate = '2/m' }},\n\
         {{ per = 'token', rate = '2/m', burst = 4 }},\n\
         {{ per = 'route', rate = '1/d', burst = 1000 }},\n]\nconcurrent_requests = 0\n"
    ));
    let rate = "must be a number from 1 to 1000000 and a period, as in \"100/s\", \"10/m\", \
                \"1000/h\" or \"5000/d\"";
    assert_eq!(
        found,
        [
            "k.toml:15:9: \"per\" must be \"token\", \"subject\", \"tenant\", \"address\" or \
             \"route\", found \"tokens\": did you mean \"token\"?"
                .to_owned(),
            "k.toml:16:1: missing key \"per\" in rate_limits of [[route]]: it must be \"token\", \
             \"subject\", \"tenant\", \"address\" or \"route\""
                .to_owned(),
            format!(
                "k.toml:16:10: \"rate\" {rate}, found \"1.5/s\": fractions are not understood: use \
                 a longer period"
            ),
            format!(
                "k.toml:17:25: \"rate\" {rate}, found \"10/sec\": \"sec\" is no period (s, m, h or \
                 d)"
            ),
            "k.toml:17:43: \"burst\" must be an integer from 1 to 1000000, found the integer 0"
                .to_owned(),
            "k.toml:19:25: \"rate_limits\" has 2/m per token twice".to_owned(),
            "k.toml:20:40: \"burst\": 1000 requests at 1/d would take more than a year to come back"
                .to_owned(),
            "k.toml:22:23: \"concurrent_requests\" must be an integer from 1 to 1000000, found the \
             integer 0"
                .to_owned(),
        ]
    );
}

#[test]
fn what_counts_nothing_at_its_place_is_a_fault() {
    let found = faults(&format!(
        "{SMALL}[[route]]\npath = '/p'\nupstream = 'app'\npublic = true\n\
         rate_limits = [{{ per = 'subject', rate = '1/s' }}, {{ per = 'route', rate = '1/s' }}]\n\
         concurrent_requests = 1\n\
         [[token_api]]\nname = 'b'\nstyle = 'allowlist-jwt'\nmount = '/b'\n\
         rate_limits = [{{ per = 'address', rate = '1/s' }}, {{ per = 'tenant', rate = '1/s' }}]\n"
    ));
    assert_eq!(
        found,
        [
            "k.toml:18:24: \"per\": a public route asks for no credential: it counts \
             per \"address\" or \"route\"",
            "k.toml:19:23: \"concurrent_requests\" counts by token, and a public route asks for \
             none",
            "k.toml:24:24: \"per\": a token API counts per \"token\", \"subject\" or \"tenant\"; a \
             [[route]] per \"address\" or \"route\", too",
        ]
    );
}
