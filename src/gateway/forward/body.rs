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
use tokio::time::{Sleep, sleep, timeout};

use crate::gateway::control::{Control, Phase, Upload};
use crate::upstream::BoxError;

/// A client's body. Each piece gives the client its time for the next one.
pub(in crate::gateway) struct ClientBody {
    /// None, once it is only read for its end.
    incoming: Option<Incoming>,
    control: Rc<Control>,
    /// Runs while a piece is awaited behind the head of the response: the deadline of the exchange
    /// is the response's by then.
    silence: Option<Pin<Box<Sleep>>>,
}

impl ClientBody {
    pub(in crate::gateway) fn new(incoming: Incoming, control: Rc<Control>) -> Self {
        Self { incoming: Some(incoming), control, silence: None }
    }

    fn ended(&self) {
        self.control.set_upload(Upload::Over);
        if self.control.phase() == Phase::Exchange {
            self.control.set_or_lift(self.control.times.get().response_head);
        }
    }

    /// A piece has come that is not the last one.
    fn goes_on(&mut self) {
        self.silence = None;
        let control = &self.control;
        control.set_upload(Upload::Coming);
        if control.phase() == Phase::Exchange {
            control.set_or_lift(control.times.get().request_body);
        } else {
            control.note_progress();
        }
    }

    /// Nothing has come; true: for too long, behind the head of the response.
    fn is_stalled(&mut self, cx: &mut Context<'_>) -> bool {
        self.control.set_upload(Upload::Awaited);
        if self.control.phase() == Phase::Exchange {
            self.control.wake_upload_by(cx);
            return false;
        }
        let Some(span) = self.control.times.get().request_body else { return false };
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(span)));
        silence.as_mut().poll(cx).is_ready()
    }

    /// Whether there is none, or it has been read to its end.
    pub(in crate::gateway) fn is_over(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    /// The body broke off, or its framing is broken.
    fn broke(&self) -> BoxError {
        self.breaks_off(Upload::Broken, "the client's body broke off")
    }

    fn breaks_off(&self, upload: Upload, why: &'static str) -> BoxError {
        self.control.set_upload(upload);
        why.into()
    }
}

/// How long the rest of a body is read and dropped: in all, and without a piece.
const DRAIN: Duration = Duration::from_secs(30);
const DRAIN_SILENCE: Duration = Duration::from_secs(5);

/// A client whose upload is broken off loses a response that came before (RFC 9112, section 9.6).
/// On HTTP/1 the connection is closed with care; on HTTP/2, where the stream would be reset, the
/// body is read on for a while.
impl Drop for ClientBody {
    fn drop(&mut self) {
        let is_wanted = self.control.is_stream() && !self.control.is_cut() && !self.is_over();
        let Some(mut incoming) = self.incoming.take().filter(|_| is_wanted) else { return };
        if tokio::runtime::Handle::try_current().is_ok() {
            let drain = async move {
                while let Ok(Some(Ok(_))) = timeout(DRAIN_SILENCE, incoming.frame()).await {}
            };
            tokio::task::spawn_local(timeout(DRAIN, drain));
        }
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
        let Some(incoming) = &mut body.incoming else { return Poll::Ready(None) };
        match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                // hyper takes a bare line feed behind the last chunk for an empty trailer section.
                if frame.trailers_ref().is_some_and(HeaderMap::is_empty)
                    && !body.control.is_stream()
                {
                    return Poll::Ready(Some(Err(body.broke())));
                }
                if !frame.data_ref().is_none_or(|data| body.control.admits(data.len())) {
                    let fault = body.breaks_off(Upload::TooLarge, "the body is too large");
                    return Poll::Ready(Some(Err(fault)));
                }
                if frame.is_trailers() || incoming.is_end_stream() {
                    body.ended();
                } else {
                    body.goes_on();
                }
                if frame.is_trailers() { Poll::Ready(None) } else { Poll::Ready(Some(Ok(frame))) }
            }
            Poll::Ready(None) => {
                body.ended();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(body.broke()))),
            Poll::Pending if body.is_stalled(cx) => {
                let fault = body.breaks_off(Upload::Stalled, "the client's body stopped coming");
                Poll::Ready(Some(Err(fault)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
