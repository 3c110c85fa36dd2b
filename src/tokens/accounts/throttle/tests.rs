//! The limits, at their edges.

use std::time::Duration;

use super::super::counters::MemoryCounters;
use super::*;

fn throttle() -> Throttle {
    throttle_with(Logins::default())
}

fn throttle_with(limits: Logins) -> Throttle {
    Throttle::new(Arc::new(MemoryCounters::default()), &SecretBytes::new([9; 32]), limits)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_millis(1_000_000).after(Duration::from_secs(seconds))
}

fn from(address: &str) -> ClientGroup {
    address.parse::<IpAddr>().unwrap().into()
}

fn retry_after(refused: AccountError) -> Duration {
    match refused {
        AccountError::TooMany { retry_after } => retry_after,
        other => panic!("{other}"),
    }
}

impl Throttle {
    async fn attempt(
        &self,
        username: &str,
        client: &str,
        outcome: Try,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let attempt =
            self.admit("accounts", username, from(client), now).await.map_err(retry_after)?;
        self.settle(attempt, outcome, now).await.unwrap();
        Ok(())
    }

    /// How many failures in a row are admitted.
    async fn failures(&self, username: &str, client: &str) -> usize {
        let mut admitted = 0;
        while admitted < 1000 && self.attempt(username, client, Try::Failed, at(0)).await.is_ok() {
            admitted += 1;
        }
        admitted
    }
}

#[tokio::test]
async fn all_peers_of_a_unix_listener_are_one_client_and_those_of_another_listener_are_not() {
    let throttle = throttle();
    let front = || ClientGroup::of_unix_listener(Path::new("/run/front.sock"));
    for _ in 0..5 {
        let attempt = throttle.admit("accounts", "alice", front(), at(0)).await.unwrap();
        throttle.settle(attempt, Try::Failed, at(0)).await.unwrap();
    }
    assert!(throttle.admit("accounts", "alice", front(), at(0)).await.is_err());
    let other = ClientGroup::of_unix_listener(Path::new("/run/other.sock"));
    assert!(throttle.admit("accounts", "alice", other, at(0)).await.is_ok());
    assert_eq!(throttle.attempt("alice", "192.0.2.1", Try::Failed, at(0)).await, Ok(()));
}

#[tokio::test]
async fn five_failures_and_then_the_end_of_the_window_whatever_the_spelling() {
    let throttle = throttle();
    for spelling in ["alice", "Alice", "ALICE", "aLiCe", "alicE"] {
        assert_eq!(throttle.attempt(spelling, "192.0.2.1", Try::Failed, at(0)).await, Ok(()));
    }
    for spelling in ["alice", "ALICE"] {
        let refused = Err(throttle.limits.window - Duration::from_secs(60));
        assert_eq!(throttle.attempt(spelling, "192.0.2.1", Try::Passed, at(60)).await, refused);
    }
    assert_eq!(throttle.attempt("alice", "192.0.2.1", Try::Failed, at(15 * 60)).await, Ok(()));
    // Another address, another account and another token API have their own.
    assert_eq!(throttle.attempt("alice", "192.0.2.2", Try::Failed, at(60)).await, Ok(()));
    assert_eq!(throttle.attempt("bob", "192.0.2.1", Try::Failed, at(60)).await, Ok(()));
    assert!(throttle.admit("other", "alice", from("192.0.2.1"), at(60)).await.is_ok());
}

#[tokio::test]
async fn a_name_without_an_account_is_counted_like_any_other() {
    let throttle = throttle();
    let long = "x".repeat(60_000);
    for username in ["unknown", "", "not a name\n", &long] {
        assert_eq!(throttle.failures(username, "192.0.2.1").await, 5);
    }
}

#[tokio::test]
async fn successes_and_what_was_not_tried_do_not_count() {
    let throttle = throttle();
    for _ in 0..200 {
        for outcome in [Try::Passed, Try::Void] {
            assert_eq!(throttle.attempt("alice", "192.0.2.1", outcome, at(0)).await, Ok(()));
        }
    }
    // A success forgives the failures before it.
    for _ in 0..20 {
        for outcome in [Try::Failed, Try::Failed, Try::Passed] {
            let _ = throttle.attempt("alice", "192.0.2.9", outcome, at(0)).await;
        }
    }
    assert_eq!(throttle.failures("alice", "192.0.2.9").await, 5);
}

#[tokio::test]
async fn attempts_at_the_same_time_share_the_limit() {
    let throttle = throttle();
    let mut attempts = Vec::new();
    for _ in 0..5 {
        attempts.push(throttle.admit("accounts", "alice", from("192.0.2.1"), at(0)).await.unwrap());
    }
    assert_eq!(
        throttle.attempt("alice", "192.0.2.1", Try::Failed, at(0)).await,
        Err(Duration::from_secs(1))
    );
    for attempt in attempts {
        throttle.settle(attempt, Try::Failed, at(0)).await.unwrap();
    }
    assert_eq!(
        throttle.attempt("alice", "192.0.2.1", Try::Failed, at(0)).await,
        Err(throttle.limits.window)
    );
}

#[tokio::test]
async fn one_address_has_fifty_failures_with_all_accounts_together() {
    let throttle = throttle();
    let mut admitted = 0;
    for account in 0..20 {
        admitted += throttle.failures(&format!("user{account}"), "2001:db8::1").await;
    }
    assert_eq!(admitted, 50);
    // The rest of its /64 is the same address; the next /64 is another.
    assert_eq!(throttle.failures("other", "2001:db8::ffff:2").await, 0);
    assert_eq!(throttle.failures("other", "2001:db8:0:1::1").await, 5);
    assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
    assert_ne!(from("192.0.2.1"), from("192.0.2.2"));
}

#[tokio::test]
async fn failures_from_other_addresses_do_not_keep_the_owner_out() {
    let throttle = throttle();
    assert_eq!(throttle.attempt("alice", "198.51.100.1", Try::Passed, at(0)).await, Ok(()));
    let mut admitted = Vec::new();
    for host in 0..200 {
        admitted.push(throttle.failures("alice", &format!("192.0.2.{host}")).await);
    }
    // Five each, until the account is under suspicion; then one each.
    assert_eq!(admitted[..10], [5; 10]);
    assert_eq!(admitted[10..], [1; 190]);
    // Where the owner has logged in before there are five, and elsewhere one is enough for the
    // right password.
    assert_eq!(throttle.failures("alice", "198.51.100.1").await, 5);
    assert_eq!(throttle.attempt("alice", "203.0.113.1", Try::Passed, at(0)).await, Ok(()));
    assert_eq!(throttle.failures("alice", "203.0.113.1").await, 5);
}

#[tokio::test]
async fn registrations_are_limited_by_address() {
    let throttle = throttle();
    let register = async |client, outcome, now| {
        let attempt = throttle.admit_registration(from(client), now).await.map_err(retry_after)?;
        throttle.settle(attempt, outcome, now).await.unwrap();
        Ok(())
    };
    for _ in 0..10 {
        for outcome in [Try::Void, Try::Passed, Try::Failed] {
            assert_eq!(register("192.0.2.1", outcome, at(0)).await, Ok(()));
        }
    }
    assert_eq!(
        register("192.0.2.1", Try::Passed, at(0)).await,
        Err(throttle.limits.registration_window)
    );
    assert_eq!(register("192.0.2.2", Try::Passed, at(0)).await, Ok(()));
    assert_eq!(register("192.0.2.1", Try::Passed, at(3600)).await, Ok(()));
}

#[tokio::test]
async fn each_limit_is_the_one_that_is_configured() {
    let limits = Logins {
        window: Duration::from_secs(60),
        failures: 7,
        failures_per_address: 9,
        suspect_from: 14,
        failures_of_strangers: 2,
        registration_window: Duration::from_secs(120),
        registrations_per_address: 3,
        ..Logins::default()
    };
    let throttle = throttle_with(limits);
    assert_eq!(throttle.failures("alice", "192.0.2.1").await, 7, "of one account from one address");
    assert_eq!(throttle.failures("bob", "192.0.2.1").await, 2, "of one address");
    assert_eq!(throttle.failures("alice", "192.0.2.2").await, 7, "not under suspicion yet");
    assert_eq!(throttle.failures("alice", "192.0.2.3").await, 2, "a stranger, from then on");
    assert_eq!(
        throttle.attempt("alice", "192.0.2.1", Try::Failed, at(59)).await,
        Err(Duration::from_secs(1))
    );
    assert_eq!(throttle.attempt("alice", "192.0.2.1", Try::Failed, at(60)).await, Ok(()));
    for _ in 0..3 {
        let attempt = throttle.admit_registration(from("192.0.2.1"), at(0)).await.unwrap();
        throttle.settle(attempt, Try::Passed, at(0)).await.unwrap();
    }
    let refused = throttle.admit_registration(from("192.0.2.1"), at(0)).await.unwrap_err();
    assert_eq!(retry_after(refused), Duration::from_secs(120));
    // A higher limit for mistyped passwords is no higher limit for unknown addresses.
    let odd = throttle_with(Logins {
        failures: 2,
        failures_of_strangers: 5,
        suspect_from: 2,
        ..Logins::default()
    });
    assert_eq!(odd.failures("alice", "192.0.2.1").await, 2);
    assert_eq!(odd.failures("alice", "192.0.2.2").await, 2);
}
