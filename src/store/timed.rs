//! A store, of whichever kind, whose requests are measured. What is known in memory does not come
//! this way.

use std::sync::Arc;

use crate::domain::{Account, AccountId, Owner, Record, Timestamp, TokenDigest, TokenId, Uptime};
use crate::telemetry::store_durations::{StoreDurations, StoreRequest};
use crate::tokens::accounts::PasswordHash;
use crate::tokens::accounts::store::{AccountStore, Credentials, Registered, SessionOpening};
use crate::tokens::clock;
use crate::tokens::store::{
    AuthorizedBy, Filter, Issue, IssueMode, Listed, OnRemove, Removal, Store, StoreFuture,
};

/// A store whose requests are measured.
pub struct Timed<S: ?Sized> {
    store: Arc<S>,
    durations: Arc<StoreDurations>,
}

/// A request that is under way. It is counted also when its caller waits for it no longer: those
/// that take too long are not to be missed.
struct UnderWay {
    request: StoreRequest,
    began: Uptime,
    durations: Arc<StoreDurations>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.durations.observe(self.request, clock::uptime().since(self.began));
    }
}

impl<S: ?Sized> Timed<S> {
    /// Measures the requests of `store`.
    pub fn new(store: Arc<S>, durations: Arc<StoreDurations>) -> Self {
        Self { store, durations }
    }

    fn timed<T: 'static>(
        &self,
        request: StoreRequest,
        ask: impl FnOnce(&S) -> StoreFuture<T>,
    ) -> StoreFuture<T> {
        let began = clock::uptime();
        let under_way = UnderWay { request, began, durations: Arc::clone(&self.durations) };
        let asked = ask(&self.store);
        Box::pin(async move {
            let _under_way = under_way;
            asked.await
        })
    }
}

impl Store for Timed<dyn Store> {
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>> {
        self.timed(StoreRequest::Find, |store| store.find(digest))
    }

    fn find_by_id(&self, token_api: String, id: TokenId) -> StoreFuture<Option<Listed>> {
        self.timed(StoreRequest::Find, |store| store.find_by_id(token_api, id))
    }

    fn issue(
        &self,
        authorized_by: AuthorizedBy,
        child: Record,
        mode: IssueMode,
        now: Timestamp,
    ) -> StoreFuture<Issue> {
        self.timed(StoreRequest::Issue, |store| store.issue(authorized_by, child, mode, now))
    }

    fn provision(&self, record: Record) -> StoreFuture<()> {
        self.timed(StoreRequest::Issue, |store| store.provision(record))
    }

    fn owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<Listed>>> {
        self.timed(StoreRequest::List, |store| store.owned(authorized_by, owner, now))
    }

    fn remove(
        &self,
        authorized_by: AuthorizedBy,
        target: TokenDigest,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Removal> {
        let request = StoreRequest::Remove;
        self.timed(request, |store| store.remove(authorized_by, target, on_remove, now))
    }

    fn remove_owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        on_remove: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        let request = StoreRequest::Remove;
        self.timed(request, |store| store.remove_owned(authorized_by, owner, on_remove, now))
    }

    fn settle(&self) -> StoreFuture<()> {
        self.timed(StoreRequest::Remove, |store| store.settle())
    }

    fn browse(&self, filter: Filter) -> StoreFuture<Vec<Record>> {
        self.timed(StoreRequest::List, |store| store.browse(filter))
    }

    fn retired(&self) -> StoreFuture<Vec<Listed>> {
        self.timed(StoreRequest::List, |store| store.retired())
    }

    fn restore(&self, kept: Listed) -> StoreFuture<()> {
        self.timed(StoreRequest::Issue, |store| store.restore(kept))
    }

    fn touch(&self, uses: Vec<(TokenDigest, Timestamp)>) -> StoreFuture<()> {
        self.timed(StoreRequest::Upkeep, |store| store.touch(uses))
    }

    fn purge(&self, now: Timestamp, limit: usize) -> StoreFuture<usize> {
        self.timed(StoreRequest::Upkeep, |store| store.purge(now, limit))
    }

    fn check(&self) -> StoreFuture<()> {
        self.timed(StoreRequest::Check, |store| store.check())
    }
}

impl AccountStore for Timed<dyn AccountStore> {
    fn register(&self, account: Account, hash: PasswordHash) -> StoreFuture<Registered> {
        self.timed(StoreRequest::Account, |store| store.register(account, hash))
    }

    fn account_by_username(
        &self,
        token_api: String,
        folded: String,
    ) -> StoreFuture<Option<Credentials>> {
        self.timed(StoreRequest::Account, |store| store.account_by_username(token_api, folded))
    }

    fn account(&self, token_api: String, id: AccountId) -> StoreFuture<Option<Account>> {
        self.timed(StoreRequest::Account, |store| store.account(token_api, id))
    }

    fn accounts(&self, token_api: Option<String>, limit: usize) -> StoreFuture<Vec<Account>> {
        self.timed(StoreRequest::List, |store| store.accounts(token_api, limit))
    }

    fn disable(
        &self,
        token_api: String,
        id: AccountId,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.timed(StoreRequest::Remove, |store| store.disable(token_api, id, now))
    }

    fn enable(&self, token_api: String, id: AccountId) -> StoreFuture<bool> {
        self.timed(StoreRequest::Account, |store| store.enable(token_api, id))
    }

    fn set_password(
        &self,
        token_api: String,
        id: AccountId,
        hash: PasswordHash,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.timed(StoreRequest::Remove, |store| store.set_password(token_api, id, hash))
    }

    fn rehash(
        &self,
        token_api: String,
        id: AccountId,
        revision: u32,
        hash: PasswordHash,
    ) -> StoreFuture<()> {
        self.timed(StoreRequest::Account, |store| store.rehash(token_api, id, revision, hash))
    }

    fn open_session(
        &self,
        id: AccountId,
        revision: u32,
        session: Record,
    ) -> StoreFuture<SessionOpening> {
        self.timed(StoreRequest::Account, |store| store.open_session(id, revision, session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_given_up_is_measured_too() {
        let durations = Arc::new(StoreDurations::default());
        let timed = Timed::<()>::new(Arc::new(()), Arc::clone(&durations));
        let never = timed.timed::<()>(StoreRequest::Find, |()| Box::pin(std::future::pending()));
        assert!(!durations.is_used(StoreRequest::Find));
        drop(never);
        assert!(durations.is_used(StoreRequest::Find));
        assert!(!durations.is_used(StoreRequest::List));
    }
}
