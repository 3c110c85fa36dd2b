//! The states of endpoints under a simulated clock.

use super::*;
use crate::upstream::balance::Random;
use crate::upstream::{
    Endpoint, EndpointAddress, EndpointShare, HealthCheck, Policy, Protocol, RequestLimits,
    ResponseHeadLimits, Retries,
};

const SPAN: u64 = 1000;
const SLOW: u64 = 2000;

pub(in crate::upstream) fn settings(
    endpoints: u16,
    more: impl Fn(&mut Balancing),
) -> UpstreamSettings {
    let mut balancing = Balancing {
        shares: vec![EndpointShare { weight: 1, is_draining: false }; usize::from(endpoints)],
        policy: Policy::RoundRobin,
        ejection: Ejection {
            failures: 3,
            span: Duration::from_millis(SPAN),
            longest: Duration::from_millis(3 * SPAN),
            most_percent: 50,
            slow_return: Duration::from_millis(SLOW),
            statuses: Vec::new(),
        },
        retries: Retries { budget_percent: 20, floor: 1, statuses: Vec::new() },
        health_check: None,
        limits: RequestLimits {
            most: 0,
            most_connections: 0,
            queue: 0,
            queue_timeout: Duration::from_secs(1),
        },
        has_circuit: false,
    };
    more(&mut balancing);
    let endpoint = |port| Endpoint {
        address: EndpointAddress::Tcp { host: "127.0.0.1".to_owned(), port },
        is_tls: false,
        resolved: None,
    };
    UpstreamSettings {
        endpoints: (1..=endpoints).map(endpoint).collect(),
        protocol: Protocol::Http1,
        tls: None,
        connect_timeout: Duration::from_secs(1),
        idle_connections: 1,
        idle_timeout: Duration::from_secs(1),
        response_head: ResponseHeadLimits { bytes: 1024, fields: 10 },
        balancing: Some(Arc::new(balancing)),
    }
}

fn state_with(endpoints: u16, more: impl Fn(&mut Balancing)) -> Arc<UpstreamState> {
    UpstreamState::of(&"app".into(), &settings(endpoints, more), None, &Answers::default())
        .expect("there is a state")
}

fn state(endpoints: u16) -> Arc<UpstreamState> {
    state_with(endpoints, |_| {})
}

fn part(state: &UpstreamState, at: usize, now: u64) -> f64 {
    state.endpoints[at].part(Duration::from_millis(SLOW), Extent::Whole, now)
}

fn fail(state: &UpstreamState, at: usize, times: usize, now: u64) {
    (0..times).for_each(|_| state.note_failure(at, now));
}

#[test]
fn failures_in_a_row_put_an_endpoint_out_and_a_success_between_them_does_not() {
    let state = state(2);
    fail(&state, 0, 2, 1);
    state.note_success(0, || 1);
    fail(&state, 0, 2, 1);
    assert!(state.endpoints[0].is_plain());
    fail(&state, 0, 1, 1);
    assert!(part(&state, 0, 1) == 0.0 && part(&state, 0, SPAN) == 0.0);
    assert!(state.endpoints[1].is_plain());
}

#[test]
fn an_endpoint_returns_with_a_share_that_grows() {
    let state = state(2);
    fail(&state, 0, 3, 1);
    let back = 1 + SPAN;
    let parts: Vec<_> = [0, SLOW / 4, SLOW / 2, SLOW - 1, SLOW]
        .iter()
        .map(|after| part(&state, 0, back + after))
        .collect();
    assert!(parts.is_sorted() && parts[0] == LEAST_SHARE, "{parts:?}");
    assert!((parts[2] - 0.5).abs() < 0.01 && parts[4] == 1.0, "{parts:?}");
}

#[test]
fn each_further_time_is_twice_as_long_up_to_the_longest_and_one_failure_is_enough() {
    let state = state(2);
    fail(&state, 0, 3, 1);
    let mut now = 1 + SPAN;
    for expected in [2 * SPAN, 3 * SPAN, 3 * SPAN] {
        assert!(part(&state, 0, now) > 0.0);
        fail(&state, 0, 1, now);
        assert!(part(&state, 0, now + expected - 1) == 0.0, "{expected}");
        now += expected;
        assert!(part(&state, 0, now) > 0.0, "{expected}");
    }
    // Well for long enough: it begins anew.
    state.note_success(0, || now);
    now += SLOW + 3 * SPAN + 1;
    state.tidy(now);
    assert!(state.endpoints[0].is_plain());
    fail(&state, 0, 2, now);
    assert!(state.endpoints[0].is_plain());
    fail(&state, 0, 1, now);
    assert!(part(&state, 0, now + SPAN - 1) == 0.0 && part(&state, 0, now + SPAN) > 0.0);
}

#[test]
fn never_more_than_the_stated_share_is_put_out() {
    for (endpoints, percent, most) in [(1, 50, 0), (2, 50, 1), (3, 50, 1), (4, 50, 2), (3, 100, 3)]
    {
        let state = state_with(endpoints, |balancing| balancing.ejection.most_percent = percent);
        for at in 0..usize::from(endpoints) {
            fail(&state, at, 10, 1);
        }
        let out = (0..usize::from(endpoints)).filter(|at| part(&state, *at, 1) == 0.0).count();
        assert_eq!(out, most, "{endpoints} endpoints, {percent} per cent");
    }
}

#[test]
fn endpoints_that_drain_do_not_count() {
    let state = state_with(3, |balancing| balancing.shares[2].is_draining = true);
    fail(&state, 2, 10, 1);
    fail(&state, 0, 10, 1);
    fail(&state, 1, 10, 1);
    let out: Vec<_> = (0..3).map(|at| part(&state, at, 1) == 0.0).collect();
    assert_eq!(out, [true, false, false]);
}

fn checked() -> Arc<UpstreamState> {
    state_with(2, |balancing| {
        balancing.health_check = Some(HealthCheck {
            path: http::uri::PathAndQuery::from_static("/health"),
            host: None,
            interval: Duration::from_millis(100),
            timeout: Duration::from_millis(50),
            healthy_after: 2,
            unhealthy_after: 3,
            statuses: Vec::new(),
        });
    })
}

#[test]
fn checks_put_an_endpoint_out_and_back_in_after_so_many_in_a_row() {
    let state = checked();
    let check = |fault: Option<&str>, now: u64| {
        let number = state.begin_check(0, now).expect("one is due");
        assert!(state.begin_check(0, now + 1000).is_none(), "one at a time");
        state.end_check(0, number, fault, now);
        assert!(state.begin_check(0, now + 99).is_none(), "the next is due later");
    };
    let bad = Some("it is ill");
    for (now, fault, is_in) in [
        (1, None, true),
        (101, bad, true),
        (201, bad, true),
        (301, None, true),
        (401, bad, true),
        (501, bad, true),
        (601, bad, false),
        (701, None, false),
        (801, bad, false),
        (901, None, false),
        (1001, None, true),
    ] {
        check(fault, now);
        assert_eq!(part(&state, 0, now) > 0.0, is_in, "at {now}");
    }
    assert!(part(&state, 0, 1001) == LEAST_SHARE, "it returns slowly");
}

#[test]
fn what_is_known_of_an_endpoint_outlives_a_reload_that_keeps_it() {
    let before = state(2);
    fail(&before, 0, 3, 1);
    let after = UpstreamState::of(
        &"app".into(),
        &settings(3, |balancing| balancing.limits.queue = 7),
        Some(&before),
        &Answers::default(),
    )
    .expect("a state");
    assert!(part(&after, 0, 1) == 0.0 && after.endpoints[1].is_plain());
    let same =
        UpstreamState::of(&"app".into(), &settings(2, |_| {}), Some(&before), &Answers::default());
    assert!(Arc::ptr_eq(&same.expect("a state"), &before));
    assert!(
        UpstreamState::of(
            &"app".into(),
            &UpstreamSettings { balancing: None, ..settings(1, |_| {}) },
            None,
            &Answers::default()
        )
        .is_none()
    );
}

#[test]
fn an_endpoint_whose_time_is_over_is_tried_by_one_request_at_a_time_until_it_answers() {
    let state = state(2);
    fail(&state, 0, 3, 1);
    let endpoint = &state.endpoints[0];
    state.note_success(0, || 2);
    let back = 1 + SPAN;
    assert!(part(&state, 0, back) > 0.0);
    let begin = |extent, now| endpoint.begin_probe(extent, || now);
    let probe = begin(Extent::Whole, back).expect("what answered before proves nothing");
    assert!(begin(Extent::Whole, back).is_none() && part(&state, 0, back) == 0.0, "there is one");
    endpoint.end_probe(probe);
    state.tidy(back + 100 * SLOW);
    let probe = begin(Extent::Whole, back).expect("also long afterwards");
    endpoint.end_probe(probe);
    state.note_success(0, || back);
    assert!(begin(Extent::Whole, back).is_none() && part(&state, 0, back) > 0.0, "it has answered");
}

#[test]
fn what_tries_an_endpoint_for_long_keeps_others_from_it_only_for_a_while() {
    let state = state(2);
    fail(&state, 0, 3, 1);
    let endpoint = &state.endpoints[0];
    let begin = |extent, now| endpoint.begin_probe(extent, || now);
    let back = 1 + SPAN;
    // The settings have a second for a connection; one that uploads waits a second more.
    assert!(begin(Extent::Unfinished, back + 999).is_none());
    let slow = begin(Extent::Unfinished, back + 1000).expect("no other one has come");
    assert!(begin(Extent::Whole, back + 1999).is_none());
    assert!(begin(Extent::Unfinished, back + 2999).is_none());
    let second = begin(Extent::Whole, back + 2000).expect("the first has had its time");
    assert!(begin(Extent::Whole, back + 2001).is_none(), "no burst");
    endpoint.end_probe(slow);
    assert!(begin(Extent::Whole, back + 2002).is_none(), "the end of the first frees no place");
    endpoint.end_probe(second);
    assert!(begin(Extent::Whole, back + 2003).is_some());
}

#[test]
fn a_health_check_that_succeeds_shows_that_an_endpoint_is_back() {
    let state = checked();
    let check = |fault, now| {
        let number = state.begin_check(0, now).expect("one is due");
        state.end_check(0, number, fault, now);
    };
    check(None, 1);
    fail(&state, 0, 3, 1);
    let endpoint = &state.endpoints[0];
    check(None, SPAN);
    assert!(endpoint.begin_probe(Extent::Whole, || 1 + SPAN).is_some(), "it was out still");
    assert!(part(&state, 0, 1 + SPAN) == 0.0);
    check(None, 1 + SPAN + 100);
    assert!(part(&state, 0, 1 + SPAN + 100) > 0.0);
}

#[test]
fn the_first_check_decides_alone_and_other_settings_count_at_once() {
    let state = checked();
    let number = state.begin_check(0, 1).expect("one is due");
    state.end_check(0, number, Some("it is ill"), 1);
    assert!(part(&state, 0, 1) == 0.0);
    let slow = state.begin_check(1, 1).expect("one is due");
    let other = settings(2, |balancing| {
        let check = state.balancing.health_check.clone();
        balancing.health_check = check.map(|check| HealthCheck { healthy_after: 1, ..check });
    });
    let after = UpstreamState::of(&"app".into(), &other, Some(&state), &Answers::default());
    let after = after.expect("a state");
    let number = after.begin_check(1, 2).expect("one is due");
    state.end_check(1, slow, Some("it is ill"), 3);
    assert!(after.begin_check(1, 300).is_none(), "what the other found does not count");
    after.end_check(1, number, None, 3);
    assert!(part(&after, 1, 3) > 0.0);
}

#[test]
fn with_a_circuit_all_may_be_out_and_it_says_when_the_first_returns() {
    let state = state_with(2, |balancing| balancing.has_circuit = true);
    let now = now_ms();
    fail(&state, 0, 3, now);
    fail(&state, 1, 3, now + SPAN / 2);
    assert!((0..2).all(|at| part(&state, at, now + SPAN / 2) == 0.0));
    assert_eq!(state.returns_in(now + SPAN / 2), Duration::from_millis(SPAN / 2));
}

#[test]
fn a_reload_that_ejects_none_ends_what_was_ejected() {
    let before = state(2);
    fail(&before, 0, 3, 1);
    let settings = settings(2, |balancing| balancing.ejection.failures = 0);
    let after = UpstreamState::of(&"app".into(), &settings, Some(&before), &Answers::default());
    let after = after.expect("a state");
    assert!(after.endpoints[0].is_plain() && part(&after, 0, 1) == 1.0);
}

/// The state of an upstream with the name `app`, whose weight is 3, and one other endpoint.
fn named(before: Option<&Arc<UpstreamState>>, addresses: &[&str]) -> Arc<UpstreamState> {
    let mut settings = settings(2, |balancing| balancing.shares[0].weight = 3);
    settings.endpoints[0].address = EndpointAddress::Tcp { host: "app".to_owned(), port: 80 };
    let answers = Answers::of("app", addresses);
    UpstreamState::of(&"app".into(), &settings, before, &answers).expect("there is a state")
}

fn names(state: &UpstreamState) -> Vec<&str> {
    state.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect()
}

#[test]
fn a_name_has_an_endpoint_for_each_address_with_its_weight() {
    let state = named(None, &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(names(&state), ["app:80 (10.0.0.1)", "app:80 (10.0.0.2)", "127.0.0.1:2"]);
    let weights: Vec<_> = state.balancing.shares.iter().map(|share| share.weight).collect();
    assert_eq!(weights, [3, 3, 1]);
    assert!(state.endpoints.iter().all(|endpoint| endpoint.is_plain()), "all at once at first");
    let none = named(None, &[]);
    assert_eq!(names(&none), ["127.0.0.1:2"]);
    let unresolved = none.unresolved().expect("one has no address");
    assert_eq!((unresolved.endpoint.as_str(), &*unresolved.reason), ("app:80", "no such name"));
}

#[test]
fn what_is_known_of_an_address_stays_and_a_new_one_begins_with_a_small_share() {
    let before = named(None, &["10.0.0.1", "10.0.0.2"]);
    fail(&before, 0, 3, now_ms());
    let after = named(Some(&before), &["10.0.0.1", "10.0.0.3"]);
    assert_eq!(names(&after), ["app:80 (10.0.0.1)", "app:80 (10.0.0.3)", "127.0.0.1:2"]);
    assert!(part(&after, 0, now_ms()) == 0.0, "it is out still");
    let new = part(&after, 1, now_ms());
    assert!((LEAST_SHARE..0.5).contains(&new), "{new}");
    assert!(after.endpoints[2].is_plain());
    let same = named(Some(&after), &["10.0.0.1", "10.0.0.3"]);
    assert!(Arc::ptr_eq(&same, &after), "nothing has changed");
    // The first addresses of a name join no others.
    let first = named(Some(&named(None, &[])), &["10.0.0.9"]);
    assert!(first.endpoints[0].is_plain());
}

/// A simulation with a seed: endpoints fail and recover at random, and what must hold holds after
/// each step.
#[test]
fn in_a_long_run_of_failures_the_bounds_always_hold() {
    for seed in 0..50 {
        let random = Random::seeded(seed);
        let state = state(4);
        let mut now = 1;
        for _ in 0..5000 {
            now += random.next() % 50;
            let at = usize::try_from(random.next() % 4).expect("small");
            if random.next().is_multiple_of(3) {
                state.note_success(at, || now);
            } else {
                state.note_failure(at, now);
            }
            if random.next().is_multiple_of(20) {
                state.tidy(now);
            }
            let out = (0..4).filter(|at| part(&state, *at, now) == 0.0).count();
            assert!(out <= 2, "seed {seed}: {out} are out at {now}");
            for endpoint in &state.endpoints {
                let until = endpoint.out_until_ms.load(Ordering::Relaxed);
                assert!(until <= now + 3 * SPAN, "seed {seed}: out for too long at {now}");
            }
        }
        // When nothing fails any more, all are back.
        now += 3 * SPAN + SLOW;
        assert!((0..4).all(|at| part(&state, at, now) == 1.0), "seed {seed}");
    }
}
