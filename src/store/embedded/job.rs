//! An operation on its way: from a worker thread to a thread of the store, and its result back.

use tokio::sync::oneshot;

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

/// `work`, and where its result goes.
pub(super) struct Task<W, T> {
    pub(super) work: W,
    pub(super) result: Result<T, StoreError>,
    pub(super) reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<W, T> Job for Task<W, T>
where
    W: Fn(&Tables) -> Result<T, Fault> + Send,
    T: Send,
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
        // An error says that the caller has given up waiting.
        let _ = self.reply.send(self.result);
    }
}
