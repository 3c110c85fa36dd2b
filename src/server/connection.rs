//! One client connection from its first byte to its last: which version of HTTP it speaks, and what
//! serves it.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::socket::{Patience, Socket};
use super::stream::ClientStream;
use super::worker::Worker;
use super::{http1, http2};
use crate::gateway::{ClientCertificate, ClientConnection, ClientOrigin, Control, HeadLimits};

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

/// Serves a connection until it ends.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    stream: ClientStream,
    (origin, certificate): (ClientOrigin, Option<ClientCertificate>),
    is_surplus: bool,
) {
    let settings = worker.settings();
    let idle = settings.idle;
    let control =
        Rc::new(Control::of_connection(worker.deadlines.register(), idle.min(http1::DOZE_AFTER)));
    control.deadline.set(settings.first_byte);
    let patience = Patience { head: settings.head, body: settings.body };
    let connection = Connection {
        worker: Rc::clone(worker),
        client: Rc::new(ClientConnection::new(origin, certificate)),
        socket: Socket::new(stream, Rc::clone(&control), settings.head_limits, patience),
        control,
        limits: settings.head_limits,
        first_byte: settings.first_byte,
        idle,
        is_surplus,
    };
    if is_surplus && !connection.socket.has_agreed_on_http2() {
        return Box::pin(http1::turn_away(&connection)).await;
    }
    match connection.speaks_http2().await {
        // Boxed: every connection has room for its future, and most are of HTTP/1.
        Some(true) => Box::pin(http2::serve(&connection)).await,
        Some(false) => http1::serve(&connection).await,
        None => {}
    }
}

/// How long a connection without a first request is kept while keyward stops.
const LAST_CALL: Duration = Duration::from_millis(500);

impl Connection {
    /// Nothing, if the client sent nothing in time.
    async fn speaks_http2(&self) -> Option<bool> {
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
