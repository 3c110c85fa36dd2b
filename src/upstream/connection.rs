//! One connection to an endpoint, and the tunnel that it may become.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{StatusCode, Version};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::head::{self, Head};
use super::pool::Pool;
use super::{Endpoint, ExchangeFault, Outgoing, Purpose, RequestBody, UpstreamError};
use crate::wire::lines::FieldLines;
use crate::wire::receiving::Received;
use crate::wire::sending::{Sending, SpareBuffer, Unsent};

/// A connection that may carry one request at a time. Boxed wherever it goes: it goes from the pool to its user and back with
/// every request.
pub(super) struct Connection {
    reader: OwnedReadHalf,
    /// Elsewhere, while an upload outlives the head of its response.
    writer: Option<OwnedWriteHalf>,
    received: Received,
    /// Whether it has carried a request before: only then may the server have closed it without our doing.
    is_reused: bool,
    /// Whether anything has come in answer to the request that is under way.
    is_answered: bool,
}

/// A connection after `101 Switching Protocols`.
pub struct Tunnel {
    /// The connection.
    pub io: TcpStream,
    /// What the server sent behind its response already.
    pub early: Bytes,
}

/// A response whose head has come.
pub(super) struct Answer {
    pub(super) head: Head,
    /// What has come behind the head.
    pub(super) behind: Bytes,
    /// Whether the request has been sent to its end: its upload may outlast its answer.
    pub(super) is_sent: bool,
}

/// So many interim responses are waited through.
const MOST_INTERIM: usize = 1000;

impl Connection {
    /// Connects.
    pub(super) async fn open(endpoint: &Endpoint) -> Result<Box<Self>, UpstreamError> {
        let failed =
            |fault: io::Error| UpstreamError::Connect { endpoint: endpoint.to_string(), reason: fault.to_string() };
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (reader, writer) = stream.into_split();
        Ok(Box::new(Self {
            reader,
            writer: Some(writer),
            received: Received::default(),
            is_reused: false,
            is_answered: false,
        }))
    }

    /// Whether an idle connection is still good: the server has neither closed it nor said anything unasked. It asks the system
    /// only when something has happened since.
    pub(super) fn is_good(&self) -> bool {
        let nothing_came = |read: io::Result<usize>| read.is_err_and(|fault| fault.kind() == io::ErrorKind::WouldBlock);
        nothing_came(self.reader.try_read(&mut [0]))
    }

    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Whether anything has come in answer to the last request.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Sends a request and reads the head of its response, its fields into `lines`. Both at once: a server may answer before
    /// it has read the whole of a request. What the request was gathered in is put back into `spare` when it has been sent.
    pub(super) async fn exchange<B: RequestBody>(
        &mut self,
        sending: &mut Sending<B>,
        outgoing: &Outgoing<'_>,
        spare: &SpareBuffer,
        lines: &mut FieldLines,
    ) -> Result<Answer, ExchangeFault> {
        self.is_answered = false;
        let mut is_sent = false;
        let mut refused = None;
        let mut interims = 0;
        std::future::poll_fn(|cx| {
            if !is_sent && let Some(writer) = &mut self.writer {
                match sending.poll(writer, cx) {
                    Poll::Ready(Ok(())) => {
                        is_sent = true;
                        spare.put(sending.take_buffer());
                    }
                    Poll::Ready(Err(Unsent::Body)) => return Poll::Ready(Err(ExchangeFault::RequestBody)),
                    // It may have answered before it stopped to read (RFC 9112, section 9.5).
                    Poll::Ready(Err(Unsent::Write(fault))) => {
                        is_sent = true;
                        refused = Some(fault);
                    }
                    Poll::Pending => {}
                }
            }
            match ready!(self.poll_head(cx, outgoing, lines, &mut interims)) {
                Ok((mut head, behind)) => {
                    head.is_kept &= refused.is_none();
                    Poll::Ready(Ok(Answer { head, behind, is_sent }))
                }
                Err(fault) => Poll::Ready(Err(refused.take().map_or(fault, ExchangeFault::Write))),
            }
        })
        .await
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &Outgoing<'_>,
        lines: &mut FieldLines,
        interims: &mut usize,
    ) -> Poll<Result<(Head, Bytes), ExchangeFault>> {
        loop {
            let received = ready!(self.poll_receive(cx)).map_err(ExchangeFault::Read)?;
            if received == 0 {
                let fault = if self.is_answered { ExchangeFault::Truncated } else { ExchangeFault::Closed };
                return Poll::Ready(Err(fault));
            }
            self.is_answered = true;
            let so_far = self.received.bytes();
            let new = so_far.len() - received;
            // No head ends without a line feed, so a long one that comes in bits is not read anew for each.
            if new > SHORT && memchr::memchr(b'\n', so_far.get(new..).unwrap_or_default()).is_none() {
                if so_far.len() > head::MOST_BYTES {
                    return Poll::Ready(Err(ExchangeFault::HeadTooLarge));
                }
                continue;
            }
            let mut input = self.take_received();
            while let Some(head) = head::read(&input, outgoing.method, lines)? {
                let behind = input.split_off(head.length);
                if head.status == StatusCode::SWITCHING_PROTOCOLS {
                    let is_asked_for = outgoing.purpose == Purpose::Switch && head.version == Version::HTTP_11;
                    return Poll::Ready(if is_asked_for { Ok((head, behind)) } else { Err(ExchangeFault::Switch) });
                }
                if !head.status.is_informational() {
                    return Poll::Ready(Ok((head, behind)));
                }
                *interims += 1;
                if *interims > MOST_INTERIM {
                    return Poll::Ready(Err(ExchangeFault::TooManyInterim));
                }
                if let Some(interim) = outgoing.interim {
                    interim.pass_on(head.status, std::mem::take(lines));
                }
                input = behind;
                if input.is_empty() {
                    break;
                }
            }
            // What there is of the next head, for when there is more of it.
            self.received.put_back(&input);
        }
    }

    /// Receives behind what is in the buffer: how many bytes; 0: the server sends no more.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.poll_more(&mut self.reader, cx)
    }

    /// All that has been received and not taken.
    pub(super) fn take_received(&mut self) -> Bytes {
        self.received.take()
    }

    /// The half that requests are sent on: for an upload that outlives the head of its response.
    pub(super) fn take_writer(&mut self) -> Option<OwnedWriteHalf> {
        self.writer.take()
    }

    /// Its request has been sent and its response read, both to their ends: it may carry the next. `writer` is given back if
    /// it was taken.
    pub(super) fn go_idle(mut self: Box<Self>, writer: Option<OwnedWriteHalf>, pool: &Rc<Pool>) {
        self.writer = writer.or(self.writer.take());
        self.received.shrink();
        self.is_reused = true;
        if self.writer.is_some() && self.received.bytes().is_empty() {
            pool.give_back(self);
        }
    }

    /// The bare connection, once the server has switched protocols; nothing, if the request was still being sent.
    pub(super) fn into_tunnel(self, early: Bytes) -> Option<Tunnel> {
        let io = self.reader.reunite(self.writer?).ok()?;
        Some(Tunnel { io, early })
    }
}

/// A head so short is read anew for each byte that comes.
const SHORT: usize = 64;

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
