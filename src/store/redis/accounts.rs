//! The port of accounts.

use std::sync::Arc;

use super::account_operations::{self, Ends, Kept, Step};
use super::operations::Cursor;
use super::{Inner, Question, RedisStore};
use crate::domain::{Account, AccountId, Record, Timestamp, TokenDigest};
use crate::tokens::accounts::store::{Credentials, Registered, SessionOpening};
use crate::tokens::accounts::{AccountStore, PasswordHash};
use crate::tokens::store::{StoreError, StoreFuture};

/// How often a step is tried whose account has changed since it was read. Each time it is somebody
/// else's step that was made, and of those an account has few at the same time: another password,
/// another hash, disabling and enabling.
const TRIES: usize = 64;

impl Inner {
    async fn account(&self, token_api: &str, id: AccountId) -> Result<Option<Kept>, StoreError> {
        let value =
            self.data.read(Question::Command(self.operations.account(token_api, id))).await?;
        self.operations.account_found(token_api, id, value)
    }

    /// Changes an account, unless `change` says that it does not want to. What was removed; `None`:
    /// there is no such account.
    async fn change_account(
        &self,
        token_api: String,
        id: AccountId,
        ends: Ends,
        change: impl Fn(&mut Credentials) -> bool,
    ) -> Result<Option<Vec<TokenDigest>>, StoreError> {
        let mut found = self.account(&token_api, id).await?;
        for _ in 0..TRIES {
            let Some(read) = &found else { return Ok(None) };
            let mut credentials = read.credentials.clone();
            if !change(&mut credentials) {
                return Ok(Some(Vec::new()));
            }
            let value =
                self.data.change(self.operations.change_account(read, &credentials, ends)?).await?;
            match self.operations.account_step(&token_api, id, value)? {
                Step::Made(removed, announced) => {
                    self.heeded(announced).await;
                    return Ok(Some(removed));
                }
                Step::Stale(now) => found = now,
            }
        }
        Err(StoreError::Overloaded)
    }

    async fn open_session(
        &self,
        id: AccountId,
        revision: u32,
        session: &Record,
    ) -> Result<SessionOpening, StoreError> {
        let mut found = self.account(&session.token_api, id).await?;
        for _ in 0..TRIES {
            let good = |read: &&Kept| {
                let account = &read.credentials.account;
                account.revision == revision && !account.is_disabled
            };
            let Some(read) = found.as_ref().filter(good) else { return Ok(SessionOpening::Stale) };
            let value = self.data.change(self.operations.open_session(read, session)?).await?;
            match self.operations.account_step(&session.token_api, id, value)? {
                Step::Made(removed, announced) => {
                    self.heeded(announced).await;
                    return Ok(SessionOpening::Opened { removed });
                }
                Step::Stale(now) => found = now,
            }
        }
        Err(StoreError::Overloaded)
    }

    async fn accounts(
        &self,
        token_api: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Account>, StoreError> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let (mut found, mut next) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = next.filter(|_| found.len() < limit) {
            let page = self
                .operations
                .accounts_page(self.ask(self.operations.accounts(token_api, &cursor)).await?)?;
            found.extend(page.accounts);
            next = page.next;
        }
        found.truncate(limit);
        Ok(found)
    }
}

impl AccountStore for RedisStore {
    fn register(&self, account: Account, hash: PasswordHash) -> StoreFuture<Registered> {
        self.run(async move |inner| {
            let call = inner.operations.register(&Credentials { account, hash })?;
            account_operations::registered(inner.data.change(call).await?)
        })
    }

    fn account_by_username(
        &self,
        token_api: String,
        folded: String,
    ) -> StoreFuture<Option<Credentials>> {
        self.run(async move |inner| {
            let value =
                inner.ask(inner.operations.account_by_username(&token_api, &folded)).await?;
            inner.operations.account_by_username_found(&token_api, &folded, value)
        })
    }

    fn account(&self, token_api: String, id: AccountId) -> StoreFuture<Option<Account>> {
        self.run(async move |inner| {
            Ok(inner.account(&token_api, id).await?.map(|found| found.credentials.account))
        })
    }

    fn accounts(&self, token_api: Option<String>, limit: usize) -> StoreFuture<Vec<Account>> {
        self.run(async move |inner| inner.accounts(token_api.as_deref(), limit).await)
    }

    fn disable(
        &self,
        token_api: String,
        id: AccountId,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.run(async move |inner| {
            let disabled = |credentials: &mut Credentials| {
                credentials.account.is_disabled = true;
                raise_revision(credentials);
                true
            };
            inner.change_account(token_api, id, Ends::All(now), disabled).await
        })
    }

    fn enable(&self, token_api: String, id: AccountId) -> StoreFuture<bool> {
        self.run(async move |inner| {
            let enabled = |credentials: &mut Credentials| {
                credentials.account.is_disabled = false;
                true
            };
            Ok(inner.change_account(token_api, id, Ends::Nothing, enabled).await?.is_some())
        })
    }

    fn set_password(
        &self,
        token_api: String,
        id: AccountId,
        hash: PasswordHash,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.run(async move |inner| {
            let with_another = |credentials: &mut Credentials| {
                credentials.hash = hash.clone();
                raise_revision(credentials);
                true
            };
            inner.change_account(token_api, id, Ends::Sessions, with_another).await
        })
    }

    fn rehash(
        &self,
        token_api: String,
        id: AccountId,
        revision: u32,
        hash: PasswordHash,
    ) -> StoreFuture<()> {
        self.run(async move |inner| {
            let rehashed = |credentials: &mut Credentials| {
                let is_same = credentials.account.revision == revision;
                if is_same {
                    credentials.hash = hash.clone();
                }
                is_same
            };
            inner.change_account(token_api, id, Ends::Nothing, rehashed).await.map(|_| ())
        })
    }

    fn open_session(
        &self,
        id: AccountId,
        revision: u32,
        session: Record,
    ) -> StoreFuture<SessionOpening> {
        self.run(async move |inner: Arc<Inner>| inner.open_session(id, revision, &session).await)
    }
}

fn raise_revision(credentials: &mut Credentials) {
    credentials.account.revision = credentials.account.revision.wrapping_add(1);
}
