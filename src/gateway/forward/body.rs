//! The body of a request, as it comes from the client: watched, and without its trailers, which
//! could say what a head may not (cf. CVE-2025-12642).

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::gateway::control::{Control, Phase, Upload};
use crate::gateway::plan::ExchangeTimeouts;
use crate::upstream::BoxError;

/// A client's body. Each piece gives the client its time for the next one.
pub(in crate::gateway) struct ClientBody {
    /// None, once it is only read for its end.
    incoming: Option<Incoming>,
    control: Rc<Control>,
    timeouts: ExchangeTimeouts,
}

/// The client's body broke off, or its framing is broken: the client's fault.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the client's body broke off")]
struct BodyBroken;

impl ClientBody {
    pub(in crate::gateway) fn new(
        incoming: Incoming,
        control: Rc<Control>,
        timeouts: ExchangeTimeouts,
    ) -> Self {
        Self { incoming: Some(incoming), control, timeouts }
    }

    fn ended(&self) {
        self.control.set_upload(Upload::Over);
        if self.control.phase() == Phase::Exchange {
            self.control.deadline.set(self.timeouts.response_head);
        }
    }

    /// Whether there is none, or it has been read to its end.
    pub(in crate::gateway) fn is_over(&self) -> bool {
        self.incoming().is_none_or(|incoming| incoming.is_end_stream())
    }

    fn incoming(&self) -> Option<&Incoming> {
        self.incoming.as_ref()
    }

    fn broke(&self) -> BoxError {
        self.control.set_upload(Upload::Broken);
        BodyBroken.into()
    }
}

/// How long the rest of a body is read for nothing: in all, and without a piece.
const DRAIN: Duration = Duration::from_secs(30);
const DRAIN_SILENCE: Duration = Duration::from_secs(5);

/// A response that comes before its request has ended is lost by clients whose upload is broken off
/// (RFC 9112, section 9.6). On HTTP/1 the connection is closed with care; on HTTP/2 the stream
/// would be reset, so its body is read on for a while.
impl Drop for ClientBody {
    fn drop(&mut self) {
        let is_wanted = self.control.is_stream() && !self.control.is_cut() && !self.is_over();
        let Some(incoming) = self.incoming.take().filter(|_| is_wanted) else { return };
        if tokio::runtime::Handle::try_current().is_ok() {
            tokio::task::spawn_local(tokio::time::timeout(DRAIN, drain(incoming)));
        }
    }
}

async fn drain(mut incoming: Incoming) {
    while let Ok(Some(Ok(_))) = tokio::time::timeout(DRAIN_SILENCE, incoming.frame()).await {}
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.get_mut();
        let Some(incoming) = &mut body.incoming else { return Poll::Ready(None) };
        match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                // hyper takes a bare line feed behind the last chunk for an empty trailer section.
                if frame.trailers_ref().is_some_and(HeaderMap::is_empty)
                    && !body.control.is_stream()
                {
                    return Poll::Ready(Some(Err(body.broke())));
                }
                if frame.is_trailers() || incoming.is_end_stream() {
                    body.ended();
                } else {
                    body.control.set_upload(Upload::Coming);
                    body.control.deadline.set(body.timeouts.body);
                }
                if frame.is_trailers() { Poll::Ready(None) } else { Poll::Ready(Some(Ok(frame))) }
            }
            Poll::Ready(None) => {
                body.ended();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(body.broke()))),
            Poll::Pending => {
                body.control.set_upload(Upload::Awaited);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
