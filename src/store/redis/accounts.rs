//! Accounts in Redis: not there yet. The configuration refuses a token API of the style `accounts` with a store of this kind.

use super::RedisStore;
use crate::domain::{Account, AccountId, Record, Timestamp, TokenDigest};
use crate::tokens::accounts::store::{Credentials, Registered, SessionOpening};
use crate::tokens::accounts::{AccountStore, PasswordHash};
use crate::tokens::store::{StoreError, StoreFuture};

fn not_yet<T: Send + 'static>() -> StoreFuture<T> {
    Box::pin(std::future::ready(Err(StoreError::Unavailable("accounts are not kept in Redis".to_owned()))))
}

impl AccountStore for RedisStore {
    fn register(&self, _: Account, _: PasswordHash) -> StoreFuture<Registered> {
        not_yet()
    }

    fn account_by_username(&self, _: String, _: String) -> StoreFuture<Option<Credentials>> {
        not_yet()
    }

    fn account(&self, _: String, _: AccountId) -> StoreFuture<Option<Account>> {
        not_yet()
    }

    fn accounts(&self, _: Option<String>, _: usize) -> StoreFuture<Vec<Account>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn disable(&self, _: String, _: AccountId, _: Timestamp) -> StoreFuture<Option<Vec<TokenDigest>>> {
        not_yet()
    }

    fn enable(&self, _: String, _: AccountId) -> StoreFuture<bool> {
        not_yet()
    }

    fn set_password(&self, _: String, _: AccountId, _: PasswordHash) -> StoreFuture<Option<Vec<TokenDigest>>> {
        not_yet()
    }

    fn rehash(&self, _: String, _: AccountId, _: u32, _: PasswordHash) -> StoreFuture<()> {
        not_yet()
    }

    fn open_session(&self, _: AccountId, _: u32, _: Record) -> StoreFuture<SessionOpening> {
        not_yet()
    }
}
