//! Many clients on three instances, tokens that come and go, and faults: no success begins after a revoke's answer.
//!
//! What is checked of each answer, with the moments taken on one clock:
//!
//! * a success whose request began after the answer of the token's revocation is a violation, whatever was broken meanwhile;
//! * so is a refusal of a token that was issued, that nobody has begun to revoke, and that FLUSHDB has not taken;
//! * so is an answer with another's identity, an answer that is neither yes, no nor "cannot tell", and none at all.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::line::{Heard, Line, Silence};
use super::{Fleet, LEASE, Lateness, percentiles};
use crate::support::redis::{RedisServer, wait_until};
use crate::support::{Person, Random, Relay, Way, eventually};

const CLIENTS: usize = 64;
/// Tokens that an owner keeps in use at a time, dead ones among them.
const SLOTS: usize = 6;

const OWNERS: [Person; 8] = [
    Person::user("lin|0", "lin0"),
    Person::user("lin|1", "lin1"),
    Person::user("lin|2", "lin2"),
    Person::user("lin|3", "lin3"),
    Person::user("lin|4", "lin4"),
    Person::user("lin|5", "lin5"),
    Person::user("lin|6", "lin6"),
    Person::user("lin|7", "lin7"),
];

/// What happened to one token. Moments are nanoseconds since the history began, 0: not yet.
struct Entry {
    token: String,
    jti: String,
    issue_began: u64,
    issued: u64,
    revoke_began: AtomicU64,
    revoked: AtomicU64,
}

/// What is known of all tokens.
pub(super) struct History {
    origin: Instant,
    slots: Vec<RwLock<Option<Arc<Entry>>>>,
    /// The latest FLUSHDB: when it began and when it was answered, `u64::MAX` as long as it was not.
    flush_began: AtomicU64,
    flushed: AtomicU64,
    requests: AtomicUsize,
    successes: AtomicUsize,
    cannot_tell: AtomicUsize,
    revocations: AtomicUsize,
    /// How long revocations took that were answered while nothing was broken.
    healthy: Mutex<Vec<Duration>>,
    is_healthy: AtomicBool,
    /// Successes of tokens that FLUSHDB took, and how long after its answer they began.
    outlived: Mutex<Vec<Duration>>,
    violations: Mutex<Vec<String>>,
    faults: Mutex<Vec<(u64, String)>>,
    stop: AtomicBool,
}

impl History {
    fn new() -> Self {
        Self {
            origin: Instant::now(),
            slots: (0..OWNERS.len() * SLOTS).map(|_| RwLock::new(None)).collect(),
            flush_began: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            successes: AtomicUsize::new(0),
            cannot_tell: AtomicUsize::new(0),
            revocations: AtomicUsize::new(0),
            healthy: Mutex::default(),
            is_healthy: AtomicBool::new(true),
            outlived: Mutex::default(),
            violations: Mutex::default(),
            faults: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// Runs something that breaks things, and notes it.
    pub(super) fn during(&self, fault: &str, trouble: impl FnOnce()) {
        self.faults.lock().unwrap().push((self.now(), fault.to_owned()));
        self.is_healthy.store(false, Ordering::SeqCst);
        trouble();
        self.is_healthy.store(true, Ordering::SeqCst);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn entry(&self, slot: usize) -> Option<Arc<Entry>> {
        self.slots[slot].read().unwrap().clone()
    }

    /// Whether FLUSHDB may have taken what was issued from then on.
    fn may_be_flushed(&self, issue_began: u64) -> bool {
        issue_began <= self.flushed.load(Ordering::SeqCst)
    }

    fn violation(&self, words: String) {
        let now = Duration::from_nanos(self.now());
        self.violations.lock().unwrap().push(format!("at {now:?}: {words}"));
    }

    /// Holds an answer to a request that began then against what is known.
    fn judge(&self, instance: usize, entry: &Entry, began: u64, heard: Result<Heard, Silence>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let ended = self.now();
        let moments = || {
            let at = |nanos: u64| Duration::from_nanos(nanos);
            format!(
                "{} on instance {instance}, begun {:?}, ended {:?}, issue begun {:?}, revoke begun {:?}, answered {:?}",
                entry.jti,
                at(began),
                at(ended),
                at(entry.issue_began),
                at(entry.revoke_began.load(Ordering::SeqCst)),
                at(entry.revoked.load(Ordering::SeqCst)),
            )
        };
        match heard {
            Ok(Heard { status: 200, body, .. }) => {
                self.successes.fetch_add(1, Ordering::Relaxed);
                let revoked = entry.revoked.load(Ordering::SeqCst);
                if revoked != 0 && began > revoked {
                    self.violation(format!("a success after the revocation was answered: {}", moments()));
                }
                if body != entry.jti.as_bytes() {
                    let other = String::from_utf8_lossy(&body).into_owned();
                    self.violation(format!("the identity of another, {other}: {}", moments()));
                }
                let (flush_began, flushed) =
                    (self.flush_began.load(Ordering::SeqCst), self.flushed.load(Ordering::SeqCst));
                // What was issued while it was flushed may or may not be there.
                if began > flushed && entry.issued < flush_began {
                    self.outlived.lock().unwrap().push(Duration::from_nanos(began - flushed));
                }
            }
            Ok(Heard { status: 401, .. }) => {
                let is_being_revoked = entry.revoke_began.load(Ordering::SeqCst) != 0;
                if !is_being_revoked && !self.may_be_flushed(entry.issue_began) {
                    self.violation(format!("a good token was refused: {}", moments()));
                }
            }
            Ok(Heard { status: 503, has_retry_after: true, .. }) => {
                self.cannot_tell.fetch_add(1, Ordering::Relaxed);
            }
            other => self.violation(format!("{other:?}: {}", moments())),
        }
    }
}

/// Uses tokens through random instances.
fn use_tokens(history: &History, fleet: &Fleet, mut random: Random) {
    let mut lines = fleet.lines();
    while !history.is_over() {
        let instance = random.below(lines.len());
        if let Some(entry) = history.entry(random.below(history.slots.len())) {
            let began = history.now();
            let heard = lines[instance].get(&entry.token);
            history.judge(instance, &entry, began, heard);
        }
        // As people do: not all at once.
        std::thread::park_timeout(Duration::from_millis(10 + random.below(30) as u64));
    }
}

/// One who issues tokens and revokes them, one after the other, through random instances.
struct Owner<'h> {
    history: &'h History,
    fleet: &'h Fleet,
    person: Person,
    slots: Vec<usize>,
    lines: Vec<Line>,
    random: Random,
    root: String,
    root_made: u64,
}

impl Owner<'_> {
    fn new_root(&mut self) {
        self.root_made = self.history.now();
        self.root = self.fleet.worlds[0].bootstrap(self.person, 1_000_000);
    }

    fn any_line(&mut self) -> &mut Line {
        let instance = self.random.below(self.lines.len());
        &mut self.lines[instance]
    }

    fn work(&mut self) {
        while !self.history.is_over() {
            let slot = self.slots[self.random.below(SLOTS)];
            match self.history.entry(slot) {
                Some(entry) if entry.revoke_began.load(Ordering::SeqCst) == 0 => {
                    if self.random.below(12) == 0 {
                        self.revoke_all();
                    } else {
                        self.revoke(&entry);
                    }
                }
                _ => self.issue(slot),
            }
        }
    }

    fn issue(&mut self, slot: usize) {
        let issue_began = self.history.now();
        let (person, root) = (self.person, self.root.clone());
        match self.any_line().call(person, "POST", "/auth/issue-token", &root) {
            Ok(Heard { status: 200, body, .. }) => {
                let answer: serde_json::Value = serde_json::from_slice(&body).expect("an answer is JSON");
                let text = |key: &str| answer["data"][key].as_str().expect("a string").to_owned();
                let entry = Entry {
                    token: text("token"),
                    jti: text("jti"),
                    issue_began,
                    issued: self.history.now(),
                    revoke_began: AtomicU64::new(0),
                    revoked: AtomicU64::new(0),
                };
                *self.history.slots[slot].write().unwrap() = Some(Arc::new(entry));
            }
            Ok(Heard { status: 401, .. }) if self.history.may_be_flushed(self.root_made) => {
                if self.history.flushed.load(Ordering::SeqCst) != u64::MAX && self.is_calm() {
                    self.new_root();
                }
            }
            Ok(Heard { status: 503, has_retry_after: true, .. }) => {}
            other => self.history.violation(format!("issue: {other:?}")),
        }
    }

    /// The command needs a store that answers.
    fn is_calm(&self) -> bool {
        self.history.is_healthy.load(Ordering::SeqCst)
    }

    /// Revokes one token, and asks until it is answered.
    fn revoke(&mut self, entry: &Entry) {
        entry.revoke_began.store(self.history.now(), Ordering::SeqCst);
        let person = self.person;
        let mut by_itself = self.random.below(2) == 0;
        let by_id = format!("/auth/revoke/{}", entry.jti);
        loop {
            let healthy = self.is_calm();
            let asked = Instant::now();
            let heard = if by_itself {
                self.any_line().call(person, "POST", "/auth/revoke", &entry.token)
            } else {
                let root = self.root.clone();
                self.any_line().call(person, "POST", &by_id, &root)
            };
            match heard {
                Ok(Heard { status: 200, .. }) => {
                    entry.revoked.store(self.history.now(), Ordering::SeqCst);
                    if healthy && self.is_calm() {
                        self.history.healthy.lock().unwrap().push(asked.elapsed());
                    }
                    self.history.revocations.fetch_add(1, Ordering::SeqCst);
                    return self.ask_everywhere(entry);
                }
                Ok(Heard { status: 503, has_retry_after: true, .. }) => {
                    // It may have taken effect, so it cannot speak for itself any more.
                    by_itself = false;
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Ok(Heard { status: 401, .. }) => {
                    let credential = if by_itself { entry.issue_began } else { self.root_made };
                    if !self.history.may_be_flushed(credential) {
                        self.history.violation(format!("revoke of {}: refused, by itself: {by_itself}", entry.jti));
                    }
                    return;
                }
                other => return self.history.violation(format!("revoke of {}: {other:?}", entry.jti)),
            }
            if self.history.is_over() {
                return;
            }
        }
    }

    fn revoke_all(&mut self) {
        let live: Vec<Arc<Entry>> = self.slots.iter().filter_map(|&slot| self.history.entry(slot)).collect();
        let live: Vec<_> = live.into_iter().filter(|entry| entry.revoke_began.load(Ordering::SeqCst) == 0).collect();
        for entry in &live {
            entry.revoke_began.store(self.history.now(), Ordering::SeqCst);
        }
        loop {
            let (person, root) = (self.person, self.root.clone());
            match self.any_line().call(person, "POST", "/auth/revoke-all", &root) {
                Ok(Heard { status: 200, .. }) => {
                    for entry in &live {
                        entry.revoked.store(self.history.now(), Ordering::SeqCst);
                    }
                    self.history.revocations.fetch_add(live.len(), Ordering::SeqCst);
                    live.iter().for_each(|entry| self.ask_everywhere(entry));
                    return;
                }
                Ok(Heard { status: 503, has_retry_after: true, .. }) => {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Ok(Heard { status: 401, .. }) if self.history.may_be_flushed(self.root_made) => return,
                other => return self.history.violation(format!("revoke-all: {other:?}")),
            }
            if self.history.is_over() {
                return;
            }
        }
    }

    /// The very next requests, on every instance.
    fn ask_everywhere(&mut self, entry: &Entry) {
        for instance in 0..self.lines.len() {
            if self.history.is_over() {
                return;
            }
            let began = self.history.now();
            let heard = self.lines[instance].get(&entry.token);
            self.history.judge(instance, entry, began, heard);
        }
    }
}

/// What may be broken in this run.
const FAULTS: [&str; 9] = [
    "instance stopped",
    "invalidation connections cut",
    "data connections cut",
    "Redis stopped",
    "Redis killed",
    "FLUSHDB",
    "network held",
    "network one-way",
    "network late",
];

fn break_things(
    history: &History,
    fleet: &Fleet,
    redis: &mut RedisServer,
    relay: &Relay,
    random: &mut Random,
    span: Duration,
) {
    let until = Instant::now() + span;
    let mut slowest = (Duration::ZERO, String::new());
    while Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(300 + random.below(400) as u64));
        let lasts = Duration::from_millis(100 + random.below(900) as u64);
        let fault = FAULTS[random.below(FAULTS.len())];
        history.faults.lock().unwrap().push((history.now(), format!("{fault} for {lasts:?}")));
        history.is_healthy.store(false, Ordering::SeqCst);
        match fault {
            "instance stopped" => {
                let world = &fleet.worlds[random.below(fleet.worlds.len())];
                world.signal(Signal::STOP);
                std::thread::park_timeout(lasts);
                world.signal(Signal::CONT);
            }
            "invalidation connections cut" => {
                redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            }
            "data connections cut" => {
                redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
            }
            "Redis stopped" => {
                redis.freeze();
                std::thread::park_timeout(lasts);
                redis.thaw();
            }
            "Redis killed" => {
                redis.kill();
                std::thread::park_timeout(lasts);
                redis.restart();
            }
            "FLUSHDB" => {
                history.flushed.store(u64::MAX, Ordering::SeqCst);
                history.flush_began.store(history.now(), Ordering::SeqCst);
                redis.command(&["FLUSHDB"]);
                history.flushed.store(history.now(), Ordering::SeqCst);
            }
            "network held" => relay.set_both(Way::Hold),
            "network one-way" if random.below(2) == 0 => relay.set(Way::Pass, Way::Swallow),
            "network one-way" => relay.set(Way::Swallow, Way::Pass),
            _ => relay.set_both(Way::Delay(Duration::from_millis(10 + random.below(90) as u64))),
        }
        if fault.starts_with("network") {
            std::thread::park_timeout(lasts);
            relay.mend();
            if fault == "network one-way" {
                // What was swallowed is missing for good: nothing sensible comes over these connections any more.
                relay.cut();
                relay.mend();
            }
        }
        let over = Instant::now();
        wait_until("every instance is ready again", || fleet.are_ready());
        let ready = format!("ready {:?} after {fault}", over.elapsed());
        slowest = slowest.max((over.elapsed(), ready));
        history.is_healthy.store(true, Ordering::SeqCst);
    }
    eprintln!("linearizability: the slowest to recover from: {}", slowest.1);
}

/// One run; returns how many revocations were answered.
fn run(random: &mut Random, span: Duration) -> usize {
    // What was acknowledged is to survive a kill.
    let mut redis = RedisServer::start_with("appendfsync always");
    let relay = Relay::start(redis.address());
    let (direct, relayed) = (redis.url(), format!("redis://{}", relay.address()));
    let fleet = Fleet::start_with(&[&direct, &direct, &relayed], |plan| plan);
    let mut faults = random.fork();
    drive(&fleet, CLIENTS, random, |history| break_things(history, &fleet, &mut redis, &relay, &mut faults, span))
}

/// Ends the work of all when it goes.
struct Stop<'h>(&'h History);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

/// Owners and clients at work for as long as `trouble` lasts, and then the judgement. Returns how many revocations were answered.
pub(super) fn drive(fleet: &Fleet, clients: usize, random: &mut Random, trouble: impl FnOnce(&History)) -> usize {
    let lateness = Lateness::watch();
    let history = History::new();
    std::thread::scope(|scope| {
        for (index, &person) in OWNERS.iter().enumerate() {
            let (history, random) = (&history, random.fork());
            scope.spawn(move || {
                let mut owner = Owner {
                    history,
                    fleet,
                    person,
                    slots: (index * SLOTS..(index + 1) * SLOTS).collect(),
                    lines: fleet.lines(),
                    random,
                    root: String::new(),
                    root_made: 0,
                };
                owner.new_root();
                owner.work();
            });
        }
        for _ in 0..clients {
            let (history, random) = (&history, random.fork());
            scope.spawn(move || use_tokens(history, fleet, random));
        }
        // Also if it panics: the others would go on for ever.
        let _stop = Stop(&history);
        trouble(&history);
    });

    // Nothing is broken any more: each token is what it should be, everywhere, and each instance can tell.
    for world in &fleet.worlds {
        assert!(eventually(|| world.status_with("forged") == 401 && world.ready() == Some(200)), "not ready");
    }
    for slot in 0..history.slots.len() {
        let Some(entry) = history.entry(slot) else { continue };
        let can_tell = |line: &mut Line| line.get(&entry.token).is_ok_and(|heard| heard.status != 503);
        assert!(fleet.lines().iter_mut().all(|line| eventually(|| can_tell(line))), "still cannot tell: {}", entry.jti);
    }
    for entry in (0..history.slots.len()).filter_map(|slot| history.entry(slot)) {
        for instance in 0..fleet.worlds.len() {
            let began = history.now();
            let heard = fleet.line(instance).get(&entry.token);
            history.judge(instance, &entry, began, heard);
        }
    }
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    let revocations = count(&history.revocations);
    eprintln!(
        "linearizability: {} requests, {} successes, {} times \"cannot tell\", {revocations} revocations",
        count(&history.requests),
        count(&history.successes),
        count(&history.cannot_tell),
    );
    let healthy = history.healthy.into_inner().unwrap();
    if !healthy.is_empty() {
        let (middle, most) = percentiles(healthy);
        eprintln!("linearizability: revocations while nothing was broken: p50 {middle:?}, p99 {most:?}");
    }
    let faults: Vec<String> = history
        .faults
        .into_inner()
        .unwrap()
        .into_iter()
        .map(|(at, fault)| format!("{:?} {fault}", Duration::from_nanos(at)))
        .collect();
    let violations = history.violations.into_inner().unwrap();
    assert!(
        violations.is_empty(),
        "{} violations, the first of them:\n{}\nfaults:\n{}",
        violations.len(),
        violations[..violations.len().min(10)].join("\n"),
        faults.join("\n")
    );
    let bound = LEASE + lateness.slack();
    let outlived = history.outlived.into_inner().unwrap().into_iter().max().unwrap_or_default();
    assert!(
        outlived < bound,
        "accepted {outlived:?} after FLUSHDB, allowed are {bound:?}; faults:\n{}",
        faults.join("\n")
    );
    revocations
}

#[test]
fn no_success_begins_after_the_answer_of_a_revocation_whatever_fails_meanwhile() {
    let mut random = Random::seeded("linearizability");
    let revocations = run(&mut random, Duration::from_secs(10));
    assert!(revocations >= 100, "only {revocations} revocations");
}

/// The long form: `make soak`.
#[test]
#[ignore = "takes minutes: make soak"]
fn soak_no_success_begins_after_the_answer_of_a_revocation() {
    let number =
        |name: &str, default: usize| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let wanted = number("KEYWARD_SOAK_REVOCATIONS", 10_000);
    let most_runs = number("KEYWARD_SOAK_RUNS", 20);
    let mut random = Random::seeded("linearizability");
    let (mut runs, mut revocations) = (0, 0);
    while runs < most_runs.min(3) || (revocations < wanted && runs < most_runs) {
        revocations += run(&mut random, Duration::from_secs(60));
        runs += 1;
        eprintln!("linearizability: {revocations} revocations in {runs} runs");
    }
    assert!(revocations >= wanted, "only {revocations} revocations in {runs} runs");
}
