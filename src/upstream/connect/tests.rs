//! Listeners on loopback addresses that answer, refuse, or swallow the bytes they get, and names
//! that resolve to them.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tls;
use crate::upstream::ResponseHeadLimits;

/// Longer than any test that does not wait for it.
const LONG: Duration = Duration::from_secs(30);

impl Connector {
    fn resolving_by(self, resolve: Resolve) -> Self {
        Self { resolve, ..self }
    }
}

fn tcp(host: &str, port: u16) -> Endpoint {
    Endpoint {
        address: EndpointAddress::Tcp { host: host.to_owned(), port },
        is_tls: false,
        resolved: None,
    }
}

fn unix(path: PathBuf) -> Endpoint {
    Endpoint { address: EndpointAddress::Unix(path), is_tls: false, resolved: None }
}

fn plain(timeout: Duration) -> UpstreamSettings {
    settings(timeout, Protocol::Http1, None)
}

fn settings(timeout: Duration, protocol: Protocol, tls: Option<UpstreamTls>) -> UpstreamSettings {
    UpstreamSettings {
        endpoints: Vec::new(),
        protocol,
        tls,
        connect_timeout: timeout,
        idle_connections: 0,
        idle_timeout: LONG,
        response_head: ResponseHeadLimits { bytes: 0, fields: 0 },
        balancing: None,
    }
}

/// A connector to a name that resolves to these addresses.
fn to_name(addresses: &[SocketAddr], timeout: Duration) -> Connector {
    let addresses = addresses.to_vec();
    Connector::new(tcp("app.test", 80), &plain(timeout)).resolving_by(Box::new(
        move |host, port| {
            assert_eq!((host.as_str(), port), ("app.test", 80));
            let addresses = addresses.clone();
            Box::pin(async move { Ok(addresses) })
        },
    ))
}

/// Sends back what comes, on every connection.
fn serve_echo(listener: TcpListener) -> SocketAddr {
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    address
}

async fn echo(stream: impl AsyncRead + AsyncWrite) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    // The client may go at any time.
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
    let _ = writer.shutdown().await;
}

async fn alive(address: &str) -> SocketAddr {
    serve_echo(TcpListener::bind((address, 0)).await.expect("a port"))
}

/// An address of which the port is taken and nothing listens.
fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let address =
        socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    (socket, address)
}

/// An address at which connections are neither accepted nor refused: the queue of its listener is
/// full. Linux lets one connection more into the queue than is asked for, and drops the SYNs of all
/// others.
fn silent() -> (Vec<socket2::Socket>, SocketAddr) {
    let (listener, address) = refusing();
    listener.listen(0).expect("it listens");
    let first =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    first.connect(&address.into()).expect("the queue has room for one");
    (vec![listener, first], address)
}

/// What is sent comes back, also when it is sent in several slices.
async fn assert_is_open(mut stream: UpstreamStream) {
    assert!(stream.is_write_vectored());
    let sent = stream
        .write_vectored(&[io::IoSlice::new(b"pi"), io::IoSlice::new(b"ng")])
        .await
        .expect("sent");
    assert_eq!(sent, 4);
    stream.flush().await.expect("flushed");
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.expect("it comes back");
    assert_eq!(&back, b"ping");
    stream.shutdown().await.expect("shut down");
    assert_eq!(stream.read(&mut back).await.expect("the end comes back"), 0);
}

#[tokio::test]
async fn an_address_is_connected_to_without_a_resolver_and_without_delay_of_small_writes() {
    for host in ["127.0.0.1", "::1"] {
        let port = alive(host).await.port();
        let connector = Connector::new(tcp(host, port), &plain(LONG))
            .resolving_by(Box::new(|host, _| panic!("{host} is an address")));
        let UpstreamStream::Tcp(stream) = connector.connect().await.expect("connected").stream
        else {
            panic!("it is plain TCP")
        };
        assert!(stream.nodelay().expect("an option"));
        assert_is_open(UpstreamStream::Tcp(stream)).await;
    }
}

#[tokio::test]
async fn the_names_of_the_system_are_resolved() {
    let port = alive("127.0.0.1").await.port();
    let connected =
        Connector::new(tcp("localhost", port), &plain(LONG)).connect().await.expect("connected");
    assert_is_open(connected.stream).await;
}

#[tokio::test]
async fn an_address_that_swallows_packets_leaves_the_others_their_time_and_is_tried_last() {
    let (_keep, silent) = silent();
    let alive = alive("127.0.0.2").await;
    let connector = to_name(&[silent, alive], LONG);
    let begun = Instant::now();
    let connected = connector.connect().await.expect("connected to the other one");
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
    assert_is_open(connected.stream).await;
    let order = connector.failed.order(vec![silent, alive], Instant::now());
    assert_eq!(order, [alive, silent]);
}

#[tokio::test]
async fn the_last_of_many_addresses_gets_its_share_of_a_short_time() {
    let silent: Vec<_> = (0..7).map(|_| silent()).collect();
    let mut addresses: Vec<_> = silent.iter().map(|(_, address)| *address).collect();
    addresses.push(alive("127.0.0.1").await);
    // Seven turns of 250 ms would take longer than this.
    let connected =
        to_name(&addresses, Duration::from_millis(1600)).connect().await.expect("connected");
    assert_is_open(connected.stream).await;
}

#[tokio::test]
async fn an_address_that_refuses_is_followed_by_the_next_at_once() {
    let refusing: Vec<_> = (0..15).map(|_| refusing()).collect();
    let mut addresses: Vec<_> = refusing.iter().map(|(_, address)| *address).collect();
    let alive = alive("127.0.0.1").await;
    addresses.push(alive);
    let connector = to_name(&addresses, LONG);
    let begun = Instant::now();
    let connected = connector.connect().await.expect("connected to the last one");
    // By turns alone it would take 15 × 250 ms.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_is_open(connected.stream).await;
    assert_eq!(connector.failed.order(addresses, Instant::now()).first(), Some(&alive));
}

#[tokio::test]
async fn when_every_address_refuses_the_first_is_named() {
    let ((_a, first), (_b, second)) = (refusing(), refusing());
    let fault = to_name(&[first, second], LONG).connect().await.expect_err("refused");
    let ConnectError::Unreachable { address, cause } = &fault else { panic!("{fault:?}") };
    assert_eq!((address, cause.kind()), (&first.to_string(), io::ErrorKind::ConnectionRefused));
    let UpstreamError::Connect { endpoint, reason } = fault.of(&tcp("app.test", 80)) else {
        panic!("it is no time-out")
    };
    assert_eq!(endpoint, "app.test:80");
    assert!(reason.contains(&first.to_string()) && reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn addresses_that_are_all_silent_are_given_up_at_the_timeout() {
    let ((_a, first), (_b, second)) = (silent(), silent());
    for addresses in [vec![first], vec![first, second]] {
        let timeout = Duration::from_millis(100);
        let begun = Instant::now();
        let fault = to_name(&addresses, timeout).connect().await.expect_err("nothing answers");
        assert!(matches!(fault, ConnectError::TimedOut(ConnectStage::Connect)), "{fault:?}");
        assert!(begun.elapsed() >= timeout);
        let fault = fault.of(&tcp("app.test", 80));
        assert!(matches!(fault, UpstreamError::ConnectTimeout { .. }), "{fault:?}");
    }
}

#[tokio::test]
async fn a_name_without_an_address_and_a_silent_resolver_are_told_apart() {
    let answering = |answer: fn() -> io::Result<Vec<SocketAddr>>| {
        Connector::new(tcp("none.test", 80), &plain(LONG))
            .resolving_by(Box::new(move |_, _| Box::pin(async move { answer() })))
    };
    for connector in
        [answering(|| Ok(Vec::new())), answering(|| Err(io::Error::other("no such name")))]
    {
        let fault = connector.connect().await.expect_err("there is no address");
        assert!(matches!(fault, ConnectError::Resolve(_)), "{fault:?}");
    }
    let silent = Connector::new(tcp("none.test", 80), &plain(Duration::from_millis(50)))
        .resolving_by(Box::new(|_, _| Box::pin(std::future::pending())));
    let fault = silent.connect().await.expect_err("the resolver is silent");
    assert!(matches!(fault, ConnectError::TimedOut(ConnectStage::Resolve)), "{fault:?}");
}

#[tokio::test]
async fn names_are_looked_up_for_each_connection() {
    let alive = alive("127.0.0.1").await;
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    let connector =
        Connector::new(tcp("app.test", 80), &plain(LONG)).resolving_by(Box::new(move |_, _| {
            counted.set(counted.get() + 1);
            Box::pin(async move { Ok(vec![alive]) })
        }));
    for times in 1..=2 {
        connector.connect().await.expect("connected");
        assert_eq!(asked.get(), times);
    }
}

#[tokio::test]
async fn a_unix_socket_is_connected_to_and_one_that_is_missing_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        echo(stream).await;
    });
    let connected = Connector::new(unix(path), &plain(LONG)).connect().await.expect("connected");
    assert!(matches!(connected.stream, UpstreamStream::Unix(_)));
    assert_is_open(connected.stream).await;

    let missing = directory.path().join("none.sock");
    let fault =
        Connector::new(unix(missing.clone()), &plain(LONG)).connect().await.expect_err("missing");
    assert!(fault.to_string().contains(missing.to_str().expect("text")), "{fault}");
    let encrypted = Endpoint { is_tls: true, ..unix(missing) };
    let fault =
        Connector::new(encrypted, &plain(LONG)).connect().await.expect_err("never in plain");
    assert!(matches!(fault, ConnectError::Tls(_)), "{fault:?}");
}

#[tokio::test]
async fn without_tls_only_prior_knowledge_makes_it_http2() {
    let port = alive("127.0.0.1").await.port();
    for (protocol, expected) in
        [(Protocol::Http1, false), (Protocol::Http2, true), (Protocol::Auto, false)]
    {
        let settings = settings(LONG, protocol, None);
        let connected =
            Connector::new(tcp("127.0.0.1", port), &settings).connect().await.expect("connected");
        assert_eq!(connected.is_http2, expected, "{protocol:?}");
    }
}

/// A server with TLS and this certificate, and a client that trusts it.
struct Secure {
    port: u16,
    client: Arc<tls::Client>,
    _directory: tempfile::TempDir,
}

impl Secure {
    async fn start(name: &str, alpn: &[&[u8]]) -> Self {
        let made =
            rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        let directory = tempfile::tempdir().expect("a directory");
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).expect("written");
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes())
            .expect("a key");
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a pair");
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        echo(stream).await;
                    }
                });
            }
        });
        Self { port, client: load(tls::Trust::File(ca)), _directory: directory }
    }

    /// A connector to it that knows it by this name.
    fn connector(&self, name: &'static str, protocol: Protocol) -> Connector {
        self.connector_by(name, None, &self.client, protocol)
    }

    fn connector_by(
        &self,
        name: &'static str,
        server_name: Option<&'static str>,
        client: &Arc<tls::Client>,
        protocol: Protocol,
    ) -> Connector {
        let endpoint = Endpoint { is_tls: true, ..tcp(name, self.port) };
        let server_name = server_name.map(|name| ServerName::try_from(name).expect("a name"));
        let tls = Some(UpstreamTls { client: Arc::clone(client), server_name });
        Connector::new(endpoint, &settings(LONG, protocol, tls)).resolving_by(Box::new(
            |_, port| Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) }),
        ))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn load(trust: tls::Trust) -> Arc<tls::Client> {
    // The client's own ALPN is not what is offered.
    let alpn = vec![b"other".as_slice()];
    tls::Client::load(tls::ClientSettings { trust, identity: None, alpn })
        .expect("files that can be used")
}

#[tokio::test]
async fn over_tls_the_protocol_is_what_both_sides_speak() {
    type Protocols = &'static [&'static [u8]];
    let (both, none): (Protocols, Protocols) = (&[HTTP2, HTTP1], &[]);
    let (h1, h2): (Protocols, Protocols) = (&[HTTP1], &[HTTP2]);
    for (protocol, spoken, is_http2) in [
        (Protocol::Auto, both, Some(true)),
        (Protocol::Auto, h1, Some(false)),
        (Protocol::Auto, h2, Some(true)),
        (Protocol::Auto, none, Some(false)),
        (Protocol::Auto, &[b"other"], None),
        (Protocol::Http1, both, Some(false)),
        (Protocol::Http1, none, Some(false)),
        (Protocol::Http1, h2, None),
        (Protocol::Http2, both, Some(true)),
        (Protocol::Http2, h1, None),
        (Protocol::Http2, none, None),
    ] {
        let server = Secure::start("app.test", spoken).await;
        let connector = server.connector("app.test", protocol);
        match connector.connect().await {
            Ok(connected) => {
                assert_eq!(Some(connected.is_http2), is_http2, "{protocol:?} with {spoken:?}");
                assert_is_open(connected.stream).await;
            }
            Err(fault) => {
                assert!(
                    matches!(fault, ConnectError::Alpn(_)),
                    "{protocol:?} with {spoken:?}: {fault:?}"
                );
                assert_eq!(is_http2, None, "{protocol:?} with {spoken:?}");
            }
        }
        if spoken != h2 && spoken != [b"other"] {
            let connected = connector.connect_http1().await.expect("connected");
            let UpstreamStream::Tls(stream) = connected.stream else { panic!("it is TLS") };
            assert_ne!(
                stream.get_ref().1.alpn_protocol(),
                Some(HTTP2),
                "{protocol:?} with {spoken:?}"
            );
        }
    }
}

#[tokio::test]
async fn only_a_trusted_certificate_for_the_name_is_accepted() {
    let server = Secure::start("app.test", &[]).await;
    let words = async |connector: Connector| {
        let fault = connector.connect().await.expect_err("refused");
        assert!(matches!(fault, ConnectError::Tls(_)), "{fault:?}");
        fault.to_string()
    };
    // Under another name; under an address; the configured name goes before the host.
    let other = words(server.connector("other.test", Protocol::Http1)).await;
    assert!(other.contains("other.test") && other.contains("app.test"), "{other}");
    let address = words(server.connector("127.0.0.1", Protocol::Http1)).await;
    assert!(address.contains("127.0.0.1"), "{address}");
    let named = server.connector_by("127.0.0.1", Some("app.test"), &server.client, Protocol::Http1);
    assert_is_open(named.connect().await.expect("connected").stream).await;
    let misnamed =
        server.connector_by("app.test", Some("other.test"), &server.client, Protocol::Http1);
    assert!(words(misnamed).await.contains("other.test"));

    let stranger = Secure::start("app.test", &[]).await;
    let untrusting = server.connector_by("app.test", None, &stranger.client, Protocol::Http1);
    let untrusted = words(untrusting).await;
    assert!(untrusted.contains("certificate"), "{untrusted}");
}

#[tokio::test]
async fn an_endpoint_with_tls_and_no_settings_for_it_is_never_spoken_to_in_plain() {
    let port = alive("127.0.0.1").await.port();
    let endpoint = Endpoint { is_tls: true, ..tcp("127.0.0.1", port) };
    let fault = Connector::new(endpoint, &plain(LONG)).connect().await.expect_err("refused");
    assert!(matches!(fault, ConnectError::Tls(_)), "{fault:?}");
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_ends_at_the_timeout_and_its_address_is_tried_last() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mute = listener.local_addr().expect("an address");
    let alive = alive("127.0.0.2").await;
    let client = Secure::start("app.test", &[]).await.client;
    let tls = UpstreamTls { client, server_name: None };
    let settings = settings(Duration::from_millis(100), Protocol::Auto, Some(tls));
    let endpoint = Endpoint { is_tls: true, ..tcp("app.test", 443) };
    let connector = Connector::new(endpoint, &settings)
        .resolving_by(Box::new(move |_, _| Box::pin(async move { Ok(vec![mute, alive]) })));
    let fault = connector.connect().await.expect_err("no answer comes");
    assert!(matches!(fault, ConnectError::TimedOut(ConnectStage::Tls)), "{fault:?}");
    assert_eq!(connector.failed.order(vec![mute, alive], Instant::now()), [alive, mute]);
}
