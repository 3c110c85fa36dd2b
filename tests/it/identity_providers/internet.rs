//! What keyward sees of the internet: a forward proxy behind which every provider is, over TLS,
//! with a certificate for all.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::tokens::{SECRET, documents};
use crate::support::TIMEOUT;

/// It stops when it is dropped.
pub(super) struct Internet {
    address: SocketAddr,
    folder: tempfile::TempDir,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Internet {
    pub(super) fn start() -> Self {
        let documents = documents();
        let hosts: Vec<String> =
            documents.keys().filter_map(|url| url.split('/').next()).map(str::to_owned).collect();
        let made = rcgen::generate_simple_self_signed(hosts).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).expect("a file");
        std::fs::write(folder.path().join("secret"), [SECRET, b"\n"].concat()).expect("a file");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a configuration");
        let (config, documents) = (Arc::new(config), Arc::new(documents));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let stopped = Arc::<AtomicBool>::default();
        let is_over = Arc::clone(&stopped);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), config, documents) =
                    (stream, Arc::clone(&config), Arc::clone(&documents))
                else {
                    continue;
                };
                // A client that breaks off is no error of the proxy.
                std::thread::spawn(move || drop(serve(stream, config, &documents)));
            }
        });
        Self { address, folder, stopped, acceptor: Some(acceptor) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A file with the secret of logins of one's own.
    pub(super) fn secret_file(&self) -> PathBuf {
        self.folder.path().join("secret")
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

/// The first line of a head, which is read to its end.
fn first_line(stream: &mut impl Read) -> std::io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// One tunnel, and one document through it.
fn serve(
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
    documents: &HashMap<String, String>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    let line = first_line(&mut stream)?;
    let host = line.strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix(":443 HTTP/1.1"));
    let Some(host) = host.map(str::to_owned) else {
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    };
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tls = StreamOwned::new(connection, stream);
    let line = first_line(&mut tls)?;
    let target = line.split(' ').nth(1).unwrap_or_default();
    let answer = match documents.get(&format!("{host}{target}")) {
        Some(body) => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    };
    tls.write_all(answer.as_bytes())?;
    tls.conn.send_close_notify();
    tls.flush()
}
