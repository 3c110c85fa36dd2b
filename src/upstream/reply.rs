//! A response on its way back: its head, and a body that gives the connection back when it ends.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{StatusCode, Version};
use http_body::{Body, Frame, SizeHint};

use super::ExchangeFault;
use super::connection::{Connection, Tunnel};
use super::head::Head;
use super::ongoing::Ongoing;
use super::pool::Pool;
use crate::wire::body::{Decoder, Framing};
use crate::wire::lines::FieldLines;

/// What an upstream answered.
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// 1.1 or 1.0.
    pub version: Version,
    /// The fields, as they came; those that frame the body are not among them.
    pub lines: FieldLines,
    /// What `Content-Length` said: of a response without a body, what it would be with one.
    pub content_length: Option<u64>,
    /// Whether the body came in chunks, which may have trailers behind them.
    pub is_chunked: bool,
    /// The body, still coming.
    pub body: ReplyBody,
    /// The connection, if the status is 101.
    pub tunnel: Option<Tunnel>,
}

/// A response body. When it has ended, its connection is idle again; dropped before, its connection is closed.
pub struct ReplyBody(State);

enum State {
    /// There is none, or no more.
    Over,
    /// It came whole, as most do: its connection serves somebody else already.
    Whole(Bytes),
    Coming(Box<Coming>),
}

/// A body that did not come with its head.
struct Coming {
    decoder: Decoder,
    /// What has been received behind the frame that was taken last.
    next: Option<Result<Frame<Bytes>, ExchangeFault>>,
    /// Nothing, when the connection has been given back, or is lost.
    connection: Option<Box<Connection>>,
    pool: Rc<Pool>,
    is_kept: bool,
    upload: Option<Ongoing>,
}

impl ReplyBody {
    /// No body.
    pub(super) fn none() -> Self {
        Self(State::Over)
    }

    /// The body behind `head`, of which `received` has come over `connection`.
    pub(super) fn new(
        head: &Head,
        received: Bytes,
        connection: Box<Connection>,
        pool: Rc<Pool>,
        upload: Option<Ongoing>,
    ) -> Self {
        if let Framing::Length(length) = head.framing
            && length == received.len() as u64
            && upload.is_none()
        {
            if head.is_kept {
                connection.go_idle(None, &pool);
            }
            return Self(if received.is_empty() { State::Over } else { State::Whole(received) });
        }
        let decoder = Decoder::new(head.framing, received);
        let connection = Some(connection);
        let mut coming = Box::new(Coming { decoder, next: None, connection, pool, is_kept: head.is_kept, upload });
        coming.look_ahead();
        Self(if coming.is_over() { State::Over } else { State::Coming(coming) })
    }
}

impl Coming {
    /// Takes the next frame out of what has been received, so that the end is known as soon as it is there; and gives the
    /// connection back if nothing more is to come.
    fn look_ahead(&mut self) {
        self.next = self.decoder.take().map_err(ExchangeFault::from).transpose();
        let has_ended = self.decoder.is_over() && !matches!(self.next, Some(Err(_)));
        if !has_ended {
            return;
        }
        let may_serve_on = self.is_kept && self.decoder.rest().is_empty();
        match (self.connection.take(), self.upload.take()) {
            (Some(connection), None) if may_serve_on => connection.go_idle(None, &self.pool),
            (Some(connection), Some(upload)) if may_serve_on => upload.outlive(connection, Rc::clone(&self.pool)),
            (_, Some(upload)) => upload.let_go(),
            (_, None) => {}
        }
    }

    fn is_over(&self) -> bool {
        self.next.is_none() && self.decoder.is_over()
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeFault>>> {
        if self.upload.as_ref().is_some_and(|upload| upload.is_broken(cx)) {
            return Poll::Ready(Some(Err(self.give_up(ExchangeFault::RequestBody))));
        }
        loop {
            match self.next.take() {
                Some(Ok(frame)) => {
                    self.look_ahead();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(fault)) => return Poll::Ready(Some(Err(self.give_up(fault)))),
                None if self.decoder.is_over() => return Poll::Ready(None),
                None => {}
            }
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(Some(Err(ExchangeFault::Truncated)));
            };
            match ready!(connection.poll_receive(cx)) {
                Ok(0) => {
                    self.is_kept = false;
                    if let Err(fault) = self.decoder.close() {
                        return Poll::Ready(Some(Err(self.give_up(fault.into()))));
                    }
                }
                Ok(_) => self.decoder.receive(connection.take_received()),
                Err(fault) => return Poll::Ready(Some(Err(self.give_up(ExchangeFault::Read(fault))))),
            }
            self.look_ahead();
        }
    }

    /// Closes the connection. The body has not ended, and never will.
    fn give_up(&mut self, fault: ExchangeFault) -> ExchangeFault {
        self.connection = None;
        self.upload = None;
        fault
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = ExchangeFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeFault>>> {
        match &mut self.0 {
            State::Over => Poll::Ready(None),
            State::Whole(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                self.0 = State::Over;
                Poll::Ready(Some(Ok(frame)))
            }
            State::Coming(coming) => coming.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Over => true,
            State::Whole(_) => false,
            State::Coming(coming) => coming.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Over => SizeHint::with_exact(0),
            State::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            State::Coming(coming) => {
                let ahead = match &coming.next {
                    Some(Ok(frame)) => frame.data_ref().map(|data| data.len() as u64),
                    Some(Err(_)) | None => Some(0),
                };
                // Nothing, if trailers are next: they need chunks, however little is before them.
                let exact = ahead.and_then(|ahead| Some(ahead + coming.decoder.length()?));
                exact.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}
