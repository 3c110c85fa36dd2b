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
    /// passed on. `closing`: how long one side of a WebSocket may stay open after the other.
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
        // A WebSocket is closed by both sides (RFC 6455, section 7.1.1); of another protocol only
        // its two ends know what is still to come.
        let closing = (!matches!(self, Self::Other(_))).then_some(closing);
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

/// Carries bytes both ways until both ends are closed, one breaks, or the token ends. One that has
/// closed its sending side may be sent more, for as long as the other protocol takes. `early`: what
/// the client sent ahead. `has_gone`: whether a client that had closed its sending side has gone
/// altogether, of which the system wakes no reader.
pub async fn carry<S>(tunnel: Tunnel, client: S, early: Bytes, has_gone: &dyn Fn() -> bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Tunnel { control, upstream, closing, end } = tunnel;
    // The answer to the handshake has been sent: from now on only what the route itself sets holds.
    control.deadline.lift();
    let times = control.times.get();
    let (up, down) = (Direction::default(), Direction::default());
    let outcome = {
        let mut carried = pin!(both_ways(client, early, upstream, &up, &down));
        let mut of_upstream = Silence::of(times.response_body);
        let mut of_client = Silence::of(times.request_body);
        let mut is_closing: Option<Pin<Box<Sleep>>> = None;
        std::future::poll_fn(|cx| {
            control.deadline.wake_by(cx);
            if control.is_to_end() {
                return Poll::Ready(Ok(()));
            }
            let polled = carried.as_mut().poll(cx);
            if polled.is_ready() {
                return polled;
            }
            if up.is_over.get() && has_gone() {
                return Poll::Ready(Err(Ending::ClientGone));
            }
            for (silence, direction, ending) in [
                (&mut of_upstream, &down, Ending::UpstreamStalled),
                (&mut of_client, &up, Ending::UploadStalled),
            ] {
                if !direction.is_over.get()
                    && let Some(silence) = silence
                    && silence.is_over(direction.carried.get(), cx)
                {
                    return Poll::Ready(Err(ending));
                }
            }
            if let Some(span) = closing
                && (up.is_over.get() || down.is_over.get())
                && is_closing
                    .get_or_insert_with(|| Box::pin(sleep(span)))
                    .as_mut()
                    .poll(cx)
                    .is_ready()
            {
                let is_clients = up.is_over.get();
                let late = if is_clients { Ending::UpstreamOpen } else { Ending::ClientOpen };
                return Poll::Ready(Err(late));
            }
            Poll::Pending
        })
        .await
    };
    if let Err(ending) = outcome {
        control.note_ending(ending);
    }
    let is_complete = outcome.is_ok() && control.ending.get().is_none();
    end(down.carried.get(), up.carried.get(), is_complete);
}

/// One direction of a tunnel.
#[derive(Default)]
struct Direction {
    /// How many bytes have come.
    carried: Cell<u64>,
    /// Whether it has carried all that there will be.
    is_over: Cell<bool>,
    /// Whether it could not be read from its end.
    has_broken: Cell<bool>,
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
    up: &Direction,
    down: &Direction,
) -> Result<(), Ending>
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
    let broke = |direction: &Direction, from: Ending, to: Ending, fault: &io::Error| {
        let ending = if direction.has_broken.get() { from } else { to };
        tracing::debug!(%fault, ?ending, "a tunnel broke");
        ending
    };
    let upward = async {
        let passed = pass_on(from_client, client_reads, upstream_writes, up).await;
        passed.map_err(|fault| broke(up, Ending::ClientGone, Ending::UpstreamBroke, &fault))
    };
    let downward = async {
        let passed = pass_on(from_upstream, upstream_reads, client_writes, down).await;
        passed.map_err(|fault| broke(down, Ending::UpstreamBroke, Ending::ClientGone, &fault))
    };
    tokio::try_join!(upward, downward).map(|_| ())
}

/// One direction of a tunnel, to its end; counts what it carries.
async fn pass_on(
    early: Bytes,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: &Direction,
) -> io::Result<()> {
    to.write_all(&early).await?;
    direction.carried.set(direction.carried.get() + early.len() as u64);
    drop(early);
    tokio::io::copy(&mut Counted { from: &mut from, direction }, &mut to).await?;
    direction.is_over.set(true);
    to.shutdown().await
}

/// Counts the bytes that are read.
struct Counted<'a, R> {
    from: &'a mut R,
    direction: &'a Direction,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<'_, R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut *this.from).poll_read(cx, buf));
        this.direction.has_broken.set(read.is_err());
        read?;
        let count = (buf.filled().len() - before) as u64;
        this.direction.carried.set(this.direction.carried.get() + count);
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
