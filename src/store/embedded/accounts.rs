//! The port of accounts, served by the same threads as that of records.

use super::EmbeddedStore;
use crate::domain::{Account, AccountId, Record, Timestamp, TokenDigest};
use crate::tokens::accounts::PasswordHash;
use crate::tokens::accounts::store::{AccountStore, Credentials, Registered, SessionOpening};
use crate::tokens::store::StoreFuture;

impl AccountStore for EmbeddedStore {
    fn register(&self, account: Account, hash: PasswordHash) -> StoreFuture<Registered> {
        let credentials = Credentials { account, hash };
        self.write(move |tables| tables.register(&credentials))
    }

    fn account_by_username(
        &self,
        token_api: String,
        folded: String,
    ) -> StoreFuture<Option<Credentials>> {
        self.look_up(move |tables| tables.account_by_username(&token_api, &folded))
    }

    fn account(&self, token_api: String, id: AccountId) -> StoreFuture<Option<Account>> {
        self.look_up(move |tables| Ok(tables.account(&token_api, id)?.map(|found| found.account)))
    }

    fn accounts(&self, token_api: Option<String>, limit: usize) -> StoreFuture<Vec<Account>> {
        self.list(move |tables| tables.accounts(token_api.as_deref(), limit))
    }

    fn disable(
        &self,
        token_api: String,
        id: AccountId,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.write(move |tables| tables.disable(&token_api, id, now))
    }

    fn enable(&self, token_api: String, id: AccountId) -> StoreFuture<bool> {
        self.write(move |tables| tables.enable(&token_api, id))
    }

    fn set_password(
        &self,
        token_api: String,
        id: AccountId,
        hash: PasswordHash,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.write(move |tables| tables.set_password(&token_api, id, &hash))
    }

    fn rehash(
        &self,
        token_api: String,
        id: AccountId,
        revision: u32,
        hash: PasswordHash,
    ) -> StoreFuture<()> {
        self.write(move |tables| tables.rehash(&token_api, id, revision, &hash))
    }

    fn open_session(
        &self,
        id: AccountId,
        revision: u32,
        session: Record,
    ) -> StoreFuture<SessionOpening> {
        self.write(move |tables| tables.open_session(id, revision, &session))
    }
}
