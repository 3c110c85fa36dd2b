//! TLS in front: the certificate by name, what the upstream is told, and peers that never finish their handshake.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Client, PATIENCE, Person, Plan, Upstream, World};

/// A request without a token.
const REQUEST: &str = "GET /private/x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

/// A certificate of its own maker, in a folder.
pub(crate) struct Pair {
    der: CertificateDer<'static>,
    /// As a listener's `tls` has it.
    pub(crate) line: String,
}

pub(crate) fn pair(folder: &std::path::Path, name: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    std::fs::write(&certificate, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    Pair {
        der: made.cert.der().clone(),
        line: format!("{{ certificate = \"{}\", key = \"{}\" }}", certificate.display(), key.display()),
    }
}

/// A connection over TLS to this server name, trusting these certificates alone. The handshake comes with the first bytes.
pub(crate) fn connect(
    address: SocketAddr,
    name: &str,
    trusted: &[&Pair],
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.der.clone()).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    Ok(StreamOwned::new(connection, stream))
}

/// Asks over such a connection, and reads until its end.
pub(crate) fn ask(address: SocketAddr, name: &str, trusted: &[&Pair], request: &str) -> std::io::Result<String> {
    let mut tls = connect(address, name, trusted)?;
    tls.write_all(request.as_bytes())?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer)?;
    Ok(answer)
}

fn world(upstream: &Upstream, tls: &str) -> World {
    Plan::usual(upstream).listener(&format!("tls = {tls}")).set("timeouts", "tls_handshake", "\"400ms\"").start()
}

#[test]
fn a_token_opens_the_route_over_tls_and_the_upstream_is_told_https() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let pair = pair(folder.path(), "a.example");
    let world = world(&upstream, &pair.line);
    let bootstrap = world.bootstrap(Person::ALICE, 1);
    let request = |line: &str, token: &str| {
        format!("{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    let issue = request("POST /jarvispy/my-org/alice/api/v1/auth/issue-token", &bootstrap);
    let issued = ask(world.address(), "a.example", &[&pair], &issue).expect("an answer");
    let token = issued.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect(&issued);
    let answer = ask(world.address(), "a.example", &[&pair], &request("GET /private/x", token)).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let request = upstream.take().requests.pop().expect("a request");
    assert_eq!(request.target, "/private/x");
    assert_eq!(request.fields.all("x-forwarded-proto"), ["https"]);
    assert_eq!(request.fields.all("x-keyward-subject"), [Person::ALICE.subject]);
    assert!(request.fields.one("forwarded").is_some_and(|value| value.contains("proto=https")), "{request:?}");
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let (a, b) = (pair(folder.path(), "a.example"), pair(folder.path(), "b.example"));
    let world = world(&upstream, &format!("[{}, {}]", a.line, b.line));
    for name in ["a.example", "b.example", "A.EXAMPLE"] {
        let answer = ask(world.address(), name, &[&a, &b], REQUEST);
        assert!(answer.as_ref().is_ok_and(|answer| answer.starts_with("HTTP/1.1 401 ")), "{name}: {answer:?}");
    }
    assert!(ask(world.address(), "b.example", &[&a], REQUEST).is_err(), "b's certificate is b's");
}

#[test]
fn plain_bytes_on_a_tls_port_get_no_answer_of_http() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let world = world(&upstream, &pair(folder.path(), "a.example").line);
    let mut client: Client = world.client();
    client.send("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let answer = client.rest().expect("the connection ends");
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    assert_eq!(upstream.connections(), 0);
}

/// CVE-2026-22045: a stall inside the handshake has its own end.
#[test]
fn a_handshake_that_stops_is_cut_and_holds_nobody_up() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let pair = pair(folder.path(), "a.example");
    let world = world(&upstream, &pair.line);
    for start in [b"\x16".as_slice(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut stalled = world.client();
        stalled.send(start);
        assert!(ask(world.address(), "a.example", &[&pair], REQUEST).is_ok(), "others are served meanwhile");
        stalled.rest().expect("the connection ends");
    }
}
