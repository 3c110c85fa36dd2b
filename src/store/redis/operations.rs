//! What the operations of one store have in common: how they are sent, and what a listing is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::{Cmd, Value};

use super::announced::{Announced, Answer, fresh_generation};
use super::calls::{Call, Script};
use super::layout::Layout;
use super::reply;
use crate::store::record_codec::RecordKey;
use crate::tokens::store::{StoreError, StoreFuture};

/// How many entries a step of a listing looks at: some milliseconds in which Redis does nothing
/// else.
pub(super) const PAGE: usize = 256;

/// How the operations reach the primary.
pub(super) trait Executor: Send + Sync + 'static {
    /// Asks something. Handed over at once and pipelined; the answer is the primary's.
    fn read(&self, command: Cmd) -> StoreFuture<Value>;

    /// Runs a script. Whether a [lasting](Call::is_lasting) change must have reached replicas
    /// before it is acknowledged is the configuration's: if it has not, that is an error, although
    /// it has taken effect.
    fn run(&self, call: Call) -> StoreFuture<Value>;
}

/// How a removal reaches the fleet.
pub(super) trait Coherence: Send + Sync + 'static {
    /// Returns when no other instance uses any more what was removed before this announcement:
    /// each has confirmed it, or cannot use anything any more.
    fn acknowledged(
        &self,
        announced: Announced,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>>;
}

/// The operations of one store.
pub(super) struct Operations {
    pub(super) layout: Layout,
    pub(super) key: RecordKey,
    /// This process in the fleet: a random id of its own.
    pub(super) instance: String,
    /// The number of its next announcement.
    announcements: AtomicU64,
    pub(super) executor: Arc<dyn Executor>,
    coherence: Arc<dyn Coherence>,
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
        coherence: Arc<dyn Coherence>,
    ) -> Self {
        Self { layout, key, instance, announcements: AtomicU64::new(0), executor, coherence }
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
            .argument(self.layout.prefix.as_str())
            .argument(format!("{number} {}", self.instance))
            .argument(fresh_generation())
    }

    /// Runs a script that may remove something. Returns its outcome and what belongs to that, when
    /// no other instance uses any more what was removed.
    pub(super) async fn change(&self, call: Call) -> Result<(String, Value), StoreError> {
        let Answer { outcome, payload, announced } = Answer::read(self.executor.run(call).await?)?;
        if let Some(announced) = announced {
            self.coherence.acknowledged(announced).await;
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
        let call =
            call.argument(from.score.as_slice()).argument(from.member.as_slice()).count(PAGE);
        let [rows, score, member] = reply::parts::<3>(self.executor.run(call).await?)?;
        let next =
            Cursor { score: reply::bytes_or_none(score)?, member: reply::bytes_or_none(member)? };
        let rows = reply::list(rows)?.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Page { rows, next: Some(next).filter(|next| !next.member.is_empty()) })
    }
}
