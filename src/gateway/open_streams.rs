//! The streams that are open on an HTTP/2 connection.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::wire::deadline::Deadline;

/// The open streams of one HTTP/2 connection. While there is none, the connection's own deadline
/// runs.
pub struct OpenStreams {
    count: Cell<usize>,
    deadline: Rc<Deadline>,
    idle: Duration,
}

impl OpenStreams {
    /// Of a connection with this deadline, which may be idle for so long.
    #[must_use]
    pub fn new(deadline: Rc<Deadline>, idle: Duration) -> Rc<Self> {
        Rc::new(Self { count: Cell::new(0), deadline, idle })
    }

    /// One more.
    #[must_use]
    pub fn open(self: &Rc<Self>) -> OpenStream {
        self.count.set(self.count.get() + 1);
        self.deadline.lift();
        OpenStream(Rc::clone(self))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.get()
    }
}

/// One open stream: it counts as long as this lives.
pub struct OpenStream(Rc<OpenStreams>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        let streams = &self.0;
        streams.count.set(streams.count.get().saturating_sub(1));
        if streams.count.get() == 0 {
            streams.deadline.set(streams.idle);
            streams.deadline.wake();
        }
    }
}
