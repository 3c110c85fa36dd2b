//! A scripted server, plain or with TLS: each mistake that it can make is a failure, within the
//! time that was given.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const LIMITS: DocumentLimits = DocumentLimits {
    connect: Duration::from_secs(5),
    head: Duration::from_secs(5),
    whole: Duration::from_secs(10),
    bytes: 1000,
};

/// Answers every request with these bytes, and then closes, resets or hangs.
#[derive(Clone)]
struct Script {
    answer: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Reset,
    Hang,
}

fn ok(body: &str, fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    script: &Script,
    requests: &AtomicUsize,
) {
    let (mut seen, mut buffer) = (Vec::new(), [0; 1024]);
    while !seen.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => seen.extend_from_slice(&buffer[..length]),
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    let request = String::from_utf8(seen).expect("ASCII");
    assert!(request.starts_with("GET /keys?v=1 HTTP/1.1\r\n"), "{request}");
    assert_eq!(request.to_ascii_lowercase().matches("\r\nhost: ").count(), 1, "{request}");
    let _ = stream.write_all(&script.answer).await;
    let _ = stream.flush().await;
    match script.then {
        Then::Close => {
            let _ = stream.shutdown().await;
        }
        Then::Hang => std::future::pending().await,
        Then::Reset => {}
    }
}

async fn serve(script: Script, tls: Option<TlsAcceptor>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let requests = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&requests);
    let task = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            if script.then == Then::Reset {
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            let (script, tls, counted) = (script.clone(), tls.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                match tls {
                    Some(tls) => {
                        if let Ok(mut stream) = tls.accept(stream).await {
                            talk(&mut stream, &script, &counted).await;
                        }
                    }
                    None => {
                        let mut stream = stream;
                        talk(&mut stream, &script, &counted).await;
                    }
                }
            });
        }
    });
    Server { address, requests, task }
}

fn address(server: SocketAddr, is_https: bool) -> DocumentAddress {
    let host = if is_https { "localhost".into() } else { server.ip().to_string() };
    DocumentAddress { is_https, host, port: server.port(), target: "/keys?v=1".into() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn fetch_plain(
    answer: impl AsRef<[u8]>,
    then: Then,
    limits: DocumentLimits,
) -> Result<Bytes, DocumentError> {
    let server = serve(Script { answer: answer.as_ref().to_vec(), then }, None).await;
    let document = Document::new(address(server.address, false), Trust::System, None, limits)
        .expect("a document");
    let fetched = document.fetch().await;
    assert!(server.requests.load(Ordering::SeqCst) <= 1, "asked once");
    fetched
}

#[test]
fn a_document_is_fetched_whatever_its_media_type_and_framing() {
    runtime().block_on(async {
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n3\r\na\":\r\n2\r\n\
             1}\r\n0\r\n\r\n";
        let until_end = "HTTP/1.1 200 OK\r\n\r\n{\"a\":1}";
        let early = ["HTTP/1.1 100 Continue\r\n\r\n", until_end].concat();
        for (answer, then) in [
            (ok("{\"a\":1}", ""), Then::Hang),
            (ok("{\"a\":1}", "Content-Type: text/html\r\n"), Then::Close),
            (ok("{\"a\":1}", "Content-Encoding: identity\r\n"), Then::Close),
            (chunked.into(), Then::Hang),
            (until_end.into(), Then::Close),
            (early.into(), Then::Close),
        ] {
            let fetched = fetch_plain(&answer, then, LIMITS).await.expect("fetched");
            assert_eq!(&fetched[..], b"{\"a\":1}", "{}", String::from_utf8_lossy(&answer));
        }
    });
}

#[test]
fn every_wrong_answer_is_a_failure_in_words() {
    runtime().block_on(async {
        let status = |status: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}").into_bytes()
        };
        let many = "X: y\r\n".repeat(200);
        let long = format!("X: {}\r\n", "y".repeat(200_000));
        for (answer, then, why) in [
            (status("500 Internal Server Error"), Then::Close, "the answer is 500"),
            (status("404 Not Found"), Then::Close, "the answer is 404"),
            (status("204 No Content"), Then::Close, "the answer is 204"),
            (status("206 Partial Content"), Then::Close, "the answer is 206"),
            (status("304 Not Modified"), Then::Close, "redirects are not followed"),
            (
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
                    .to_vec(),
                Then::Close,
                "redirects are not followed",
            ),
            (Vec::new(), Then::Close, "the exchange failed"),
            (Vec::new(), Then::Reset, "the exchange failed"),
            (b"HTTP/1.1 200 OK\r\nContent-Le".to_vec(), Then::Close, "the exchange failed"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}".to_vec(),
                Then::Close,
                "the exchange failed",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
                Then::Close,
                "the exchange failed",
            ),
            (b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), Then::Close, "the exchange failed"),
            (b"{\"keys\":[]}".to_vec(), Then::Close, "the exchange failed"),
            (ok("{}", &many), Then::Close, "the exchange failed"),
            (ok("{}", &long), Then::Close, "the exchange failed"),
            (ok("{}", "Content-Encoding: gzip\r\n"), Then::Close, "is encoded"),
            (ok(&"x".repeat(1001), ""), Then::Hang, "more than 1000 bytes"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n{}".to_vec(),
                Then::Close,
                "more than 1000 bytes",
            ),
        ] {
            let shown = String::from_utf8_lossy(&answer).chars().take(60).collect::<String>();
            let fault = fetch_plain(&answer, then, LIMITS).await.expect_err(&shown).to_string();
            assert!(fault.contains(why), "{shown}: {fault}");
        }
        let endless = ["HTTP/1.1 200 OK\r\n\r\n".to_owned(), "x".repeat(2000)].concat();
        let fault =
            fetch_plain(&endless, Then::Hang, LIMITS).await.expect_err("too large").to_string();
        assert!(fault.contains("more than 1000 bytes"), "{fault}");
    });
}

#[test]
fn a_fetch_ends_at_its_limits() {
    runtime().block_on(async {
        let short = Duration::from_millis(50);
        let (head, whole) =
            (DocumentLimits { head: short, ..LIMITS }, DocumentLimits { whole: short, ..LIMITS });
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}";
        for (answer, limits, why) in [
            ("", head, "the head of the answer took too long"),
            ("HTTP/1.1 200", head, "the head of the answer took too long"),
            ("", whole, "the answer as a whole took too long"),
            (half, whole, "the answer as a whole took too long"),
        ] {
            let begun = Instant::now();
            let fault = fetch_plain(answer, Then::Hang, limits).await.expect_err(why).to_string();
            assert_eq!(fault, why);
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
        // A listener that accepts no connection: the TLS handshake never begins.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = address(silent.local_addr().expect("an address"), true);
        let folder = tempfile::tempdir().expect("a folder");
        let (_, ca_file) = acceptor(folder.path(), "localhost");
        let limits = DocumentLimits { connect: short, ..LIMITS };
        let document =
            Document::new(address, Trust::File(ca_file), None, limits).expect("a document");
        assert_eq!(
            document.fetch().await.expect_err("silent").to_string(),
            "connecting took too long"
        );
    });
}

#[test]
fn a_server_that_is_down_is_a_failure_with_its_address() {
    runtime().block_on(async {
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address(port.expect("an address"), false);
        let fault = Document::new(address.clone(), Trust::System, None, LIMITS)
            .expect("a document")
            .fetch()
            .await;
        let fault = fault.expect_err("down").to_string();
        assert!(
            fault.starts_with(&format!("cannot connect to 127.0.0.1:{}", address.port)),
            "{fault}"
        );
    });
}

/// A server's side for a name, and the file with its certificate.
fn acceptor(folder: &Path, name: &str) -> (TlsAcceptor, PathBuf) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let file = folder.join(format!("{name}.pem"));
    std::fs::write(&file, made.cert.pem()).expect("a file");
    let key =
        rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    (TlsAcceptor::from(Arc::new(config)), file)
}

#[test]
fn over_tls_only_believed_certificates_for_the_right_name_will_do() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (tls, ca_file) = acceptor(folder.path(), "localhost");
        let (stranger, other_file) = acceptor(folder.path(), "other.example");
        let script = Script { answer: ok("{\"a\":1}", ""), then: Then::Close };
        let server = serve(script.clone(), Some(tls)).await;
        let fetch = |server: SocketAddr, trust: Trust| async move {
            Document::new(address(server, true), trust, None, LIMITS)
                .expect("a document")
                .fetch()
                .await
        };
        let fetched = fetch(server.address, Trust::File(ca_file.clone())).await.expect("fetched");
        assert_eq!(&fetched[..], b"{\"a\":1}");
        let fault = fetch(server.address, Trust::File(other_file.clone()))
            .await
            .expect_err("unknown issuer")
            .to_string();
        assert!(fault.contains("cannot connect") && fault.contains("certificate"), "{fault}");
        let elsewhere = serve(script.clone(), Some(stranger)).await;
        let fault = fetch(elsewhere.address, Trust::File(other_file))
            .await
            .expect_err("another name")
            .to_string();
        assert!(fault.contains("not valid for name"), "{fault}");
        let plain = serve(script, None).await;
        assert!(
            fetch(plain.address, Trust::File(ca_file)).await.is_err(),
            "plain bytes are no TLS"
        );
        assert_eq!(server.requests.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_certificate_file_that_cannot_be_used_is_said_before_anything_is_fetched() {
    let folder = tempfile::tempdir().expect("a folder");
    let (missing, empty, broken) = (
        folder.path().join("none.pem"),
        folder.path().join("empty.pem"),
        folder.path().join("broken.pem"),
    );
    std::fs::write(&empty, "").expect("a file");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("a file");
    let address =
        DocumentAddress { is_https: true, host: "localhost".into(), port: 443, target: "/".into() };
    for file in [missing, empty, broken] {
        let trust = Trust::File(file.clone());
        let fault =
            Document::new(address.clone(), trust, None, LIMITS).err().expect("refused").to_string();
        assert!(fault.starts_with(&format!("{file:?} ")), "{fault}");
    }
}

/// A forward proxy that answers each request with this status: on 200 it connects to where it was
/// told, or, asked for a document in clear, sends it. Returns its address, and the heads that it
/// read.
async fn proxy(status: &'static str) -> (HttpProxy, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let heads = Arc::<std::sync::Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&heads);
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let (mut seen, mut byte) = (Vec::new(), [0; 1]);
                while !seen.ends_with(b"\r\n\r\n") {
                    if stream.read_exact(&mut byte).await.is_err() {
                        return;
                    }
                    seen.push(byte[0]);
                }
                let head = String::from_utf8(seen).expect("ASCII");
                noted.lock().expect("not poisoned").push(head.clone());
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let answer = match (status, head.starts_with("CONNECT ")) {
                    ("200 OK", false) => String::from_utf8(ok("{\"a\":1}", "")).expect("ASCII"),
                    ("200 OK", true) => "HTTP/1.1 200 Connection established\r\n\r\n".to_owned(),
                    _ => format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"),
                };
                let _ = stream.write_all(answer.as_bytes()).await;
                if status == "200 OK" && head.starts_with("CONNECT ") {
                    let Ok(mut server) = tokio::net::TcpStream::connect(&target).await else {
                        return;
                    };
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
                }
            });
        }
    });
    (HttpProxy { host: "127.0.0.1".into(), port, authorization: None }, heads)
}

#[test]
fn through_a_proxy_tls_reaches_to_the_server_and_what_is_in_clear_is_asked_for_in_absolute_form() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (tls, ca_file) = acceptor(folder.path(), "localhost");
        let server =
            serve(Script { answer: ok("{\"a\":1}", ""), then: Then::Close }, Some(tls)).await;
        let (mut proxy, heads) = proxy("200 OK").await;
        let mut secret = HeaderValue::from_static("Basic bWU6aHVudGVyMg==");
        secret.set_sensitive(true);
        proxy.authorization = Some(secret);
        let secure = address(server.address, true);
        let document =
            Document::new(secure.clone(), Trust::File(ca_file), Some(proxy.clone()), LIMITS);
        assert_eq!(
            &document.expect("a document").fetch().await.expect("fetched")[..],
            b"{\"a\":1}"
        );
        let clear = DocumentAddress {
            is_https: false,
            host: "id.example".into(),
            port: 80,
            target: "/keys?v=1".into(),
        };
        let document =
            Document::new(clear, Trust::System, Some(proxy), LIMITS).expect("a document");
        assert_eq!(&document.fetch().await.expect("fetched")[..], b"{\"a\":1}");
        let heads = heads.lock().expect("not poisoned");
        let [connect, get] = heads.as_slice() else { panic!("{heads:?}") };
        let target = format!("{}:{}", secure.host, secure.port);
        assert!(connect.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")), "{connect}");
        assert!(get.starts_with("GET http://id.example/keys?v=1 HTTP/1.1\r\n"), "{get}");
        for head in [connect, get] {
            assert!(
                head.to_ascii_lowercase()
                    .contains("\r\nproxy-authorization: basic bwu6ahvudgvymg==\r\n"),
                "{head}"
            );
        }
        assert!(!connect.contains("/keys"), "the proxy does not see what is asked for");
    });
}

#[test]
fn a_proxy_that_refuses_is_a_failure_that_names_it() {
    runtime().block_on(async {
        let target = DocumentAddress {
            is_https: true,
            host: "id.example".into(),
            port: 443,
            target: "/".into(),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let (_, ca_file) = acceptor(folder.path(), "localhost");
        for (status, why) in [
            (
                "407 Proxy Authentication Required",
                "it asks for a user and a password, which go into its address",
            ),
            ("403 Forbidden", "it answers 403 Forbidden"),
            ("302 Found", "it answers 302 Found"),
            ("502 Bad Gateway", "it answers 502 Bad Gateway"),
        ] {
            let (proxy, _) = proxy(status).await;
            let through = format!("through the proxy 127.0.0.1:{}", proxy.port);
            let trust = Trust::File(ca_file.clone());
            let document =
                Document::new(target.clone(), trust, Some(proxy), LIMITS).expect("a document");
            let fault = document.fetch().await.expect_err(status).to_string();
            assert_eq!(fault, format!("cannot connect to id.example:443 {through}: {why}"));
        }
        let clear = DocumentAddress { is_https: false, port: 80, ..target };
        let (proxy, _) = proxy("403 Forbidden").await;
        let fault = Document::new(clear, Trust::System, Some(proxy), LIMITS)
            .expect("a document")
            .fetch()
            .await;
        assert_eq!(fault.expect_err("refused").to_string(), "the answer is 403 Forbidden");
    });
}

#[test]
fn a_document_elsewhere_is_fetched_with_the_same_certificates_and_needs_them() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (tls, ca_file) = acceptor(folder.path(), "localhost");
        let server =
            serve(Script { answer: ok("{\"a\":1}", ""), then: Then::Close }, Some(tls)).await;
        let first = DocumentAddress {
            is_https: true,
            host: "id.example".into(),
            port: 443,
            target: "/".into(),
        };
        let first = Document::new(first, Trust::File(ca_file), None, LIMITS).expect("a document");
        let second = first.elsewhere(address(server.address, true), None).expect("a document");
        assert_eq!(&second.fetch().await.expect("fetched")[..], b"{\"a\":1}");
        let clear = first.elsewhere(address(server.address, false), None).expect("a document");
        let fault =
            clear.elsewhere(address(server.address, true), None).err().expect("no certificates");
        assert!(fault.to_string().contains("came over http"), "{fault}");
    });
}
