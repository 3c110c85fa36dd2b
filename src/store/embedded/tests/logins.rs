//! The use-cases of accounts, with this store, a cheap hash and the counters of a single keyward.
//! They are tested with this store because the use-cases know none.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use uuid::Uuid;

use crate::domain::{
    Account, Email, FullName, Moment, NewPassword, Password, RawToken, Record, RecordKind,
    Timestamp, TokenDigest, TokenId, Username,
};
use crate::store::{EmbeddedOptions, EmbeddedStore, RecordKey, StoreIdentity};
use crate::tokens::accounts::{
    AccountCommand, AccountError, AccountOutcome, AccountParts, AccountTerms, AccountsService,
    ClientGroup, Enrolment, HashingCost, HashingPool, KeyCommand, Logins, MemoryCounters,
    PasswordHash, Registration,
};
use crate::tokens::authenticator::{Authenticator, Verdict};
use crate::tokens::cache::TokenCache;
use crate::tokens::keyring::{CredentialSort, Peppers, SecretBytes};
use crate::tokens::lease::Lease;
use crate::tokens::opaque::{Alphabet, OpaqueApi, OpaqueApis, OpaqueFormat, OpaqueTokens};
use crate::tokens::parts::TokenParts;
use crate::tokens::signed::{KeyMaterial, SignedTokens, SigningAlgorithm};
use crate::tokens::store::Listed;
use crate::tokens::verified::{Caller, Power};

const CHEAP: HashingCost = HashingCost { memory_kib: 64, passes: 1, lanes: 1 };
const NOW: Timestamp = Timestamp::from_unix_millis(1_771_237_800_000);

struct AccountsBench {
    service: AccountsService,
    parts: AccountParts,
    authenticator: Authenticator,
    terms: AccountTerms,
    _directory: tempfile::TempDir,
}

fn bench() -> AccountsBench {
    bench_with(CHEAP)
}

fn bench_with(cost: HashingCost) -> AccountsBench {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(
        &directory.path().join("db"),
        &StoreIdentity { key: &RecordKey::new(&[1; 32]), fingerprint: b"fingerprint" },
        EmbeddedOptions::default(),
    )
    .unwrap();
    let algorithm = SigningAlgorithm::Hs256;
    let signed = [("k1".into(), algorithm, KeyMaterial::new(vec![7; 32]))];
    let two = NonZeroUsize::new(2).unwrap();
    let parts = AccountParts {
        tokens: TokenParts {
            store: store.clone(),
            cache: Arc::new(TokenCache::new(100, Lease::endless())),
            signed: Arc::new(SignedTokens::new("keyward".into(), signed).unwrap()),
            opaque: Arc::new(OpaqueTokens::new([&SecretBytes::new([2; 32])])),
            peppers: Arc::new(Peppers::new(&SecretBytes::new([3; 32]), [])),
            deadline: Duration::from_secs(10),
        },
        accounts: store,
        counters: Arc::new(MemoryCounters::default()),
        counter_key: Arc::new(SecretBytes::new([4; 32])),
        hashing: Arc::new(HashingPool::start(two, NonZeroUsize::new(64).unwrap(), cost).unwrap()),
        limits: Logins::default(),
    };
    let authenticator = Authenticator::new(parts.tokens.clone());
    let terms = AccountTerms {
        token_api: "accounts".into(),
        algorithm,
        session: Duration::from_secs(3600),
        enrolment: Enrolment::Open,
        format: OpaqueFormat { prefix: "rst_".into(), alphabet: Alphabet::Base36 },
    };
    AccountsBench {
        service: AccountsService::new(parts.clone()),
        parts,
        authenticator,
        terms,
        _directory: directory,
    }
}

fn registration(username: &str) -> Registration {
    Registration {
        username: Username::new(username).unwrap(),
        email: Email::new(&format!("{username}@example.com")).unwrap(),
        password: new_password("correct horse"),
        full_name: FullName::new("Somebody").unwrap(),
    }
}

fn new_password(text: &str) -> NewPassword {
    NewPassword::new(Password::presented(text.into())).unwrap()
}

fn name(text: &str) -> Username {
    Username::new(text).unwrap()
}

fn from(address: &str) -> ClientGroup {
    address.parse::<IpAddr>().unwrap().into()
}

impl AccountsBench {
    async fn ask(
        &self,
        caller: Option<&Caller>,
        command: AccountCommand,
    ) -> Result<AccountOutcome, AccountError> {
        self.service.execute(&self.terms, from("192.0.2.1"), caller, command, NOW).await
    }

    async fn keys(
        &self,
        caller: &Caller,
        command: KeyCommand,
    ) -> Result<AccountOutcome, AccountError> {
        self.ask(Some(caller), AccountCommand::Keys(command)).await
    }

    async fn register(&self, username: &str) -> Account {
        match self.ask(None, AccountCommand::Register(registration(username))).await {
            Ok(AccountOutcome::Registered(account)) => account,
            other => panic!("{other:?}"),
        }
    }

    async fn login_from(
        &self,
        client: &str,
        username: &str,
        password: &str,
    ) -> Result<RawToken, AccountError> {
        let (username, password) = (username.to_owned(), Password::presented(password.to_owned()));
        let command = AccountCommand::Login { username, password };
        match self.service.execute(&self.terms, from(client), None, command, NOW).await? {
            AccountOutcome::LoggedIn { token } => Ok(token),
            other => panic!("{other:?}"),
        }
    }

    async fn login(&self, username: &str, password: &str) -> Result<RawToken, AccountError> {
        self.login_from("192.0.2.1", username, password).await
    }

    /// The caller with this token, as the gateway finds out.
    async fn caller(&self, token: &RawToken) -> Option<Caller> {
        let apis = OpaqueApis::new(vec![OpaqueApi {
            token_api: Arc::clone(&self.terms.token_api),
            format: self.terms.format.clone(),
            takes_api_key_field: true,
        }]);
        let form = apis.form_of(token.expose().as_bytes());
        let digest = self.authenticator.digest(form.sort(), token.expose().as_bytes());
        let now = Moment { wall: NOW, uptime: crate::tokens::clock::uptime() };
        if let Some(Verdict::Passed(caller)) = self.authenticator.recall(form, digest, now) {
            return Some(caller);
        }
        match self.authenticator.check(form, token.expose().as_bytes(), digest, now).await.unwrap()
        {
            Verdict::Passed(caller) => Some(caller),
            Verdict::Refused(_) => None,
        }
    }

    async fn session(&self, username: &str) -> Caller {
        let token = self.login(username, "correct horse").await.unwrap();
        self.caller(&token).await.unwrap()
    }

    async fn issue(&self, caller: &Caller) -> (RawToken, Record) {
        match self.keys(caller, KeyCommand::Issue { name: "laptop".into() }).await {
            Ok(AccountOutcome::KeyIssued { key, record }) => (key, *record),
            other => panic!("{other:?}"),
        }
    }

    async fn list(&self, caller: &Caller) -> Vec<Listed> {
        match self.keys(caller, KeyCommand::List).await {
            Ok(AccountOutcome::Keys(keys)) => keys,
            other => panic!("{other:?}"),
        }
    }

    async fn is_recorded(&self, digest: TokenDigest) -> bool {
        self.parts.tokens.store.find(digest).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn who_registers_logs_in_whatever_the_case_of_the_name() {
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
        let record = Record { token_api: token_api.into(), ..record.clone() };
        let token = crate::tokens::verified::Verified::new(&record);
        Caller { digest: ann.digest, token: Arc::new(token), outside: None }
    };
    for caller in
        [holder(&record, "accounts"), holder(&session, "other"), holder(&foreign, "accounts")]
    {
        let outcome = bench.keys(&caller, KeyCommand::List).await;
        assert!(matches!(outcome, Err(AccountError::NoSession)), "{outcome:?}");
    }
    let nobody = bench.ask(None, AccountCommand::Keys(KeyCommand::List)).await;
    assert!(matches!(nobody, Err(AccountError::NoSession)));
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
    for command in [KeyCommand::List, KeyCommand::Issue { name: "x".into() }] {
        let outcome = bench.keys(&ann, command).await;
        assert!(matches!(outcome, Err(AccountError::NoSession)), "{outcome:?}");
    }
    assert!(matches!(bench.login("ann", "correct horse").await, Err(AccountError::WrongLogin)));
    assert!(bench.service.enable("accounts", &name("ann")).await.unwrap().is_some());
    let ann = bench.session("ann").await;
    assert!(bench.caller(&token).await.is_none() && !bench.is_recorded(key.digest).await);
    assert_eq!(bench.list(&ann).await.len(), 1);
    assert_eq!(bench.service.disable("accounts", &name("nobody"), NOW).await.unwrap(), None);
    assert_eq!(bench.service.disable("other", &name("ann"), NOW).await.unwrap(), None);
    assert_eq!(bench.service.enable("accounts", &name("nobody")).await.unwrap(), None);
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
    let nobody = bench
        .service
        .set_password("accounts", &name("nobody"), new_password("battery staple"))
        .await;
    assert_eq!(nobody.unwrap(), None);
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

#[tokio::test]
async fn guessing_ends_after_five_failures_and_locks_nobody_out_elsewhere() {
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
        let outcome = bench.login_from("198.51.100.2", "nobody", "wrong horse").await;
        assert!(matches!(outcome, Err(AccountError::WrongLogin)), "{outcome:?}");
    }
    let outcome = bench.login_from("198.51.100.2", "NOBODY", "wrong horse").await;
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
async fn an_old_hash_is_made_anew_at_the_next_login() {
    let bench = bench();
    let account = bench.register("ann").await;
    let mut parts = bench.parts.clone();
    let dearer = HashingCost { passes: 2, ..CHEAP };
    parts.hashing =
        Arc::new(HashingPool::start(NonZeroUsize::MIN, NonZeroUsize::MIN, dearer).unwrap());
    let accounts = Arc::clone(&parts.accounts);
    let kept = async || {
        accounts.account_by_username("accounts".into(), "ann".into()).await.unwrap().unwrap()
    };
    let bench = AccountsBench { service: AccountsService::new(parts.clone()), parts, ..bench };
    assert!(bench.login("ann", "wrong horse").await.is_err());
    assert_eq!(kept().await.hash.cost, CHEAP);
    let token = bench.login("ann", "correct horse").await.unwrap();
    let now = kept().await;
    assert_eq!((now.hash.cost, now.account), (dearer, account));
    // The same password: no session ends.
    assert!(
        bench.caller(&token).await.is_some() && bench.login("ann", "correct horse").await.is_ok()
    );
}

/// As hashes were made before passwords had one form: of the bytes that were typed.
fn hash_as_typed(password: &str) -> PasswordHash {
    let params =
        argon2::Params::new(CHEAP.memory_kib, CHEAP.passes, CHEAP.lanes, Some(32)).unwrap();
    let mut memory = vec![argon2::Block::default(); params.block_count()];
    let (salt, mut hash) = ([7; 16], [0; 32]);
    let context = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    context
        .hash_password_into_with_memory(password.as_bytes(), &salt, &mut hash, &mut memory)
        .unwrap();
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    PasswordHash::parse(&format!("$argon2id$v=19$m=64,t=1,p=1${salt}${hash}")).unwrap()
}

#[tokio::test]
async fn a_hash_of_what_was_typed_is_good_as_it_was_typed_and_from_then_on_in_every_form() {
    let bench = bench();
    let account = bench.register("ann").await;
    let (typed, other) = ("cafe\u{301}\u{a0}au lait", "caf\u{e9} au lait");
    let old = hash_as_typed(typed);
    let accounts = &bench.parts.accounts;
    let changed =
        accounts.rehash("accounts".into(), account.id, account.revision, old.clone()).await;
    changed.unwrap();
    assert!(matches!(bench.login("ann", other).await, Err(AccountError::WrongLogin)));
    let token = bench.login("ann", typed).await.unwrap();
    let now = accounts.account_by_username("accounts".into(), "ann".into()).await.unwrap().unwrap();
    assert!(now.hash != old && now.account == account);
    for form in [other, typed] {
        assert!(bench.login("ann", form).await.is_ok(), "{form:?}");
    }
    assert!(bench.caller(&token).await.is_some(), "no session ends");
    // One that can be chosen no more still lets in.
    let with_control = "tab\tulated";
    accounts
        .rehash("accounts".into(), account.id, account.revision, hash_as_typed(with_control))
        .await
        .unwrap();
    for _ in 0..2 {
        assert!(bench.login("ann", with_control).await.is_ok());
    }
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
async fn a_full_pool_is_said_and_counts_for_nobody() {
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
