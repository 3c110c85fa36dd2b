//! TLS in front: the certificate by name, what the upstream is told, and peers that never finish
//! their handshake.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Client, PATIENCE, Person, Plan, Upstream, World, eventually};

/// A request without a token.
const REQUEST: &str = "GET /private/x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

/// A certificate of its own maker, in a folder.
pub(crate) struct Pair {
    der: CertificateDer<'static>,
    /// As a listener's `tls` has it.
    pub(crate) line: String,
}

pub(crate) fn pair(folder: &Path, name: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    let (certificate, key) =
        (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    std::fs::write(&certificate, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    Pair {
        der: made.cert.der().clone(),
        line: format!(
            "{{ certificate = \"{}\", key = \"{}\" }}",
            certificate.display(),
            key.display()
        ),
    }
}

/// Asks over TLS as this server name, trusting these certificates alone, and reads to the end.
pub(crate) fn ask(
    address: SocketAddr,
    name: &str,
    trusted: &[&Pair],
    request: &str,
) -> std::io::Result<String> {
    let mut tls = connect(address, name, trusted, None)?;
    tls.write_all(request.as_bytes())?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A connection whose handshake has not begun; with a certificate and its key, or without.
pub(crate) fn connect(
    address: SocketAddr,
    name: &str,
    trusted: &[&Pair],
    identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.der.clone()).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    Ok(StreamOwned::new(connection, stream))
}

fn world(upstream: &Upstream, tls: &str) -> World {
    Plan::usual(upstream)
        .listener(&format!("tls = {tls}"))
        .set("timeouts", "tls_handshake", "\"400ms\"")
        .start()
}

#[test]
fn a_token_opens_the_route_over_tls_and_the_upstream_is_told_https() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let pair = pair(folder.path(), "a.example");
    let world = world(&upstream, &pair.line);
    let bootstrap = world.bootstrap(Person::ALICE, 1);
    let request = |line: &str, token: &str| {
        format!(
            "{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        )
    };
    let issue = request("POST /jarvispy/my-org/alice/api/v1/auth/issue-token", &bootstrap);
    let issued = ask(world.address(), "a.example", &[&pair], &issue).expect("an answer");
    let token =
        issued.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect(&issued);
    let answer = ask(world.address(), "a.example", &[&pair], &request("GET /private/x", token))
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let request = upstream.take().requests.pop().expect("a request");
    assert_eq!(request.target, "/private/x");
    assert_eq!(request.fields.all("x-forwarded-proto"), ["https"]);
    assert_eq!(request.fields.all("x-keyward-subject"), [Person::ALICE.subject]);
    assert!(
        request.fields.one("forwarded").is_some_and(|value| value.contains("proto=https")),
        "{request:?}"
    );
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let (a, b) = (pair(folder.path(), "a.example"), pair(folder.path(), "b.example"));
    let world = world(&upstream, &format!("[{}, {}]", a.line, b.line));
    for name in ["a.example", "b.example", "A.EXAMPLE"] {
        let answer = ask(world.address(), name, &[&a, &b], REQUEST);
        assert!(
            answer.as_ref().is_ok_and(|answer| answer.starts_with("HTTP/1.1 401 ")),
            "{name}: {answer:?}"
        );
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
        assert!(
            ask(world.address(), "a.example", &[&pair], REQUEST).is_ok(),
            "others are served meanwhile"
        );
        stalled.rest().expect("the connection ends");
    }
}

/// One exchange on a connection that stays open; the head of the answer.
fn exchange(
    tls: &mut StreamOwned<ClientConnection, TcpStream>,
    request: &str,
) -> std::io::Result<String> {
    tls.write_all(request.as_bytes())?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        tls.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.expect("a length").parse().expect("a number")];
    tls.read_exact(&mut body)?;
    Ok(head)
}

/// As the kubelet publishes a Secret: a folder for each version, and a link to it that is replaced
/// at once.
#[test]
fn a_certificate_renewed_by_a_swapped_link_is_shown_and_open_connections_go_on() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let publish = |version: &str| {
        let versioned = folder.path().join(version);
        std::fs::create_dir(&versioned).expect("a folder");
        let pair = pair(&versioned, "a.example");
        symlink(version, folder.path().join("..data_tmp")).expect("a link");
        std::fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data"))
            .expect("a rename");
        pair
    };
    let old = publish("..1");
    for name in ["a.example.pem", "a.example.key"] {
        symlink(format!("..data/{name}"), folder.path().join(name)).expect("a link");
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    let line = format!(
        "{{ certificate = \"{}\", key = \"{}\" }}",
        path("a.example.pem"),
        path("a.example.key")
    );
    let world = Plan::usual(&upstream).listener(&format!("tls = {line}")).start();
    let request = "GET /private/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut open = connect(world.address(), "a.example", &[&old], None).expect("a connection");
    assert!(exchange(&mut open, request).expect("an answer").starts_with("http/1.1 401 "));

    let new = publish("..2");
    let shows_new = || ask(world.address(), "a.example", &[&new], REQUEST).is_ok();
    assert!(eventually(shows_new), "the new certificate is shown:\n{}", world.output());
    assert!(ask(world.address(), "a.example", &[&old], REQUEST).is_err(), "the old one is not");
    assert!(exchange(&mut open, request).expect("an answer").starts_with("http/1.1 401 "));
    assert!(
        !open.conn.is_handshaking()
            && open.conn.peer_certificates().is_some_and(|shown| shown[0] == old.der)
    );

    // A version that cannot be used changes nothing, and the log names the file.
    std::fs::write(folder.path().join("..2/a.example.key"), "no key").expect("a file");
    let is_named = || {
        let output = world.output();
        output.contains("those from before stay in force")
            && output.contains("holds no private key in PEM form")
    };
    assert!(eventually(is_named), "{}", world.output());
    assert!(shows_new());
}

#[test]
fn a_client_certificate_that_is_required_is_asked_of_everybody() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let server = pair(folder.path(), "a.example");
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let ca_file = folder.path().join("clients.pem");
    std::fs::write(&ca_file, parameters.self_signed(&authority_key).expect("a certificate").pem())
        .expect("a file");
    let authority = rcgen::Issuer::new(parameters, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let client =
        rcgen::CertificateParams::new(vec!["client.example".to_owned()]).expect("parameters");
    let certificate = client.signed_by(&key, &authority).expect("a certificate").der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let world = Plan::usual(&upstream)
        .listener(&format!("tls = {}", server.line))
        .listener(&format!("client_certificates = {{ ca_file = \"{}\" }}", ca_file.display()))
        .start();
    let exchange_as = |identity| {
        let mut tls =
            connect(world.address(), "a.example", &[&server], identity).expect("a connection");
        exchange(&mut tls, "GET /private/x HTTP/1.1\r\nHost: a.example\r\n\r\n")
    };
    assert!(exchange_as(Some((certificate, key))).expect("an answer").starts_with("http/1.1 401 "));
    assert!(exchange_as(None).is_err());
}
