//! From an accepted socket to a connection that is served: the handshake, then the version of HTTP
//! that the client speaks.

use std::io;
use std::rc::Rc;

use tokio::net::{TcpStream, UnixStream};

use super::connection::Connection;
use super::listen::{AcceptedStream, Arrival};
use super::socket::{ClientTimeouts, Socket};
use super::stream::ClientStream;
use super::worker::Worker;
use super::{handshake, http1, http2};
use crate::gateway::{ClientCertificate, ClientConnection, ClientOrigin, Control, Scheme};

/// From an accepted socket to a stream of HTTP.
pub(super) async fn serve_arrival(worker: &Rc<Worker>, arrival: Arrival) {
    worker.gateway.counters.connections_opened.add(1);
    let Arrival { stream, peer, listener, surplus } = arrival;
    let stream = match on_this_runtime(stream) {
        Ok(stream) => stream,
        Err(fault) => {
            tracing::debug!(%peer, %fault, "a connection was over before it began");
            return;
        }
    };
    let prepared = if listener.has_handshake() {
        // On the heap, and gone when it is over: it is larger than all that the connection needs
        // afterwards.
        Box::pin(tokio::time::timeout(
            worker.settings().timeouts.tls_handshake,
            handshake::perform(stream, peer.clone(), &listener),
        ))
        .await
        .unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))
        })
    } else {
        let trusted_proxies = listener.proxies_if_trusted(&peer);
        let (address, scheme) = (peer.clone(), Scheme::Http);
        let origin = ClientOrigin { address, peer: peer.clone(), scheme, trusted_proxies };
        Ok((stream, origin, None))
    };
    match prepared {
        Ok((stream, origin, certificate)) => {
            serve(worker, stream, (origin, certificate), surplus.is_some()).await;
        }
        Err(fault) => {
            tracing::debug!(%peer, %fault, "a connection was refused before its first request")
        }
    }
}

fn on_this_runtime(stream: AcceptedStream) -> io::Result<ClientStream> {
    Ok(match stream {
        AcceptedStream::Tcp(stream) => {
            stream.set_nodelay(true)?;
            ClientStream::Tcp(TcpStream::from_std(stream)?)
        }
        AcceptedStream::Unix(stream) => ClientStream::Unix(UnixStream::from_std(stream)?),
    })
}

/// Serves a connection until it ends.
async fn serve(
    worker: &Rc<Worker>,
    stream: ClientStream,
    (origin, certificate): (ClientOrigin, Option<ClientCertificate>),
    is_surplus: bool,
) {
    let settings = worker.settings();
    let (timeouts, limits) = (settings.timeouts, settings.head_limits());
    let control = Rc::new(Control::of_connection(
        worker.deadlines.register(),
        timeouts.idle.min(http1::RELEASE_AFTER),
    ));
    control.deadline.set(timeouts.first_byte);
    let client_timeouts = ClientTimeouts { head: timeouts.head, body: timeouts.body };
    let connection = Connection {
        worker: Rc::clone(worker),
        client: Rc::new(ClientConnection::new(origin, certificate)),
        socket: Socket::new(stream, Rc::clone(&control), limits, client_timeouts),
        control,
        limits,
        first_byte: timeouts.first_byte,
        idle: timeouts.idle,
        is_surplus,
    };
    if is_surplus && !connection.socket.has_agreed_on_http2() {
        return Box::pin(http1::refuse_surplus(&connection)).await;
    }
    match connection.speaks_http2().await {
        // Boxed: every connection holds this future, and most are of HTTP/1.
        Some(true) => Box::pin(http2::serve(&connection)).await,
        Some(false) => http1::serve(&connection).await,
        None => {}
    }
}
