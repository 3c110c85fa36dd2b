//! A connection whose end can be seen, and brought about.

use std::future::Future;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A connection that many requests share, each with its own answer. It ends when the last clone is
/// dropped, when the peer goes, when something that is not RESP arrives, or by
/// [`Connection::discard`].
#[derive(Clone, Debug)]
pub struct Connection {
    /// What commands are sent on.
    pub(super) inner: MultiplexedConnection,
    driver: Arc<Driver>,
}

/// The task that reads and writes the connection.
#[derive(Debug)]
struct Driver {
    task: AbortHandle,
    /// Closed when the task has ended.
    ended: watch::Receiver<()>,
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
        let (end, ended) = watch::channel(());
        let task = tokio::spawn(async move {
            let _end = end;
            driver.await;
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
        self.driver.ended.has_changed().is_err()
    }

    /// Returns when it has ended.
    pub async fn closed(&self) {
        let _ = self.driver.ended.clone().changed().await;
    }
}
