//! The switch of protocols to WebSocket (RFC 6455, and RFC 8441 from clients of HTTP/2) or to
//! another protocol that the route names, and the bytes that follow it. The upstream is always
//! asked in HTTP/1.1: nearly no server speaks WebSocket over HTTP/2.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::gateway::body_source::BodySource;
use crate::gateway::control::{Ending, Tunnel};
use crate::gateway::gate::WebSocketForm;
use crate::gateway::refusal::Refusal;
use crate::gateway::upgrades::{Asked, only};
use crate::upstream::{Reply, UpstreamTunnel};
use crate::wire::fields;

/// A handshake that is under way.
pub(super) enum Handshake {
    /// Of WebSocket in HTTP/1.1, as the upstream is asked.
    Upgrade,
    /// Of another protocol, as the route names it.
    Other(HeaderValue),
    /// The stream to be, and what the upstream must answer to the key that keyward made.
    Connect { stream: OnUpgrade, accept: String },
}

impl Handshake {
    /// Turns the client's handshake into that of HTTP/1.1; `Connection` is set by `upstream`.
    pub(super) fn begin(asked: Asked, head: &mut Parts) -> Result<Self, Refusal> {
        match asked {
            Asked::Other(protocol) => return Ok(Self::Other(protocol)),
            Asked::WebSocket(WebSocketForm::Upgrade) => return Ok(Self::Upgrade),
            Asked::WebSocket(WebSocketForm::Connect) => {}
        }
        let stream = head
            .extensions
            .remove::<OnUpgrade>()
            .ok_or(Refusal::Internal("an extended CONNECT has no stream"))?;
        let mut nonce = [0; 16];
        aws_lc_rs::rand::fill(&mut nonce)
            .map_err(|_| Refusal::Internal("no randomness for a handshake"))?;
        let key = BASE64.encode(nonce);
        let accept = accept_for(&key);
        head.method = Method::GET;
        head.version = Version::HTTP_11;
        let value =
            HeaderValue::try_from(key).map_err(|_| Refusal::Internal("a key is no field value"))?;
        head.headers.insert(header::SEC_WEBSOCKET_KEY, value);
        Ok(Self::Connect { stream, accept })
    }

    /// What the upstream is asked to switch to.
    pub(super) fn protocol(&self) -> HeaderValue {
        match self {
            Self::Upgrade | Self::Connect { .. } => HeaderValue::from_static("websocket"),
            Self::Other(protocol) => protocol.clone(),
        }
    }

    /// Checks that the upstream switched to what was asked for, and makes its answer fit to be
    /// passed on.
    pub(super) fn accept(
        self,
        reply: Reply,
        closing: Duration,
    ) -> Result<Response<BodySource>, Refusal> {
        let Reply { mut head, body } = reply;
        let headers = &mut head.headers;
        let protocol = self.protocol();
        let is_asked_for = match &self {
            Self::Other(protocol) => only(headers, &header::UPGRADE)
                .is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(protocol.as_bytes())),
            Self::Upgrade | Self::Connect { .. } => {
                fields::lists(headers, &header::UPGRADE, "websocket")
            }
        };
        if !is_asked_for || headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(Refusal::UpstreamAmbiguous(
                "it switched to another protocol than asked for",
            ));
        }
        let upstream = body
            .into_tunnel()
            .ok_or(Refusal::UpstreamAmbiguous("it switched protocols before it was asked"))?;
        fields::strip_hop_by_hop(headers);
        headers.remove(header::CONTENT_LENGTH);
        headers.append(header::VIA, HeaderValue::from_static("1.1 keyward"));
        head.extensions.clear();
        let stream = match self {
            Self::Upgrade | Self::Other(_) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(header::UPGRADE, protocol);
                None
            }
            Self::Connect { stream, accept } => {
                let answered = headers.remove(header::SEC_WEBSOCKET_ACCEPT);
                if answered.is_none_or(|answered| answered != accept.as_str()) {
                    return Err(Refusal::UpstreamAmbiguous(
                        "its Sec-WebSocket-Accept does not fit",
                    ));
                }
                head.status = StatusCode::OK;
                Some(stream)
            }
        };
        head.version = Version::HTTP_11;
        Ok(Response::from_parts(head, BodySource::Tunnel { upstream, stream, closing }))
    }
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455, section 4.2.2).
fn accept_for(key: &str) -> String {
    const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{GUID}").as_bytes(),
    );
    BASE64.encode(digest.as_ref())
}

/// Carries bytes both ways until both ends are closed, one breaks, or the token ends. `early`: what
/// the client sent ahead.
pub async fn carry<S>(tunnel: Tunnel, client: S, early: Bytes)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Tunnel { control, upstream, closing, end } = tunnel;
    // The answer to the handshake has been sent: from now on only what the route itself sets holds.
    control.deadline.lift();
    let times = control.times.get();
    let (sent, received) = (Cell::new(0), Cell::new(0));
    let outcome = {
        let carried = both_ways(client, early, upstream, closing, &sent, &received);
        let mut carried = pin!(carried);
        let mut of_upstream = Silence::of(times.response_body);
        let mut of_client = Silence::of(times.request_body);
        std::future::poll_fn(|cx| {
            control.deadline.wake_by(cx);
            if control.is_to_end() {
                return Poll::Ready(Ok(()));
            }
            let polled = carried.as_mut().poll(cx);
            if polled.is_pending() {
                for (silence, carried, ending) in [
                    (&mut of_upstream, &sent, Ending::UpstreamStalled),
                    (&mut of_client, &received, Ending::UploadStalled),
                ] {
                    if let Some(silence) = silence
                        && silence.is_over(carried.get(), cx)
                    {
                        control.note_ending(ending);
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            polled
        })
        .await
    };
    if let Err(fault) = &outcome {
        tracing::debug!(%fault, "a tunnel broke");
        control.note_ending(Ending::ClientGone);
    }
    let is_complete = outcome.is_ok() && control.ending.get().is_none();
    end(sent.get(), received.get(), is_complete);
}

/// The time in which one direction of a tunnel must carry something.
struct Silence {
    span: Duration,
    /// How many bytes there were when it began.
    carried: u64,
    timer: Pin<Box<Sleep>>,
}

impl Silence {
    fn of(span: Option<Duration>) -> Option<Self> {
        span.map(|span| Self { span, carried: 0, timer: Box::pin(sleep(span)) })
    }

    /// Whether nothing has come for the whole time; `carried`: how many bytes there are by now.
    fn is_over(&mut self, carried: u64, cx: &mut Context<'_>) -> bool {
        if self.carried != carried {
            self.carried = carried;
            self.timer.set(sleep(self.span));
        }
        self.timer.as_mut().poll(cx).is_ready()
    }
}

async fn both_ways<S>(
    client: S,
    from_client: Bytes,
    upstream: UpstreamTunnel,
    closing: Duration,
    sent: &Cell<u64>,
    received: &Cell<u64>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let UpstreamTunnel {
        stream: upstream,
        early: from_upstream,
        place: _place,
        connection: _connection,
    } = upstream;
    let (client_reads, client_writes) = tokio::io::split(client);
    let (upstream_reads, upstream_writes) = tokio::io::split(upstream);
    let mut up = pin!(pass_on(from_client, client_reads, upstream_writes, received));
    let mut down = pin!(pass_on(from_upstream, upstream_reads, client_writes, sent));
    let other = tokio::select! {
        first = &mut up => {
            first?;
            tokio::time::timeout(closing, down).await
        }
        first = &mut down => {
            first?;
            tokio::time::timeout(closing, up).await
        }
    };
    let late = "one end had closed, and the other did not";
    other.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, late))?
}

/// One direction of a tunnel, to its end; counts what it carries.
async fn pass_on(
    early: Bytes,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &Cell<u64>,
) -> io::Result<()> {
    to.write_all(&early).await?;
    count.set(count.get() + early.len() as u64);
    drop(early);
    tokio::io::copy(&mut Counted { from: &mut from, count }, &mut to).await?;
    to.shutdown().await
}

/// Counts the bytes that are read.
struct Counted<'a, R> {
    from: &'a mut R,
    count: &'a Cell<u64>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<'_, R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut *this.from).poll_read(cx, buf))?;
        let read = (buf.filled().len() - before) as u64;
        this.count.set(this.count.get() + read);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        assert_eq!(accept_for("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
