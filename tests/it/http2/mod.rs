//! HTTP/2 towards clients that behave; one file for each guarantee.

mod grpc;
mod head;
mod negotiation;
mod records;
mod revocation;
mod streams;
mod websockets;

use std::time::Duration;

use crate::support::h2::{Connection, Head};
use crate::support::{Act, Gate, Reply, World};

/// A second is promised for the end of what is open on a revoked token.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

fn connect(world: &World) -> Connection {
    Connection::open(world.address())
}

fn private(path: &str, token: &str) -> Head {
    Head::get(path).with("authorization", format!("Bearer {token}"))
}

/// The upstream says `first` at once, and `more` when the gate is opened.
fn in_two_parts(gate: &Gate) -> Reply {
    Reply::acts([
        Act::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n".into()),
        Act::Wait(gate.clone()),
        Act::Send(b"4\r\nmore\r\n0\r\n\r\n".into()),
    ])
}

/// Waits until every one of these streams has said `first`.
fn wait_for_first(connection: &mut Connection, streams: &[u32]) {
    let begun =
        connection.read_until(|state| streams.iter().all(|&id| state.stream(id).body == b"first"));
    assert!(begun, "{:?}", connection.state);
}
