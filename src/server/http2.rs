//! An HTTP/2 connection. hyper reads and writes its frames; this file has the limits, the deadlines
//! of the connection and of each stream, and the drain.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::connection::Connection;
use super::socket::Mode;
use crate::gateway::{self, Control, OpenStreams};

/// Flow control: what a client may send ahead of being read, in bytes. The connection's bounds the
/// memory of all its streams together.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A connection is probed after so long without a byte, and given up after so long without an
/// answer.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// How many streams a client may reset before keyward has looked at them (CVE-2023-44487), and how
/// many may end in an error of the client's (CVE-2025-8671), before the connection is closed.
const MOST_RESETS: usize = 50;
const MOST_ERRORS: usize = 256;

/// How much of its responses a stream holds that the client has not taken yet, in bytes.
const SEND_BUFFER: usize = 256 * 1024;

/// How long a connection may take nothing of its responses once it has been told to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves a connection until it ends.
pub(super) async fn serve(connection: &Connection) {
    let Connection { worker, client, control, socket, limits, .. } = connection;
    socket.set_mode(Mode::Http2);
    // Until there has been a first request.
    control.deadline.set(connection.first_byte);
    let streams = OpenStreams::new(Rc::clone(&control.deadline), connection.idle);
    let next = Rc::<RefCell<Option<Rc<Control>>>>::default();
    let executor = StreamExecutor { next: Rc::clone(&next) };
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PROBE_AFTER)
        .keep_alive_timeout(PROBE_TIMEOUT)
        .max_concurrent_streams(worker.settings().limits.streams)
        .max_header_list_size(u32::try_from(limits.bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(MOST_ERRORS)
        .enable_connect_protocol();
    let service = service_fn(|request: Request<Incoming>| {
        let control = Rc::new(Control::of_stream(worker.deadlines.register(), streams.open()));
        *next.borrow_mut() = Some(Rc::clone(&control));
        let (gateway, client) = (Rc::clone(&worker.gateway), Rc::clone(client));
        let (limits, is_surplus) = (*limits, connection.is_surplus);
        // On the heap: hyper moves it several times until it is a task.
        Box::pin(async move {
            if is_surplus {
                return Ok::<_, Infallible>(gateway::overloaded(
                    &gateway,
                    &client,
                    &control,
                    Some(request),
                ));
            }
            gateway::run(gateway, client, control, limits, request).await
        })
    });
    let mut serving = pin!(builder.serve_connection(TokioIo::new(socket.clone()), service));
    let mut is_closing = false;
    // One that begins while others are told to end is told with the last of them: its client has
    // asked for nothing yet.
    let is_of_the_last = worker.ends_soon();
    let outcome = std::future::poll_fn(|cx| {
        control.deadline.wake_by(cx);
        if let Poll::Ready(outcome) = serving.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        let is_idle = streams.count() == 0;
        let is_overdue = is_idle && control.deadline.is_over();
        if is_overdue && is_closing {
            // The end of a response may still be on its way to a slow client. Answers to PING are
            // none: with them alone a client would keep its connection for as long as it likes.
            if !socket.take_progress() {
                return Poll::Ready(None);
            }
            control.deadline.set(CLOSE_TIMEOUT);
        }
        let is_to_end = worker.is_draining() || (worker.ends_soon() && !is_of_the_last);
        if (is_overdue || is_to_end) && !is_closing {
            is_closing = true;
            // What was taken so far is not taken from now on.
            socket.take_progress();
            serving.as_mut().graceful_shutdown();
            if is_idle {
                control.deadline.set(CLOSE_TIMEOUT);
            }
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
    if let Some(Err(fault)) = outcome {
        tracing::debug!(client = %client.origin.address, %fault, "a connection broke");
    }
}

/// Runs the futures that hyper makes for a connection. That of a stream is made right behind the
/// call of the service, and gets the control that was made there. When the control ends the stream,
/// the future is dropped, and hyper resets the stream.
#[derive(Clone)]
struct StreamExecutor {
    next: Rc<RefCell<Option<Rc<Control>>>>,
}

impl<F: Future + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let control = self.next.borrow_mut().take();
        tokio::task::spawn_local(async move {
            let Some(control) = control else {
                future.await;
                return;
            };
            let mut future = pin!(future);
            std::future::poll_fn(|cx| {
                control.deadline.wake_by(cx);
                if control.is_to_end() {
                    return Poll::Ready(());
                }
                let polled = future.as_mut().poll(cx);
                if polled.is_pending() && control.is_to_end() {
                    return Poll::Ready(());
                }
                polled.map(|_| ())
            })
            .await;
        });
    }
}
