//! An upstream that speaks HTTP/2 by prior knowledge, or what ALPN says over TLS.
//!
//! It is hyper's server, as keyward's client is hyper's: what is tested with it is how keyward uses
//! connections and streams, not the codec. Frames byte by byte are in [`h2`](super::h2).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::header::TRAILER;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio_rustls::TlsAcceptor;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) version: Version,
    pub(crate) target: String,
    /// `:authority`, or `Host`.
    pub(crate) host: String,
    pub(crate) headers: HeaderMap,
    pub(crate) progress: Progress,
}

/// How far the answer to a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Underway,
    Answered,
    /// Its stream was reset, or its connection ended, before it was answered.
    GivenUp,
}

struct State {
    arrivals: Mutex<Vec<Arrival>>,
    connections: AtomicUsize,
    is_released: watch::Sender<bool>,
    /// How many streams of one connection may be open.
    streams: u32,
    tls: Option<TlsAcceptor>,
}

/// The running upstream. It stops when it is dropped.
///
/// A request whose path ends in `held` is answered when [`release`](Self::release) is called, one
/// in `trailers` with trailers, which one in `announced-trailers` has announced (and is of unknown
/// length), one in `last` is the last one that its connection takes: GOAWAY follows.
pub(crate) struct Http2Upstream {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Http2Upstream {
    /// By prior knowledge, with this many streams at a time on each connection.
    pub(crate) fn start(streams: u32) -> Self {
        Self::begin(streams, None)
    }

    /// Over TLS; `config` says what ALPN may choose.
    pub(crate) fn over_tls(config: ServerConfig) -> Self {
        Self::begin(100, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn begin(streams: u32, tls: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket without blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            arrivals: Mutex::default(),
            connections: AtomicUsize::new(0),
            is_released: watch::Sender::new(false),
            streams,
            tls,
        });
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = accept(&listener, &shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, state, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were ever opened to it.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// The requests that arrived, in order.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.state.arrivals.lock().unwrap().clone()
    }

    /// Answers every request that is held, and holds none any more.
    pub(crate) fn release(&self) {
        self.state.is_released.send_replace(true);
    }
}

impl Drop for Http2Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: &TcpListener, state: &Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let number = state.connections.fetch_add(1, Ordering::SeqCst);
        let state = Arc::clone(state);
        tokio::spawn(async move {
            let Some(tls) = state.tls.clone() else {
                return serve(stream, true, number, state).await;
            };
            // A client that trusts another authority ends the handshake.
            let Ok(stream) = tls.accept(stream).await else { return };
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
            serve(stream, is_http2, number, state).await;
        });
    }
}

async fn serve<S>(stream: S, is_http2: bool, number: usize, state: Arc<State>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (streams, goaway) = (state.streams, Arc::new(Notify::new()));
    let asked = Arc::clone(&goaway);
    let service =
        service_fn(move |request| answer(request, number, Arc::clone(&state), Arc::clone(&asked)));
    let io = TokioIo::new(stream);
    if !is_http2 {
        let _ = http1::Builder::new().serve_connection(io, service).await;
        return;
    }
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let mut connection =
        pin!(builder.max_concurrent_streams(streams).serve_connection(io, service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = goaway.notified() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    state: Arc<State>,
    goaway: Arc<Notify>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let field = head
        .headers
        .get(http::header::HOST)
        .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let host = head.uri.authority().map(ToString::to_string).or(field).unwrap_or_default();
    let arrival = Arrival {
        version: head.version,
        target,
        host,
        headers: head.headers.clone(),
        progress: Progress::Underway,
    };
    let underway = Underway::begin(state, arrival.clone());
    let _ = body.collect().await;
    let path = head.uri.path();
    if path.ends_with("held") {
        let mut is_released = underway.state.is_released.subscribe();
        drop(is_released.wait_for(|is_released| *is_released).await);
    }
    if path.ends_with("last") {
        goaway.notify_one();
    }
    let echo =
        serde_json::json!({ "target": arrival.target, "connection": connection }).to_string();
    let body = Full::new(Bytes::from(echo));
    let body = if path.ends_with("trailers") {
        let trailers = HeaderMap::from_iter([(
            "grpc-status".parse().expect("a name"),
            HeaderValue::from_static("0"),
        )]);
        body.with_trailers(async move { Some(Ok(trailers)) }).boxed_unsync()
    } else {
        body.boxed_unsync()
    };
    let mut response = Response::new(body);
    if path.ends_with("announced-trailers") {
        response = response.map(|body| StreamBody::new(BodyStream::new(body)).boxed_unsync());
        response.headers_mut().insert(TRAILER, HeaderValue::from_static("grpc-status"));
    }
    underway.end(Progress::Answered);
    Ok(response)
}

/// A request that is being answered; given up, unless it comes to its end.
struct Underway {
    state: Arc<State>,
    nth: usize,
}

impl Underway {
    fn begin(state: Arc<State>, arrival: Arrival) -> Self {
        let nth = {
            let mut arrivals = state.arrivals.lock().unwrap();
            arrivals.push(arrival);
            arrivals.len() - 1
        };
        Self { state, nth }
    }

    fn end(&self, progress: Progress) {
        let mut arrivals = self.state.arrivals.lock().unwrap();
        if arrivals[self.nth].progress == Progress::Underway {
            arrivals[self.nth].progress = progress;
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.end(Progress::GivenUp);
    }
}
