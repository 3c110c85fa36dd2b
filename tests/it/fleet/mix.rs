//! The background load of an outage: seven in ten requests with tokens that are remembered, one
//! with a good one that is new, one with a signed one that was never recorded, and the rest with
//! revoked and expired ones. And what must hold of every answer, whatever is broken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::raw_client::{Answer, NoAnswer, RawClient};
use super::{Fleet, STORE_TIMEOUT};
use crate::support::lateness::{self, is_held_up, unless_held_up};
use crate::support::redis::RedisServer;
use crate::support::{Issued, TestUser, World, eventually};

/// What a request's token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Good, and asked for all the time.
    Cached,
    /// Good, and asked for the first time.
    Fresh,
    /// Signed by us, and in no record.
    Unknown,
    Revoked,
    Expired,
}

impl Class {
    fn is_good(self) -> bool {
        matches!(self, Self::Cached | Self::Fresh)
    }
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) class: Class,
    pub(super) began: Instant,
    pub(super) took: Duration,
    pub(super) answer: Result<Answer, NoAnswer>,
    jti: String,
}

impl Sample {
    pub(super) fn status(&self) -> u16 {
        self.answer.as_ref().map_or(0, |answer| answer.status)
    }

    fn ended(&self) -> Instant {
        self.began + self.took
    }

    /// How long it took, but for what the machine was late.
    pub(super) fn took_by_itself(&self) -> Duration {
        self.took.saturating_sub(lateness::between(self.began, self.ended()))
    }

    /// Answered with this status, or kept from it by the machine.
    fn is_answered(&self, status: u16) -> bool {
        self.status() == status || self.status() == 503 && is_held_up(self.began, self.ended())
    }
}

/// Tokens of every class.
pub(super) struct Tokens {
    pub(super) cached: Vec<Issued>,
    fresh: Mutex<VecDeque<Issued>>,
    unknown: Vec<String>,
    revoked: Vec<Issued>,
    expired: Vec<String>,
}

/// Requests a second, in all.
const RATE: u32 = 200;
/// Clients that share them.
const LINES: u32 = 4;

impl Tokens {
    /// Made through the first instance of a fleet, and the unknown ones by an instance with the
    /// same keys that keeps its records elsewhere.
    pub(super) fn make(fleet: &Fleet, redis: &RedisServer, root: &str, fresh: usize) -> Self {
        let expired = (0..2).map(|_| expired(&fleet.worlds[0])).collect::<Vec<_>>();
        let mut client = fleet.client(0);
        let mut mint =
            |count: usize| -> Vec<Issued> { (0..count).map(|_| mint(&mut client, root)).collect() };
        let (cached, fresh, revoked) = (mint(20), mint(fresh), mint(5));
        for victim in &revoked {
            fleet.revoke(0, &victim.token);
        }
        let elsewhere = fleet.elsewhere(redis);
        let stranger = elsewhere.bootstrap(TestUser::ALICE, 100);
        let unknown =
            (0..10).map(|_| elsewhere.api(TestUser::ALICE).mint(&stranger).token).collect();
        // Until then they are good, but not for this.
        assert!(eventually(|| expired.iter().all(|token| fleet.status(0, token) == 401)));
        for good in &cached {
            fleet.warm(good);
        }
        Self { cached, fresh: Mutex::new(fresh.into()), unknown, revoked, expired }
    }
}

fn mint(client: &mut RawClient, root: &str) -> Issued {
    let mut answer = None;
    let status = unless_held_up(|| {
        answer
            .insert(
                client.call(TestUser::ALICE, "POST", "/auth/issue-token", root).expect("an answer"),
            )
            .status
    });
    let answer = answer.expect("one was asked");
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let text = |key: &str| answer["data"][key].as_str().expect("a string").to_owned();
    Issued { token: text("token"), jti: text("jti") }
}

/// One that is over in a second: the shortest life there is.
fn expired(world: &World) -> String {
    let person = TestUser::ALICE;
    let output = world.run(&[
        "bootstrap",
        "create",
        "--token-api",
        "jarvispy",
        "--sub",
        person.subject,
        "--username",
        person.username,
        "--organization",
        person.organization,
        "--role",
        person.role,
        "--expires-in",
        "1s",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a token is ASCII").trim().to_owned()
}

/// The load, running.
pub(super) struct Mix {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Sample>>>,
}

impl Mix {
    /// Asks one instance.
    pub(super) fn start(fleet: &Fleet, instance: usize, tokens: &Arc<Tokens>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..LINES)
            .map(|number| {
                let (stop, tokens, client) =
                    (Arc::clone(&stop), Arc::clone(tokens), fleet.client(instance));
                std::thread::spawn(move || ask(client, number, &tokens, &stop))
            })
            .collect();
        Self { stop, threads }
    }

    /// Ends the load, and says what became of it, the first request first. `root` of the fleet
    /// keeps what was asked for.
    pub(super) fn end(self) -> Samples {
        self.stop.store(true, Ordering::SeqCst);
        let mut all: Vec<Sample> = self
            .threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("the load ends"))
            .collect();
        all.sort_by_key(|sample| sample.began);
        Samples(all)
    }
}

fn ask(mut client: RawClient, number: u32, tokens: &Tokens, stop: &AtomicBool) -> Vec<Sample> {
    let mut samples = Vec::new();
    let begin = Instant::now() + number * Duration::from_secs(1) / RATE;
    for turn in 0_u32.. {
        let due = begin + turn * (Duration::from_secs(1) * LINES / RATE);
        // The rate, not a wait for anything.
        while let Some(left) =
            due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            std::thread::park_timeout(left);
        }
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let pick = (turn * LINES + number) as usize;
        let cached = &tokens.cached[pick % tokens.cached.len()];
        // Five in each class of a hundred, spread over the lines.
        let (class, token, jti) = match (pick * 37) % 100 {
            0..10 => match tokens.fresh.lock().unwrap().pop_front() {
                Some(fresh) => (Class::Fresh, fresh.token, fresh.jti),
                None => (Class::Cached, cached.token.clone(), cached.jti.clone()),
            },
            10..20 => {
                (Class::Unknown, tokens.unknown[pick % tokens.unknown.len()].clone(), String::new())
            }
            20..25 => (
                Class::Revoked,
                tokens.revoked[pick % tokens.revoked.len()].token.clone(),
                String::new(),
            ),
            25..30 => {
                (Class::Expired, tokens.expired[pick % tokens.expired.len()].clone(), String::new())
            }
            _ => (Class::Cached, cached.token.clone(), cached.jti.clone()),
        };
        let began = Instant::now();
        let answer = client.get(&token);
        samples.push(Sample {
            class,
            began,
            took: began.elapsed(),
            answer: answer.clone(),
            jti: jti.clone(),
        });
        if class == Class::Fresh && answer.is_ok_and(|answer| answer.status == 503) {
            // It has not been seen yet.
            tokens.fresh.lock().unwrap().push_back(Issued { token, jti });
        }
    }
    samples
}

/// What became of the requests of a run, in the order of their beginnings.
pub(super) struct Samples(pub(super) Vec<Sample>);

impl Samples {
    /// What began in this time.
    pub(super) fn between(&self, from: Instant, until: Instant) -> Self {
        Self(
            self.0
                .iter()
                .filter(|sample| sample.began >= from && sample.began < until)
                .cloned()
                .collect(),
        )
    }

    /// What was answered before this moment: what is still under way when a fault ends may be
    /// answered as if it had never been.
    pub(super) fn answered_by(&self, moment: Instant) -> Self {
        Self(self.0.iter().filter(|sample| sample.ended() <= moment).cloned().collect())
    }

    /// Those of a class.
    pub(super) fn of(&self, class: Class) -> Self {
        Self(self.0.iter().filter(|sample| sample.class == class).cloned().collect())
    }

    /// Those of the good ones, of which there must be some, that were not let through, although the
    /// machine was not late.
    pub(super) fn not_served(&self) -> Vec<String> {
        let good: Vec<_> = self.0.iter().filter(|sample| sample.class.is_good()).collect();
        assert!(!good.is_empty(), "no request was made");
        good.iter()
            .filter(|sample| !sample.is_answered(200))
            .map(|sample| format!("{sample:?}"))
            .collect()
    }

    /// Whether all were answered with this status that the machine did not keep from it.
    pub(super) fn are_answered(&self, status: u16) -> bool {
        self.0.iter().all(|sample| sample.is_answered(status))
    }

    pub(super) fn count(&self, status: u16) -> usize {
        self.0.iter().filter(|sample| sample.status() == status).count()
    }

    /// In words: how often each class got each status.
    pub(super) fn summary(&self) -> String {
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for sample in &self.0 {
            let what = match &sample.answer {
                Ok(answer) => answer.status.to_string(),
                Err(silence) => format!("{silence:?}"),
            };
            *counts.entry(format!("{:?} {what}", sample.class)).or_default() += 1;
        }
        format!("{counts:?}")
    }

    /// The invariants of every outage, of the answers: nothing passes that must not, nothing hangs,
    /// nothing is refused that is good, and no identity is taken for another. With `lost_from`,
    /// what was good may be refused from then on.
    pub(super) fn hold(&self, lost_from: Option<Instant>) {
        for sample in &self.0 {
            let status = sample.status();
            assert!(sample.answer.is_ok(), "no answer: {sample:?}");
            assert!(
                sample.took_by_itself() < STORE_TIMEOUT + Duration::from_secs(1),
                "it hung: {sample:?}"
            );
            let has_retry_after = sample.answer.as_ref().is_ok_and(|answer| answer.has_retry_after);
            match status {
                200 => {
                    assert!(sample.class.is_good(), "it must not pass: {sample:?}");
                    let body = sample
                        .answer
                        .as_ref()
                        .map(|answer| answer.body.clone())
                        .unwrap_or_default();
                    assert_eq!(body, sample.jti.as_bytes(), "taken for another: {sample:?}");
                }
                401 if sample.class.is_good() => {
                    let may_be_lost = lost_from.is_some_and(|lost| sample.ended() >= lost);
                    assert!(may_be_lost, "a good token was refused: {sample:?}");
                }
                401 => {}
                503 => assert!(has_retry_after, "no Retry-After: {sample:?}"),
                _ => panic!("neither yes, no nor cannot tell: {sample:?}"),
            }
        }
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footprint {
    pub(super) resident_kib: usize,
    pub(super) files: usize,
}

impl Footprint {
    pub(super) fn of(world: &World) -> Self {
        let process = format!("/proc/{}", world.pid().as_raw_nonzero());
        let status =
            std::fs::read_to_string(format!("{process}/status")).expect("our child's status");
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let files = std::fs::read_dir(format!("{process}/fd")).expect("our child's files").count();
        Self { resident_kib: resident.expect("a size"), files }
    }

    /// Back to what it was, give or take a tenth and what a busy allocator keeps.
    pub(super) fn is_like(self, before: Self) -> bool {
        self.resident_kib <= before.resident_kib * 11 / 10 + 16 * 1024
            && self.files <= before.files * 11 / 10 + 8
    }
}
