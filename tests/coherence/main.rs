//! The coherence protocol of a fleet, as a model that is checked in every order that delays and
//! faults allow.
//!
//! # The promise
//!
//! When a revoke call has answered 200, no instance accepts the token in a request that begins
//! later. Where the network is cut, none accepts it longer than one stated bound after the cut.
//!
//! # The protocol
//!
//! Each instance has one **link** to the master, on which everything is in order: heartbeats and
//! their answers, invalidations of records, announcements of revocations. Reads and scripts go over
//! **data connections**, which are in no order with the link. What an instance knows of a token, it
//! may use only under its **lease**.
//!
//! * *Lease*: a heartbeat is sent at the local time `s` and executed; it writes a number into the
//!   **registry** that was never there before. When it has been answered, a proof (`PING`) is sent;
//!   when that is answered, the lease runs until `s` + `coherence_lease`. By then all has been
//!   received that was invalidated before the heartbeat was executed. A lease is good for the link
//!   on which it was won.
//! * *Look*: where a server refuses changes, and no other can be the master, B may look in place of
//!   a heartbeat: is it in the registry? It is proved like a heartbeat, and brings a lease if it
//!   is, on the same generation, and if nothing was announced since the latest heartbeat that was
//!   answered. That one may have been waited for in vain, and is then about to be forgotten; a look
//!   changes nothing, so the revoker cannot tell.
//! * *Fill*: take the fence, send the read, use the answer if fence and lease hold.
//! * *Drop*: an invalidation or an announcement drops the token and breaks its fence; a new link, a
//!   null invalidation or another generation of the store drops everything and breaks all fences.
//! * *Revoke*: one script removes the record, announces that with a number of the revoker's own,
//!   and returns the registered instances. Wait until all of those have confirmed that they dropped
//!   the token, or one longest use (the lease, or `max_staleness` where lapsed leases are served
//!   from the cache) from the receipt of the script's answer: by then, an instance that had
//!   registered before has no lease that began before, and one that registers later has received
//!   the announcement first. Where the registry may be incomplete (after a failover, a restart, a
//!   loss of data) no confirmation shortens the wait.
//! * *Forget*: an instance that did not confirm and has not sent a heartbeat in all that time is
//!   deleted from the registry, so that a dead instance costs one wait.
//!
//! # The model
//!
//! `state` says what there is, `redis`, `revoker` and `user` what each side does, `protocol` puts
//! the steps together and states the promise, `rules` lists the rules that can be left out. A
//! revokes token K, B uses it. Instances depend on one another only through the registry and what A
//! waits for, so a third would add states but no behaviour; a revoker's own cache is a matter of
//! one process and is not in it. Two revocations of K by A stand for a repeat after a lost answer
//! as well as for two revokers.
//!
//! What it takes for granted, of Redis: a script is atomic; a connection is in order; what is sent
//! on a link leaves at the end of the event loop's turn, broadcast invalidations behind the turn's
//! answers (I/O threads leave connections that track or subscribe to the main thread); `FLUSHDB`
//! sends its null invalidation at once, `SWAPDB` sends nothing. Of the set-up: once `WAIT` has been
//! satisfied, no failover brings the record back; whichever replica is made master, the old one
//! then lacks a replica that it needs for writing; all instances have the same `coherence_lease`
//! and `max_staleness`. Of the clocks: that they run at the same rate. Moving slots of a Cluster is
//! not in it.
//!
//! # The tests
//!
//! The first ones check the whole protocol under one kind of fault each. Then each rule is taken
//! out, and a token must be accepted after its revocation was answered: a rule without which all is
//! well would be superfluous, or the model too weak. With `--nocapture` the numbers of states are
//! printed, and the steps that break the promise.

#![expect(
    clippy::disallowed_methods,
    reason = "tests measure what takes real time, and wait for other processes"
)]
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a model that is wrong fails its test with a panic, and what was found is printed"
)]

mod broken;
mod kept;
mod protocol;
mod redis;
mod revoker;
mod rules;
mod state;
mod user;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use protocol::PROMISE;
use rules::Target::{Key, Other};
use rules::{Faults, Rule, Setting};

/// The promise is kept, and whatever should be possible is.
fn holds(setting: &Setting) {
    let begun = Instant::now();
    let checker =
        setting.clone().checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{} states, depth {}, {:?}",
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed()
    );
    checker.assert_properties();
}

/// Without the rules the promise is broken. (With them, and all else the same, another test shows
/// it kept.)
fn breaks(setting: &Setting, without: &[Rule]) {
    let begun = Instant::now();
    let setting = setting.clone().without(without);
    let checker = setting.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let Some(path) = checker.discovery(PROMISE) else {
        panic!("kept without {without:?}: {} states", checker.unique_state_count());
    };
    let steps = path.into_actions();
    let states = checker.unique_state_count();
    println!(
        "without {without:?}: broken in {} steps, {states} states, {:?}",
        steps.len(),
        begun.elapsed()
    );
    for step in steps {
        println!("    {step:?}");
    }
}

// One kind of fault each. The lease is two ticks where that can be afforded, and one where it
// cannot.

fn delays() -> Setting {
    Setting::of(&[Key], 2)
}

fn repeats() -> Setting {
    Setting::of(&[Key, Key], 1).without_reads()
}

fn removals() -> Setting {
    Setting::of(&[Key], 2).faults(Faults { removals: 1, ..Faults::NONE })
}

fn dead_instance() -> Setting {
    Setting::of(&[Other, Key], 1).without_reads()
}

fn dead_instance_and_removal() -> Setting {
    Setting::of(&[Other, Key], 1).faults(Faults { removals: 1, ..Faults::NONE }).without_reads()
}

fn dead_instance_twice() -> Setting {
    Setting::of(&[Other, Other, Key], 1).without_reads()
}

fn cuts() -> Setting {
    Setting::of(&[Key], 1).faults(Faults { user_cuts: 2, ..Faults::NONE })
}

fn cuts_on_both_sides() -> Setting {
    Setting::of(&[Key], 1)
        .faults(Faults { user_cuts: 1, revoker_cuts: 1, ..Faults::NONE })
        .without_reads()
}

fn restarts() -> Setting {
    Setting::of(&[Key], 1).faults(Faults { restarts: 2, ..Faults::NONE })
}

fn flush() -> Setting {
    Setting::of(&[Key], 1).faults(Faults { flushes: 1, ..Faults::NONE })
}

fn swap() -> Setting {
    Setting::of(&[Key], 1).faults(Faults { swaps: 1, ..Faults::NONE })
}

fn import() -> Setting {
    Setting::of(&[Key], 1).faults(Faults { imports: 1, ..Faults::NONE })
}

fn import_after_another() -> Setting {
    Setting::of(&[Other, Key], 1).faults(Faults { imports: 1, ..Faults::NONE }).without_reads()
}

fn serve_cached() -> Setting {
    Setting::of(&[Key], 1).serving_cached(2).faults(Faults { restarts: 1, ..Faults::NONE })
}

fn partition() -> Setting {
    Setting::of(&[Key], 1).faults(Faults { partitions: 1, ..Faults::NONE })
}

fn back_to_isolated() -> Setting {
    Setting::of(&[Key], 1).beside_isolated().faults(Faults { user_cuts: 2, ..Faults::NONE })
}

/// What may happen while B looks in place of heartbeats, or after.
fn looks() -> [Setting; 7] {
    [
        Setting::of(&[Key], 1),
        dead_instance(),
        removals().without_reads(),
        Setting::of(&[Key], 1).faults(Faults { user_cuts: 1, ..Faults::NONE }).without_reads(),
        Setting::of(&[Key], 1).faults(Faults { restarts: 1, ..Faults::NONE }).without_reads(),
        flush().without_reads(),
        swap().without_reads(),
    ]
    .map(Setting::looking)
}
