//! The body of a request, as the client's connection gives it out: in pieces, when they are asked for.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Where the body that is under way on a connection comes from.
pub trait BodySource {
    /// The next piece; `None` behind the last. Trailers are left out: they could say what a header may not (cf.
    /// CVE-2025-12642).
    ///
    /// # Errors
    ///
    /// When the client left or its framing is broken.
    fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyBroken>>>;

    /// How many bytes are still to come, if that is known; 0: the last has been given out.
    fn left(&self) -> Option<u64>;

    /// Nobody asks for the rest.
    fn let_go(&self);
}

/// The client's body broke off: the exchange is the client's fault then.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the client's body broke off")]
pub struct BodyBroken;

/// A request's body.
#[derive(Default)]
pub struct IncomingBody(Option<Rc<dyn BodySource>>);

impl IncomingBody {
    /// No body.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// The body that `source` gives out. There must be one.
    #[must_use]
    pub fn of(source: Rc<dyn BodySource>) -> Self {
        Self(Some(source))
    }

    /// Whether all of it has been read, or there is none.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_none()
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        if let Some(source) = self.0.take() {
            source.let_go();
        }
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let Some(source) = &self.0 else { return Poll::Ready(None) };
        let polled = source.poll_data(cx);
        // At its end it lets go: the connection's next body is another's.
        let has_ended = match &polled {
            Poll::Ready(Some(Ok(_))) => source.left() == Some(0),
            Poll::Ready(None | Some(Err(_))) => true,
            Poll::Pending => false,
        };
        if has_ended && let Some(source) = self.0.take() {
            source.let_go();
        }
        polled.map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.0.as_ref().map_or(Some(0), |source| source.left());
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
