//! The body of a request on its way to the upstream: streamed, watched, and without its trailers.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::gateway::client::ClientConnection;
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
    incoming: Incoming,
    client: Rc<ClientConnection>,
    timeouts: ExchangeTimeouts,
}

/// The client's body broke off. The exchange is the client's fault then; see [`super::forward`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the client's body broke off")]
pub(super) struct ClientBodyBroken;

impl ClientBody {
    pub(super) fn new(incoming: Incoming, client: Rc<ClientConnection>, timeouts: ExchangeTimeouts) -> Self {
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
    type Error = ClientBodyBroken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientBodyBroken>>> {
        let Self::Client(body) = self.get_mut() else { return Poll::Ready(None) };
        match Pin::new(&mut body.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                body.client.awaits_body.set(false);
                body.client.allow(body.timeouts.body);
                if body.incoming.is_end_stream() {
                    body.ended();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            // Trailers could say what a header may not (cf. CVE-2025-12642): they end here.
            Poll::Ready(Some(Ok(_)) | None) => {
                body.ended();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => {
                body.client.body_is_broken.set(true);
                Poll::Ready(Some(Err(ClientBodyBroken)))
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
            Self::Client(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(body) => body.incoming.size_hint(),
        }
    }
}
