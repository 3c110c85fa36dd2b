//! Sessions and API keys, and what ends them.

use super::*;

#[tokio::test]
async fn a_registered_user_logs_in_whatever_the_case_of_the_name() {
    let bench = bench();
    let account = bench.register("Hershel").await;
    for spelling in ["Hershel", "hershel", "HERSHEL"] {
        let token = bench.login(spelling, "correct horse").await.unwrap();
        let caller = bench.caller(&token).await.unwrap();
        assert_eq!(
            (caller.token.power(), caller.token.identity()),
            (Power::Session, account.identity())
        );
        assert!(!caller.token.is_expired(NOW.after(Duration::from_secs(3599))));
        assert!(caller.token.is_expired(NOW.after(Duration::from_secs(3600))));
    }
    for (username, password) in [
        ("hershel", "Correct horse"),
        ("hershel", ""),
        ("hershell", "correct horse"),
        ("hershel@example.com", "correct horse"),
        ("", ""),
    ] {
        let outcome = bench.login(username, password).await;
        assert!(matches!(outcome, Err(AccountError::WrongLogin)), "{username}: {outcome:?}");
    }
    let again = bench.ask(None, AccountCommand::Register(registration("HERSHEL"))).await;
    assert!(matches!(again, Err(AccountError::UsernameTaken)));
    let other = Registration { username: name("other"), ..registration("Hershel") };
    let again = bench.ask(None, AccountCommand::Register(other)).await;
    assert!(matches!(again, Err(AccountError::EmailTaken)));
}

#[tokio::test]
async fn a_session_makes_keys_lists_them_and_retires_them() {
    let bench = bench();
    bench.register("ann").await;
    bench.register("bob").await;
    let (ann, bob) = (bench.session("ann").await, bench.session("bob").await);
    let (key, record) = bench.issue(&ann).await;
    assert!(bench.parts.tokens.opaque.verify(&bench.terms.format, key.expose().as_bytes()));
    assert_eq!(record.hint.as_deref(), Some(&key.expose()[..8]));
    assert!(key.expose().starts_with("rst_") && key.expose().len() == 43);
    let digest =
        bench.parts.tokens.peppers.digest(CredentialSort::OpaqueToken, key.expose().as_bytes());
    assert_eq!(record.digest, digest);
    assert_eq!(record.identity, ann.token.identity());
    assert!(bench.is_recorded(digest).await);
    assert_eq!(bench.list(&ann).await, [Listed { record: record.clone(), retired_at: None }]);
    assert!(bench.list(&bob).await.is_empty());
    // Another's key, an id that does not exist, and the session's own.
    let unknown = TokenId::from_uuid(Uuid::new_v4());
    for (caller, id) in [(&bob, record.id), (&ann, unknown), (&ann, ann.token.id())] {
        let outcome = bench.keys(caller, KeyCommand::Revoke(id)).await;
        assert!(matches!(outcome, Err(AccountError::NoSuchKey)), "{outcome:?}");
    }
    for _ in 0..2 {
        let outcome = bench.keys(&ann, KeyCommand::Revoke(record.id)).await;
        assert!(matches!(outcome, Ok(AccountOutcome::KeyRevoked)), "{outcome:?}");
        assert!(!bench.is_recorded(digest).await);
        assert_eq!(
            bench.list(&ann).await,
            [Listed { record: record.clone(), retired_at: Some(NOW) }]
        );
    }
}

#[tokio::test]
async fn only_a_session_of_this_token_api_manages_keys() {
    let bench = bench();
    bench.register("ann").await;
    let ann = bench.session("ann").await;
    let record = Record { kind: RecordKind::ApiKey, ..bench.issue(&ann).await.1 };
    let session = Record { kind: RecordKind::Session, ..record.clone() };
    let foreign = Record { origin: Some("idp".into()), ..session.clone() };
    let holder = |record: &Record, token_api: &str| {
        let token = crate::tokens::verified::Verified::new(&Record {
            token_api: token_api.into(),
            ..record.clone()
        });
        Caller { digest: ann.digest, token: Arc::new(token), outside: None }
    };
    for caller in
        [holder(&record, "accounts"), holder(&session, "other"), holder(&foreign, "accounts")]
    {
        let outcome = bench.keys(&caller, KeyCommand::List).await;
        assert!(matches!(outcome, Err(AccountError::NoSession)), "{outcome:?}");
    }
    let unknown = bench.ask(None, AccountCommand::Keys(KeyCommand::List)).await;
    assert!(matches!(unknown, Err(AccountError::NoSession)));
    assert_eq!(bench.list(&holder(&session, "accounts")).await.len(), 1);
}

#[tokio::test]
async fn a_disabled_account_is_out_at_once_and_its_keys_stay_dead() {
    let bench = bench();
    bench.register("ann").await;
    let token = bench.login("ann", "correct horse").await.unwrap();
    let ann = bench.caller(&token).await.unwrap();
    let (_, key) = bench.issue(&ann).await;
    assert!(bench.service.disable("accounts", &name("ANN"), NOW).await.unwrap().is_some());
    assert!(bench.caller(&token).await.is_none() && !bench.is_recorded(key.digest).await);
    for command in [KeyCommand::List, KeyCommand::Issue { name: "x".into(), limits: None }] {
        let outcome = bench.keys(&ann, command).await;
        assert!(matches!(outcome, Err(AccountError::NoSession)), "{outcome:?}");
    }
    assert!(matches!(bench.login("ann", "correct horse").await, Err(AccountError::WrongLogin)));
    assert!(bench.service.enable("accounts", &name("ann")).await.unwrap().is_some());
    let ann = bench.session("ann").await;
    assert!(bench.caller(&token).await.is_none() && !bench.is_recorded(key.digest).await);
    assert_eq!(bench.list(&ann).await.len(), 1);
    assert_eq!(bench.service.disable("accounts", &name("unknown"), NOW).await.unwrap(), None);
    assert_eq!(bench.service.disable("other", &name("ann"), NOW).await.unwrap(), None);
    assert_eq!(bench.service.enable("accounts", &name("unknown")).await.unwrap(), None);
}

#[tokio::test]
async fn another_password_ends_the_sessions_and_leaves_the_keys() {
    let bench = bench();
    bench.register("ann").await;
    let token = bench.login("ann", "correct horse").await.unwrap();
    let (_, key) = bench.issue(&bench.caller(&token).await.unwrap()).await;
    let changed =
        bench.service.set_password("accounts", &name("ann"), new_password("battery staple")).await;
    assert!(changed.unwrap().is_some());
    assert!(bench.caller(&token).await.is_none() && bench.is_recorded(key.digest).await);
    assert!(matches!(bench.login("ann", "correct horse").await, Err(AccountError::WrongLogin)));
    assert!(bench.login("ann", "battery staple").await.is_ok());
    let unknown = bench
        .service
        .set_password("accounts", &name("unknown"), new_password("battery staple"))
        .await;
    assert_eq!(unknown.unwrap(), None);
}

/// The login looks the account up, then takes its time over the password; whatever happens
/// meanwhile, no session is left.
#[tokio::test]
async fn no_login_survives_a_disable_that_it_races_with() {
    let bench = Arc::new(bench_with(HashingCost { memory_kib: 1024, passes: 2, lanes: 1 }));
    for round in 0..12 {
        let username = format!("user{round}");
        let account =
            bench.service.add("accounts".into(), registration(&username), NOW).await.unwrap();
        let logins: Vec<_> = (0..4)
            .map(|host| {
                let (bench, username) = (Arc::clone(&bench), username.clone());
                tokio::spawn(async move {
                    let client = format!("192.0.2.{}", round * 4 + host);
                    bench.login_from(&client, &username, "correct horse").await
                })
            })
            .collect();
        // No synchronisation: each round the disable comes at another moment of the logins.
        tokio::time::sleep(Duration::from_millis(round)).await;
        bench.service.disable("accounts", &name(&username), NOW).await.unwrap().unwrap();
        for login in logins {
            match login.await.unwrap() {
                Ok(token) => assert!(bench.caller(&token).await.is_none()),
                Err(AccountError::WrongLogin) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let filter = crate::tokens::store::Filter {
            subject: Some(account.id.to_string()),
            ..Default::default()
        };
        assert!(bench.parts.tokens.store.browse(filter).await.unwrap().is_empty());
    }
}
