//! hyper's two sides on bytes in memory: no socket, no runtime, no clock.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gateway::HeadLimits;
use crate::server::LineGuard;
use crate::upstream::RequestBody;

/// Small, so that inputs can be small that reach them.
pub(super) const LIMITS: HeadLimits = HeadLimits { bytes: 4096, target: 512, lines: 32 };

/// More lines than keyward's own client ever sends.
const MANY_LINES: usize = 256;

/// No exchange of these targets takes more steps.
const MOST_POLLS: usize = 4096;

/// A request as hyper's server read it.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) head: Parts,
    /// Whether a body may still have come when the head was read, and its length if that was known.
    pub(super) has_body: bool,
    pub(super) length: Option<u64>,
    /// Nothing, if it broke off.
    pub(super) body: Option<Vec<u8>>,
}

/// What hyper's server made of some bytes.
pub(super) struct Served {
    pub(super) requests: Vec<Received>,
    /// It came to the end of the bytes between two requests.
    pub(super) is_whole: bool,
}

/// Bytes that are read in pieces of `step`, and a place for those that are written.
struct Memory {
    input: Bytes,
    step: usize,
    output: Rc<RefCell<Vec<u8>>>,
    ends: bool,
}

impl AsyncRead for Memory {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let memory = self.get_mut();
        if memory.input.is_empty() && !memory.ends {
            return Poll::Pending;
        }
        let length = memory.input.len().min(memory.step).min(buf.remaining());
        buf.put_slice(&memory.input.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.output.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The first request in what a client sent, as keyward's server reads it: past the guard of its
/// lines, by hyper. Nothing, if either refuses it, or it is not complete.
pub(super) fn from_client(bytes: &[u8]) -> Option<Received> {
    let end = LineGuard::new(LIMITS).look(bytes);
    let mut guard = LineGuard::new(LIMITS);
    let mut by_pieces = Ok(None);
    for (at, piece) in bytes.chunks(7).enumerate() {
        by_pieces = guard.look(piece).map(|end| end.map(|end| at * 7 + end));
        if by_pieces != Ok(None) {
            break;
        }
    }
    // A fault in the head's length may show earlier or later; whether there is one does not change.
    assert_eq!(end.ok(), by_pieces.ok(), "the lines read otherwise in pieces");
    end.ok().flatten()?;
    let first =
        |step| serve(bytes, step, LIMITS.lines, LIMITS.bytes, true).requests.into_iter().next();
    let (whole, by_pieces) = (first(bytes.len()), first(7));
    let shown = |request: &Option<Received>| {
        request.as_ref().map(|request| {
            let Parts { method, uri, version, headers, .. } = &request.head;
            let head = (method.clone(), uri.clone(), *version, headers.clone());
            (head, request.has_body, request.length, request.body.clone())
        })
    };
    assert_eq!(shown(&whole), shown(&by_pieces), "hyper reads the request otherwise in pieces");
    whole
}

/// What a server makes of bytes that keyward's client sent: hyper's, with no limit that could stop
/// it.
pub(super) fn at_upstream(bytes: &[u8]) -> Served {
    serve(bytes, bytes.len(), MANY_LINES, 1 << 20, false)
}

fn serve(bytes: &[u8], step: usize, lines: usize, length: usize, only_one: bool) -> Served {
    let requests = RefCell::new(Vec::new());
    let service = service_fn(|request: Request<Incoming>| {
        let requests = &requests;
        async move {
            let (head, body) = request.into_parts();
            let (has_body, length) = (!body.is_end_stream(), body.size_hint().exact());
            let body = read(body).await;
            requests.borrow_mut().push(Received { head, has_body, length, body });
            let mut response = Response::new(Empty::<Bytes>::new());
            if only_one {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let memory =
        Memory { input: Bytes::copy_from_slice(bytes), step, output: Rc::default(), ends: true };
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.half_close(true).max_header_size(length).max_headers(lines);
    let is_whole = {
        let mut serving = pin!(builder.serve_connection(TokioIo::new(memory), service));
        let mut cx = Context::from_waker(Waker::noop());
        let outcome = (0..MOST_POLLS).find_map(|_| match serving.as_mut().poll(&mut cx) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        });
        matches!(outcome, Some(Ok(())))
    };
    Served { requests: requests.into_inner(), is_whole }
}

/// A body to its end, as `gateway` reads it: without trailers, and broken if the trailer section is
/// empty though there is one.
async fn read(mut body: Incoming) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.ok()?;
        if frame.trailers_ref().is_some_and(http::HeaderMap::is_empty) {
            return None;
        }
        whole.extend_from_slice(frame.data_ref().map(|data| &**data).unwrap_or_default());
    }
    Some(whole)
}

/// A request as hyper's client writes it. Nothing, if it refuses to.
pub(super) fn written(request: Request<RequestBody>) -> Option<Vec<u8>> {
    let output = Rc::<RefCell<Vec<u8>>>::default();
    let memory = Memory { input: Bytes::new(), step: 1, output: Rc::clone(&output), ends: false };
    let mut cx = Context::from_waker(Waker::noop());
    let handshake = pin!(hyper::client::conn::http1::handshake(TokioIo::new(memory)));
    let Poll::Ready(Ok((mut sender, mut connection))) = handshake.poll(&mut cx) else {
        return None;
    };
    let mut sent = pin!(sender.try_send_request(request));
    let mut quiet = 0;
    for _ in 0..MOST_POLLS {
        let before = output.borrow().len();
        if sent.as_mut().poll(&mut cx).is_ready()
            || Pin::new(&mut connection).poll(&mut cx).is_ready()
        {
            // No answer ever comes: it is an error.
            return None;
        }
        quiet = if output.borrow().len() == before { quiet + 1 } else { 0 };
        if quiet == 3 {
            return Some(output.take());
        }
    }
    None
}
