//! A request that is still being sent when its response has begun: the connection then gets a task
//! of its own, so that neither waits for the other. A client may send its whole body before it
//! reads a byte of the answer, or read the whole answer before it has sent its body.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::task::AbortHandle;

use super::http1::{Http1, IdleConnections};

/// A connection that a task drives until the request has been sent. When this is dropped, the
/// connection is closed.
pub(super) struct Upload {
    shared: Rc<Shared>,
    /// None: the task goes on by itself.
    task: Option<AbortHandle>,
}

struct Shared {
    connection: RefCell<Option<Box<Http1>>>,
    is_over: Cell<bool>,
    /// The task that reads the response.
    reader: Cell<Option<Waker>>,
    /// Where the connection goes if the response has ended first.
    idle: RefCell<Option<Rc<IdleConnections>>>,
}

impl Shared {
    fn give_back(&self, idle: Rc<IdleConnections>) {
        if let Some(connection) = self.connection.take() {
            connection.finish(true, idle);
        }
    }
}

impl Upload {
    /// `is_sent` becomes true when the request has been sent or given up.
    pub(super) fn begin(connection: Box<Http1>, is_sent: Rc<Cell<bool>>) -> Self {
        let shared = Rc::new(Shared {
            connection: RefCell::new(Some(connection)),
            is_over: Cell::new(false),
            reader: Cell::default(),
            idle: RefCell::default(),
        });
        let seen = Rc::clone(&shared);
        let task = tokio::task::spawn_local(async move {
            std::future::poll_fn(|cx| {
                let mut connection = seen.connection.borrow_mut();
                let is_over = connection.as_mut().is_none_or(|connection| connection.drive(cx));
                if is_over || is_sent.get() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            seen.is_over.set(true);
            match seen.idle.take() {
                Some(idle) => seen.give_back(idle),
                None => seen.reader.take().into_iter().for_each(Waker::wake),
            }
        });
        Self { shared, task: Some(task.abort_handle()) }
    }

    /// The connection, once the request has been sent; until then, `cx` is woken when it has.
    pub(super) fn take_back(&mut self, cx: &Context<'_>) -> Option<Box<Http1>> {
        if self.shared.is_over.get() {
            return self.shared.connection.take();
        }
        self.shared.reader.set(Some(cx.waker().clone()));
        None
    }

    /// The response has ended: the connection becomes idle when the request has been sent.
    pub(super) fn outlive(mut self, idle: Rc<IdleConnections>) {
        if self.shared.is_over.get() {
            self.shared.give_back(idle);
        } else {
            *self.shared.idle.borrow_mut() = Some(idle);
            self.task = None;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}
