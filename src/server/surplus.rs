//! A TLS connection beyond the limit: its one request is answered 503, over TLS, and then it is closed.
//!
//! A client that expects TLS can read nothing else, so the handshake is completed first. What it costs is bounded: the slots of
//! [`super::limit::ConnectionLimit`] and [`LIFE`]. A listener without TLS needs none of this: `accept` writes its answer at once.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::accept::Arrival;
use super::proxy_protocol;

/// How long such a connection may take, from its handshake to its end.
pub(super) const LIFE: Duration = Duration::from_secs(2);

/// What is said to a connection beyond the limit (RFC 9457), with TLS and without.
pub(super) const PROBLEM: &str = r#"{"title":"Service Unavailable","status":503,"detail":"too many open connections"}"#;
/// Its type.
pub(super) const PROBLEM_TYPE: &str = "application/problem+json";
/// After so many seconds another try may succeed.
pub(super) const RETRY_AFTER: &str = "1";

/// Answers the first request of an arrival beyond the limit, within [`LIFE`].
pub(super) async fn turn_away(arrival: Arrival) {
    let peer = arrival.peer;
    let answered = tokio::time::timeout(LIFE, answer(arrival)).await;
    if let Ok(Err(fault)) = answered {
        tracing::debug!(%peer, %fault, "a connection beyond the limit was closed without an answer");
    }
}

async fn answer(arrival: Arrival) -> io::Result<()> {
    // The slot is held until the connection is closed.
    let Arrival { stream, peer, listener, surplus: _slot } = arrival;
    stream.set_nodelay(true)?;
    let mut stream = TcpStream::from_std(stream)?;
    if listener.requires_proxy_header() {
        if !listener.trusts(peer.ip()) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a trusted proxy"));
        }
        proxy_protocol::read(&mut stream).await?;
    }
    // Only listeners with TLS hand such connections over.
    let Some(tls) = listener.tls() else { return Ok(()) };
    let stream = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await?;
    let service = service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(refusal()) });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

fn refusal() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(PROBLEM.as_bytes())));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    response
}
