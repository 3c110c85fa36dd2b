//! Floods, each bounded in count and time: others are served meanwhile, memory is bounded, and the
//! connection that floods ends or is held within limits.

mod fields;
mod frames;
mod stalls;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::sentinel;
use crate::hostile::HostileWorld;
use crate::support::h2::{Connection, State};
use crate::support::lateness::slack;
use crate::support::{Plan, Upstream};

/// What one connection may cost, and everything else that happens meanwhile: 100 streams with what
/// is buffered for each, in a build that is not optimised.
const MOST_MEMORY: usize = 64 << 20;

/// How long a client may take to get an answer on a new connection while another client floods.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

/// A peer that does not take bytes for so long has stopped reading, which is one way to hold a
/// flood.
const STOPPED: Duration = Duration::from_secs(2);

/// What has stopped is cut after 2 s in these tests; how much later at most.
const CUT_WITHIN: Duration = Duration::from_secs(12);

/// Plays one flood.
type Attack = fn(&HostileWorld) -> Result<(), String>;

const FLOODS: [(&str, Attack); 22] = [
    ("rapid resets", frames::rapid_resets),
    ("resets of streams that were accepted", frames::slow_resets),
    ("resets that the server is made to send (MadeYouReset)", frames::made_resets),
    ("header blocks without a field", fields::empty_blocks),
    ("CONTINUATION without an end", fields::continuations),
    ("empty CONTINUATION", fields::empty_continuations),
    ("empty DATA", frames::empty_data),
    ("SETTINGS whose acknowledgements are not read", frames::unread_settings),
    ("PING whose answers are not read", frames::unread_pings),
    ("PRIORITY of a million streams", frames::priorities),
    ("WINDOW_UPDATE by a byte", frames::window_updates),
    ("unknown frames", frames::unknown_frames),
    ("fields without a name", fields::nameless_fields),
    ("references to one large field", fields::large_references),
    ("references to one crumb", fields::crumbs),
    ("more streams than allowed", frames::many_streams),
    ("a window that is never given", stalls::starved_windows),
    ("a huge window that is never read", stalls::unread_responses),
    ("a preface that stops", stalls::stopped_prefaces),
    ("a head that drips", stalls::dripping_head),
    ("a body that stops", stalls::stopped_body),
    ("a body beyond its window", stalls::beyond_the_window),
];

/// The names, for the count of the corpus.
pub(super) const NAMES: [&str; FLOODS.len()] = {
    let mut names = [""; FLOODS.len()];
    let mut nth = 0;
    while nth < FLOODS.len() {
        names[nth] = FLOODS[nth].0;
        nth += 1;
    }
    names
};

fn open(world: &HostileWorld) -> Connection {
    Connection::open(world.keyward.address()).with_timeout(CUT_WITHIN)
}

/// A stream's identifier, from 1.
fn id(nth: usize) -> u32 {
    u32::try_from(2 * nth + 1).expect("an identifier")
}

fn has_ended(state: &State) -> bool {
    state.is_closed || state.error().is_some()
}

/// Sends batches until the connection ends; an error if it takes them all.
fn expect_end(
    connection: &mut Connection,
    batches: usize,
    mut batch: impl FnMut(usize) -> Vec<u8>,
) -> Result<(), String> {
    for nth in 0..batches {
        if connection.try_send(batch(nth), STOPPED).is_err() {
            break;
        }
        connection.glance();
        if has_ended(&connection.state) {
            break;
        }
    }
    if connection.read_until(has_ended) && connection.closes() {
        return Ok(());
    }
    let streams = connection.state.streams.len();
    Err(format!("the connection lives on, with {streams} streams, {:?}", connection.state.goaways))
}

/// Sends batches and reads nothing. The server may take them, leave them or end the connection; its
/// memory and its other clients are measured in [`play`].
fn send_all(connection: &mut Connection, batches: usize, batch: impl Fn(usize) -> Vec<u8>) {
    for nth in 0..batches {
        if connection.try_send(batch(nth), STOPPED).is_err() {
            return;
        }
    }
}

/// The memory of keyward in bytes.
fn resident(world: &HostileWorld) -> usize {
    let status = format!("/proc/{}/status", world.keyward.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(status).expect("keyward runs");
    let line =
        status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has memory");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok());
    kib.expect("a number of KiB") << 10
}

/// Serves others while a flood is played, and measures.
fn play(world: &HostileWorld, attack: Attack) -> Result<(), String> {
    sentinel(world)?;
    let before = resident(world);
    let (is_over, most, served) =
        (AtomicBool::new(false), AtomicUsize::new(before), AtomicUsize::new(0));
    let others = || -> Result<(), String> {
        while !is_over.load(Ordering::SeqCst) || served.load(Ordering::SeqCst) < 3 {
            let began = Instant::now();
            sentinel(world)?;
            world.sentinel()?;
            let ended = Instant::now();
            if ended - began > SERVED_WITHIN + slack(began, ended) {
                return Err(format!("others waited for {:?}", ended - began));
            }
            served.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(resident(world), Ordering::SeqCst);
        }
        Ok(())
    };
    let (played, others) = std::thread::scope(|scope| {
        let others = scope.spawn(others);
        let played = attack(world);
        most.fetch_max(resident(world), Ordering::SeqCst);
        is_over.store(true, Ordering::SeqCst);
        (played, others.join().expect("a thread of the test"))
    });
    played?;
    others.map_err(|what| format!("meanwhile, {what}"))?;
    let more = most.load(Ordering::SeqCst).saturating_sub(before);
    if more > MOST_MEMORY { Err(format!("{} MiB more", more >> 20)) } else { Ok(()) }
}

#[test]
fn a_flood_ends_or_is_held_and_others_are_served_meanwhile() {
    let upstream = Upstream::start();
    let mut plan = Plan::usual(&upstream);
    for key in ["first_byte", "head", "idle", "body"] {
        plan = plan.set("timeouts", key, "\"2s\"");
    }
    let world = HostileWorld::start_with(plan, upstream);
    let mut wrong = Vec::new();
    for (name, attack) in FLOODS {
        let began = Instant::now();
        if let Err(what) = play(&world, attack) {
            wrong.push(format!("- {name}: {what}"));
        }
        eprintln!("{name}: {:?}", began.elapsed());
    }
    assert!(
        wrong.is_empty(),
        "{} of {} floods are wrong\n{}",
        wrong.len(),
        FLOODS.len(),
        wrong.join("\n")
    );
}
