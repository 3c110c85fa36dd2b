//! The idle connections of HTTP/1.1 to one endpoint.

use std::cell::RefCell;
use std::time::Duration;

use super::http1::Http1;

/// Connections that may take the next request. The last in is the first out: the one that was used
/// last is used again, and the others grow old and are closed.
pub(super) struct IdleConnections {
    #[expect(
        clippy::vec_box,
        reason = "connections are moved as boxes, into the list and out of it"
    )]
    connections: RefCell<Vec<Box<Http1>>>,
    most: usize,
    timeout: Duration,
}

impl IdleConnections {
    /// Holds at most `most` connections; each is closed when it has been idle for `timeout`.
    pub(super) fn new(most: usize, timeout: Duration) -> Self {
        Self { connections: RefCell::default(), most, timeout }
    }

    /// The connection that was used last and is still usable. Those that are not are closed.
    pub(super) fn take(&self) -> Option<Box<Http1>> {
        loop {
            let mut connection = self.connections.borrow_mut().pop()?;
            if connection.is_usable(self.timeout) {
                return Some(connection);
            }
        }
    }

    /// Takes a connection back whose response has been read to its end.
    pub(super) fn keep(&self, connection: Box<Http1>) {
        let mut connections = self.connections.borrow_mut();
        if connections.len() < self.most {
            connections.push(connection);
        }
    }

    /// Closes what is no longer usable.
    pub(super) fn sweep(&self) {
        self.connections.borrow_mut().retain_mut(|connection| connection.is_usable(self.timeout));
    }
}
