//! The connections of both listeners: accepted, bounded in number, size and time, and ended when
//! keyward stops.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::answer::Answer;

/// The signal to stop: `true`, or the loss of its sender.
pub type Stop = watch::Receiver<bool>;

/// The most connections of a listener at a time; more wait in the backlog.
const MAX_CONNECTIONS: usize = 64;

/// From the end of the exchange before to the last byte of a head; also bounds how long an idle
/// connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection is reused, also by a client that does not read its answers.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// How long the last exchange may go on after that: longer than the longest operation.
const CLOSE_GRACE: Duration = Duration::from_secs(35);

/// How long exchanges may go on after the signal to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The pause after a failed accept: without a free file descriptor, the next one fails as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a head, and of what is buffered of an answer.
const HEAD_BYTES: usize = 16 * 1024;

/// Lines of a head.
const HEAD_LINES: usize = 64;

/// What answers the requests of a listener.
pub(super) trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// Serves the connections of `poll_accept` until the signal to stop, then lets running exchanges
/// end.
pub(super) async fn serve<S>(
    poll_accept: impl Fn(&mut Context<'_>) -> Poll<io::Result<S>>,
    handler: Arc<impl Handler>,
    mut stop: Stop,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = poll_fn(&poll_accept), if connections.len() < MAX_CONNECTIONS => {
                match accepted {
                    Ok(stream) => {
                        connections.spawn(converse(stream, Arc::clone(&handler), stop.clone()));
                    }
                    Err(error) => {
                        warn!(%error, "the admin listener could not accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
    // What is still open after the grace is closed with the set.
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, all_ended).await.is_err() {
        warn!("admin connections were cut off after {} s", STOP_GRACE.as_secs());
    }
}

async fn converse<S>(stream: S, handler: Arc<impl Handler>, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(handler.answer(request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .max_headers(HEAD_LINES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                debug!(%error, "an admin connection ended early");
            }
            return;
        }
        () = stopped(&mut stop) => {}
        () = tokio::time::sleep(CONNECTION_LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(CLOSE_GRACE, connection).await;
}

async fn stopped(stop: &mut Stop) {
    // A lost sender is a control thread that is gone: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
