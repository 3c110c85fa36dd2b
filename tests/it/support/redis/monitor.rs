//! What a server is asked to do: every command, counted.

use std::collections::BTreeMap;
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;

use super::{RedisServer, Reply, read_reply};

/// Listens to every command that a server is given (MONITOR).
pub(crate) struct Monitor {
    stream: TcpStream,
    /// Ends with what it has counted.
    listener: JoinHandle<Monitored>,
    server: SocketAddr,
}

/// How often each command was given.
#[derive(Debug, Default)]
pub(crate) struct Monitored {
    pub(crate) of_clients: BTreeMap<String, u64>,
    /// Called by scripts.
    pub(crate) of_scripts: BTreeMap<String, u64>,
}

/// What is sent to be found in the stream: all that was given before has been heard then.
const LAST_WORD: &str = "the last word";

impl Monitor {
    /// Returns when it listens.
    pub(crate) fn start(server: &RedisServer) -> Self {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
        stream.write_all(b"MONITOR\r\n").expect("sent");
        assert_eq!(read_reply(&mut lines).expect("an answer"), Reply::Simple("OK".to_owned()));
        let listener = std::thread::spawn(move || {
            let mut heard = Monitored::default();
            loop {
                // +1339518083.107412 [0 127.0.0.1:60866] "keys" "*"
                let line = match read_reply(&mut lines) {
                    Ok(reply) => reply.text(),
                    Err(fault) => panic!("the monitor ended: {fault}"),
                };
                let (_, from) = line.split_once('[').expect("where it comes from");
                let (from, words) = from.split_once("] ").expect("the command");
                let command = words.split('"').nth(1).unwrap_or_default().to_ascii_lowercase();
                if words.contains(LAST_WORD) {
                    return heard;
                }
                // The test's own questions.
                if command == "info" {
                    continue;
                }
                let by = if from.ends_with("lua") {
                    &mut heard.of_scripts
                } else {
                    &mut heard.of_clients
                };
                *by.entry(command).or_default() += 1;
            }
        });
        Self { stream, listener, server: server.address() }
    }

    /// What was given until now.
    pub(crate) fn end(self) -> Monitored {
        let mut other = TcpStream::connect(self.server).expect("a connection");
        other.write_all(format!("ECHO \"{LAST_WORD}\"\r\n").as_bytes()).expect("sent");
        let heard = self.listener.join().expect("it was heard");
        drop(self.stream);
        heard
    }
}
