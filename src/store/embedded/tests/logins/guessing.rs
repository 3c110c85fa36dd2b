//! Guessed passwords and too many registrations.

use super::*;

#[tokio::test]
async fn guessing_ends_after_five_failures_and_locks_no_user_out_elsewhere() {
    let bench = bench();
    bench.register("ann").await;
    for spelling in ["ann", "Ann", "ANN", "aNn", "anN"] {
        let outcome = bench.login_from("198.51.100.1", spelling, "wrong horse").await;
        assert!(matches!(outcome, Err(AccountError::WrongLogin)), "{outcome:?}");
    }
    // Right or wrong, it is not tried any more; and the same holds of a name that does not exist.
    for password in ["correct horse", "wrong horse"] {
        let outcome = bench.login_from("198.51.100.1", "ann", password).await;
        assert!(
            matches!(outcome, Err(AccountError::TooMany { retry_after }) if retry_after.as_secs() == 900)
        );
    }
    assert!(bench.login_from("192.0.2.1", "ann", "correct horse").await.is_ok());
    for _ in 0..5 {
        let outcome = bench.login_from("198.51.100.2", "unknown", "wrong horse").await;
        assert!(matches!(outcome, Err(AccountError::WrongLogin)), "{outcome:?}");
    }
    let outcome = bench.login_from("198.51.100.2", "UNKNOWN", "wrong horse").await;
    assert!(matches!(outcome, Err(AccountError::TooMany { .. })), "{outcome:?}");
    // Logins that succeed are never counted.
    for _ in 0..60 {
        assert!(bench.login("ann", "correct horse").await.is_ok());
    }
}

#[tokio::test]
async fn guesses_at_the_same_time_are_no_more_than_guesses_one_by_one() {
    let bench = Arc::new(bench());
    bench.register("ann").await;
    let guesses: Vec<_> = (0..100)
        .map(|number| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.login("ann", &format!("wrong horse {number}")).await })
        })
        .collect();
    let (mut tried, mut refused) = (0, 0);
    for guess in guesses {
        match guess.await.unwrap() {
            Err(AccountError::WrongLogin) => tried += 1,
            Err(AccountError::TooMany { .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((tried, refused), (5, 95));
}

#[tokio::test]
async fn registration_is_limited_and_can_be_closed() {
    let mut bench = bench();
    for number in 0..20 {
        bench.register(&format!("user{number}")).await;
    }
    let outcome = bench.ask(None, AccountCommand::Register(registration("user20"))).await;
    assert!(
        matches!(outcome, Err(AccountError::TooMany { retry_after }) if retry_after.as_secs() == 3600)
    );
    bench.terms.enrolment = Enrolment::Closed;
    let outcome = bench.ask(None, AccountCommand::Register(registration("user20"))).await;
    assert!(matches!(outcome, Err(AccountError::RegistrationClosed)));
    assert!(bench.service.add("accounts".into(), registration("user20"), NOW).await.is_ok());
    let listed = bench.service.list(Some("accounts".into()), 0).await.unwrap();
    assert_eq!(listed.len(), 21);
    assert!(bench.login("user20", "correct horse").await.is_ok());
}

#[tokio::test]
async fn every_form_of_a_name_is_counted_as_one() {
    let bench = bench();
    let forms = ["jos\u{e9}", "jose\u{301}", "JOS\u{e9}", "JOSe\u{301}"];
    let mut refused = 0;
    for round in 0..6 {
        let outcome = bench.login(forms[round % forms.len()], "wrong horse").await;
        refused += usize::from(matches!(outcome, Err(AccountError::TooMany { .. })));
    }
    assert_eq!(refused, 1, "five failures of one name from one address, then none");
}

#[tokio::test]
async fn a_full_pool_is_said_and_counts_for_no_client() {
    let bench = bench_with(HashingCost::OWASP);
    bench.register("ann").await;
    let mut parts = bench.parts.clone();
    parts.hashing = Arc::new(
        HashingPool::start(NonZeroUsize::MIN, NonZeroUsize::MIN, HashingCost::OWASP).unwrap(),
    );
    let bench =
        Arc::new(AccountsBench { service: AccountsService::new(parts.clone()), parts, ..bench });
    let logins: Vec<_> = (0..40)
        .map(|host| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move {
                bench.login_from(&format!("192.0.2.{host}"), "ann", "wrong horse").await
            })
        })
        .collect();
    let mut busy = None;
    for (host, login) in logins.into_iter().enumerate() {
        match login.await.unwrap() {
            Err(AccountError::Busy) => busy = Some(host),
            Err(AccountError::WrongLogin) => {}
            other => panic!("{other:?}"),
        }
    }
    let client = format!("192.0.2.{}", busy.expect("a queue of one is full"));
    for _ in 0..5 {
        assert!(matches!(
            bench.login_from(&client, "ann", "wrong horse").await,
            Err(AccountError::WrongLogin)
        ));
    }
    assert!(matches!(
        bench.login_from(&client, "ann", "wrong horse").await,
        Err(AccountError::TooMany { .. })
    ));
}
