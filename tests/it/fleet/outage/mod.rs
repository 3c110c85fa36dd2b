//! Redis away, stopped, slow, cut off, mad, full, empty or changed: what is let through meanwhile,
//! and what comes of it.

mod away;
mod refusing;
mod wrong;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::mix::{Footprint, Mix, Samples, Tokens};
use super::raw_client::{Answer, RawClient};
use super::{Fleet, LEASE, READ_TIMEOUT, STORE_TIMEOUT, millis};
use crate::support::redis::RedisServer;
use crate::support::{Issued, Plan, Relay, TestUser, eventually, lateness};

const ALICE: TestUser = TestUser::ALICE;

/// Full service is back this soon after the end of an outage.
const RECOVERY: Duration = Duration::from_secs(2);

/// How long it is then looked at.
const AFTERWARDS: Duration = Duration::from_millis(400);

/// One instance, its Redis, maybe a relay between them, and tokens of all classes.
struct OutageBench {
    redis: RedisServer,
    relay: Option<Relay>,
    fleet: Fleet,
    tokens: Arc<Tokens>,
    root: String,
    before: Footprint,
}

impl OutageBench {
    fn start(lines: &str, is_relayed: bool, change: impl Fn(Plan) -> Plan) -> Self {
        let redis = RedisServer::start_with(lines);
        let relay = is_relayed.then(|| Relay::start(redis.address()));
        let url = relay
            .as_ref()
            .map_or_else(|| redis.url(), |relay| format!("redis://{}", relay.address()));
        let fleet = Fleet::start_with(&[&url], change);
        let root = fleet.root();
        let tokens = Arc::new(Tokens::make(&fleet, &redis, &root, 120));
        let before = Footprint::of(&fleet.worlds[0]);
        Self { redis, relay, fleet, tokens, root, before }
    }

    fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("a relay")
    }

    fn mix(&self) -> Mix {
        Mix::start(&self.fleet, 0, &self.tokens)
    }

    fn book(&self) -> Book {
        Book::start(self.fleet.client(0), self.root.clone(), LEASE)
    }

    /// [`recover_within`](Self::recover_within) the usual time.
    fn recover(&mut self, mix: Mix, book: Option<Book>, over: Instant) -> Samples {
        self.recover_within(RECOVERY, mix, book, over)
    }

    /// Lets the load go on until full service must be back and a little longer, and holds it to
    /// what must hold after every outage. Returns what became of the requests.
    fn recover_within(
        &mut self,
        time: Duration,
        mix: Mix,
        book: Option<Book>,
        over: Instant,
    ) -> Samples {
        lateness::pass((over + time).saturating_duration_since(Instant::now()));
        let back = Instant::now();
        lateness::pass(AFTERWARDS);
        let book = book.map(Book::end);
        let samples = mix.end();
        eprintln!("{}", samples.summary());
        samples.hold(None);
        let late = samples.between(back, Instant::now()).not_served();
        assert!(
            late.is_empty(),
            "{} are not served {time:?} later: {:#?}",
            late.len(),
            late.first()
        );
        if let Some(book) = book {
            book.audit(&self.fleet);
        }
        assert!(!self.fleet.worlds[0].has_ended(), "the process died");
        let (before, world) = (self.before, &self.fleet.worlds[0]);
        assert!(
            eventually(|| Footprint::of(world).is_like(before)),
            "it holds {:?}, and held {before:?}",
            Footprint::of(world)
        );
        samples
    }
}

/// Issues and revokes meanwhile, and knows what was acknowledged.
struct Book {
    stop: Arc<AtomicBool>,
    work: JoinHandle<Acknowledged>,
}

#[derive(Default)]
struct Acknowledged {
    alive: Vec<Issued>,
    revoked: Vec<Issued>,
    refused: usize,
}

impl Book {
    /// `bound`: that of the fleet, for which a change may wait.
    fn start(mut client: RawClient, root: String, bound: Duration) -> Self {
        let most = STORE_TIMEOUT + bound + Duration::from_secs(2);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = std::thread::spawn(move || {
            let mut known = Acknowledged::default();
            while !stopped.load(Ordering::SeqCst) {
                let began = Instant::now();
                if known.alive.len() > 2 {
                    let victim = known.alive.remove(0);
                    let answer =
                        client.call(ALICE, "POST", &format!("/auth/revoke/{}", victim.jti), &root);
                    match answer.expect("an answer").status {
                        200 => known.revoked.push(victim),
                        // Either may be true of it now.
                        503 => known.refused += 1,
                        status => panic!("revoke: {status}"),
                    }
                } else {
                    match client.call(ALICE, "POST", "/auth/issue-token", &root).expect("an answer")
                    {
                        Answer { status: 200, body, .. } => {
                            let answer: serde_json::Value =
                                serde_json::from_slice(&body).expect("JSON");
                            let text = |key: &str| {
                                answer["data"][key].as_str().expect("a string").to_owned()
                            };
                            known.alive.push(Issued { token: text("token"), jti: text("jti") });
                        }
                        Answer { status: 503, has_retry_after: true, .. } => known.refused += 1,
                        other => panic!("issue: {other:?}"),
                    }
                }
                let (took, late) = (began.elapsed(), lateness::between(began, Instant::now()));
                // A change, and then at most the wait for the fleet.
                assert!(
                    took < most + late,
                    "a change took {took:?}, and the machine was late by {late:?}"
                );
                std::thread::park_timeout(Duration::from_millis(30));
            }
            known
        });
        Self { stop, work }
    }

    fn end(self) -> Acknowledged {
        self.stop.store(true, Ordering::SeqCst);
        self.work.join().expect("the book is kept")
    }
}

impl Acknowledged {
    /// What was acknowledged still holds.
    fn audit(&self, fleet: &Fleet) {
        eprintln!(
            "{} issued, {} revoked, {} refused",
            self.alive.len(),
            self.revoked.len(),
            self.refused
        );
        for issued in &self.alive {
            assert_eq!(
                fleet.status(0, &issued.token),
                200,
                "an acknowledged token is lost: {}",
                issued.jti
            );
        }
        for issued in &self.revoked {
            assert_eq!(
                fleet.status(0, &issued.token),
                401,
                "an acknowledged revocation is lost: {}",
                issued.jti
            );
        }
    }
}

/// Whether this is the long form, as RELIABILITY.md says it: `make soak`.
fn is_long() -> bool {
    std::env::var_os("KEYWARD_LONG").is_some()
}

fn serve_cached(plan: Plan, staleness: Duration) -> Plan {
    plan.set("store", "on_outage", "\"serve_cached\"").set(
        "store",
        "max_staleness",
        &millis(staleness),
    )
}

/// Lets time pass: that of a fault, not a wait for anything.
fn pass(time: Duration) {
    std::thread::sleep(time);
}

fn connections(redis: &RedisServer) -> u64 {
    let stats = redis.command(&["INFO", "stats"]).text();
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.and_then(|digits| digits.trim().parse().ok()).expect("a count")
}
