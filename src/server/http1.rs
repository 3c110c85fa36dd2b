//! An HTTP/1 connection. hyper reads and writes its messages; this file has the deadlines between
//! them, the drain, and the end.
//!
//! Of a connection that has been idle for [`RELEASE_AFTER`] only the socket is kept: what hyper
//! needs is made anew with the next byte.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::connection::Connection;
use super::socket::Mode;
use crate::gateway::{self, Ending, HeadFault, Phase, ResponseBody};
use crate::wire::fields::HYPERS_LINES;

/// When a connection has been idle for so long, its buffers are released.
pub(super) const RELEASE_AFTER: Duration = Duration::from_secs(1);

/// Serves a connection until it ends. Futures that an idle connection does not await are boxed, so
/// that they take no memory in each connection.
pub(super) async fn serve(connection: &Connection) {
    connection.worker.gateway.register(&connection.control);
    loop {
        match Box::pin(serve_awake(connection)).await {
            Ended::Idle => {
                if !next_byte(connection).await {
                    return Box::pin(close(connection)).await;
                }
            }
            Ended::Refused(fault, cause) => {
                // What was answered before it: the client was still there to send more.
                connection.control.confirm(true);
                Box::pin(refuse(connection, fault, cause)).await;
                return Box::pin(close(connection)).await;
            }
            Ended::Switched(tunnel, early) => {
                connection.socket.probe_when_silent();
                connection.socket.set_mode(Mode::Raw);
                let socket = &connection.socket;
                let has_gone = || socket.is_reset();
                let carried = gateway::carry(*tunnel, socket.clone(), early, &has_gone);
                return Box::pin(carried).await;
            }
            Ended::Over => {
                connection.socket.end_response_until_close();
                Box::pin(confirm(connection)).await;
                return Box::pin(close(connection)).await;
            }
            Ended::Broken => {
                connection.control.confirm(false);
                return;
            }
        }
    }
}

/// Why hyper is done with a connection.
enum Ended {
    /// It has been idle for [`RELEASE_AFTER`].
    Idle,
    /// Its last head was no request.
    Refused(HeadFault, String),
    /// It is a tunnel now; the bytes came behind the head.
    Switched(Box<gateway::Tunnel>, Bytes),
    /// There are no more requests.
    Over,
    /// The client has gone, or is cut off.
    Broken,
}

async fn serve_awake(connection: &Connection) -> Ended {
    let Connection { worker, client, control, socket, limits, .. } = connection;
    let mut builder = http1::Builder::new();
    // hyper is not to look for the client's end: it would reserve memory each time. `socket` looks
    // for it.
    builder.half_close(true).max_header_size(limits.bytes);
    if limits.lines != HYPERS_LINES {
        builder.max_headers(limits.lines);
    }
    let service = service_fn(|request: Request<Incoming>| {
        let (gateway, client, control) =
            (Rc::clone(&worker.gateway), Rc::clone(client), Rc::clone(control));
        let (socket, limits) = (socket.clone(), *limits);
        let version = request.version();
        async move {
            let mut response = gateway::run(gateway, client, control, limits, request).await;
            socket.owe_response();
            if version == Version::HTTP_10 && response.as_ref().is_ok_and(ends_with_connection) {
                socket.begin_response_until_close();
            }
            if worker.ends_soon() {
                say_close(&mut response);
            }
            response
        }
    });
    let mut serving = builder.serve_connection(TokioIo::new(socket.clone()), service);
    let mut is_closing = false;
    let outcome = std::future::poll_fn(|cx| {
        control.deadline.wake_by(cx);
        // First, so that a client that left before its answer came is not taken for one that got
        // it.
        socket.watch(cx, &mut worker.scratch.borrow_mut());
        if control.is_to_end() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(outcome) = Pin::new(&mut serving).poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        socket.watch(cx, &mut worker.scratch.borrow_mut());
        // What was sent before keyward stops has been read by now.
        if worker.is_draining() && !is_closing && may_close(connection) {
            is_closing = true;
            Pin::new(&mut serving).graceful_shutdown();
            cx.waker().wake_by_ref();
        }
        let is_over =
            control.is_cut() || is_between_requests(control.phase()) && control.deadline.is_over();
        if is_over { Poll::Ready(None) } else { Poll::Pending }
    })
    .await;
    if let (Some(outcome), Some(fault)) = (&outcome, socket.fault()) {
        // hyper says what it could not read; what was seen at the socket says it itself.
        let of_hyper =
            outcome.as_ref().err().filter(|error| error.is_parse()).map(ToString::to_string);
        return Ended::Refused(fault, of_hyper.unwrap_or_else(|| fault.to_string()));
    }
    match (outcome, control.phase()) {
        (Some(Ok(())), _) => {
            let early = serving.into_parts().read_buf;
            match control.take_tunnel() {
                Some(tunnel) => {
                    let early = [early, socket.take_held()].concat();
                    Ended::Switched(Box::new(tunnel), early.into())
                }
                None => Ended::Over,
            }
        }
        (Some(Err(fault)), _) => {
            tracing::debug!(client = %client.origin.address, %fault, "a connection broke");
            Ended::Broken
        }
        (None, _) if control.is_cut() => Ended::Broken,
        (None, Phase::Head) => {
            Ended::Refused(HeadFault::TooSlow, "the head took too long".to_owned())
        }
        (None, Phase::Idle) if socket.is_flushed() && !worker.closes_idle() => {
            // What has been read of a next request would have ended the idleness.
            if serving.into_parts().read_buf.is_empty() { Ended::Idle } else { Ended::Broken }
        }
        (None, _) => Ended::Broken,
    }
}

/// Whether a client of HTTP/1.0, which knows no chunks, takes the end of the connection for the end
/// of the response (RFC 9112, section 6.3).
fn ends_with_connection(response: &Response<ResponseBody>) -> bool {
    !response.headers().contains_key(CONTENT_LENGTH)
        && response.body().size_hint().exact().is_none()
}

/// Has the response say that it is the last one on its connection.
fn say_close<E>(response: &mut Result<Response<ResponseBody>, E>) {
    if let Ok(response) = response
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Whether the deadline is this file's to judge, and not the exchange's.
const fn is_between_requests(phase: Phase) -> bool {
    matches!(phase, Phase::FirstByte | Phase::Idle | Phase::Head)
}

/// Whether a connection may be told to close behind its last response: a head that has begun is a
/// request that has begun.
fn may_close(connection: &Connection) -> bool {
    match connection.control.phase() {
        Phase::Exchange | Phase::Streaming => true,
        Phase::Idle => connection.worker.closes_idle() && !connection.socket.has_held(),
        Phase::FirstByte | Phase::Head => false,
    }
}

/// Waits for the next byte of an idle connection, and says whether it came.
async fn next_byte(connection: &Connection) -> bool {
    let Connection { worker, control, socket, idle, .. } = connection;
    control.deadline.set(idle.saturating_sub(RELEASE_AFTER));
    std::future::poll_fn(|cx| {
        control.deadline.wake_by(cx);
        let polled = socket.poll_next_byte(cx, &mut worker.scratch.borrow_mut());
        if polled.is_pending() && (control.deadline.is_over() || worker.closes_idle()) {
            return Poll::Ready(false);
        }
        polled
    })
    .await
}

/// Tells a client that there are too many connections, whether or not it has asked for anything.
pub(super) async fn refuse_surplus(connection: &Connection) {
    let Connection { worker, client, control, .. } = connection;
    let response = gateway::overloaded(&worker.gateway, client, control, None);
    answer_unasked(connection, response).await;
    close(connection).await;
}

/// Answers a head that was no request.
async fn refuse(connection: &Connection, fault: HeadFault, cause: String) {
    let Connection { worker, client, control, socket, .. } = connection;
    drop(socket.take_held());
    let response = gateway::refuse_head(&worker.gateway, client, control, fault, cause);
    answer_unasked(connection, response).await;
}

/// Has hyper write an answer to a placeholder for the request that could not be read.
async fn answer_unasked(connection: &Connection, response: Response<ResponseBody>) {
    const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: keyward\r\n\r\n";
    let Connection { control, socket, .. } = connection;
    socket.put_back(STAND_IN);
    socket.set_mode(Mode::Raw);
    let response = std::cell::Cell::new(Some(response));
    let service = service_fn(|_| {
        let response = response.take().unwrap_or_default();
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut builder = http1::Builder::new();
    let mut serving =
        builder.half_close(true).serve_connection(TokioIo::new(socket.clone()), service);
    std::future::poll_fn(|cx| {
        control.deadline.wake_by(cx);
        if control.is_to_end() {
            return Poll::Ready(());
        }
        serving.poll_without_shutdown(cx).map(|_| ())
    })
    .await;
    confirm(connection).await;
}

/// How long the client of an unconfirmed response has to reset the connection: as long as a round
/// trip takes.
const CONFIRMED_AFTER: Duration = Duration::from_millis(250);

/// A client that closed its sending side may have closed the whole connection: then it resets it
/// when the response comes.
async fn confirm(connection: &Connection) {
    if !connection.control.awaits_confirmation() {
        return;
    }
    let is_reset = connection.socket.is_reset_within(CONFIRMED_AFTER).await;
    if is_reset {
        connection.control.note_ending(Ending::ClientGone);
    }
    connection.control.confirm(!is_reset);
}

/// How long a closed connection is still read from: in all, without a byte, and while keyward
/// stops.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(5);
const LINGER_WHILE_STOPPING: Duration = Duration::from_secs(1);

/// Closes so that the client gets the last answer whole: closing with bytes unread would reset the
/// connection (RFC 9112, section 9.6). Waits as long as nginx does.
async fn close(connection: &Connection) {
    let Connection { worker, socket, control, .. } = connection;
    let mut stream = socket.clone();
    stream.set_mode(Mode::Raw);
    // TLS has a close_notify to write, and the client may not be reading.
    let shut = tokio::time::timeout(LINGER_SILENCE, stream.shutdown()).await;
    if !matches!(shut, Ok(Ok(()))) || socket.has_ended() {
        return;
    }
    drop(socket.take_held());
    let span = if worker.is_draining() { LINGER_WHILE_STOPPING } else { LINGER };
    let drain = async {
        // On the heap, not in the future: each connection holds its future from the beginning.
        let mut sink = vec![0; 16 * 1024];
        loop {
            let read = tokio::time::timeout(LINGER_SILENCE, stream.read(&mut sink)).await;
            if !matches!(read, Ok(Ok(1..))) {
                return;
            }
        }
    };
    control.deadline.unbind();
    control.deadline.set(span);
    let mut drain = std::pin::pin!(drain);
    std::future::poll_fn(|cx| {
        control.deadline.wake_by(cx);
        if control.deadline.is_over() { Poll::Ready(()) } else { drain.as_mut().poll(cx) }
    })
    .await;
}
