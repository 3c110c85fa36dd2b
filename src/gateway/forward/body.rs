//! The body of a request on its way to the upstream: streamed and watched, without its trailers, which
//! could say what a head may not (cf. CVE-2025-12642).

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::gateway::control::{Control, Phase, Upload};
use crate::gateway::plan::ExchangeTimeouts;
use crate::upstream::BoxError;

/// A client's body. Each piece gives the client its time for the next one.
pub(in crate::gateway) struct ClientBody {
    incoming: Incoming,
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
        Self { incoming, control, timeouts }
    }

    fn ended(&self) {
        self.control.set_upload(Upload::Over);
        if self.control.phase() == Phase::Exchange {
            self.control.deadline.set(self.timeouts.response_head);
        }
    }

    fn broke(&self) -> BoxError {
        self.control.set_upload(Upload::Broken);
        BodyBroken.into()
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.get_mut();
        match Pin::new(&mut body.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                // hyper takes a bare line feed behind the last chunk for an empty trailer section.
                if frame.trailers_ref().is_some_and(HeaderMap::is_empty) && !body.control.is_stream() {
                    return Poll::Ready(Some(Err(body.broke())));
                }
                if frame.is_trailers() || body.incoming.is_end_stream() {
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
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
