//! A response on its way back: its head, and a body that gives the connection back when it ends.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::UpstreamTunnel;
use super::admission::EndpointSlot;
use super::http1::{Http1, IdleConnections};
use super::http2::Stream;
use super::upload::Upload;

/// What an upstream answered.
pub struct Reply {
    /// The head.
    pub head: http::response::Parts,
    /// The body, still coming.
    pub body: ReplyBody,
}

/// A response's body. When it has ended, its connection is idle again; dropped before, its
/// connection is closed, or its stream reset.
pub struct ReplyBody {
    incoming: Incoming,
    channel: Channel,
    had_upload: bool,
    /// Until the response has ended.
    place: Option<EndpointSlot>,
}

enum Channel {
    Http1(Box<Http1>, Rc<IdleConnections>),
    /// The request is still being sent.
    Uploading(Upload, Rc<IdleConnections>),
    Http2 {
        _stream: Stream,
    },
    /// Given back.
    None,
}

impl ReplyBody {
    /// The body of a response with this status over HTTP/1.1.
    pub(super) fn of_http1(
        incoming: Incoming,
        status: StatusCode,
        connection: Box<Http1>,
        upload_end: Option<Rc<Cell<bool>>>,
        idle: Rc<IdleConnections>,
    ) -> Self {
        let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
        let had_upload = upload_end.is_some();
        let channel = match upload_end.filter(|is_over| !is_over.get() && !is_switch) {
            Some(is_over) => Channel::Uploading(Upload::begin(connection, is_over), idle),
            None => Channel::Http1(connection, idle),
        };
        let mut body = Self { incoming, channel, had_upload, place: None };
        if body.incoming.is_end_stream() && !is_switch {
            body.give_back();
        }
        body
    }

    pub(super) fn of_http2(incoming: Incoming, stream: Stream, had_upload: bool) -> Self {
        let channel = Channel::Http2 { _stream: stream };
        Self { incoming, channel, had_upload, place: None }
    }

    /// Keeps the request's place at the endpoint until the response has ended, and notes how it
    /// ended.
    pub(super) fn hold(&mut self, place: EndpointSlot) {
        self.place = Some(place);
        let is_over = match &self.channel {
            Channel::None => true,
            Channel::Http2 { .. } => self.incoming.is_end_stream(),
            // A connection that is about to become a tunnel, or that still has a body.
            Channel::Http1(..) | Channel::Uploading(..) => false,
        };
        if is_over {
            self.leave();
        }
    }

    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            place.succeeded();
        }
    }

    /// After a 101, the connection itself; nothing, if the request was still being sent.
    #[must_use]
    pub fn into_tunnel(self) -> Option<UpstreamTunnel> {
        let tunnel = match self.channel {
            Channel::Http1(connection, _) => connection.into_tunnel(),
            Channel::Uploading(..) | Channel::Http2 { .. } | Channel::None => None,
        };
        if let Some(place) = self.place.as_ref().filter(|_| tunnel.is_some()) {
            place.succeeded();
        }
        tunnel.map(|tunnel| UpstreamTunnel { place: self.place, ..tunnel })
    }

    fn give_back(&mut self) {
        match std::mem::replace(&mut self.channel, Channel::None) {
            Channel::Http1(connection, idle) => connection.finish(self.had_upload, idle),
            Channel::Uploading(upload, idle) => upload.outlive(idle),
            Channel::Http2 { .. } | Channel::None => {}
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if let Channel::Uploading(upload, idle) = &mut this.channel
            && let Some(connection) = upload.take_back(cx)
        {
            this.channel = Channel::Http1(connection, Rc::clone(idle));
        }
        let polled = match &mut this.channel {
            Channel::Http1(connection, _) => connection.poll_body(&mut this.incoming, cx),
            Channel::Uploading(..) | Channel::Http2 { .. } | Channel::None => {
                Pin::new(&mut this.incoming).poll_frame(cx)
            }
        };
        let is_last = match &polled {
            Poll::Ready(Some(Ok(_))) => this.incoming.is_end_stream(),
            Poll::Ready(None) => true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if is_last {
            this.give_back();
            this.leave();
        } else if let Poll::Ready(Some(Err(_))) = &polled
            && let Some(place) = this.place.take().filter(|_| !this.had_upload)
        {
            place.failed();
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
