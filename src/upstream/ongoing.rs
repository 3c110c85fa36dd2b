//! An upload whose response has begun: it goes on in a task of its own, so that neither waits for the other. A client may send
//! its whole body before it reads a byte of the answer, or read the whole answer before it has sent its body.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::AbortHandle;

use super::RequestBody;
use super::connection::Connection;
use super::pool::Pool;
use crate::wire::sending::{Sending, Unsent};

/// Holds the upload: when it is dropped, the upload is broken off.
pub(super) struct Ongoing {
    shared: Rc<Shared>,
    /// Nothing: it is nobody's to break off any more.
    task: Option<AbortHandle>,
}

#[derive(Default)]
struct Shared {
    outcome: RefCell<Option<Outcome>>,
    /// Who reads the response, and has to know if the upload breaks.
    reader: Cell<Option<Waker>>,
    /// The rest of the connection, once the response has ended.
    rest: RefCell<Option<(Box<Connection>, Rc<Pool>)>>,
}

enum Outcome {
    /// All of it has been sent; the half that it was sent on is free.
    Sent(OwnedWriteHalf),
    /// The server takes no more of it.
    Refused,
    /// The client broke it off.
    Broken,
}

impl Ongoing {
    /// Sends the rest.
    pub(super) fn begin<B: RequestBody>(mut sending: Sending<B>, mut writer: OwnedWriteHalf) -> Self {
        let shared = Rc::<Shared>::default();
        let seen = Rc::clone(&shared);
        let task = tokio::task::spawn_local(async move {
            let outcome = match std::future::poll_fn(|cx| sending.poll(&mut writer, cx)).await {
                Ok(()) => Outcome::Sent(writer),
                Err(Unsent::Write(_)) => Outcome::Refused,
                Err(Unsent::Body) => Outcome::Broken,
            };
            match (seen.rest.take(), outcome) {
                (Some((connection, pool)), Outcome::Sent(writer)) => connection.go_idle(Some(writer), &pool),
                // What is left of the connection is closed.
                (Some(_), Outcome::Refused | Outcome::Broken) => {}
                (None, outcome) => {
                    *seen.outcome.borrow_mut() = Some(outcome);
                    if let Some(reader) = seen.reader.take() {
                        reader.wake();
                    }
                }
            }
        });
        Self { shared, task: Some(task.abort_handle()) }
    }

    /// Whether the client broke it off: the response to half a request is no response. If not yet, `cx` is woken when it does.
    pub(super) fn is_broken(&self, cx: &Context<'_>) -> bool {
        match &*self.shared.outcome.borrow() {
            Some(outcome) => matches!(outcome, Outcome::Broken),
            None => {
                self.shared.reader.set(Some(cx.waker().clone()));
                false
            }
        }
    }

    /// The response has ended: whichever ends last makes the connection idle.
    pub(super) fn outlive(mut self, connection: Box<Connection>, pool: Rc<Pool>) {
        match self.shared.outcome.take() {
            None => {
                *self.shared.rest.borrow_mut() = Some((connection, pool));
                self.task = None;
            }
            Some(Outcome::Sent(writer)) => connection.go_idle(Some(writer), &pool),
            Some(Outcome::Refused | Outcome::Broken) => {}
        }
    }

    /// The response has ended, and the connection with it: the upload still goes on for as long as the server takes it.
    pub(super) fn let_go(mut self) {
        self.task = None;
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}
