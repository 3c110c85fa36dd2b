//! The body of a request on its way to the upstream: streamed and watched.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::gateway::client::ClientConnection;
use crate::gateway::incoming::{BodyBroken, IncomingBody};
use crate::gateway::plan::ExchangeTimeouts;

/// What an upstream request carries.
pub(super) enum ForwardedBody {
    /// Nothing.
    Empty,
    /// What the client sends.
    Client(ClientBody),
}

/// A client's body.
pub(super) struct ClientBody {
    incoming: IncomingBody,
    client: Rc<ClientConnection>,
    timeouts: ExchangeTimeouts,
}

impl ClientBody {
    pub(super) fn new(incoming: IncomingBody, client: Rc<ClientConnection>, timeouts: ExchangeTimeouts) -> Self {
        Self { incoming, client, timeouts }
    }

    fn ended(&self) {
        self.client.awaits_body.set(false);
        self.client.body_is_unread.set(false);
        self.client.allow(self.timeouts.response_head);
    }
}

impl Body for ForwardedBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let Self::Client(body) = self.get_mut() else { return Poll::Ready(None) };
        match Pin::new(&mut body.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                body.client.awaits_body.set(false);
                body.client.allow(body.timeouts.body);
                if body.incoming.is_over() {
                    body.ended();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                body.ended();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => {
                body.client.body_is_broken.set(true);
                Poll::Ready(Some(Err(BodyBroken)))
            }
            Poll::Pending => {
                body.client.awaits_body.set(true);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(body) => body.incoming.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(body) => body.incoming.size_hint(),
        }
    }
}
