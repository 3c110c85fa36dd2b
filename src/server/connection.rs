//! One client connection: what its driver, `http1` or `http2`, has to know of it.

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
    /// There are more connections than keyward serves: every request is refused.
    pub(super) is_surplus: bool,
}

/// How long a connection without a first request is kept while keyward stops.
const LAST_CALL: Duration = Duration::from_millis(500);

impl Connection {
    /// Nothing, if the client sent nothing in time.
    pub(super) async fn speaks_http2(&self) -> Option<bool> {
        let mut is_last_call = false;
        std::future::poll_fn(|cx| {
            self.control.deadline.wake_by(cx);
            let polled = self.socket.poll_speaks_http2(cx, &mut self.worker.scratch.borrow_mut());
            if polled.is_pending() {
                if self.control.deadline.is_over() {
                    return Poll::Ready(None);
                }
                self.hurry(&mut is_last_call);
            }
            polled
        })
        .await
    }

    /// While keyward stops, a client that has just connected is about to say why, and has a moment
    /// for it.
    fn hurry(&self, is_last_call: &mut bool) {
        if self.worker.is_draining() && !*is_last_call {
            *is_last_call = true;
            self.control.deadline.set(self.first_byte.min(LAST_CALL));
        }
    }
}
