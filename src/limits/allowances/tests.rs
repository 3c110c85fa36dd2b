//! Calls of counters, their failures, and the requests that wait for them.

use std::collections::VecDeque;

use super::*;
use crate::limits::{CountersFuture, LimitId};

/// Answers as it was told to; hangs when it was told nothing.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Result<u32, CountersError>>>,
    wanted: Mutex<Vec<u32>>,
}

impl SharedCounters for Scripted {
    fn take(&self, _: CounterKey, _: Quota, wanted: NonZeroU32) -> CountersFuture<Grant> {
        self.wanted.lock().unwrap().push(wanted.get());
        let Some(answer) = self.answers.lock().unwrap().pop_front() else {
            return Box::pin(std::future::pending());
        };
        let hour = Duration::from_secs(3600);
        Box::pin(async move {
            answer.map(|granted| Grant {
                granted,
                remaining: 0,
                next_after: hour,
                full_after: hour,
            })
        })
    }
}

struct Bench {
    counters: Arc<Scripted>,
    allowances: Arc<Allowances>,
}

impl Bench {
    fn new(answers: impl IntoIterator<Item = Result<u32, CountersError>>) -> Self {
        let counters = Arc::new(Scripted {
            answers: Mutex::new(answers.into_iter().collect()),
            ..Default::default()
        });
        let allowances = Allowances::new(FleetCounters::new(counters.clone()), 10);
        Self { counters, allowances }
    }

    fn judge(&self, at: Uptime) -> Judged {
        let hour = Duration::from_secs(3600);
        let five = NonZeroU32::new(5).unwrap();
        let quota = Quota { count: five, period: hour, burst: five };
        self.allowances.judge(CounterKey::route(LimitId::of(&["limit"])), quota, at)
    }

    async fn is_allowed(&self, at: Uptime) -> bool {
        match self.judge(at) {
            Judged::Now(verdict) => verdict.is_allowed,
            Judged::Later(pending) => pending.verdict().await.is_allowed,
        }
    }

    fn calls(&self) -> usize {
        self.counters.wanted.lock().unwrap().len()
    }
}

const NOW: Uptime = Uptime::from_nanos(1_000_000_000);

fn away() -> CountersError {
    CountersError::Unavailable("away".into())
}

#[tokio::test]
async fn a_request_that_waits_gets_its_permit_and_a_refusal_is_remembered() {
    let bench = Bench::new([Ok(1), Ok(0)]);
    assert!(bench.is_allowed(NOW).await);
    assert!(!bench.is_allowed(NOW).await);
    for _ in 0..1000 {
        let Judged::Now(verdict) = bench.judge(NOW.after(Duration::from_secs(60))) else {
            panic!("it is remembered")
        };
        assert!(!verdict.is_allowed && verdict.next_after > Duration::from_secs(3000));
    }
    assert_eq!(bench.calls(), 2);
}

#[tokio::test]
async fn many_that_wait_ask_once_for_all() {
    let bench = Bench::new([Ok(1), Ok(4)]);
    let waiting: Vec<_> = (0..5).map(|_| bench.judge(NOW)).collect();
    for judged in waiting {
        let Judged::Later(pending) = judged else { panic!("nothing is known yet") };
        assert!(pending.verdict().await.is_allowed);
    }
    assert_eq!(*bench.counters.wanted.lock().unwrap(), [1, 4]);
}

#[tokio::test]
async fn a_request_waits_a_bounded_time_for_counters_that_hang() {
    let bench = Bench::new([]);
    let begun = Instant::now();
    assert!(bench.is_allowed(NOW).await, "this instance has let none pass yet");
    assert!(begun.elapsed() >= WAIT && bench.calls() == 1);
}

#[tokio::test]
async fn an_outage_is_noticed_by_the_first_call_and_over_with_the_next_that_is_answered() {
    let bench = Bench::new([Err(away()), Err(away()), Ok(1), Ok(0)]);
    assert!(bench.is_allowed(NOW).await);
    let now = |bench: &Bench, at| match bench.judge(at) {
        Judged::Now(verdict) => verdict.is_allowed,
        Judged::Later(_) => panic!("no request waits in an outage"),
    };
    // Five by itself, one of which has passed, at a moment that was a little later.
    let mut alone = (0..10).filter(|_| now(&bench, NOW)).count();
    assert_eq!(bench.calls(), 1);
    let mut later = NOW;
    while bench.calls() < 3 {
        later = later.after(TRY_EVERY);
        alone += usize::from(now(&bench, later));
        tokio::task::yield_now().await;
    }
    assert!((3..=4).contains(&alone), "{alone}");
    while !matches!(bench.allowances.fleet.outage.reach(later), Reach::There) {
        tokio::task::yield_now().await;
    }
    assert!(!bench.is_allowed(later).await, "what passed meanwhile is owed");
}

#[tokio::test]
async fn one_late_answer_is_no_outage_and_two_are() {
    let bench = Bench::new([Err(CountersError::TimedOut), Err(CountersError::TimedOut)]);
    for is_on in [false, true] {
        let Judged::Later(pending) = bench.judge(NOW) else { panic!("it asks") };
        while bench.allowances.fleet.calls.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.allowances.fleet.outage.is_on.load(Ordering::Relaxed), is_on);
        drop(pending);
    }
}

#[tokio::test]
async fn a_request_that_goes_away_holds_nothing_up() {
    let bench = Bench::new([Ok(1), Ok(1)]);
    let Judged::Later(pending) = bench.judge(NOW) else { panic!("it asks") };
    drop(pending);
    assert!(bench.is_allowed(NOW).await, "by the permit that was asked for");
    assert!(bench.is_allowed(NOW).await);
    assert_eq!(bench.calls(), 2);
}

#[test]
fn a_call_that_ends_with_its_runtime_is_over() {
    let bench = Bench::new([]);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let judged = first.block_on(async { bench.judge(NOW) });
    drop(first);
    drop(judged);
    assert_eq!(bench.allowances.fleet.calls.load(Ordering::Relaxed), 0);
    bench.counters.answers.lock().unwrap().push_back(Ok(1));
    assert!(runtime().block_on(bench.is_allowed(NOW)));
}

#[tokio::test]
async fn a_permit_that_is_given_back_is_there_for_the_next_request() {
    let bench = Bench::new([Ok(1), Ok(0)]);
    assert!(bench.is_allowed(NOW).await);
    let hour = Duration::from_secs(3600);
    let five = NonZeroU32::new(5).unwrap();
    let quota = Quota { count: five, period: hour, burst: five };
    bench.allowances.give_back(&CounterKey::route(LimitId::of(&["limit"])), &quota);
    assert!(matches!(bench.judge(NOW), Judged::Now(verdict) if verdict.is_allowed));
    assert_eq!(bench.calls(), 1);
    assert!(!bench.is_allowed(NOW).await);
}
