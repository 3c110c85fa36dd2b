//! The port of accounts as tests: what every store must do.
//!
//! A case takes an empty store as both of its ports; [`conforms_accounts`] makes a test of each. As
//! in [`super::conformance`], all moments are far ahead of any clock.

use std::sync::Arc;

use super::conformance::{NOW, api_key, at, by, digest, expiring};
use crate::domain::{
    Account, AccountId, Email, FullName, Owner, Record, RecordKind, Timestamp, Username,
};
use crate::tokens::accounts::PasswordHash;
use crate::tokens::accounts::store::{
    AccountStore, Credentials, MOST_SESSIONS, Registered, SessionOpening,
};
use crate::tokens::store::{AuthorizedBy, Filter, Issue, IssueMode, Listed, OnRemove, Store};

/// Makes a test of each case. `$fresh` is an `async fn` without arguments: it returns an empty
/// store, once as each port, after something that the store needs and that is dropped after it.
macro_rules! conforms_accounts {
    ($fresh:path) => {
        $crate::store::tests::account_conformance::conforms_accounts! { $fresh:
            an_account_is_found_by_its_name_and_by_its_id,
            names_and_addresses_are_unique_within_one_token_api_however_they_are_spelt,
            accounts_are_listed_oldest_first,
            an_account_that_comes_from_elsewhere_is_what_it_was,
            a_session_opens_for_the_account_that_was_looked_up,
            the_oldest_sessions_are_removed_for_a_new_one,
            disabling_ends_sessions_retires_keys_and_spares_the_rest,
            enabling_brings_nothing_back,
            another_password_ends_sessions_and_leaves_keys,
            another_hash_of_the_same_password_changes_nothing_else,
            of_many_registrations_of_one_name_one_wins,
            no_session_survives_a_disable_that_it_races_with,
            no_key_survives_a_disable_that_it_races_with,
        }
    };
    ($fresh:path: $($case:ident,)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (_needed, store, accounts) = $fresh().await;
                let case = $crate::store::tests::account_conformance::$case(store, accounts);
                let timeout = std::time::Duration::from_secs(60);
                tokio::time::timeout(timeout, case).await.expect("the store hangs");
            }
        )+
    };
}
pub(crate) use conforms_accounts;

type Records = Arc<dyn Store>;
type Accounts = Arc<dyn AccountStore>;

const API: &str = "accounts";

/// The account with this number, registered `number` ms after the epoch.
pub(crate) fn account(number: u64, username: &str) -> Account {
    Account {
        id: AccountId::from_uuid(uuid::Uuid::from_u128(u128::from(number) << 64 | 1)),
        token_api: API.into(),
        username: Username::new(username).unwrap(),
        email: Email::new(&format!("{username}@example.com")).unwrap(),
        full_name: FullName::new(&format!("{username} X")).unwrap(),
        created_at: Timestamp::from_unix_millis(i64::try_from(number).unwrap()),
        is_disabled: false,
        revision: 0,
    }
}

/// A hash that no password has, told from others by its number.
pub(crate) fn hash(number: u8) -> PasswordHash {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
    let (salt, hash) = (encode(&[number; 16]), encode(&[number; 32]));
    PasswordHash::parse(&format!("$argon2id$v=19$m=64,t=1,p=1${salt}${hash}")).unwrap()
}

fn key_of(account: &Account, number: u64) -> Record {
    Record { token_api: API.into(), identity: account.identity(), ..api_key(number, "") }
}

fn session_of(account: &Account, number: u64) -> Record {
    expiring(
        Record { kind: RecordKind::Session, name: None, ..key_of(account, number) },
        at(3_600_000),
    )
}

fn owner_of(account: &Account) -> Owner {
    Owner { token_api: API.into(), origin: None, subject: account.id.to_string() }
}

async fn register(accounts: &Accounts, account: &Account) {
    assert_eq!(accounts.register(account.clone(), hash(1)).await.unwrap(), Registered::Registered);
}

async fn open(accounts: &Accounts, account: &Account, number: u64) -> SessionOpening {
    accounts.open_session(account.id, account.revision, session_of(account, number)).await.unwrap()
}

async fn issue(records: &Records, account: &Account, session: u64, number: u64) -> Issue {
    records.issue(by(session), key_of(account, number), IssueMode::Add, NOW).await.unwrap()
}

fn opened() -> SessionOpening {
    SessionOpening::Opened { removed: Vec::new() }
}

async fn is_there(records: &Records, number: u64) -> bool {
    records.find(digest(number)).await.unwrap().is_some()
}

async fn listed(records: &Records, account: &Account) -> Vec<Listed> {
    records.owned(AuthorizedBy::Outside, owner_of(account), NOW).await.unwrap().unwrap()
}

pub(crate) async fn an_account_is_found_by_its_name_and_by_its_id(_: Records, accounts: Accounts) {
    let ann = account(1, "Ann");
    register(&accounts, &ann).await;
    let by_name =
        |token_api: &str, name: &str| accounts.account_by_username(token_api.into(), name.into());
    let found = Some(Credentials { account: ann.clone(), hash: hash(1) });
    assert_eq!(by_name(API, "ann").await.unwrap(), found);
    for (token_api, name) in [(API, "bob"), ("other", "ann"), (API, "")] {
        assert_eq!(by_name(token_api, name).await.unwrap(), None);
    }
    assert_eq!(accounts.account(API.into(), ann.id).await.unwrap(), Some(ann.clone()));
    assert_eq!(accounts.account("other".into(), ann.id).await.unwrap(), None);
    assert_eq!(accounts.account(API.into(), account(2, "bob").id).await.unwrap(), None);
}

pub(crate) async fn names_and_addresses_are_unique_within_one_token_api_however_they_are_spelt(
    _: Records,
    accounts: Accounts,
) {
    register(&accounts, &account(1, "Ann")).await;
    let email = |text: &str| Email::new(text).unwrap();
    let same_name = Account { email: email("x@example.com"), ..account(2, "aNN") };
    let same_both = account(3, "ANN");
    let same_email = Account { email: email("ANN@Example.com"), ..account(4, "bob") };
    for (other, outcome) in [
        (same_name, Registered::UsernameTaken),
        (same_both, Registered::UsernameTaken),
        (same_email, Registered::EmailTaken),
    ] {
        assert_eq!(accounts.register(other, hash(2)).await.unwrap(), outcome);
    }
    assert_eq!(accounts.accounts(None, 0).await.unwrap(), [account(1, "Ann")]);
    register(&accounts, &Account { token_api: "other".into(), ..account(5, "ann") }).await;
    register(&accounts, &account(6, "bob")).await;
}

pub(crate) async fn accounts_are_listed_oldest_first(_: Records, accounts: Accounts) {
    for (number, name) in [(2, "bob"), (3, "carol"), (1, "ann")] {
        register(&accounts, &account(number, name)).await;
    }
    let other = Account { token_api: "other".into(), ..account(4, "ann") };
    register(&accounts, &other).await;
    let names = async |token_api: Option<&str>, limit| {
        let found = accounts.accounts(token_api.map(str::to_owned), limit).await.unwrap();
        found.into_iter().map(|account| account.username.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 0).await, ["ann", "bob", "carol", "ann"]);
    assert_eq!(names(Some(API), 0).await, ["ann", "bob", "carol"]);
    assert_eq!(names(Some(API), 2).await, ["ann", "bob"]);
    assert_eq!(names(Some("other"), 2).await, ["ann"]);
    assert!(names(Some("third"), 2).await.is_empty());
}

pub(crate) async fn an_account_that_comes_from_elsewhere_is_what_it_was(
    _: Records,
    accounts: Accounts,
) {
    let ann = Account { is_disabled: true, revision: 7, ..account(1, "Ann") };
    register(&accounts, &ann).await;
    let found = accounts.account_by_username(API.into(), "ann".into()).await.unwrap();
    assert_eq!(found, Some(Credentials { account: ann.clone(), hash: hash(1) }));
    assert_eq!(accounts.accounts(None, 0).await.unwrap(), [ann]);
}

pub(crate) async fn a_session_opens_for_the_account_that_was_looked_up(
    records: Records,
    accounts: Accounts,
) {
    let ann = account(1, "ann");
    assert_eq!(open(&accounts, &ann, 1).await, SessionOpening::Stale);
    register(&accounts, &ann).await;
    assert_eq!(open(&accounts, &ann, 1).await, opened());
    assert_eq!(records.find(digest(1)).await.unwrap(), Some(session_of(&ann, 1)));
    let later = Account { revision: 1, ..ann.clone() };
    assert_eq!(open(&accounts, &later, 2).await, SessionOpening::Stale);
    let elsewhere = Record { token_api: "other".into(), ..session_of(&ann, 2) };
    assert_eq!(accounts.open_session(ann.id, 0, elsewhere).await.unwrap(), SessionOpening::Stale);
    assert!(!is_there(&records, 2).await);
    assert_eq!(issue(&records, &ann, 1, 3).await, Issue::Issued { removed: Vec::new() });
    assert!(listed(&records, &ann).await.iter().all(|key| key.record.kind == RecordKind::ApiKey));
}

pub(crate) async fn the_oldest_sessions_are_removed_for_a_new_one(
    records: Records,
    accounts: Accounts,
) {
    let (ann, bob) = (account(1, "ann"), account(2, "bob"));
    register(&accounts, &ann).await;
    register(&accounts, &bob).await;
    let most = MOST_SESSIONS as u64;
    assert_eq!(open(&accounts, &bob, 1000).await, opened());
    for number in 1..=most {
        assert_eq!(open(&accounts, &ann, number).await, opened());
    }
    assert_eq!(
        open(&accounts, &ann, most + 1).await,
        SessionOpening::Opened { removed: vec![digest(1)] }
    );
    assert!(
        !is_there(&records, 1).await
            && is_there(&records, 2).await
            && is_there(&records, 1000).await
    );
}

pub(crate) async fn disabling_ends_sessions_retires_keys_and_spares_the_rest(
    records: Records,
    accounts: Accounts,
) {
    let (ann, bob) = (account(1, "ann"), account(2, "bob"));
    for (account, session) in [(&ann, 1), (&bob, 11)] {
        register(&accounts, account).await;
        open(&accounts, account, session).await;
        for key in [session + 1, session + 2] {
            issue(&records, account, session, key).await;
        }
    }
    records.remove(by(1), digest(3), OnRemove::Retire, at(-5)).await.unwrap();
    // What her session made at another token API; and strangers whose names are alike.
    let elsewhere =
        Record { token_api: "agents".into(), origin: Some(API.into()), ..key_of(&ann, 4) };
    records.issue(by(1), elsewhere, IssueMode::Add, NOW).await.unwrap();
    for stranger in [
        Record { token_api: "agents".into(), ..key_of(&ann, 5) },
        Record { origin: Some("idp".into()), ..key_of(&ann, 6) },
        Record { token_api: "agents".into(), origin: Some(API.into()), ..key_of(&bob, 7) },
    ] {
        records.provision(stranger).await.unwrap();
    }
    assert_eq!(accounts.disable(API.into(), account(3, "carol").id, NOW).await.unwrap(), None);
    assert_eq!(accounts.disable("other".into(), ann.id, NOW).await.unwrap(), None);
    let mut removed = accounts.disable(API.into(), ann.id, NOW).await.unwrap().unwrap();
    removed.sort_unstable();
    let mut expected = [1, 2, 4].map(digest);
    expected.sort_unstable();
    assert_eq!(removed, expected);
    let there = Account { is_disabled: true, revision: 1, ..ann.clone() };
    assert_eq!(accounts.account(API.into(), ann.id).await.unwrap(), Some(there));
    for number in [1, 2, 3, 4] {
        assert!(!is_there(&records, number).await, "{number}");
    }
    for number in [5, 6, 7, 11, 12, 13] {
        assert!(is_there(&records, number).await, "{number}");
    }
    let retired = listed(&records, &ann)
        .await
        .into_iter()
        .map(|key| (key.record, key.retired_at))
        .collect::<Vec<_>>();
    assert_eq!(retired, [(key_of(&ann, 2), Some(NOW)), (key_of(&ann, 3), Some(at(-5)))]);
    // Again: nothing is left to be named, but a login that began since is stale as well.
    assert_eq!(accounts.disable(API.into(), ann.id, NOW).await.unwrap(), Some(Vec::new()));
    assert_eq!(
        accounts.account(API.into(), ann.id).await.unwrap().map(|account| account.revision),
        Some(2)
    );
}

pub(crate) async fn enabling_brings_nothing_back(records: Records, accounts: Accounts) {
    let ann = account(1, "ann");
    assert!(!accounts.enable(API.into(), ann.id).await.unwrap());
    register(&accounts, &ann).await;
    open(&accounts, &ann, 1).await;
    issue(&records, &ann, 1, 2).await;
    accounts.disable(API.into(), ann.id, NOW).await.unwrap();
    let disabled = Account { revision: 1, ..ann.clone() };
    assert_eq!(open(&accounts, &disabled, 3).await, SessionOpening::Stale);
    assert!(!accounts.enable("other".into(), ann.id).await.unwrap());
    assert!(accounts.enable(API.into(), ann.id).await.unwrap());
    assert!(!is_there(&records, 1).await && !is_there(&records, 2).await);
    assert_eq!(listed(&records, &ann).await.len(), 1);
    // A login from before is as stale as it was; one that looks again is not.
    assert_eq!(open(&accounts, &ann, 3).await, SessionOpening::Stale);
    assert_eq!(open(&accounts, &disabled, 3).await, opened());
}

pub(crate) async fn another_password_ends_sessions_and_leaves_keys(
    records: Records,
    accounts: Accounts,
) {
    let ann = account(1, "ann");
    assert_eq!(accounts.set_password(API.into(), ann.id, hash(2)).await.unwrap(), None);
    register(&accounts, &ann).await;
    open(&accounts, &ann, 1).await;
    issue(&records, &ann, 1, 2).await;
    let removed = accounts.set_password(API.into(), ann.id, hash(2)).await.unwrap();
    assert_eq!(removed, Some(vec![digest(1)]));
    assert!(!is_there(&records, 1).await && is_there(&records, 2).await);
    let found = accounts.account_by_username(API.into(), "ann".into()).await.unwrap().unwrap();
    assert_eq!((found.account.revision, found.hash), (1, hash(2)));
    assert_eq!(open(&accounts, &ann, 3).await, SessionOpening::Stale);
    assert_eq!(open(&accounts, &found.account, 3).await, opened());
}

pub(crate) async fn another_hash_of_the_same_password_changes_nothing_else(
    records: Records,
    accounts: Accounts,
) {
    let ann = account(1, "ann");
    register(&accounts, &ann).await;
    open(&accounts, &ann, 1).await;
    let kept = async || accounts.account_by_username(API.into(), "ann".into()).await.unwrap();
    accounts.rehash(API.into(), ann.id, 1, hash(2)).await.unwrap();
    assert_eq!(kept().await, Some(Credentials { account: ann.clone(), hash: hash(1) }));
    accounts.rehash(API.into(), ann.id, 0, hash(3)).await.unwrap();
    assert_eq!(kept().await, Some(Credentials { account: ann.clone(), hash: hash(3) }));
    accounts.rehash(API.into(), account(2, "bob").id, 0, hash(3)).await.unwrap();
    assert!(is_there(&records, 1).await);
}

pub(crate) async fn of_many_registrations_of_one_name_one_wins(_: Records, accounts: Accounts) {
    let registrations: Vec<_> = (0..100)
        .map(|number| {
            let name = if number % 2 == 0 { "ann" } else { "ANN" };
            let email = Email::new(&format!("ann{number}@example.com")).unwrap();
            tokio::spawn(accounts.register(Account { email, ..account(number, name) }, hash(1)))
        })
        .collect();
    let mut won = 0;
    for registration in registrations {
        match registration.await.unwrap().unwrap() {
            Registered::Registered => won += 1,
            other => assert_eq!(other, Registered::UsernameTaken),
        }
    }
    assert_eq!((won, accounts.accounts(None, 0).await.unwrap().len()), (1, 1));
}

pub(crate) async fn no_session_survives_a_disable_that_it_races_with(
    records: Records,
    accounts: Accounts,
) {
    for round in 0..20 {
        let ann = account(round + 1, &format!("ann{round}"));
        register(&accounts, &ann).await;
        let open = |number: u64| {
            tokio::spawn(accounts.open_session(ann.id, 0, session_of(&ann, round * 100 + number)))
        };
        let before: Vec<_> = (0..8).map(open).collect();
        let disabling = tokio::spawn(accounts.disable(API.into(), ann.id, NOW));
        let after: Vec<_> = (8..16).map(open).collect();
        let mut opened = Vec::new();
        for (number, opening) in before.into_iter().chain(after).enumerate() {
            if opening.await.unwrap().unwrap() != SessionOpening::Stale {
                opened.push(digest(round * 100 + number as u64));
            }
        }
        let mut removed = disabling.await.unwrap().unwrap().unwrap();
        // Every session that opened is named, and none is there.
        opened.sort_unstable();
        removed.sort_unstable();
        assert_eq!(opened, removed);
        let filter = Filter { subject: Some(ann.id.to_string()), ..Filter::default() };
        assert!(records.browse(filter).await.unwrap().is_empty());
    }
}

pub(crate) async fn no_key_survives_a_disable_that_it_races_with(
    records: Records,
    accounts: Accounts,
) {
    for round in 0..20 {
        let ann = account(round + 1, &format!("ann{round}"));
        register(&accounts, &ann).await;
        open(&accounts, &ann, round * 100).await;
        let issue = |number: u64| {
            let child = key_of(&ann, round * 100 + number);
            tokio::spawn(records.issue(by(round * 100), child, IssueMode::Add, NOW))
        };
        let before: Vec<_> = (1..8).map(issue).collect();
        let disabling = tokio::spawn(accounts.disable(API.into(), ann.id, NOW));
        let after: Vec<_> = (8..16).map(issue).collect();
        let mut issued = 0;
        for issue in before.into_iter().chain(after) {
            match issue.await.unwrap().unwrap() {
                Issue::Issued { .. } => issued += 1,
                other => assert_eq!(other, Issue::AuthorizationGone),
            }
        }
        // The session, and every key that was issued.
        assert_eq!(disabling.await.unwrap().unwrap().unwrap().len(), issued + 1);
        let keys = listed(&records, &ann).await;
        assert!(keys.len() == issued && keys.iter().all(|key| key.retired_at == Some(NOW)));
    }
}
