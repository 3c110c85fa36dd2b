//! How late this machine wakes a sleeping thread: tests add this to the times that they allow.
//!
//! A host with other guests takes a processor away for some hundred milliseconds at a time, and a
//! machine that runs other tests makes its threads wait. Such a pause is no fault of keyward, and
//! the answer "cannot tell" is right when a deadline passes in it. Pauses are measured on every
//! core, and counted only for the time in question.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How long a watch sleeps at a time.
const NAP: Duration = Duration::from_millis(2);

/// What any wake-up may take.
const USUAL: Duration = Duration::from_millis(1);

/// One watch for each core, for as long as the process lives.
static WATCHES: OnceLock<Vec<Arc<Mutex<Watch>>>> = OnceLock::new();

/// What was seen on one core.
struct Watch {
    /// The spans in which the watch slept and should have been awake, the earliest first.
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

/// Starts the watches, if they do not run yet.
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

/// For how long the machine made threads wait in this time: the sum over its cores, because the
/// thread that is waited for may have waited, too.
pub(crate) fn between(from: Instant, until: Instant) -> Duration {
    watch();
    let watches = WATCHES.get().map(Vec::as_slice).unwrap_or_default();
    // A core that is taken away at this moment has not recorded it yet.
    while watches.iter().any(|watch| lock(watch).seen < until.min(Instant::now())) {
        thread::park_timeout(NAP);
    }
    watches.iter().map(|watch| lock(watch).between(from, until)).sum()
}

/// How late an event may be that was due in this time: a fixed part for a few round trips, and the
/// lateness of the machine.
pub(crate) fn slack(from: Instant, until: Instant) -> Duration {
    Duration::from_millis(250) + between(from, until)
}

/// Whether the machine was so late that "cannot tell" is the right answer to a request of this
/// time: by half the time that a look-up has by default, in this time or in the usual lease of the
/// tests before it.
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

/// Whether this time has passed since `began`, and as much more as the machine was late in it. The
/// sum is at most four times this time.
pub(crate) fn is_over(began: Instant, time: Duration) -> bool {
    let elapsed = began.elapsed();
    elapsed >= 4 * time || elapsed >= time && elapsed >= time + between(began, began + elapsed)
}

/// Lets this time pass, and as much more as the machine was late in it.
pub(crate) fn pass(time: Duration) {
    let began = Instant::now();
    // The caller waits for a timeout of keyward, which nothing signals.
    thread::sleep(time);
    while !is_over(began, time) {
        thread::park_timeout(NAP);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
