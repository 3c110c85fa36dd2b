//! The start, as scripts meet it: a port that is open is served, and commands and starts do not get
//! in each other's way.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Output;

use crate::support::{Plan, TestUser, Upstream, World, eventually};

fn launched() -> (World, Upstream) {
    let upstream = Upstream::start();
    (Plan::usual(&upstream).launch(), upstream)
}

fn create(world: &World) -> Output {
    let arguments =
        "bootstrap create --token-api jarvispy --sub s --username u --organization o --role user";
    world.run(&arguments.split(' ').collect::<Vec<_>>())
}

#[track_caller]
fn token_of(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// FIELD F23: `keyward run &`, wait for the port, `bootstrap create`.
#[test]
fn a_command_works_from_the_moment_a_port_is_open() {
    for round in 0..40 {
        let (mut world, _upstream) = launched();
        // Either of the two addresses.
        let address = if round % 2 == 0 { world.address() } else { world.admin_address() };
        assert!(eventually(|| TcpStream::connect(address).is_ok()), "{}", world.output());
        let output = create(&world);
        assert!(!token_of(&output).is_empty());
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!words.contains("no keyward is running"), "{words}");
        assert!(!world.has_ended(), "{}", world.output());
    }
}

#[test]
fn a_command_that_comes_with_the_start_works_and_the_start_does_too() {
    for _ in 0..20 {
        let (mut world, _upstream) = launched();
        let bootstrap = world.bootstrap(TestUser::ALICE, 1);
        assert!(eventually(|| world.ready() == Some(200)), "{}", world.output());
        // Both know the same keys.
        let key = world.api(TestUser::ALICE).mint(&bootstrap);
        assert_eq!(world.status_with(&key.token), 200);
        assert!(!world.has_ended());
    }
}

/// A keyward that is just starting is one that runs: what it holds is no fault.
#[test]
fn a_validation_that_comes_with_the_start_finds_no_fault_and_the_start_works() {
    for _ in 0..20 {
        let (mut world, _upstream) = launched();
        for _ in 0..3 {
            let output = world.run(&["validate"]);
            assert_eq!(
                output.status.code(),
                Some(0),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        assert!(eventually(|| world.ready() == Some(200)), "{}", world.output());
        assert!(!world.has_ended());
    }
}

/// Holds the lock of the store as a process of this kind would.
fn hold(world: &World, said: &str) -> File {
    let path = world.folder().join("keyward.db.lock");
    let mut lock = File::create(&path).expect("a lock file");
    lock.lock().expect("free");
    writeln!(lock, "{said}").expect("written");
    lock
}

#[test]
fn a_start_waits_for_a_command_that_has_the_store() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).prepare();
    let lock = hold(&world, "1 command");
    world.launch();
    assert!(
        eventually(|| world.output().contains("waiting for another process")),
        "{}",
        world.output()
    );
    assert!(TcpStream::connect(world.address()).is_err(), "no port is open before it is served");
    assert!(TcpStream::connect(world.admin_address()).is_err(), "nor is that of the probes");
    assert!(!world.folder().join("admin.sock").exists(), "nor the socket");
    drop(lock);
    assert!(eventually(|| world.ready() == Some(200)), "{}", world.output());
}

#[test]
fn a_command_says_after_a_while_that_the_store_is_in_use() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).prepare();
    let _lock = hold(&world, "1");
    let output = create(&world);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("another keyward is using the store") && words.contains("admin.sock"),
        "{words}"
    );
    assert!(fs::metadata(world.folder().join("keyward.db")).is_err(), "nothing was made");
}

/// Of two that begin at the same time, the other makes the keys that the store is then tied to.
#[test]
fn a_start_takes_the_keys_that_come_while_it_waits_for_the_store() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let key = world.key(TestUser::ALICE);
    let (keys, away) = (world.keys(), world.folder().join("away"));
    let mut lock = None;
    world.replace(|| {
        fs::rename(&keys, &away).expect("moved");
        lock = Some(hold(&world, "1 command"));
    });
    assert!(
        eventually(|| world.output().contains("waiting for another process")),
        "{}",
        world.output()
    );
    fs::rename(&away, &keys).expect("moved back");
    drop(lock);
    assert!(eventually(|| world.ready() == Some(200)), "{}", world.output());
    assert_eq!(world.status_with(&key.token), 200);
}
