//! A relay in front of a server that a test controls: it passes bytes on, delays them, limits their
//! rate, changes them or drops them, in one direction or in both.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is done with the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Pass,
    /// They are kept until they may pass, as in a network that is cut and repaired.
    Hold,
    /// They are lost for good, and the connection stays open.
    Swallow,
    /// They are passed on after this time.
    Delay(Duration),
    /// This many are passed on in a second.
    Trickle(usize),
    /// Some of them are changed.
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

/// Which connections are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those on which the client has asked Redis to be told of changes.
    Listening,
}

/// What a client sends to be told of changes (CLIENT TRACKING).
const LISTENS: &[u8] = b"TRACKING";

struct Ways {
    to_server: Way,
    to_client: Way,
    which: Which,
    /// New connections are closed at once.
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
        let ways = Ways {
            to_server: Way::Pass,
            to_client: Way::Pass,
            which: Which::All,
            closed: false,
            cuts: 0,
        };
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

    /// Sets what is done with bytes from now on, also with those that are kept.
    pub(crate) fn set(&self, to_server: Way, to_client: Way) {
        self.set_of(Which::All, to_server, to_client);
    }

    /// As [`set`](Self::set), and everything passes on the other connections.
    pub(crate) fn set_of(&self, which: Which, to_server: Way, to_client: Way) {
        let mut ways = self.state.ways.lock().unwrap();
        (ways.to_server, ways.to_client, ways.which) = (to_server, to_client, which);
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
    let Ok(server) = TcpStream::connect_timeout(&state.target, Duration::from_secs(1)) else {
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        state.streams.lock().unwrap().extend(stream.try_clone());
    }
    let listens = Arc::new(AtomicBool::new(false));
    for (from, to, direction) in
        [(&client, &server, Direction::ToServer), (&server, &client, Direction::ToClient)]
    {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let pump =
            Pump { direction, state: Arc::clone(state), cuts, listens: Arc::clone(&listens) };
        std::thread::spawn(move || {
            let _ = pump.run(&from, &to);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

/// One direction of a connection.
struct Pump {
    direction: Direction,
    state: Arc<State>,
    /// How many cuts there had been when the connection was made.
    cuts: u64,
    /// [`Which::Listening`]: known to both directions.
    listens: Arc<AtomicBool>,
}

impl Pump {
    fn run(&self, mut from: &TcpStream, mut to: &TcpStream) -> std::io::Result<()> {
        let mut chunk = vec![0; 16 * 1024];
        let mut passed = 0_usize;
        loop {
            let count = from.read(&mut chunk)?;
            if count == 0 {
                return Ok(());
            }
            let read = Instant::now();
            let Some(bytes) = chunk.get_mut(..count) else { return Ok(()) };
            if matches!(self.direction, Direction::ToServer)
                && bytes.windows(LISTENS.len()).any(|part| part == LISTENS)
            {
                self.listens.store(true, Ordering::SeqCst);
            }
            match self.wait(read, count) {
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
    fn wait(&self, read: Instant, count: usize) -> Option<Way> {
        let mut ways = self.state.ways.lock().unwrap();
        loop {
            if ways.cuts != self.cuts {
                return None;
            }
            let way = match self.direction {
                _ if ways.which == Which::Listening && !self.listens.load(Ordering::SeqCst) => {
                    Way::Pass
                }
                Direction::ToServer => ways.to_server,
                Direction::ToClient => ways.to_client,
            };
            let due = match way {
                Way::Hold => None,
                Way::Delay(late) => Some(read + late),
                Way::Trickle(rate) => {
                    Some(read + Duration::from_secs_f64(count as f64 / rate as f64))
                }
                Way::Pass | Way::Swallow | Way::Garble => return Some(way),
            };
            ways = match due {
                None => self.state.changed.wait(ways).unwrap(),
                Some(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Some(way);
                    }
                    self.state.changed.wait_timeout(ways, left).unwrap().0
                }
            };
        }
    }
}
