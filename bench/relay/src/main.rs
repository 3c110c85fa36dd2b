//! The floor of the benchmark: a single-threaded relay that parses nothing.
//!
//! Each client connection gets one upstream connection; what one side sends is written to the other
//! as it is. A keep-alive request thus costs two reads and two writes, which is what any proxy on
//! this kernel has to pay.
//!
//! It is no proxy for use: an upstream is connected to with a blocking call, and a side that closes
//! takes its pair with it.
//!
//! Usage: `keyward-bench-relay LISTEN UPSTREAM`, both as `ip:port`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

/// The token of the listening socket; the sockets of pair `i` have `2 * i` (client) and `2 * i + 1`
/// (upstream).
const LISTENER: Token = Token(usize::MAX - 1);

/// Bytes read at once: enough for a request or an answer of the benchmark, so that a read is also a
/// short one.
const CHUNK: usize = 16 * 1024;

/// One socket of a pair, and the bytes that it has not yet taken.
struct Side {
    socket: TcpStream,
    pending: Vec<u8>,
}

impl Side {
    fn new(mut socket: TcpStream, registry: &Registry, token: usize) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        registry.register(&mut socket, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket, pending: Vec::new() })
    }

    /// Writes `bytes`, and keeps what the socket does not take now.
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }
}

/// Moves bytes until `from` has none left or `to` takes no more.
///
/// A read shorter than the buffer has emptied the socket (epoll(7)): no further read is spent to
/// hear so.
///
/// # Errors
/// One side has closed or failed: the pair is over.
fn pump(from: &mut Side, to: &mut Side, buffer: &mut [u8]) -> io::Result<()> {
    while to.pending.is_empty() {
        match from.socket.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                to.send(buffer.get(..length).unwrap_or_default())?;
                if length < buffer.len() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Does what `event` of the socket `near` allows; `far` is the other socket of its pair.
fn advance(event: &Event, near: &mut Side, far: &mut Side, buffer: &mut [u8]) -> io::Result<()> {
    if event.is_writable() && !near.pending.is_empty() {
        let pending = std::mem::take(&mut near.pending);
        near.send(&pending)?;
        // Reading from the far side stopped when this side was full; its edge has passed and will
        // not come again.
        pump(far, near, buffer)?;
    }
    if event.is_readable() {
        pump(near, far, buffer)?;
    }
    if event.is_read_closed() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Accepts all that wait, each with an upstream connection of its own, into the first free place of
/// `pairs`.
fn accept(
    listener: &TcpListener,
    upstream: SocketAddr,
    registry: &Registry,
    pairs: &mut Vec<Option<(Side, Side)>>,
) -> io::Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let far = std::net::TcpStream::connect(upstream)?;
        far.set_nonblocking(true)?;
        let index = pairs.iter().position(Option::is_none).unwrap_or(pairs.len());
        let pair =
            (Side::new(client, registry, 2 * index)?, Side::new(TcpStream::from_std(far), registry, 2 * index + 1)?);
        match pairs.get_mut(index) {
            Some(place) => *place = Some(pair),
            None => pairs.push(Some(pair)),
        }
    }
}

fn relay(listen: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut pairs = Vec::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            // Not the listener's, and not of a pair that ended earlier in this batch.
            let Some(place) = pairs.get_mut(event.token().0 / 2) else {
                continue;
            };
            let Some((client, upstream)) = place else {
                continue;
            };
            let (near, far) = if event.token().0 % 2 == 0 { (client, upstream) } else { (upstream, client) };
            if advance(event, near, far, &mut buffer).is_err() {
                *place = None;
            }
        }
        // Last, so that no event of an ended pair is taken for one of its successor in the same
        // place.
        if events.iter().any(|event| event.token() == LISTENER) {
            accept(&listener, upstream, poll.registry(), &mut pairs)?;
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut address = || arguments.next().ok_or("usage: keyward-bench-relay LISTEN UPSTREAM (each \
     ip:port)");
    relay(address()?.parse()?, address()?.parse()?)?;
    Ok(())
}
