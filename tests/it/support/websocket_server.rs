//! A server of WebSockets.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Request, TIMEOUT, Wire};

/// An HTTP/1.1 server that takes a WebSocket, says what it was asked, and echoes every byte. Of the
/// protocols that are offered it takes `chat`.
pub(crate) struct WebSocketServer {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Receiver<Request>,
}

impl WebSocketServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, asked) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || take(stream, &sender));
            }
        });
        Self { address, asked }
    }
}

/// RFC 6455, section 4.2.2.
fn take(stream: TcpStream, asked: &Sender<Request>) {
    let mut wire = Wire::new(stream, TIMEOUT);
    let Ok(request) = wire.request_head() else { return };
    let key = request.fields.one("sec-websocket-key");
    let offered = request.fields.all("sec-websocket-protocol").join(",");
    let takes_chat = offered.split(',').any(|protocol| protocol.trim() == "chat");
    let chosen = if takes_chat { "Sec-WebSocket-Protocol: chat\r\n" } else { "" };
    let _ = asked.send(request);
    let Some(key) = key else { return };
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let accept = STANDARD.encode(digest);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{chosen}\r\n"
    );
    wire.send(answer.as_bytes());
    while let Ok(bytes) = wire.some()
        && !bytes.is_empty()
    {
        wire.send(&bytes);
    }
}
