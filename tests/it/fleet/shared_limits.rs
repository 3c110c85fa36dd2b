//! Limits that the instances of a fleet share: what passes is the limit, however the requests are
//! shared out and however many they are.

use std::time::{Duration, Instant};

use super::raw_client::get;
use super::{Fleet, with_long_timeouts};
use crate::support::redis::RedisServer;
use crate::support::{TestUser, eventually, json};

/// How many requests are sent before the answers are read.
const BATCH: usize = 20;

/// What a load has met.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    allowed: u64,
    refused: u64,
    took: Duration,
}

impl Seen {
    fn offered_a_second(&self) -> f64 {
        (self.allowed + self.refused) as f64 / self.took.as_secs_f64()
    }

    /// What passed is what came in that time, and a burst.
    #[track_caller]
    fn assert_is_exact(&self, rate: f64, burst: f64) {
        let expected = rate * self.took.as_secs_f64() + burst;
        let off = (self.allowed as f64 - expected) / expected * 100.0;
        eprintln!(
            "{:.0}/s offered for {:.1?}, {} allowed, {expected:.0} expected: {off:+.2} %",
            self.offered_a_second(),
            self.took,
            self.allowed,
        );
        assert!(self.offered_a_second() > 1.5 * rate, "too few requests to say anything: {self:?}");
        assert!(off.abs() <= 5.0, "{off:+.2} %: {self:?}, {expected:.0} expected");
    }
}

/// Three instances with a limit for each token on a route.
fn fleet(redis: &RedisServer, limit: &str) -> Fleet {
    let url = redis.url();
    Fleet::start_with(&[url.as_str(); 3], |plan| {
        with_long_timeouts(plan).route(&format!(
            "path = \"/limited/{{*rest}}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]\n\
             rate_limits = [{limit}]"
        ))
    })
}

/// Requests with one token for a while, at `offered` a second altogether, from a client of each
/// instance in these shares of 100.
fn load(fleet: &Fleet, token: &str, time: Duration, offered: f64, shares: [u32; 3]) -> Seen {
    let batch = get_limited(token).repeat(BATCH);
    let began = Instant::now();
    let seen = std::thread::scope(|scope| {
        let clients = shares.into_iter().enumerate().filter(|&(_, share)| share > 0);
        let clients: Vec<_> = clients
            .map(|(instance, share)| {
                let (mut client, batch) = (fleet.client(instance), &batch);
                let every = BATCH as f64 / (offered * f64::from(share) / 100.0);
                scope.spawn(move || {
                    let mut seen = Seen::default();
                    let mut due = Duration::ZERO;
                    while began.elapsed() < time {
                        // Not ahead of the rate; and where the machine was too slow for it, what it
                        // missed is not offered afterwards.
                        if let Some(early) = due.checked_sub(began.elapsed()) {
                            std::thread::park_timeout(early);
                            continue;
                        }
                        due = began.elapsed() + Duration::from_secs_f64(every);
                        client.send(batch.as_bytes()).expect("sent");
                        for _ in 0..BATCH {
                            let answer = client.read_answer().expect("an answer");
                            match answer.status {
                                200 => seen.allowed += 1,
                                429 if answer.has_retry_after => seen.refused += 1,
                                other => panic!("{other}"),
                            }
                        }
                    }
                    seen
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).fold(
            Seen::default(),
            |all, one| Seen {
                allowed: all.allowed + one.allowed,
                refused: all.refused + one.refused,
                took: all.took,
            },
        )
    });
    Seen { took: began.elapsed(), ..seen }
}

fn get_limited(token: &str) -> String {
    get(token).replace("/private/", "/limited/")
}

/// A limit, a load, and the same limit under loads that are shared out otherwise.
fn is_exact(rate: u32, offered: f64, time: Duration) {
    let redis = RedisServer::start();
    let fleet = fleet(&redis, &format!("{{ per = \"token\", rate = \"{rate}/s\" }}"));
    let root = fleet.root();
    for shares in [[34, 33, 33], [90, 8, 2]] {
        let token = fleet.mint(0, &root).token;
        let seen = load(&fleet, &token, time, offered, shares);
        seen.assert_is_exact(rate.into(), rate.into());
    }
}

#[test]
fn what_three_instances_let_pass_is_their_limit() {
    is_exact(400, 2_000.0, Duration::from_secs(6));
}

/// The long form: `make soak`.
#[test]
#[ignore = "takes a minute and the whole machine: make soak"]
fn soak_what_three_instances_let_pass_is_their_limit_at_10000_requests_a_second() {
    is_exact(3_000, 10_000.0, Duration::from_secs(20));
}

#[test]
fn a_low_limit_is_exact_to_the_request_over_all_instances() {
    let redis = RedisServer::start();
    let fleet = fleet(&redis, "{ per = \"token\", rate = \"5/h\", burst = 5 }");
    let token = fleet.mint(0, &fleet.root()).token;
    let mut clients = fleet.clients();
    let mut allowed = 0;
    for number in 0..60 {
        let answer = clients[number % 3].ask(get_limited(&token).as_bytes()).expect("an answer");
        match answer.status {
            200 => allowed += 1,
            status => assert_eq!((status, answer.has_retry_after), (429, true)),
        }
    }
    assert_eq!(allowed, 5);
}

/// As after a step of Redis' clock: what the counters say is an hour ahead of it.
#[test]
fn after_the_clock_of_redis_was_set_back_permits_come_back_as_before() {
    let redis = RedisServer::start();
    let fleet = fleet(&redis, "{ per = \"token\", rate = \"2/s\", burst = 2 }");
    let token = fleet.mint(0, &fleet.root()).token;
    let mut client = fleet.client(0);
    let mut status = || client.ask(get_limited(&token).as_bytes()).expect("an answer").status;
    assert!(eventually(|| status() == 429));
    let step = "for _, key in ipairs(redis.call('KEYS', '*:l:*')) do \
                redis.call('HINCRBY', key, 't', 3600000000) \
                redis.call('PEXPIRE', key, 3600000) end return #redis.call('KEYS', '*:l:*')";
    assert_eq!(redis.command(&["EVAL", step, "0"]).integer(), 1);
    assert!(eventually(|| status() == 200), "nobody is served until the clock is there again");
}

#[test]
fn the_limits_of_a_key_hold_over_all_instances() {
    let redis = RedisServer::start();
    let fleet = fleet(&redis, "{ per = \"token\", rate = \"1000/s\" }");
    let root = fleet.root();
    let api = fleet.worlds[0].api(TestUser::ALICE);
    let made = json(&api.issue(&root, r#"{"limits":{"rate":"3/h","burst":3}}"#));
    let token = made["data"]["token"].as_str().expect("a token").to_owned();
    let mut clients = fleet.clients();
    let statuses: Vec<u16> = (0..30)
        .map(|number| {
            clients[number % 3].ask(get_limited(&token).as_bytes()).expect("an answer").status
        })
        .collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 3, "{statuses:?}");
    assert!(statuses[10..].iter().all(|&status| status == 429), "{statuses:?}");
}

#[test]
fn without_redis_each_instance_keeps_the_limit_by_itself_and_answers_at_once() {
    let mut redis = RedisServer::start();
    let url = redis.url();
    let fleet = Fleet::start_with(&[url.as_str(); 3], |plan| {
        ["a", "b", "c"].into_iter().fold(plan, |plan, name| {
            plan.route(&format!(
                "path = \"/{name}/{{*rest}}\"\nupstream = \"app\"\npublic = true\n\
                 rate_limits = [{{ per = \"route\", rate = \"6/h\", burst = 6 }}]"
            ))
        })
    });
    let allowed = |name: &str, instance: usize| {
        let request = format!("GET /{name}/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let mut client = fleet.client(instance);
        let mut ask = || client.ask(request.as_bytes()).expect("an answer").status;
        (0..20).filter(|_| ask() == 200).count()
    };
    let all = |name: &str| (0..3).map(|instance| allowed(name, instance)).collect::<Vec<_>>();
    assert_eq!(all("a").iter().sum::<usize>(), 6, "all together");
    redis.kill();
    let began = Instant::now();
    assert_eq!(all("b"), [6, 6, 6], "each by itself");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let words = "the counters of shared limits cannot be asked";
    for world in &fleet.worlds {
        assert_eq!(world.output().matches(words).count(), 1, "said once");
    }
    redis.restart();
    assert!(eventually(|| fleet.are_ready()));
    // Another limit, as nothing is known of it.
    assert!(eventually(|| {
        all("c");
        fleet.worlds.iter().all(|world| world.output().contains("counted for the fleet again"))
    }));
}
