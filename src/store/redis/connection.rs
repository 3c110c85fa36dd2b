//! A connection whose end can be seen, and brought about.

use std::future::Future;
use std::sync::Arc;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisFuture, Value};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A connection that many requests share, each with its own answer. It ends when the last clone is
/// dropped, when the peer goes, when something that is not RESP arrives, or by
/// [`Connection::discard`].
#[derive(Clone)]
pub struct Connection {
    inner: MultiplexedConnection,
    driver: Arc<Driver>,
}

/// The task that reads and writes the connection.
struct Driver {
    task: AbortHandle,
    ended: watch::Receiver<bool>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Starts the driver on the current runtime.
    pub(super) fn start(
        inner: MultiplexedConnection,
        driver: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (end, ended) = watch::channel(false);
        let task = tokio::spawn(async move {
            // Dropped, and so `false` for ever but closed, if the task is aborted.
            driver.await;
            let _ = end.send(true);
        });
        Self { inner, driver: Arc::new(Driver { task: task.abort_handle(), ended }) }
    }

    /// Ends it for all requests that share it: those that have no answer yet fail.
    pub fn discard(&self) {
        self.driver.task.abort();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        *self.driver.ended.borrow() || self.driver.ended.has_changed().is_err()
    }

    /// Returns when it has ended.
    pub async fn closed(&self) {
        let mut ended = self.driver.ended.clone();
        // An error says that the task is gone.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// The client library's connection, for what goes beyond [`ConnectionLike`]: `subscribe` and
    /// `unsubscribe`.
    pub const fn inner(&mut self) -> &mut MultiplexedConnection {
        &mut self.inner
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.inner.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.inner.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}
