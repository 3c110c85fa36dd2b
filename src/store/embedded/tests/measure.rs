//! Figures, not guarantees: `cargo test --release --lib store::embedded::tests::measure --
//! --ignored --nocapture`.

use std::time::Instant;

use super::*;

fn per_second(count: u64, begun: Instant) -> u64 {
    count * 1_000 / u64::try_from(begun.elapsed().as_millis()).unwrap().max(1)
}

#[test]
#[ignore = "a measurement"]
fn figures() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    wait(store.provision(api_key(0, "root"))).unwrap();

    for issuers in [1, 64] {
        let begun = Instant::now();
        let rounds = 20_000 / (issuers * issuers.min(10));
        thread::scope(|scope| {
            for issuer in 0..issuers {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let number = 10_000_000 * issuers + issuer * 100_000 + round;
                        wait(store.issue(by(0), api_key(number, "ann"), ADD, NOW)).unwrap();
                    }
                });
            }
        });
        println!(
            "{issuers} issuers: {} acknowledged issues/s",
            per_second(issuers * rounds, begun)
        );
    }

    let begun = Instant::now();
    for part in 0..100 {
        let pending: Vec<_> = (0..1_000)
            .map(|number| part * 1_000 + number + 1)
            .map(|number| store.provision(api_key(number, &format!("user {}", number % 5_000))))
            .collect();
        for done in pending {
            wait(done).unwrap();
        }
    }
    println!("100,000 records provisioned, 1,000 at a time: {}/s", per_second(100_000, begun));

    for readers in [1, 8, 64] {
        let begun = Instant::now();
        let rounds = 200_000 / readers;
        thread::scope(|scope| {
            for reader in 0..readers {
                let store = &store;
                scope.spawn(move || {
                    let mut random = Random(reader);
                    for _ in 0..rounds {
                        let number = random.next() % 100_000 + 1;
                        assert!(wait(store.find(digest(number))).unwrap().is_some());
                    }
                });
            }
        });
        println!("{readers} readers: {} reads/s", per_second(readers * rounds, begun));
    }

    let begun = Instant::now();
    let mut random = Random(1);
    for _ in 0..100 {
        let pending: Vec<_> =
            (0..2_000).map(|_| store.find(digest(random.next() % 100_000 + 1))).collect();
        for found in pending {
            assert!(wait(found).unwrap().is_some());
        }
    }
    println!("2,000 reads at a time: {} reads/s", per_second(200_000, begun));

    let begun = Instant::now();
    let shown = all(&store).len();
    println!("browse of all {shown}: {:?}", begun.elapsed());
    let begun = Instant::now();
    let filter = Filter {
        token_api: Some("platform".into()),
        subject: Some("user 7".into()),
        ..Filter::default()
    };
    let shown = wait(store.browse(filter)).unwrap().len();
    println!("browse of one owner ({shown}): {:?}", begun.elapsed());
    let begun = Instant::now();
    wait(store.browse(Filter { limit: 100, ..Filter::default() })).unwrap();
    println!("browse of the first 100: {:?}", begun.elapsed());

    let begun = Instant::now();
    drop(store);
    println!("close: {:?}", begun.elapsed());
    println!("file: {} KiB", fs::metadata(directory.path()).unwrap().len() / 1024);
    for name in ["quick_check(1)", "integrity_check(1)"] {
        let connection = rusqlite::Connection::open(directory.path()).unwrap();
        let begun = Instant::now();
        connection.query_row(&format!("PRAGMA {name}"), [], |_| Ok(())).unwrap();
        println!("{name}: {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    let store = directory.open();
    println!("open with 100,000 records: {:?}", begun.elapsed());
    drop(store);
}
