//! How late this machine wakes who sleeps: what a test adds to the time that it gives to others.
//!
//! A host that has other guests takes a processor away for some hundred milliseconds at a time, and
//! a machine that is busy with other tests keeps its own waiting. What was waited for then is
//! nobody's fault, and an answer "cannot tell" of who waited longer than a deadline is the right
//! one. It is measured where it happens, on every core, and counted only for the time in question.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How long a watch sleeps.
const NAP: Duration = Duration::from_millis(2);

/// What any wake-up may take.
const USUAL: Duration = Duration::from_millis(1);

/// One watch for each core, for as long as the process lives.
static WATCHES: OnceLock<Vec<Arc<Mutex<Watch>>>> = OnceLock::new();

/// What was seen on one core.
struct Watch {
    /// From when to when somebody slept who should have been awake; the first one first.
    late: Vec<(Instant, Instant)>,
    /// Everything before this moment has been seen.
    seen: Instant,
}

impl Watch {
    fn between(&self, from: Instant, until: Instant) -> Duration {
        let first = self.late.partition_point(|&(_, end)| end <= from);
        let within = self.late[first..].iter().take_while(|&&(begin, _)| begin < until);
        within.map(|&(begin, end)| end.min(until).saturating_duration_since(begin.max(from))).sum()
    }
}

/// Sees to it that everything from now on is watched.
pub(crate) fn watch() {
    WATCHES.get_or_init(|| {
        let cores = sched_getaffinity(None).expect("the cores of this process");
        (0..CpuSet::MAX_CPU).filter(|&core| cores.is_set(core)).map(watch_core).collect()
    });
}

fn watch_core(core: usize) -> Arc<Mutex<Watch>> {
    let watch = Arc::new(Mutex::new(Watch { late: Vec::new(), seen: Instant::now() }));
    let shared = Arc::clone(&watch);
    thread::spawn(move || {
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only).expect("a core of this process");
        let mut before = Instant::now();
        loop {
            thread::park_timeout(NAP);
            let now = Instant::now();
            let mut watch = lock(&shared);
            if now > before + NAP + USUAL {
                watch.late.push((before + NAP, now));
            }
            watch.seen = now;
            before = now;
        }
    });
    watch
}

/// How long the machine kept somebody waiting in this time: the sum over its cores, because who is
/// waited for may wait in turn.
pub(crate) fn between(from: Instant, until: Instant) -> Duration {
    watch();
    let watches = WATCHES.get().map(Vec::as_slice).unwrap_or_default();
    // A core that is away just now has not told of it yet.
    while watches.iter().any(|watch| lock(watch).seen < until.min(Instant::now())) {
        thread::park_timeout(NAP);
    }
    watches.iter().map(|watch| lock(watch).between(from, until)).sum()
}

/// What a moment that was due in this time may be late: a fixed part for a few round trips, and
/// what the machine was.
pub(crate) fn slack(from: Instant, until: Instant) -> Duration {
    Duration::from_millis(250) + between(from, until)
}

/// Whether the machine kept who asked in this time waiting for so long that "cannot tell" is the
/// right answer: for half the time that a look-up has, by default, then or within what is usually
/// the lease here.
pub(crate) fn is_held_up(began: Instant, ended: Instant) -> bool {
    const BEFORE: Duration = Duration::from_millis(500);
    const LONG: Duration = Duration::from_millis(125);
    between(began.checked_sub(BEFORE).unwrap_or(began), ended) >= LONG
}

/// The status of an answer; if that is "cannot tell" because the machine was late, of another one.
/// Five times at most.
pub(crate) fn unless_held_up(mut ask: impl FnMut() -> u16) -> u16 {
    let mut left = 5;
    loop {
        let began = Instant::now();
        let status = ask();
        left -= 1;
        if status != 503 || left == 0 || !is_held_up(began, Instant::now()) {
            return status;
        }
    }
}

/// Whether this time is over since `began`, and as much more as the machine was late in it, four
/// times of it at most.
pub(crate) fn is_over(began: Instant, time: Duration) -> bool {
    let elapsed = began.elapsed();
    elapsed >= 4 * time || elapsed >= time && elapsed >= time + between(began, began + elapsed)
}

/// Lets this time pass, and as much more as the machine was late in it.
pub(crate) fn pass(time: Duration) {
    let began = Instant::now();
    thread::sleep(time);
    while !is_over(began, time) {
        thread::sleep(NAP);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
