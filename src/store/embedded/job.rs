//! An operation on its way: from a worker thread to a thread of the store, and its result back.

use super::fault::Fault;
use super::tables::Tables;
use crate::tokens::store::StoreError;

/// What an operation did to the open transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Its changes, if any, are to be committed.
    Keep,
    /// It was not allowed to: its changes are to be undone. Nothing is wrong with the store.
    Undo,
    /// Something is wrong with the store: its changes are to be undone.
    Fail,
}

/// An operation of any result type.
pub(super) trait Job: Send {
    /// Does the work and keeps the result; can be done again if the transaction came to nothing.
    fn run(&mut self, tables: &Tables) -> Effect;
    /// Forgets the result for an error.
    fn fail(&mut self, error: StoreError);
    /// Hands the result over.
    fn answer(self: Box<Self>);
}

/// The one kind of job: `work` and where its result goes.
pub(super) struct Task<W, T, R> {
    work: W,
    reply: R,
    result: Result<T, StoreError>,
}

impl<W, T, R> Task<W, T, R>
where
    W: Fn(&Tables) -> Result<T, Fault> + Send,
    T: Send,
    R: FnOnce(Result<T, StoreError>) + Send,
{
    pub(super) fn new(work: W, reply: R) -> Self {
        Self { work, reply, result: Err(StoreError::Unavailable("it was never asked".into())) }
    }
}

impl<W, T, R> Job for Task<W, T, R>
where
    W: Fn(&Tables) -> Result<T, Fault> + Send,
    T: Send,
    R: FnOnce(Result<T, StoreError>) + Send,
{
    fn run(&mut self, tables: &Tables) -> Effect {
        self.result = (self.work)(tables).map_err(|fault| tables.explain(&fault));
        match &self.result {
            Ok(_) => Effect::Keep,
            Err(StoreError::Conflict) => Effect::Undo,
            Err(_) => Effect::Fail,
        }
    }

    fn fail(&mut self, error: StoreError) {
        self.result = Err(error);
    }

    fn answer(self: Box<Self>) {
        (self.reply)(self.result);
    }
}
