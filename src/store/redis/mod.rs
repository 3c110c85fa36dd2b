//! The store of a fleet: Redis.
//!
//! Every operation is one script and so one step (`calls.rs`, `scripts/`); the keys are in
//! `layout.rs`. There are two exceptions, both of reading: a list of more than 512 records is read
//! on in parts, so a key that is removed meanwhile is missing, and [`Store::browse`] and the list
//! of accounts read everything in parts, so what they show need not have been there at one moment.
//! [`Store::find`] leaves [`Record::last_used_at`] out: that is kept beside the records, and a
//! look-up is to be one command. What builds on an account is a reading and a step that is only
//! made if the account is still what was read.
//!
//! Records are sealed ([`crate::store::record_codec`]), and what is beside the seal is held against
//! it: who can write to Redis but has no key can destroy records, not make or change them. It
//! cannot be noticed when such a one puts back a whole record or account that was there before, or
//! tells a script that a record that vouches ends later than it does.
//!
//! # Coherence
//!
//! Each instance remembers what it has read. When an operation that removes something has returned,
//! no instance of the fleet uses it any more, the calling one apart, which tells its own cache.
//! How:
//!
//! * `link.rs`: one connection per instance on which it hears of removals (broadcast tracking of
//!   all records, and the fleet's announcements), and on which it earns its **lease** with
//!   heartbeats. What Redis has said counts only under the lease.
//! * `fleet.rs`: who removes announces it in the same script, and waits until every other
//!   registered instance has confirmed that it dropped its copy, or until the leases of those that
//!   did not are over for certain.
//! * `opening.rs`: what all of this stands on, the thread of the link, and its end.
//! * `data.rs`: look-ups and changes go to the server of the link, and to no other. What was read
//!   in one **term** of the link counts for nothing in the next; the cache's fences see to what was
//!   removed while it was being read.
//!
//! When the link is cut, the lease ends, and with it the use of everything that was remembered: the
//! bound of the promise is the lease, and where a master may be cut off from its replicas, the time
//! after which it refuses the heartbeat, which is a write (`min-replicas-max-lag`; in a Cluster
//! `cluster-node-timeout`). Only where a single server refuses all changes because it cannot save,
//! and no other can be the master, a look takes the place of one (`link.rs`). `tests/coherence` is
//! a model of all this, with a counterexample for each rule that is left out, or for two that guard
//! the same place.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use redis::{Cmd, Value};

use crate::domain::{Owner, Record, Timestamp, TokenDigest, TokenId};
use crate::store::record_codec::RecordKey;
use crate::tokens::store::{
    AuthorizedBy, Filter, Issue, IssueMode, Listed, OnRemove, Removal, Store, StoreError,
    StoreFuture,
};

mod account_operations;
mod accounts;
mod announced;
mod calls;
pub mod connection;
mod counters;
pub mod data;
pub mod discover;
mod fault;
mod fleet;
pub mod inspect;
mod lane;
mod layout;
mod link;
mod membership;
pub mod node;
mod opening;
mod operations;
mod pace;
pub mod presence;
mod refusal;
mod reply;
mod script;
pub mod settings;
pub mod site;
pub mod site_fault;
mod slot;
mod trouble;

#[cfg(test)]
#[allow(
    dead_code,
    reason = "the tests here and those through the socket use different parts of it"
)]
#[path = "../../../tests/it/support/redis.rs"]
mod server;
#[cfg(test)]
mod tests;

pub use link::LinkState;
pub use opening::{RedisOpenError, RedisOptions};

use announced::Announced;
use calls::Call;
use layout::Layout;
use opening::LinkThread;
use operations::{Cursor, ListKind, Operations, Page, WHOLE};

/// How many uses are noted in one operation, so that a long list lets others in between.
const TOUCHES: usize = 256;

/// How the operations reach the master.
trait Master: Send + Sync + 'static {
    /// Asks something. Handed over at once and pipelined; the answer is the master's.
    fn read(&self, question: Question) -> StoreFuture<Value>;

    /// Changes something. Whether a [`calls::Endurance::Lasting`] change must have reached replicas
    /// before it is acknowledged is the configuration's: if it has not, that is an error, although
    /// it has taken effect.
    fn change(&self, call: Call) -> StoreFuture<Value>;
}

/// What can be asked.
enum Question {
    /// A command.
    Command(Cmd),
    /// A script that changes nothing.
    Script(Call),
}

/// How a removal reaches the fleet.
trait Coherence: Send + Sync + 'static {
    /// Returns when no other instance uses any more what was removed before this announcement, be
    /// it that each has said so, be it that it could not use anything any more.
    fn announced(&self, announced: Announced)
    -> Pin<Box<dyn Future<Output = ()> + Send + 'static>>;
}

/// The store. It keeps its link on a thread of its own until it is [closed](Self::close) or
/// dropped.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
    link: Option<Arc<LinkThread>>,
}

struct Inner {
    operations: Operations,
    data: Arc<dyn Master>,
    coherence: Arc<dyn Coherence>,
}

impl RedisStore {
    /// `instance` is this process in the fleet: a random id of its own.
    fn new(
        layout: Layout,
        key: RecordKey,
        instance: String,
        data: Arc<dyn Master>,
        coherence: Arc<dyn Coherence>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                operations: Operations::new(layout, key, instance),
                data,
                coherence,
            }),
            link: None,
        }
    }

    fn run<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Box::pin(work(Arc::clone(&self.inner)))
    }
}

impl Inner {
    async fn ask(&self, call: Call) -> Result<Value, StoreError> {
        self.data.read(Question::Script(call)).await
    }

    async fn heeded(&self, announced: Option<Announced>) {
        if let Some(announced) = announced {
            self.coherence.announced(announced).await;
        }
    }

    async fn owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<Option<Vec<Listed>>, StoreError> {
        let value = self.ask(self.operations.owned(authorized_by, owner, now)).await?;
        let Some(mut owned) = self.operations.read_owned(value)? else { return Ok(None) };
        for names in owned.others.chunks(WHOLE) {
            let value = self.ask(self.operations.records_of(names)).await?;
            owned.keys.extend(operations::kept(value)?);
        }
        self.operations.listed(owner, now, owned.keys).map(Some)
    }

    async fn browse(&self, filter: &Filter) -> Result<Vec<Record>, StoreError> {
        let matches = |record: &Record| {
            filter.token_api.as_ref().is_none_or(|wanted| record.token_api == *wanted)
                && filter.subject.as_ref().is_none_or(|wanted| record.identity.subject == *wanted)
                && filter.sort.is_none_or(|wanted| record.kind.sort() == wanted)
        };
        let limit = if filter.limit == 0 { usize::MAX } else { filter.limit };
        let (mut found, mut next) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = next.filter(|_| found.len() < limit) {
            let page = self.page(ListKind::Live, &cursor).await?;
            found.extend(page.kept.into_iter().map(|kept| kept.record).filter(matches));
            next = page.next;
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn retired(&self) -> Result<Vec<Listed>, StoreError> {
        let (mut found, mut next) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = next {
            let page = self.page(ListKind::Retired, &cursor).await?;
            found.extend(page.kept);
            next = page.next;
        }
        Ok(found)
    }

    async fn page(&self, which: ListKind, from: &Cursor) -> Result<Page, StoreError> {
        self.operations.page(self.ask(self.operations.browse(which, from)).await?)
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut deleted = 0_usize;
        loop {
            let wanted = limit.saturating_sub(deleted).min(operations::PURGED);
            let purged = self
                .operations
                .purged(self.data.change(self.operations.purge(now, wanted)).await?)?;
            self.heeded(purged.announced).await;
            deleted = deleted.saturating_add(purged.expired);
            if purged.expired < wanted || deleted >= limit {
                return Ok(deleted);
            }
        }
    }
}

impl Store for RedisStore {
    fn find(&self, digest: TokenDigest) -> StoreFuture<Option<Record>> {
        let answer = self.inner.data.read(Question::Command(self.inner.operations.find(digest)));
        self.run(async move |inner| inner.operations.found(digest, answer.await?))
    }

    fn find_by_id(&self, token_api: String, id: TokenId) -> StoreFuture<Option<Listed>> {
        self.run(async move |inner| {
            let value = inner.ask(inner.operations.find_by_id(id)).await?;
            inner.operations.found_by_id(&token_api, id, value)
        })
    }

    fn issue(
        &self,
        authorized_by: AuthorizedBy,
        child: Record,
        mode: IssueMode,
        now: Timestamp,
    ) -> StoreFuture<Issue> {
        self.run(async move |inner| {
            let call = inner.operations.issue(authorized_by, &child, mode, now)?;
            let (issue, announced) = inner.operations.issued(inner.data.change(call).await?)?;
            inner.heeded(announced).await;
            Ok(issue)
        })
    }

    fn provision(&self, record: Record) -> StoreFuture<()> {
        let now = record.issued_at;
        let issue = self.issue(AuthorizedBy::Outside, record, IssueMode::Add, now);
        Box::pin(async move { issue.await.map(|_| ()) })
    }

    fn owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<Listed>>> {
        self.run(async move |inner| inner.owned(authorized_by, &owner, now).await)
    }

    fn remove(
        &self,
        authorized_by: AuthorizedBy,
        target: TokenDigest,
        after: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Removal> {
        self.run(async move |inner| {
            let value = inner
                .data
                .change(inner.operations.remove(authorized_by, target, after, now))
                .await?;
            let (removal, announced) = inner.operations.removed(value)?;
            inner.heeded(announced).await;
            Ok(removal)
        })
    }

    fn remove_owned(
        &self,
        authorized_by: AuthorizedBy,
        owner: Owner,
        after: OnRemove,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.run(async move |inner| {
            let value = inner
                .data
                .change(inner.operations.remove_owned(authorized_by, &owner, after, now))
                .await?;
            let (removed, announced) = inner.operations.removed_owned(value)?;
            inner.heeded(announced).await;
            Ok(removed)
        })
    }

    fn settle(&self) -> StoreFuture<()> {
        self.run(async move |inner| {
            let announced =
                announced::announced(inner.data.change(inner.operations.settle()).await?)?;
            inner.heeded(Some(announced)).await;
            Ok(())
        })
    }

    fn browse(&self, filter: Filter) -> StoreFuture<Vec<Record>> {
        self.run(async move |inner| inner.browse(&filter).await)
    }

    fn retired(&self) -> StoreFuture<Vec<Listed>> {
        self.run(async move |inner| inner.retired().await)
    }

    fn restore(&self, kept: Listed) -> StoreFuture<()> {
        self.run(async move |inner| {
            let call = inner.operations.restore(&kept)?;
            inner.operations.issued(inner.data.change(call).await?).map(|_| ())
        })
    }

    fn touch(&self, uses: Vec<(TokenDigest, Timestamp)>) -> StoreFuture<()> {
        self.run(async move |inner| {
            for part in uses.chunks(TOUCHES) {
                inner.data.change(inner.operations.touch(part)).await?;
            }
            Ok(())
        })
    }

    fn purge(&self, now: Timestamp, limit: usize) -> StoreFuture<usize> {
        self.run(async move |inner| inner.purge(now, limit).await)
    }

    fn check(&self) -> StoreFuture<()> {
        self.run(async move |inner| {
            inner.data.read(Question::Command(inner.operations.check_reads())).await?;
            inner.data.change(inner.operations.check_changes()).await?;
            Ok(())
        })
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("layout", &self.inner.operations.layout)
            .finish_non_exhaustive()
    }
}
