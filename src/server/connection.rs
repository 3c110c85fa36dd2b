//! One client connection, as `http1` and `http2` drive it.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::socket::Socket;
use super::worker::Worker;
use crate::gateway::{ClientConnection, Control, HeadLimits};

/// A connection while it is served.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) client: Rc<ClientConnection>,
    /// Of the connection; the streams of HTTP/2 have their own besides.
    pub(super) control: Rc<Control>,
    pub(super) socket: Socket,
    pub(super) limits: HeadLimits,
    pub(super) first_byte: Duration,
    pub(super) idle: Duration,
    /// It is beyond the limit of connections: every request is refused.
    pub(super) is_surplus: bool,
}

/// How long a client that has just connected has for its first request while keyward stops.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

impl Connection {
    /// Whether the client speaks HTTP/2; `None` if it sent nothing in time.
    pub(super) async fn speaks_http2(&self) -> Option<bool> {
        let mut is_shortened = false;
        std::future::poll_fn(|cx| {
            self.control.deadline.wake_by(cx);
            let polled = self.socket.poll_speaks_http2(cx, &mut self.worker.scratch.borrow_mut());
            if polled.is_pending() {
                if self.control.deadline.is_over() {
                    return Poll::Ready(None);
                }
                if self.worker.closes_idle() && !is_shortened {
                    is_shortened = true;
                    self.control.deadline.set(self.first_byte.min(DRAIN_GRACE));
                }
            }
            polled
        })
        .await
    }
}
