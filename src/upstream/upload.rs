//! A request that is still being sent when its response has begun: the connection then gets a task
//! of its own, so that neither waits for the other. A client may send its whole body before it
//! reads a byte of the answer, or read the whole answer before it has sent its body.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::task::AbortHandle;

use super::http1::Http1;

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
    /// What is done with the connection if the response has ended first.
    then: RefCell<Option<Then>>,
}

type Then = Box<dyn FnOnce(Box<Http1>)>;

impl Upload {
    /// `is_sent` becomes true when the request has been sent or given up.
    pub(super) fn begin(connection: Box<Http1>, is_sent: Rc<Cell<bool>>) -> Self {
        let shared = Rc::new(Shared {
            connection: RefCell::new(Some(connection)),
            is_over: Cell::new(false),
            reader: Cell::default(),
            then: RefCell::default(),
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
            match seen.then.take() {
                Some(then) => {
                    if let Some(connection) = seen.connection.take() {
                        then(connection);
                    }
                }
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

    /// The response has ended: the connection goes to `then` when the request has been sent.
    pub(super) fn outlive(mut self, then: impl FnOnce(Box<Http1>) + 'static) {
        if self.shared.is_over.get() {
            if let Some(connection) = self.shared.connection.take() {
                then(connection);
            }
            return;
        }
        *self.shared.then.borrow_mut() = Some(Box::new(then));
        self.task = None;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}
