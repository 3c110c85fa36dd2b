//! SIGKILL at random moments: this test binary is started again as a process that writes, and
//! killed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// Where the process that is to be killed finds its store.
const STORE: &str = "KEYWARD_TEST_STORE";

/// The highest number that any process before it spoke of: none is used twice, or a record that was
/// revoked would be issued anew.
const LAST: &str = "KEYWARD_TEST_LAST";

#[test]
#[ignore = "not a test but the process that the test below kills"]
fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(STORE) else { return };
    let store = open(Path::new(&path), EmbeddedOptions::default()).unwrap();
    let last: i64 = std::env::var(LAST).unwrap().parse().unwrap();
    let first = all(&store)
        .iter()
        .map(|record| record.issued_at.unix_millis())
        .max()
        .unwrap_or(0)
        .max(last);
    let first = u64::try_from(first).unwrap() + 1;
    let revoked = |number: u64| number.is_multiple_of(3);
    thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in (first + writer..).step_by(4) {
                    wait(store.provision(api_key(number, "ann"))).unwrap();
                    println!("\nissued {number}");
                    if revoked(number) {
                        println!("\nrevoking {number}");
                        wait(store.remove(
                            AuthorizedBy::Outside,
                            digest(number),
                            OnRemove::Delete,
                            NOW,
                        ))
                        .unwrap();
                        println!("\nrevoked {number}");
                    }
                }
            });
        }
    });
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged_and_leaves_no_lock() {
    let directory = StoreDirectory::new();
    let mut random = Random(5);
    let (mut issued, mut revoking, mut revoked) =
        (BTreeSet::<u64>::new(), BTreeSet::new(), BTreeSet::new());
    for _ in 0..12 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::embedded::tests::kill::writes_until_it_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(STORE, directory.path())
            .env(LAST, issued.union(&revoking).max().copied().unwrap_or(0).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut until_the_kill = 1 + i64::try_from(random.below(200)).unwrap();
        // What it had said before it was killed is read to the end.
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((word, number)) = line.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match word {
                "issued" => issued.insert(number),
                "revoking" => revoking.insert(number),
                "revoked" => revoked.insert(number),
                _ => continue,
            };
            until_the_kill -= 1;
            if until_the_kill == 0 {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        let store = directory.open();
        let found: BTreeSet<_> = all(&store)
            .iter()
            .map(|record| u64::try_from(record.issued_at.unix_millis()).unwrap())
            .collect();
        assert!(revoked.is_disjoint(&found), "a revoked record is back");
        let living: BTreeSet<_> = issued.difference(&revoking).copied().collect();
        assert!(living.is_subset(&found), "an acknowledged record is lost");
    }
    assert!(issued.len() > 100);
}
