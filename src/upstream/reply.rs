//! A response on its way back: its head, and a body that gives the connection back when it ends.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Connection;
use super::pool::Pool;

/// What an upstream answered.
pub struct Reply<B> {
    /// Status and fields, as they came.
    pub head: http::response::Parts,
    /// The body, still coming.
    pub body: ReplyBody<B>,
}

/// A response body. When it has ended, its connection is idle again; dropped before, its connection is closed.
pub struct ReplyBody<B> {
    incoming: Incoming,
    lease: Option<Lease<B>>,
}

/// A connection that is in use.
pub(super) struct Lease<B> {
    connection: Connection<B>,
    pool: Rc<Pool<B>>,
}

impl<B> Lease<B> {
    pub(super) fn new(connection: Connection<B>, pool: Rc<Pool<B>>) -> Self {
        Self { connection, pool }
    }
}

impl<B> ReplyBody<B> {
    pub(super) fn new(incoming: Incoming, lease: Lease<B>) -> Self {
        let mut body = Self { incoming, lease: Some(lease) };
        body.settle();
        body
    }

    /// Gives the connection back if nothing more is to come.
    fn settle(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(Lease { connection, pool }) = self.lease.take() {
            pool.give_back(connection);
        }
    }
}

impl<B: Unpin> Body for ReplyBody<B> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => self.settle(),
            Poll::Ready(None) => self.release(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
