//! The counters of limits, on a real server.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::limits::{
    Allowances, CounterKey, FleetCounters, Grant, Judged, LimitId, Quota, SharedCounters,
};
use crate::tokens::clock;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn quota(count: u32, period: Duration, burst: u32) -> Quota {
    Quota { count: number(count), period, burst: number(burst) }
}

fn counter(name: &str) -> CounterKey {
    CounterKey::route(LimitId::of(&[name]))
}

const HOUR: Duration = Duration::from_secs(3600);

impl World {
    async fn take(&self, name: &str, quota: Quota, wanted: u32) -> Grant {
        self.store.take(counter(name), quota, number(wanted)).await.unwrap()
    }
}

#[tokio::test]
async fn permits_are_taken_in_bundles_until_there_are_none_and_come_back_evenly() {
    let world = World::new().await;
    let five = quota(60, HOUR, 5);
    let first = world.take("a", five, 3).await;
    assert_eq!((first.granted, first.remaining), (3, 2));
    let rest = world.take("a", five, 100).await;
    assert_eq!((rest.granted, rest.remaining), (2, 0), "as many as there are");
    let none = world.take("a", five, 1).await;
    assert_eq!((none.granted, none.remaining), (0, 0));
    let minute = Duration::from_secs(60);
    assert!(none.next_after <= minute && none.next_after > minute / 2, "{none:?}");
    assert!(none.full_after <= 5 * minute && none.full_after > 4 * minute, "{none:?}");
    // What a minute gives, as Redis' clock would: the moment of the counter is moved back by one.
    let key = world.layout().permits(counter("a"));
    let at: i64 = world.command("HGET", &[&key, &"t"]).await;
    let _: i64 = world.command("HSET", &[&key, &"t", &(at - 60_000_000)]).await;
    let one = world.take("a", five, 5).await;
    assert_eq!((one.granted, one.remaining), (1, 0));
    let _: i64 = world.command("HSET", &[&key, &"t", &(at - 10 * 3_600_000_000)]).await;
    assert_eq!(world.take("a", five, 9).await.granted, 5, "never more than the burst");
    assert_eq!(world.take("b", five, 9).await.granted, 5, "another counter");
}

#[tokio::test]
async fn another_rate_or_burst_has_as_many_permits_spent_as_were() {
    let world = World::new().await;
    let left = async |name: &str, quota: Quota| {
        let grant = world.take(name, quota, 1).await;
        grant.granted + grant.remaining
    };
    for (name, to, expected) in [
        ("same", quota(1, HOUR, 5), 2),
        ("more", quota(1, HOUR, 8), 5),
        ("faster", quota(3600, HOUR, 5), 2),
        ("slower", quota(1, HOUR * 24, 5), 2),
        ("less", quota(1, HOUR, 3), 0),
        ("much less", quota(1, HOUR, 2), 0),
    ] {
        assert_eq!(world.take(name, quota(1, HOUR, 5), 3).await.granted, 3);
        assert_eq!(left(name, to).await, expected, "{name}");
    }
    // What was spent is no debt beyond the burst, and comes back at the new rate.
    let (slow, fast) = (quota(1, HOUR, 50), quota(3600, HOUR, 2));
    assert_eq!(world.take("debt", slow, 50).await.granted, 50);
    let refused = world.take("debt", fast, 1).await;
    assert_eq!(refused.granted, 0);
    assert!(refused.next_after <= Duration::from_secs(1), "{refused:?}");
    assert!(refused.full_after <= Duration::from_secs(2), "{refused:?}");
    let key = world.layout().permits(counter("debt"));
    let at: i64 = world.command("HGET", &[&key, &"t"]).await;
    let _: i64 = world.command("HSET", &[&key, &"t", &(at - 1_000_000)]).await;
    assert_eq!(world.take("debt", fast, 5).await.granted, 1, "after a second");
    // A counter of before that was kept.
    assert_eq!(world.take("old", slow, 40).await.granted, 40);
    let old = world.layout().permits(counter("old"));
    let _: i64 = world.command("HDEL", &[&old, &"i"]).await;
    assert_eq!(left("old", slow).await, 10);
}

#[tokio::test]
async fn instances_with_several_bursts_and_rates_give_no_more_than_the_largest_of_them() {
    let world = World::new().await;
    // Each asks for all that it can have, in turn; one of them is always refused.
    let alternated = async |name: &str, quotas: &[Quota]| {
        let mut granted = 0;
        for _ in 0..5 {
            for &quota in quotas {
                granted += world.take(name, quota, 100).await.granted;
            }
        }
        granted
    };
    let (wide, narrow, middle) = (quota(1, HOUR, 50), quota(1, HOUR, 2), quota(1, HOUR, 7));
    assert_eq!(alternated("wide first", &[wide, narrow]).await, 50);
    assert_eq!(alternated("narrow first", &[narrow, wide]).await, 50);
    assert_eq!(alternated("three", &[middle, narrow, wide, narrow]).await, 50);
    assert_eq!(alternated("rates", &[quota(1000, HOUR * 24, 2), wide]).await, 50);

    // An hour gives one permit to all of them together, and the narrow one can have it.
    let key = world.layout().permits(counter("wide first"));
    for hour in 1..=5 {
        let at: i64 = world.command("HGET", &[&key, &"t"]).await;
        let _: i64 = world.command("HSET", &[&key, &"t", &(at - 3_600_000_000)]).await;
        let quotas = if hour % 2 == 0 { [wide, narrow] } else { [narrow, wide] };
        assert_eq!(alternated("wide first", &quotas).await, 1, "in hour {hour}");
    }
    // After all came back, each has its burst, and nothing is left of what was forgiven.
    let _: i64 = world.command("HSET", &[&key, &"t", &0]).await;
    let one = world.take("wide first", narrow, 1).await;
    assert_eq!((one.granted, one.remaining), (1, 1));
    let kept: Vec<Option<String>> = world.command("HMGET", &[&key, &"f", &"n"]).await;
    assert_eq!(kept, [None, None]);
    assert_eq!(alternated("wide first", &[narrow, wide]).await, 49);
}

#[tokio::test]
async fn calls_at_the_same_time_share_out_what_there_is_and_no_more() {
    let world = World::new().await;
    let take = || world.store.take(counter("a"), quota(1, HOUR, 150), number(7));
    let calls: Vec<_> = (0..100).map(|_| tokio::spawn(take())).collect();
    let mut granted = 0;
    for call in calls {
        granted += call.await.unwrap().unwrap().granted;
    }
    assert_eq!(granted, 150);
}

#[tokio::test]
async fn a_clock_that_is_set_back_gives_nothing_and_counts_on() {
    let world = World::new().await;
    let one = quota(1, HOUR, 1);
    assert_eq!(world.take("a", one, 1).await.granted, 1);
    let key = world.layout().permits(counter("a"));
    let at: i64 = world.command("HGET", &[&key, &"t"]).await;
    let _: i64 = world.command("HSET", &[&key, &"t", &(at + 86_400_000_000)]).await;
    let refused = world.take("a", one, 1).await;
    assert_eq!(refused.granted, 0);
    assert!(refused.next_after <= HOUR, "{refused:?}");
    let now: i64 = world.command("HGET", &[&key, &"t"]).await;
    assert!(now < at + 60_000_000, "{now} is still ahead");
    // Half an hour later, and then a whole one.
    let _: i64 = world.command("HINCRBY", &[&key, &"t", &-1_800_000_000_i64]).await;
    let refused = world.take("a", one, 1).await;
    assert_eq!(refused.granted, 0);
    assert!(refused.next_after <= HOUR / 2, "{refused:?}");
    let _: i64 = world.command("HINCRBY", &[&key, &"t", &-1_800_000_000_i64]).await;
    assert_eq!(world.take("a", one, 1).await.granted, 1);
}

#[tokio::test]
async fn a_counter_goes_when_all_its_permits_are_back_and_names_nothing_that_is_secret() {
    let world = World::new().await;
    world.take("a", quota(60, HOUR, 5), 2).await;
    let key = world.layout().permits(counter("a"));
    let left: i64 = world.command("PTTL", &[&key]).await;
    assert!((60_000..=120_001).contains(&left), "{left} ms");
    let names: Vec<String> = world.command("KEYS", &[&"*"]).await;
    assert_eq!(names, std::slice::from_ref(&key));
    let name = key.strip_prefix("{keyward}:l:").expect("the prefix");
    assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
    // A refusal writes nothing.
    world.take("b", quota(1, HOUR, 1), 1).await;
    let refused = world.layout().permits(counter("b"));
    let _: i64 = world.command("PEXPIRE", &[&refused, &5_000]).await;
    assert_eq!(world.take("b", quota(1, HOUR, 1), 1).await.granted, 0);
    let left: i64 = world.command("PTTL", &[&refused]).await;
    assert!(left <= 5_000, "{left} ms");
}

#[tokio::test]
async fn a_counter_that_cannot_be_read_is_an_error_and_gives_nothing() {
    let world = World::new().await;
    let key = world.layout().permits(counter("a"));
    let _: i64 = world.command("HSET", &[&key, &"t", &"never", &"b", &"x"]).await;
    let one = quota(1, HOUR, 1);
    assert!(world.store.take(counter("a"), one, number(1)).await.is_err());
    let _: i64 = world.command("DEL", &[&key]).await;
    let _: () = world.command("SET", &[&key, &"1"]).await;
    assert!(world.store.take(counter("a"), one, number(1)).await.is_err());
}

#[tokio::test]
async fn the_largest_and_the_smallest_quotas_count() {
    let world = World::new().await;
    let day = Duration::from_secs(86_400);
    let slow = quota(1, day, 1_000_000);
    assert_eq!(world.take("slow", slow, 999_999).await.remaining, 1);
    let last = world.take("slow", slow, 2).await;
    assert_eq!((last.granted, last.remaining), (1, 0));
    assert!(last.next_after <= day && last.full_after > day * 100_000, "{last:?}");
    let fast = quota(999_999, Duration::from_secs(1), 1);
    assert_eq!(world.take("fast", fast, 5).await.granted, 1);
}

/// Requests at an instance of its own, at this rate; how many passed, and how many there were.
async fn load(server: &RedisServer, limit: Quota, a_second: u64, time: Duration) -> (u64, u64) {
    let executor = DirectExecutor::connect(&format!("{}/?protocol=resp3", server.url())).await;
    let operations =
        Operations::new(Layout::new("keyward"), key(), "me".into(), Arc::new(executor));
    let store = Arc::new(without_link(server, operations));
    let allowances = Allowances::new(FleetCounters::new(store), 10);
    let passed = Arc::new(AtomicU64::new(0));
    let (begun, mut made) = (clock::uptime(), 0);
    loop {
        let elapsed = clock::uptime().since(begun);
        if elapsed >= time {
            break;
        }
        // What was missed while this thread had to wait is made up for at once.
        let due = u64::try_from(elapsed.as_micros()).unwrap() * a_second / 1_000_000;
        for _ in made..due {
            match allowances.judge(counter("shared"), limit, clock::uptime()) {
                Judged::Now(verdict) => {
                    passed.fetch_add(verdict.is_allowed.into(), Ordering::Relaxed);
                }
                Judged::Later(pending) => {
                    let passed = Arc::clone(&passed);
                    tokio::spawn(async move {
                        let is_allowed = pending.verdict().await.is_allowed;
                        passed.fetch_add(is_allowed.into(), Ordering::Relaxed);
                    });
                }
            }
        }
        made = due;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    (passed.load(Ordering::Relaxed), made)
}

#[test]
fn what_three_instances_let_pass_at_10000_requests_a_second_is_the_limit() {
    let server = RedisServer::start();
    let (rate, time) = (3_000, Duration::from_secs(6));
    let limit = quota(rate, Duration::from_secs(1), rate);
    let all: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let instance = |a_second| {
            let server = &server;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(load(server, limit, a_second, time))
            })
        };
        let threads: Vec<_> = [5_000, 3_000, 2_000].map(instance).into_iter().collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (passed, made) = all.iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    let calls: u64 = server.calls("evalsha");
    let expected = u64::from(rate) * (time.as_secs() + 1);
    eprintln!("{passed} of {made} passed, {expected} expected, {calls} calls of the server");
    assert!(made > 55_000, "{made}");
    assert!(passed.abs_diff(expected) * 20 <= expected, "{passed}, {expected} expected");
    assert!(calls < made / 10, "{calls} calls for {made} requests");
}
