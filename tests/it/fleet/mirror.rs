//! An upstream for many requests: it answers with the id of the token that it was told of, or,
//! where that is asked for (`…/subject`), with its subject, and keeps nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// See the module. It takes no more connections once it is dropped; those that are open end with
/// their peers.
pub(super) struct Mirror {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Mirror {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::spawn(move || drop(serve(stream)));
            }
        });
        Self { address, stopped, acceptor: Some(acceptor) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Answers requests without bodies.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut ahead, mut chunk) = (Vec::new(), [0; 8 * 1024]);
    loop {
        while let Some(end) = ahead.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = ahead.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head);
            let target = head.split(' ').nth(1).unwrap_or_default();
            let wanted = if target.ends_with("/subject") {
                "x-keyward-subject"
            } else {
                "x-keyward-token-id"
            };
            let told = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim())
            });
            let told = told.unwrap_or("none");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len());
            stream.write_all(answer.as_bytes())?;
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => ahead.extend_from_slice(&chunk[..count]),
        }
    }
}
