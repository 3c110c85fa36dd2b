//! Exchanges that stay open.

use super::{Act, Client, Gate, Reply, Upstream, World};

/// What stays open.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ongoing {
    Events,
    WebSocket,
}

impl Ongoing {
    /// What the upstream begins with.
    fn begins(self) -> &'static [u8] {
        match self {
            Self::Events => {
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                  Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
            }
            Self::WebSocket => {
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                  Upgrade: websocket\r\n\r\nfirst"
            }
        }
    }

    /// The field lines of the request for it.
    fn fields(self) -> &'static str {
        match self {
            Self::Events => "",
            Self::WebSocket => {
                "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
        }
    }
}

/// An exchange that has begun: the upstream has sent "first", and sends "more" when the gate is
/// opened.
pub(crate) fn open(
    world: &World,
    upstream: &Upstream,
    path: &str,
    kept: Ongoing,
    token: &str,
) -> (Client, Gate) {
    open_at(world, upstream, path, path, kept, &format!("Authorization: Bearer {token}\r\n"))
}

/// The same, with a target of this path, and with these field lines.
pub(crate) fn open_at(
    world: &World,
    upstream: &Upstream,
    path: &str,
    target: &str,
    kept: Ongoing,
    more: &str,
) -> (Client, Gate) {
    let gate = Gate::default();
    let acts =
        [Act::Send(kept.begins().into()), Act::Wait(gate.clone()), Act::Send(b"more".into())];
    upstream.answer(path, Reply::acts(acts));
    let mut client = world.client();
    let fields = kept.fields();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{more}{fields}\r\n"));
    while !String::from_utf8_lossy(client.seen()).contains("first") {
        let more = client.some().expect("the exchange opens");
        assert!(!more.is_empty(), "closed after {:?}", String::from_utf8_lossy(client.seen()));
    }
    (client, gate)
}
