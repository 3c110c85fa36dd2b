//! What the operations of one store have in common: how they are sent, and what a listing is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::{Cmd, Value};

use super::calls::{Call, Script};
use super::layout::Layout;
use super::membership::{Announced, fresh_generation};
use super::reply;
use crate::store::record_codec::RecordKey;
use crate::tokens::store::{StoreError, StoreFuture};

/// How many entries a step of a listing looks at: some milliseconds in which Redis does nothing
/// else.
pub(super) const PAGE: usize = 256;

/// How the operations reach the primary and the rest of the fleet.
pub(super) trait Executor: Send + Sync + 'static {
    /// Sends a command that changes nothing to the primary.
    fn read(&self, command: Cmd) -> StoreFuture<Value>;

    /// Runs a script on the primary as a look-up: by the deadline of one, and without waiting for a
    /// primary. What it changes may be lost, and may have been made although there is an error.
    fn ask(&self, call: Call) -> StoreFuture<Value>;

    /// Runs a script on the primary. If a [lasting](Call::is_lasting) change does not reach as many
    /// replicas as are configured, that is an error, although the change has been made.
    fn run(&self, call: Call) -> StoreFuture<Value>;

    /// Returns when no other instance uses any more what was removed before this announcement:
    /// each has confirmed it, or its lease is over.
    fn acknowledged(
        &self,
        announced: Announced,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>>;
}

/// The operations of one store.
pub(super) struct Operations {
    pub(super) layout: Layout,
    pub(super) key: RecordKey,
    /// The random id of this process in the fleet.
    pub(super) instance: String,
    /// The number of its next announcement.
    announcements: AtomicU64,
    pub(super) executor: Arc<dyn Executor>,
}

/// Where a step of a listing goes on: behind the entry with this score and member.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    score: Vec<u8>,
    member: Vec<u8>,
}

/// What a step of a listing found.
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    /// Where to go on; `None`: this was all.
    pub(super) next: Option<Cursor>,
}

impl Operations {
    pub(super) fn new(
        layout: Layout,
        key: RecordKey,
        instance: String,
        executor: Arc<dyn Executor>,
    ) -> Self {
        Self { layout, key, instance, announcements: AtomicU64::new(0), executor }
    }

    /// A call of a script that begins with `announce.lua`.
    pub(super) fn call(
        &self,
        script: &'static Script,
        keys: impl IntoIterator<Item = String>,
    ) -> Call {
        let mut all = self.layout.common();
        all.extend(keys);
        let number = self.announcements.fetch_add(1, Ordering::Relaxed);
        Call::new(script, all)
            .argument(&self.layout.prefix)
            .argument(format!("{number} {}", self.instance))
            .argument(fresh_generation())
    }

    /// Runs a script that answers with an outcome, what belongs to that, and an announcement if it
    /// may have removed something. Returns the first two, when no other instance uses any more what
    /// was removed.
    pub(super) async fn change(&self, call: Call) -> Result<(String, Value), StoreError> {
        let mut parts = reply::read::<Vec<Value>>(self.executor.run(call).await?)?.into_iter();
        let mut next = || parts.next().unwrap_or_default();
        let (outcome, payload): (String, _) = (reply::read(next())?, next());
        match outcome.as_str() {
            "damaged" => return Err(StoreError::Corrupt(reply::read(payload)?)),
            "conflict" => return Err(StoreError::Conflict),
            _ => {}
        }
        let announced = next();
        if announced != Value::Nil {
            self.executor.acknowledged(Announced::read(announced)?).await;
        }
        Ok((outcome, payload))
    }

    /// A step of a listing, by a call without its cursor.
    pub(super) async fn page<T>(
        &self,
        call: Call,
        from: &Cursor,
        read: impl Fn(Value) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let call = call.argument(&from.score).argument(&from.member).argument(PAGE);
        let (rows, score, member): (Vec<Value>, _, Vec<u8>) =
            reply::read(self.executor.run(call).await?)?;
        let rows = rows.into_iter().map(read).collect::<Result<_, _>>()?;
        let has_more = !member.is_empty();
        Ok(Page { rows, next: has_more.then_some(Cursor { score, member }) })
    }
    /// The rows of a listing that match, by a call without its cursor; at most `limit` of them, 0:
    /// all.
    pub(super) async fn list<T>(
        &self,
        call: Call,
        limit: usize,
        read: impl Fn(Value) -> Result<T, StoreError>,
        matches: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, StoreError> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let (mut found, mut next) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = next.filter(|_| found.len() < limit) {
            let page = self.page(call.clone(), &cursor, &read).await?;
            found.extend(page.rows.into_iter().filter(&matches));
            next = page.next;
        }
        found.truncate(limit);
        Ok(found)
    }
}
