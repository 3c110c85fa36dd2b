//! Accounts: the port, and what only this store promises.

use super::*;
use crate::store::tests::account_conformance::{account, hash};
use crate::tokens::accounts::AccountStore;
use crate::tokens::accounts::store::Registered;

async fn fresh() -> (StoreDirectory, Arc<dyn Store>, Arc<dyn AccountStore>) {
    let directory = StoreDirectory::new();
    let store = directory.open();
    (directory, store.clone(), store)
}

crate::store::tests::account_conformance::conforms_accounts!(fresh);

fn with_two() -> StoreDirectory {
    let directory = StoreDirectory::new();
    let store = directory.open();
    for (number, name) in [(1, "ann"), (2, "bob")] {
        let registered = wait(store.register(account(number, name), hash(number as u8))).unwrap();
        assert_eq!(registered, Registered::Registered);
    }
    directory
}

#[test]
fn an_account_survives_a_crash() {
    let directory = StoreDirectory::new();
    let store = directory.open();
    wait(store.register(account(1, "ann"), hash(1))).unwrap();
    wait(store.disable("accounts".into(), account(1, "ann").id, NOW)).unwrap();
    let after = directory.crash();
    let accounts = wait(after.open().accounts(None, 0)).unwrap();
    assert!(accounts.len() == 1 && accounts[0].is_disabled);
}

#[test]
fn write_access_to_the_store_neither_plants_an_account_nor_swaps_a_password() {
    for meddling in [
        "UPDATE account SET body = (SELECT body FROM account WHERE username = 'bob') WHERE \
         username = 'ann'",
        "UPDATE account SET username = 'eve' WHERE username = 'ann'",
        "UPDATE account SET email = 'eve@example.com' WHERE username = 'ann'",
        "UPDATE account SET token_api = 'other' WHERE username = 'ann'",
        "UPDATE account SET created_at = 9 WHERE username = 'ann'",
        "UPDATE account SET id = randomblob(16) WHERE username = 'ann'",
        "UPDATE account SET body = CAST(replace(CAST(body AS TEXT), '\"rev\":0', '\"rev\":1') AS \
         BLOB)",
        "INSERT INTO account (id, token_api, username, email, created_at, body)
         SELECT randomblob(16), 'other', username, email, created_at, body FROM account",
    ] {
        let directory = with_two();
        directory.meddle(meddling);
        assert!(matches!(directory.try_open(), Err(OpenError::Damaged { .. })), "{meddling}");
    }
    // Behind the back of a store that is open, it is noticed when the account is read.
    let directory = with_two();
    let store = directory.open();
    directory.meddle(
        "UPDATE account SET body = (SELECT body FROM account WHERE username = 'bob') \
                  WHERE username = 'ann'",
    );
    let found = wait(store.account_by_username("accounts".into(), "ann".into()));
    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");
}
