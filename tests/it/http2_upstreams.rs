//! Upstreams over HTTP/2 and TLS: one connection for many requests, another when its streams are
//! used up, what GOAWAY and a reset do, and which certificates are trusted.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use http::Version;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;

use crate::support::h2::{Connection, Head, code, flag, frame, kind, reset, settings};
use crate::support::http2_upstream::{Http2Upstream, Progress};
use crate::support::{Plan, World, eventually, hpack, json};

/// A public route to an upstream of these lines. One worker, as each has connections of its own.
fn plan(endpoint: &str, lines: &str) -> Plan {
    Plan::bare()
        .set("server", "workers", "1")
        .table("upstream", &format!("name = \"app\"\nendpoints = [{endpoint:?}]\n{lines}"))
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
}

fn world(endpoint: &str, lines: &str) -> World {
    plan(endpoint, lines).start()
}

fn world_of(upstream: &Http2Upstream) -> World {
    world(&format!("http://{}", upstream.address()), "protocol = \"http2\"")
}

/// Requests of these paths, all of them on the way at once.
fn begin(client: &mut Connection, paths: &[&str]) -> Vec<u32> {
    paths.iter().map(|path| client.request(&Head::get(path))).collect()
}

/// Waits until this many requests have arrived at the upstream.
#[track_caller]
fn wait_for_arrivals(upstream: &Http2Upstream, count: usize) {
    assert!(
        eventually(|| upstream.arrivals().len() == count),
        "{count} arrive: {:?}",
        upstream.arrivals()
    );
}

#[test]
fn many_requests_share_one_connection_to_an_upstream_of_http2() {
    let upstream = Http2Upstream::start(100);
    let world = world_of(&upstream);
    let mut client = Connection::open(world.address());
    assert_eq!(client.ask(&Head::get("/public/first")).status, 200);
    let held = begin(&mut client, &["/public/held"; 20]);
    wait_for_arrivals(&upstream, 21);
    // A client of HTTP/1.1 shares it as well.
    assert_eq!(world.ask("GET", "/public/x?y=z", "", "").status, 200);
    upstream.release();
    for id in held {
        let response = client.answer(id);
        assert_eq!(
            (response.status, &json(&response)["target"]),
            (200, &"/public/held".into()),
            "{response}"
        );
    }
    let arrivals = upstream.arrivals();
    assert_eq!(upstream.connections(), 1);
    assert!(arrivals.iter().all(|arrival| arrival.version == Version::HTTP_2), "{arrivals:?}");
    assert!(arrivals.iter().any(|arrival| arrival.target == "/public/x?y=z"), "{arrivals:?}");
    assert!(arrivals.iter().all(|arrival| arrival.host == "a.example"), "{arrivals:?}");
}

#[test]
fn each_of_several_endpoints_of_http2_sees_its_own_authority() {
    // Each takes one stream at a time, and one request on each connection.
    let upstreams = [Http2Upstream::start(1), Http2Upstream::start(1)];
    let listed = upstreams.each_ref().map(|each| format!("\"http://{}\"", each.address()));
    let lines = "preserve_host = false\nprotocol = \"http2\"";
    let world = Plan::bare()
        .set("server", "workers", "1")
        .table("upstream", &format!("name = \"app\"\nendpoints = [{}]\n{lines}", listed.join(", ")))
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
        .start();
    for _ in 0..6 {
        assert_eq!(world.ask("GET", "/public/last", "", "").status, 200);
        assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    }
    for upstream in &upstreams {
        let arrivals = upstream.arrivals();
        let own = upstream.address().to_string();
        assert!(arrivals.len() >= 4, "{arrivals:?}");
        assert!(arrivals.iter().all(|arrival| arrival.host == own), "{own}: {arrivals:?}");
    }
}

#[test]
fn a_second_connection_is_made_when_the_streams_of_the_first_are_used_up() {
    let upstream = Http2Upstream::start(4);
    let world = world_of(&upstream);
    let mut client = Connection::open(world.address());
    // Its answer comes behind the server's SETTINGS.
    assert_eq!(client.ask(&Head::get("/public/first")).status, 200);
    let mut held = begin(&mut client, &["/public/held"; 4]);
    wait_for_arrivals(&upstream, 5);
    assert_eq!(upstream.connections(), 1, "four streams fit");
    assert_eq!(client.ask(&Head::get("/public/fifth")).status, 200, "a fifth does not wait");
    assert_eq!(upstream.connections(), 2);
    held.extend(begin(&mut client, &["/public/held"; 4]));
    wait_for_arrivals(&upstream, 10);
    assert_eq!(upstream.connections(), 2, "eight streams fit on two");
    upstream.release();
    for id in held {
        assert_eq!(client.answer(id).status, 200);
    }
    assert_eq!(client.ask(&Head::get("/public/after")).status, 200);
    assert_eq!(upstream.connections(), 2);
    assert!(upstream.arrivals().iter().all(|arrival| arrival.progress == Progress::Answered));
}

#[test]
fn trailers_of_an_upstream_of_http2_pass() {
    let upstream = Http2Upstream::start(100);
    let world = world_of(&upstream);
    let response = Connection::open(world.address())
        .ask(&Head::get("/public/trailers").with("te", "trailers"));
    assert_eq!(response.status, 200, "{response}");
    assert_eq!(response.trailers.all("grpc-status"), ["0"], "{response:?}");
    // Those that nothing announces cannot be said in HTTP/1.1: the response is whole without them.
    let plain = "GET /public/trailers HTTP/1.1\r\nHost: a.example\r\nConnection: TE\r\n\
                 TE: trailers\r\n\r\n";
    let response = world.client().ask(plain);
    assert_eq!(response.status, 200, "{response}");
    let response = world.client().ask(plain.replace("/trailers", "/announced-trailers"));
    assert_eq!(response.fields.one("trailer").as_deref(), Some("grpc-status"), "{response}");
    assert_eq!(response.trailers.all("grpc-status"), ["0"], "{response:?}");
}

#[test]
fn a_server_of_http2_that_says_nothing_is_given_up_in_the_time_for_connecting() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let world = plan(&format!("http://{address}"), "protocol = \"http2\"")
        .set("timeouts", "connect", "\"300ms\"")
        .start();
    let response = world.ask("POST", "/public/x", "", "");
    assert_eq!(response.status, 502, "{response}");
    assert_eq!(
        world.access_line("/public/x")["cause"],
        format!("connecting to {address} took too long")
    );
}

/// An upstream refuses streams beyond the number that it allows, and says that number in its first
/// frame.
#[test]
fn a_burst_to_an_upstream_without_a_connection_yet_waits_for_its_number_of_streams() {
    let upstream = Http2Upstream::start(4);
    let world = world_of(&upstream);
    let mut client = Connection::open(world.address());
    let ids: Vec<_> = (0..80).map(|_| client.request(&Head::post("/public/x"))).collect();
    for id in ids {
        let response = client.answer(id);
        assert_eq!(response.status, 200, "{response}");
    }
    assert!(upstream.arrivals().iter().all(|arrival| arrival.progress == Progress::Answered));
}

#[test]
fn a_stream_that_the_client_resets_is_reset_at_the_upstream_and_its_neighbours_live() {
    let upstream = Http2Upstream::start(100);
    let world = world_of(&upstream);
    let mut client = Connection::open(world.address());
    let ids = begin(&mut client, &["/public/left/held", "/public/kept/held"]);
    wait_for_arrivals(&upstream, 2);
    let progress = |path: &str| {
        let arrivals = upstream.arrivals();
        arrivals.iter().find(|arrival| arrival.target == path).map(|arrival| arrival.progress)
    };
    client.send(reset(ids[0], code::CANCEL));
    assert!(
        eventually(|| progress("/public/left/held") == Some(Progress::GivenUp)),
        "{:?}",
        upstream.arrivals()
    );
    assert_eq!(progress("/public/kept/held"), Some(Progress::Underway));
    // So does that of a client of HTTP/1.1 which resets its connection.
    let mut plain = world.client();
    plain.send("GET /public/plain/held HTTP/1.1\r\nHost: a.example\r\n\r\n");
    wait_for_arrivals(&upstream, 3);
    plain.reset();
    assert!(
        eventually(|| progress("/public/plain/held") == Some(Progress::GivenUp)),
        "{:?}",
        upstream.arrivals()
    );
    upstream.release();
    assert_eq!(client.answer(ids[1]).status, 200);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn goaway_of_an_upstream_loses_no_request() {
    let upstream = Http2Upstream::start(100);
    let world = world_of(&upstream);
    let mut client = Connection::open(world.address());
    for round in 0..20 {
        let mut ids = begin(&mut client, &["/public/x"; 5]);
        ids.extend(begin(&mut client, &["/public/last"]));
        ids.extend(begin(&mut client, &["/public/x"; 5]));
        for id in ids {
            let response = client.answer(id);
            assert_eq!(response.status, 200, "round {round}: {response}");
        }
    }
    assert!(upstream.connections() > 1, "connections went away");
    let given_up = upstream
        .arrivals()
        .into_iter()
        .filter(|arrival| arrival.progress != Progress::Answered)
        .count();
    assert_eq!(given_up, 0);
}

/// A server of raw frames. On its first connection it answers the first stream, and says of all
/// later ones that it has not seen them (RFC 9113, section 6.8); on others it answers every stream.
fn goes_away() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for (nth, stream) in listener.incoming().flatten().enumerate() {
            std::thread::spawn(move || answer_streams(stream, nth == 0));
        }
    });
    address
}

fn answer_streams(mut stream: TcpStream, is_going: bool) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface)?;
    stream.write_all(&settings(&[]))?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload)?;
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match kind {
            kind::SETTINGS if flags & flag::ACK == 0 => {
                stream.write_all(&frame(kind::SETTINGS, flag::ACK, 0, ""))?
            }
            kind::PING if flags & flag::ACK == 0 => {
                stream.write_all(&frame(kind::PING, flag::ACK, 0, payload))?
            }
            kind::HEADERS if is_going && id > 1 => {
                let last = [1_u32.to_be_bytes(), code::NO_ERROR.to_be_bytes()].concat();
                stream.write_all(&frame(kind::GOAWAY, 0, 0, last))?;
                stream.shutdown(Shutdown::Write)?;
                // A close before everything is read would be a reset, behind which GOAWAY is lost.
                return std::io::copy(&mut stream, &mut std::io::sink()).map(|_| ());
            }
            kind::HEADERS => {
                let head = hpack::literal(":status", "200");
                stream.write_all(&frame(kind::HEADERS, flag::WHOLE, id, head))?;
            }
            _ => {}
        }
    }
}

#[test]
fn an_idempotent_request_that_goaway_says_was_not_seen_is_sent_again() {
    let world = world(&format!("http://{}", goes_away()), "protocol = \"http2\"");
    let mut client = Connection::open(world.address());
    assert_eq!(client.ask(&Head::get("/public/first")).status, 200);
    let ids = begin(&mut client, &["/public/a", "/public/b", "/public/c"]);
    for id in ids {
        let response = client.answer(id);
        assert_eq!(response.status, 200, "{response}");
    }
}

/// An authority, and certificates of it.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("a file");
        Self { folder, issuer: Issuer::new(parameters, key) }
    }

    /// The certificate of the authority.
    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server with a certificate for this name, which agrees to these protocols.
    fn server(&self, name: &str, protocols: &[&str]) -> Http2Upstream {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a pair");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Http2Upstream::over_tls(config)
    }

    /// A world whose upstream this server is, by its address; with more of `tls`.
    fn world(&self, upstream: &Http2Upstream, protocol: &str, more: &str) -> World {
        let tls = format!("tls = {{ ca_file = {:?}{more} }}", self.file());
        world(
            &format!("https://{}", upstream.address()),
            &format!("protocol = {protocol:?}\n{tls}"),
        )
    }
}

#[test]
fn the_version_that_is_spoken_over_tls_is_what_alpn_says() {
    let authority = Authority::new("trusted");
    for (protocols, protocol, version) in [
        (&["h2", "http/1.1"][..], "auto", Version::HTTP_2),
        (&["h2"], "auto", Version::HTTP_2),
        (&["http/1.1"], "auto", Version::HTTP_11),
        (&[], "auto", Version::HTTP_11),
        (&["h2", "http/1.1"], "http1", Version::HTTP_11),
        (&["h2", "http/1.1"], "http2", Version::HTTP_2),
    ] {
        let upstream = authority.server("127.0.0.1", protocols);
        let world = authority.world(&upstream, protocol, "");
        for _ in 0..3 {
            let response = world.ask("GET", "/public/x", "", "");
            assert_eq!(response.status, 200, "{protocol} {protocols:?}: {response}");
        }
        let arrivals = upstream.arrivals();
        assert!(
            arrivals.iter().all(|arrival| arrival.version == version),
            "{protocol} {protocols:?}: {arrivals:?}"
        );
        assert_eq!((arrivals.len(), upstream.connections()), (3, 1), "{protocol} {protocols:?}");
    }
}

/// The upstream is refused, and the log says why in these words.
#[track_caller]
fn assert_refused(world: &World, upstream: &Http2Upstream, words: &str) {
    let response = world.ask("GET", "/public/refused", "", "");
    assert_eq!(response.status, 502, "{response}");
    assert!(
        !response.text().contains("certificate"),
        "the client is told nothing of it: {response}"
    );
    let line = world.access_line("/public/refused");
    assert_eq!(
        (&line["status"], &line["refusal"]),
        (&502.into(), &"upstream_connect".into()),
        "{line}"
    );
    let cause = line["cause"].as_str().unwrap_or_default();
    assert!(cause.contains(words), "{words:?} is missing: {line}");
    assert!(upstream.arrivals().is_empty(), "nothing was sent");
}

#[test]
fn an_upstream_whose_certificate_is_of_another_authority_is_refused_and_the_log_says_so() {
    let (trusted, other) = (Authority::new("trusted"), Authority::new("other"));
    for protocol in ["http1", "http2", "auto"] {
        let upstream = other.server("127.0.0.1", &["h2", "http/1.1"]);
        let world = trusted.world(&upstream, protocol, "");
        assert_refused(&world, &upstream, "the server's certificate is of no trusted authority");
    }
}

#[test]
fn an_upstream_whose_certificate_is_for_another_name_is_refused_unless_that_name_is_configured() {
    let authority = Authority::new("trusted");
    let upstream = authority.server("app.internal", &["h2", "http/1.1"]);
    let world = authority.world(&upstream, "auto", "");
    assert_refused(&world, &upstream, "the server's certificate is not for 127.0.0.1");
    let world = authority.world(&upstream, "auto", ", server_name = \"other.internal\"");
    assert_refused(&world, &upstream, "the server's certificate is not for other.internal");
    let world = authority.world(&upstream, "auto", ", server_name = \"app.internal\"");
    let response = world.ask("GET", "/public/x", "", "");
    assert_eq!(response.status, 200, "{response}");
}

#[test]
fn an_upstream_that_does_not_agree_to_http2_is_refused_where_it_is_required() {
    let authority = Authority::new("trusted");
    for protocols in [&["http/1.1"][..], &[]] {
        let upstream = authority.server("127.0.0.1", protocols);
        let world = authority.world(&upstream, "http2", "");
        assert_refused(&world, &upstream, "the server does not speak HTTP/2");
    }
}
