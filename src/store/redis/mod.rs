//! The store of a fleet: Redis.
//!
//! Every operation is one script and so one step (`calls.rs`, `scripts/`); the keys are in `layout.rs`. There are two exceptions,
//! both of reading: a list of more than 512 records is read on in parts, so a key that is removed meanwhile is missing, and
//! [`Store::browse`] reads everything in parts, so what it shows need not have been there at one moment. [`Store::find`] leaves
//! [`Record::last_used_at`] out: that is kept beside the records, and a look-up is to be one command.
//!
//! What removes something returns when the whole fleet has heeded it.
//!
//! Records are sealed ([`crate::store::record_codec`]), and what is beside the seal is held against it: who can write to Redis
//! but has no key can destroy records, not make or change them. It cannot be noticed when such a one puts back a whole
//! record that was there before, or tells a script that a record that vouches ends later than it does.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use redis::{Cmd, Value};

use crate::domain::{Owner, Record, Timestamp, TokenDigest, TokenId};
use crate::store::record_codec::RecordKey;
use crate::tokens::store::{Afterlife, Filter, Issue, Listed, Place, Removal, Store, StoreError, StoreFuture, Voucher};

mod calls;
mod fault;
mod layout;
mod membership;
mod operations;
mod reply;
mod script;

#[cfg(test)]
mod tests;

use calls::Call;
use layout::Layout;
use operations::{Announced, Cursor, Operations, WHOLE};

/// How many uses are noted in one operation, so that a long list lets others in between.
const TOUCHES: usize = 256;

/// How the operations reach the master.
trait Data: Send + Sync + 'static {
    /// Asks something. Handed over at once and pipelined; the answer is the master's.
    fn read(&self, question: Question) -> StoreFuture<Value>;

    /// Changes something. Whether a [`calls::Endurance::Lasting`] change must have reached replicas before it is
    /// acknowledged is the configuration's: if it has not, that is an error, although it has taken effect.
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
    /// Returns when no other instance uses any more what was removed before this announcement, be it that each has said so,
    /// be it that it could not use anything any more.
    fn announced(&self, announced: Announced) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>>;
}

/// The store.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    operations: Operations,
    data: Arc<dyn Data>,
    coherence: Arc<dyn Coherence>,
}

impl RedisStore {
    /// `instance` is this process in the fleet: a random id of its own.
    fn new(
        layout: Layout,
        key: RecordKey,
        instance: String,
        data: Arc<dyn Data>,
        coherence: Arc<dyn Coherence>,
    ) -> Self {
        Self { inner: Arc::new(Inner { operations: Operations { layout, key, instance }, data, coherence }) }
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

    async fn owned(&self, voucher: Voucher, owner: &Owner, now: Timestamp) -> Result<Option<Vec<Listed>>, StoreError> {
        let value = self.ask(self.operations.owned(voucher, owner, now)).await?;
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
            let page = self.operations.page(self.ask(self.operations.browse(&cursor)).await?)?;
            found.extend(page.records.into_iter().filter(matches));
            next = page.next;
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut deleted = 0_usize;
        loop {
            let wanted = limit.saturating_sub(deleted).min(operations::PURGED);
            let purged = self.operations.purged(self.data.change(self.operations.purge(now, wanted)).await?)?;
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

    fn issue(&self, voucher: Voucher, child: Record, place: Place, now: Timestamp) -> StoreFuture<Issue> {
        self.run(async move |inner| {
            let call = inner.operations.issue(voucher, &child, place, now)?;
            let (issue, announced) = inner.operations.issued(inner.data.change(call).await?)?;
            inner.heeded(announced).await;
            Ok(issue)
        })
    }

    fn provision(&self, record: Record) -> StoreFuture<()> {
        let now = record.issued_at;
        let issue = self.issue(Voucher::Outside, record, Place::Beside, now);
        Box::pin(async move { issue.await.map(|_| ()) })
    }

    fn owned(&self, voucher: Voucher, owner: Owner, now: Timestamp) -> StoreFuture<Option<Vec<Listed>>> {
        self.run(async move |inner| inner.owned(voucher, &owner, now).await)
    }

    fn remove(&self, voucher: Voucher, target: TokenDigest, after: Afterlife, now: Timestamp) -> StoreFuture<Removal> {
        self.run(async move |inner| {
            let value = inner.data.change(inner.operations.remove(voucher, target, after, now)).await?;
            let (removal, announced) = inner.operations.removed(value)?;
            inner.heeded(announced).await;
            Ok(removal)
        })
    }

    fn remove_owned(
        &self,
        voucher: Voucher,
        owner: Owner,
        after: Afterlife,
        now: Timestamp,
    ) -> StoreFuture<Option<Vec<TokenDigest>>> {
        self.run(async move |inner| {
            let value = inner.data.change(inner.operations.remove_owned(voucher, &owner, after, now)).await?;
            let (removed, announced) = inner.operations.removed_owned(value)?;
            inner.heeded(announced).await;
            Ok(removed)
        })
    }

    fn settle(&self) -> StoreFuture<()> {
        self.run(async move |inner| {
            let announced = operations::announced(inner.data.change(inner.operations.settle()).await?)?;
            inner.heeded(Some(announced)).await;
            Ok(())
        })
    }

    fn browse(&self, filter: Filter) -> StoreFuture<Vec<Record>> {
        self.run(async move |inner| inner.browse(&filter).await)
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
        f.debug_struct("RedisStore").field("layout", &self.inner.operations.layout).finish_non_exhaustive()
    }
}
