//! Hand-overs that come to nothing: the new process says why and ends, and the old one goes on.

use rustix::process::Signal;

use super::{fails, patient, private};
use crate::support::{TestUser, Upstream, eventually};

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_as_it_was() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let alice = world.key(TestUser::ALICE);
    let mut kept = world.client();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = format!("address = \"{}\"", taken.local_addr().expect("it is bound"));
    let cases = [
        (patient(&upstream).set("server", "workers", "-1"), "workers"),
        (patient(&upstream).table("listener", &taken), "another program has port"),
        (patient(&upstream).set("log", "access", "\"/nowhere/access.log\""), "/nowhere"),
        (patient(&upstream).set("store", "path", "\"other.db\""), "is not that of the keyward"),
        (patient(&upstream).redis("redis://127.0.0.1:1"), "[store] is another one"),
    ];
    for (plan, words) in cases {
        world.configure(&plan);
        assert_eq!(fails(&world).code(), Some(1), "{words}: {}", world.output());
        assert!(world.output().contains(words), "{words}: {}", world.output());
        let answer = kept.ask(private(&alice.token));
        assert_eq!(
            (answer.status, answer.fields.one("connection").as_deref()),
            (200, None),
            "{answer}"
        );
        assert_eq!(world.status_with(&alice.token), 200);
    }
    // Nothing is left of the attempts.
    world.configure(&patient(&upstream));
    world.take_over();
    assert_eq!(world.status_with(&alice.token), 200);
    drop(kept);
    assert!(eventually(|| world.older_processes() == 0), "{}", world.output());
}

/// A new version with another layout of the store cannot change it while the old one uses it.
#[test]
fn a_store_of_an_older_layout_is_not_taken_over_and_stays_as_it_was() {
    let upstream = Upstream::start();
    let world = patient(&upstream).start();
    let alice = TestUser::ALICE;
    let [first, second] = [(); 2].map(|()| world.key(alice).token);
    let database = rusqlite::Connection::open(world.folder().join("keyward.db")).expect("opened");
    let layout = || -> i64 {
        let read = database.pragma_query_value(None, "user_version", |row| row.get(0));
        read.expect("a layout")
    };
    // To the new process, the old one is of the version before.
    let present = layout();
    database.pragma_update(None, "user_version", present - 1).expect("written");
    assert_eq!(fails(&world).code(), Some(1), "{}", world.output());
    let output = world.output();
    assert!(
        output.contains("has an older layout") && output.contains("without taking over"),
        "it says what to do: {output}"
    );
    assert_eq!(layout(), present - 1, "it was not changed");
    for token in [&first, &second] {
        assert_eq!(world.status_with(token), 200);
    }
    assert_eq!(world.api(alice).revoke(&first).status, 200);
    assert_eq!(world.status_with(&first), 401);
    database.pragma_update(None, "user_version", present).expect("written");
    world.take_over();
    assert_eq!((world.status_with(&first), world.status_with(&second)), (401, 200));
}

#[test]
fn a_keyward_that_is_stopping_hands_nothing_over_and_says_so_at_once() {
    let upstream = Upstream::start();
    let mut world = patient(&upstream).set("server", "shutdown_delay", "\"5m\"").start();
    world.signal(Signal::TERM);
    assert!(eventually(|| world.ready() == Some(503)), "/readyz says 503");
    assert_eq!(fails(&world).code(), Some(1));
    assert!(world.output().contains("keyward is stopping: start when it has ended"));
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200, "it serves to its end");
    assert!(eventually(|| {
        world.signal(Signal::TERM);
        world.has_ended()
    }));
    assert_eq!(world.ended().code(), Some(0));
}
