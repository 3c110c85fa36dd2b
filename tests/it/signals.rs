//! Signals are followed at once, whatever keyward waits for meanwhile (DESIGN, section 10).

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::support::redis::{RedisServer, free_port};
use crate::support::{Plan, World, eventually, lateness};

/// How long keyward waits for its store here: so long that a signal that waits behind it is seen
/// to.
const STORE_TIMEOUT: &str = "\"30s\"";

/// How long a signal may take to be followed: most of it is for a busy machine.
const PROMPT: Duration = Duration::from_secs(10);

fn plan(url: &str) -> Plan {
    Plan::bare().redis(url).set("store", "timeout", STORE_TIMEOUT)
}

/// Whether the process has a handler for this signal (proc(5), `SigCgt`).
fn catches(process: Pid, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()))
        .unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask =
        mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal.as_raw() - 1) & 1 == 1
}

/// SIGTERM, and the end of the process with exit code 0, promptly.
fn ends_promptly(world: &mut World) {
    let began = Instant::now();
    world.signal(Signal::TERM);
    let status = world.ended();
    assert!(
        !lateness::is_over(began, PROMPT),
        "the end took {:?}:\n{}",
        began.elapsed(),
        world.output()
    );
    assert_eq!(status.code(), Some(0), "{status}");
}

/// SIGHUP, and the reload is counted, promptly.
fn reloads_promptly(world: &World) {
    let began = Instant::now();
    world.reload();
    assert!(
        !lateness::is_over(began, PROMPT),
        "the reload took {:?}:\n{}",
        began.elapsed(),
        world.output()
    );
}

#[test]
fn sigterm_ends_a_start_that_waits_for_a_store_that_hangs() {
    let redis = RedisServer::start();
    redis.freeze();
    let mut world = plan(&redis.url()).launch();
    assert!(eventually(|| catches(world.pid(), Signal::TERM)), "signals are caught");
    ends_promptly(&mut world);
}

/// The first removal of expired records begins with the start, and waits for the store for as long
/// as that may take.
#[test]
fn signals_are_followed_while_the_store_is_away() {
    let mut world = plan(&format!("redis://127.0.0.1:{}", free_port())).launch();
    let is_started = || world.admin_get("/startupz").is_some_and(|response| response.status == 200);
    assert!(eventually(is_started), "it starts without its store");
    reloads_promptly(&world);
    ends_promptly(&mut world);
}

#[test]
fn signals_are_followed_while_the_store_hangs() {
    let redis = RedisServer::start();
    let mut world = plan(&redis.url()).start();
    redis.freeze();
    assert!(eventually(|| world.output().contains("the store is not available")), "it is noticed");
    reloads_promptly(&world);
    ends_promptly(&mut world);
}
