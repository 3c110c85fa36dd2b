//! TLS in front: the certificate by name, what the upstream is told, and peers that never finish
//! their handshake.

use std::os::unix::fs::symlink;

use rustls::pki_types::PrivateKeyDer;

use crate::support::tls::{ask, connect, handshake, self_signed};
use crate::support::{Client, Plan, TestUser, Upstream, World, eventually, issued};

/// A request without a token.
const REQUEST: &str = "GET /private/x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

fn world(upstream: &Upstream, tls: &str) -> World {
    Plan::usual(upstream)
        .listener(&format!("tls = {tls}"))
        .set("timeouts", "tls_handshake", "\"400ms\"")
        .start()
}

#[test]
fn a_token_opens_the_route_over_tls_and_the_upstream_is_told_https() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let certificate = self_signed(folder.path(), "a.example");
    let world = world(&upstream, &certificate.line);
    let bootstrap = world.bootstrap(TestUser::ALICE, 1);
    let request = |line: &str, token: &str| {
        format!(
            "{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        )
    };
    let issue = request("POST /jarvispy/my-org/alice/api/v1/auth/issue-token", &bootstrap);
    let issue = ask(world.address(), "a.example", &[&certificate], &issue).expect("an answer");
    let request = request("GET /private/x", &issued(&issue).token);
    let answer = ask(world.address(), "a.example", &[&certificate], &request).expect("an answer");
    assert_eq!(answer.status, 200, "{answer}");
    let request = upstream.take().requests.pop().expect("a request");
    assert_eq!(request.target, "/private/x");
    assert_eq!(request.fields.all("x-forwarded-proto"), ["https"]);
    assert_eq!(request.fields.all("x-keyward-subject"), [TestUser::ALICE.subject]);
    assert!(
        request.fields.one("forwarded").is_some_and(|value| value.contains("proto=https")),
        "{request:?}"
    );
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let (a, b) = (self_signed(folder.path(), "a.example"), self_signed(folder.path(), "b.example"));
    let world = world(&upstream, &format!("[{}, {}]", a.line, b.line));
    for name in ["a.example", "b.example", "A.EXAMPLE"] {
        let answer = ask(world.address(), name, &[&a, &b], REQUEST);
        assert!(answer.as_ref().is_ok_and(|answer| answer.status == 401), "{name}: {answer:?}");
    }
    assert!(
        ask(world.address(), "b.example", &[&a], REQUEST).is_err(),
        "the certificate of b is not that of a"
    );
}

#[test]
fn plain_bytes_on_a_tls_port_get_no_answer_of_http() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let world = world(&upstream, &self_signed(folder.path(), "a.example").line);
    let mut client: Client = world.client();
    client.send("GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let answer = client.rest().expect("the connection ends");
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    assert_eq!(upstream.connections(), 0);
}

/// CVE-2026-22045: a stall inside the handshake has its own end.
#[test]
fn a_handshake_that_stops_is_cut_and_others_are_served_meanwhile() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let certificate = self_signed(folder.path(), "a.example");
    let world = world(&upstream, &certificate.line);
    for start in [b"\x16".as_slice(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut stalled = world.client();
        stalled.send(start);
        assert!(
            ask(world.address(), "a.example", &[&certificate], REQUEST).is_ok(),
            "others are served meanwhile"
        );
        stalled.rest().expect("the connection ends");
    }
}

/// As the kubelet publishes a Secret: a folder for each version, and a link to it that is replaced
/// at once.
#[test]
fn a_certificate_renewed_by_a_swapped_link_is_shown_and_open_connections_go_on() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let publish = |version: &str| {
        let versioned = folder.path().join(version);
        std::fs::create_dir(&versioned).expect("a folder");
        let certificate = self_signed(&versioned, "a.example");
        symlink(version, folder.path().join("..data_tmp")).expect("a link");
        std::fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data"))
            .expect("a rename");
        certificate
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
    let mut open = connect(world.address(), "a.example", &[&old]).expect("a connection");
    assert_eq!(open.ask(request).status, 401);

    let new = publish("..2");
    let shows_new = || ask(world.address(), "a.example", &[&new], REQUEST).is_ok();
    assert!(eventually(shows_new), "the new certificate is shown:\n{}", world.output());
    assert!(ask(world.address(), "a.example", &[&old], REQUEST).is_err(), "the old one is not");
    assert_eq!(open.ask(request).status, 401);

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

/// One team's mistake is not another one's expired certificate.
#[test]
fn a_pair_that_cannot_be_used_keeps_no_other_certificate_from_being_renewed() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let (a, b) = (self_signed(folder.path(), "a.example"), self_signed(folder.path(), "b.example"));
    let world = world(&upstream, &format!("[{}, {}]", a.line, b.line));
    assert!(ask(world.address(), "b.example", &[&b], REQUEST).is_ok());
    std::fs::write(folder.path().join("a.example.key"), "no key").expect("a file");
    let reports = || world.output().matches("holds no private key in PEM form").count();
    assert!(eventually(|| reports() == 1));
    let renewed = self_signed(folder.path(), "b.example");
    let shows = |name, one| ask(world.address(), name, &[one], REQUEST).is_ok();
    assert!(eventually(|| shows("b.example", &renewed)), "{}", world.output());
    assert!(shows("a.example", &a), "as it was last good");
    assert_eq!(reports(), 1, "{}", world.output());
    // A mended pair is in force, too.
    let mended = self_signed(folder.path(), "a.example");
    assert!(eventually(|| shows("a.example", &mended)), "{}", world.output());
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().expect("a folder"));
    let server = self_signed(folder.path(), "a.example");
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
    let answer_to = |identity| {
        let tls = handshake(world.address(), "a.example", &[&server], identity, &["http/1.1"]);
        // In TLS 1.3 the handshake of a client is over before the server has seen its certificate.
        let mut client = Client::over(tls.expect("a connection"));
        client.send("GET /private/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
        client.final_response("GET").map(|(response, _)| response.status)
    };
    assert_eq!(answer_to(Some((certificate, key))), Ok(401));
    assert!(answer_to(None).is_err());
}
