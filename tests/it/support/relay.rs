//! A relay in front of a server, with a hand on it: it passes bytes on, late, slowly, spoilt, in one direction or not at all.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Pass,
    /// They wait here until they may pass, as in a network that is cut and mended.
    Hold,
    /// They are lost for good, and the connection stays open.
    Swallow,
    /// They come so much later.
    Delay(Duration),
    /// So many a second.
    Trickle(usize),
    /// Some of them are others.
    Garble,
}

/// A running relay. It ends with all its connections when it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

struct State {
    target: SocketAddr,
    ways: Mutex<Ways>,
    changed: Condvar,
    /// Both ends of every connection that was ever made through it.
    streams: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
}

struct Ways {
    to_server: Way,
    to_client: Way,
    /// Who connects is hung up on.
    closed: bool,
    /// Counts the cuts: a connection from before a cut is over.
    cuts: u64,
}

#[derive(Clone, Copy)]
enum Direction {
    ToServer,
    ToClient,
}

impl Relay {
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let ways = Ways { to_server: Way::Pass, to_client: Way::Pass, closed: false, cuts: 0 };
        let state = Arc::new(State {
            target,
            ways: Mutex::new(ways),
            changed: Condvar::new(),
            streams: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let acceptor = std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(client) = client {
                    connect(client, &shared);
                }
            }
        });
        Self { address, state, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of the bytes from now on, of those that wait here too.
    pub(crate) fn set(&self, to_server: Way, to_client: Way) {
        let mut ways = self.state.ways.lock().unwrap();
        (ways.to_server, ways.to_client) = (to_server, to_client);
        drop(ways);
        self.state.changed.notify_all();
    }

    /// Both directions alike.
    pub(crate) fn set_both(&self, way: Way) {
        self.set(way, way);
    }

    /// Ends every connection, and takes no more of them.
    pub(crate) fn cut(&self) {
        let mut ways = self.state.ways.lock().unwrap();
        ways.closed = true;
        ways.cuts += 1;
        drop(ways);
        self.state.changed.notify_all();
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Passes everything on again, and takes connections again.
    pub(crate) fn mend(&self) {
        self.state.ways.lock().unwrap().closed = false;
        self.set_both(Way::Pass);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn connect(client: TcpStream, state: &Arc<State>) {
    let cuts = {
        let ways = state.ways.lock().unwrap();
        if ways.closed {
            return;
        }
        ways.cuts
    };
    let Ok(server) = TcpStream::connect_timeout(&state.target, Duration::from_secs(1)) else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        state.streams.lock().unwrap().extend(stream.try_clone());
    }
    for (from, to, direction) in [(&client, &server, Direction::ToServer), (&server, &client, Direction::ToClient)] {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            let _ = pump(&from, &to, direction, &state, cuts);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

fn pump(
    mut from: &TcpStream,
    mut to: &TcpStream,
    direction: Direction,
    state: &State,
    cuts: u64,
) -> std::io::Result<()> {
    let mut chunk = vec![0; 16 * 1024];
    let mut passed = 0_usize;
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        let read = Instant::now();
        let Some(bytes) = chunk.get_mut(..count) else { return Ok(()) };
        match wait(state, direction, read, cuts, count) {
            None => return Ok(()),
            Some(Way::Swallow) => continue,
            Some(Way::Garble) => {
                for byte in bytes.iter_mut() {
                    passed += 1;
                    if passed.is_multiple_of(97) {
                        *byte ^= 0x15;
                    }
                }
            }
            Some(_) => {}
        }
        to.write_all(bytes)?;
    }
}

/// Until bytes that were read then may pass; `None`: the connection is over.
fn wait(state: &State, direction: Direction, read: Instant, cuts: u64, count: usize) -> Option<Way> {
    let mut ways = state.ways.lock().unwrap();
    loop {
        if ways.cuts != cuts {
            return None;
        }
        let way = match direction {
            Direction::ToServer => ways.to_server,
            Direction::ToClient => ways.to_client,
        };
        let due = match way {
            Way::Hold => None,
            Way::Delay(late) => Some(read + late),
            Way::Trickle(rate) => Some(read + Duration::from_secs_f64(count as f64 / rate as f64)),
            Way::Pass | Way::Swallow | Way::Garble => return Some(way),
        };
        ways = match due {
            None => state.changed.wait(ways).unwrap(),
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Some(way);
                }
                state.changed.wait_timeout(ways, left).unwrap().0
            }
        };
    }
}
