//! The body of a response on its way through an encoder.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tokio::time::{Sleep, sleep};

use super::encoder::{Coding, Encoder};
use super::integrity;
use crate::upstream::ReplyBody;

/// How long what has come may stay in the encoder while nothing else comes: beyond that it is
/// flushed. Pieces that come one after the other are compressed together.
const FLUSH_AFTER: Duration = Duration::from_millis(50);

/// How many bytes are encoded in one go: less than a millisecond in which the worker does nothing
/// else.
const STEP: usize = 32 * 1024;

/// How many steps without output are made before others get their turn.
const STEPS: usize = 16;

/// See the module. A body that breaks off breaks off behind what has come of it: it never gets the
/// end that a decoder waits for.
pub(in crate::gateway) struct CompressedBody {
    body: ReplyBody,
    /// How long the upstream may send nothing; `None`: for ever.
    silence: Option<Duration>,
    encoder: Encoder,
    /// What has come and is not encoded yet.
    rest: Bytes,
    /// Whether each piece is flushed at once: of an event stream.
    is_flushed: bool,
    /// Whether the encoder has something that has not come out.
    holds: bool,
    /// Runs while it does and nothing comes.
    timer: Option<Pin<Box<Sleep>>>,
    after: After,
}

/// What is left behind what was handed over.
enum After {
    /// More of the body.
    Body,
    Trailers(HeaderMap),
    Fault(hyper::Error),
    Nothing,
    /// It was broken off, and never ends.
    Broken,
}

/// What has become of the body.
pub(in crate::gateway) enum Polled {
    /// A piece of it, or trailers.
    Frame(Frame<Bytes>),
    /// It has ended.
    End,
    /// The upstream broke it off.
    Fault(hyper::Error),
    /// It could not be encoded.
    Failed(io::Error),
}

impl CompressedBody {
    pub(in crate::gateway) fn new(
        body: ReplyBody,
        silence: Option<Duration>,
        coding: Coding,
        is_event_stream: bool,
    ) -> Self {
        Self {
            body,
            silence,
            encoder: Encoder::new(coding),
            rest: Bytes::new(),
            is_flushed: is_event_stream,
            holds: false,
            timer: None,
            after: After::Body,
        }
    }

    /// Whether all of it was handed over.
    pub(in crate::gateway) fn is_end_stream(&self) -> bool {
        matches!(self.after, After::Nothing)
    }

    /// The next piece. `asked` is told of each look at the upstream: whether something has come,
    /// and if so how long the next may take.
    pub(in crate::gateway) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        asked: impl Fn(Poll<Option<Duration>>),
    ) -> Poll<Polled> {
        if let Some(behind) = self.behind() {
            return behind;
        }
        let mut out = BytesMut::new();
        for _ in 0..STEPS {
            match self.step(cx, &asked, &mut out) {
                Err(failed) => {
                    self.after = After::Broken;
                    return Poll::Ready(Polled::Failed(failed));
                }
                Ok(_) if !out.is_empty() => {
                    return Poll::Ready(Polled::Frame(Frame::data(out.freeze())));
                }
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => {}
            }
            if let Some(behind) = self.behind() {
                return behind;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// What is left, if all of the body was handed over.
    fn behind(&mut self) -> Option<Poll<Polled>> {
        let ready = |polled| Some(Poll::Ready(polled));
        match std::mem::replace(&mut self.after, After::Broken) {
            After::Body => {
                self.after = After::Body;
                None
            }
            After::Trailers(trailers) => {
                self.after = After::Nothing;
                ready(Polled::Frame(Frame::trailers(trailers)))
            }
            After::Nothing => {
                self.after = After::Nothing;
                ready(Polled::End)
            }
            After::Fault(fault) => ready(Polled::Fault(fault)),
            After::Broken => Some(Poll::Pending),
        }
    }

    /// Encodes a part of what has come, or takes what comes next.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        asked: &impl Fn(Poll<Option<Duration>>),
        out: &mut BytesMut,
    ) -> io::Result<Poll<()>> {
        if !self.rest.is_empty() {
            let part = self.rest.split_to(self.rest.len().min(STEP));
            self.encoder.write(&part, out)?;
            self.holds = true;
            if self.rest.is_empty() && self.body.is_end_stream() {
                self.finish(After::Nothing, out)?;
            } else if self.rest.is_empty() && self.is_flushed {
                self.flush(out)?;
            }
            return Ok(Poll::Ready(()));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        asked(polled.is_ready().then_some(self.silence).map_or(Poll::Pending, Poll::Ready));
        match polled {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    if self.rest.is_empty() && self.body.is_end_stream() {
                        self.finish(After::Nothing, out)?;
                    }
                }
                Err(frame) => {
                    let mut trailers = frame.into_trailers().unwrap_or_default();
                    integrity::remove(&mut trailers);
                    self.finish(After::Trailers(trailers), out)?;
                }
            },
            Poll::Ready(None) => self.finish(After::Nothing, out)?,
            Poll::Ready(Some(Err(fault))) => {
                if self.holds {
                    self.flush(out)?;
                }
                self.after = After::Fault(fault);
            }
            Poll::Pending if !self.holds => return Ok(Poll::Pending),
            Poll::Pending => {
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(FLUSH_AFTER)));
                if timer.as_mut().poll(cx).is_pending() {
                    return Ok(Poll::Pending);
                }
                self.flush(out)?;
            }
        }
        Ok(Poll::Ready(()))
    }

    fn flush(&mut self, out: &mut BytesMut) -> io::Result<()> {
        (self.holds, self.timer) = (false, None);
        self.encoder.flush(out)
    }

    /// The end of the body has come, and this is behind it.
    fn finish(&mut self, after: After, out: &mut BytesMut) -> io::Result<()> {
        (self.holds, self.timer, self.after) = (false, None, after);
        self.encoder.finish(out)
    }
}
