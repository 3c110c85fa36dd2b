//! A scripted server behind keyward: it keeps every byte it is sent, and answers as it is told.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::TIMEOUT;
use super::message::{Fault, Request};
use super::wire::Wire;

/// How long the upstream waits for the rest of a message; an idle connection may stay open longer
/// than any test.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(120);

/// Something that a reply waits for until a test opens it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(open, UPSTREAM_TIMEOUT, |open| !*open).unwrap());
    }
}

/// One thing the upstream does in answer to a request.
#[derive(Clone)]
pub(crate) enum Act {
    Send(Vec<u8>),
    /// Goes on once the gate is open.
    Wait(Gate),
    /// Closes in good order.
    Close,
    /// Closes with a reset.
    Reset,
    /// Sends back every byte that arrives, until the peer closes.
    Echo,
}

/// What the upstream does with requests for one path.
#[derive(Clone)]
pub(crate) struct Reply {
    acts: Vec<Act>,
    /// Answers as soon as the head is there, before the body is.
    early: bool,
}

impl Reply {
    /// These bytes, and the connection stays open.
    pub(crate) fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::acts([Act::Send(bytes.as_ref().to_vec())])
    }

    /// A whole response; `fields` are whole lines, each with its CRLF.
    pub(crate) fn of(status: &str, fields: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        Self::bytes([head.as_bytes(), body].concat())
    }

    pub(crate) fn acts(acts: impl IntoIterator<Item = Act>) -> Self {
        Self { acts: acts.into_iter().collect(), early: false }
    }

    pub(crate) fn then(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }

    pub(crate) fn early(mut self) -> Self {
        self.early = true;
        self
    }
}

/// What has arrived since the upstream started or the log was last taken.
#[derive(Default)]
pub(crate) struct Log {
    /// The targets of heads that were read, whether or not their bodies came.
    pub(crate) heads: Vec<String>,
    /// Requests that came whole.
    pub(crate) requests: Vec<Request>,
    /// Bytes that are no request, or half of one.
    pub(crate) broken: Vec<String>,
}

struct State {
    log: Mutex<Log>,
    changed: Condvar,
    replies: Mutex<HashMap<String, Reply>>,
    /// A handle on each connection ever accepted, to end those that are open; nothing once they are
    /// over.
    streams: Mutex<Vec<Option<TcpStream>>>,
    stopped: AtomicBool,
    /// How long a connection may wait for the next request, or for the rest of one.
    timeout: Duration,
}

/// The running upstream. It stops when it is dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts an upstream that answers every request with an echo of its head, until told
    /// otherwise.
    pub(crate) fn start() -> Self {
        Self::closing_after(UPSTREAM_TIMEOUT)
    }

    /// The same, which closes a connection that has been idle for this long.
    pub(crate) fn closing_after(timeout: Duration) -> Self {
        Self::over(TcpListener::bind("127.0.0.1:0").expect("a free port"), timeout)
    }

    /// None: the address is not free, or none of this machine.
    pub(crate) fn try_start_at(address: SocketAddr) -> Option<Self> {
        TcpListener::bind(address).ok().map(|listener| Self::over(listener, UPSTREAM_TIMEOUT))
    }

    fn over(listener: TcpListener, timeout: Duration) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            log: Mutex::default(),
            changed: Condvar::new(),
            replies: Mutex::default(),
            streams: Mutex::default(),
            stopped: AtomicBool::new(false),
            timeout,
        });
        let shared = Arc::clone(&state);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let number = {
                    let mut streams = shared.streams.lock().unwrap();
                    streams.push(stream.try_clone().ok());
                    streams.len() - 1
                };
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, number, &state));
            }
        });
        Self { address, state, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: connections to its address are refused from now on, which no other server gets.
    pub(crate) fn close(self) -> ClosedPort {
        let address = self.address;
        drop(self);
        ClosedPort::at(address)
    }

    /// Sets what is done with requests whose path (the target up to `?`) is this one.
    pub(crate) fn answer(&self, path: &str, reply: Reply) {
        self.state.replies.lock().unwrap().insert(path.into(), reply);
    }

    /// How many connections were ever opened to it.
    pub(crate) fn connections(&self) -> usize {
        self.state.streams.lock().unwrap().len()
    }

    /// How many of them are open still, as far as it has looked.
    pub(crate) fn open_connections(&self) -> usize {
        self.state.streams.lock().unwrap().iter().flatten().count()
    }

    /// Empties the log and returns what was in it.
    pub(crate) fn take(&self) -> Log {
        std::mem::take(&mut self.state.log.lock().unwrap())
    }

    /// Waits until the log satisfies the condition; `false` if it does not in time.
    pub(crate) fn wait_until(&self, condition: impl Fn(&Log) -> bool) -> bool {
        let log = self.state.log.lock().unwrap();
        let (_log, waited) =
            self.state.changed.wait_timeout_while(log, TIMEOUT, |log| !condition(log)).unwrap();
        !waited.timed_out()
    }
}

/// An address on which no server listens, and which nobody else gets: connections to it are refused.
pub(crate) struct ClosedPort(socket2::Socket);

impl ClosedPort {
    pub(crate) fn reserve() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"))
    }

    fn at(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        // Connections of the server that was there may not have ended altogether.
        socket.set_reuse_address(true).expect("an option of the socket");
        socket.bind(&address.into()).expect("a free port");
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.0.local_addr().expect("a bound socket has an address");
        address.as_socket().expect("an address of IP")
    }

    /// An upstream listens there from now on.
    pub(crate) fn listen(self) -> Upstream {
        self.0.listen(128).expect("it listens");
        Upstream::over(self.0.into(), UPSTREAM_TIMEOUT)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        for stream in self.state.streams.lock().unwrap().iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn serve(stream: TcpStream, number: usize, state: &State) {
    let mut wire = Wire::new(stream, state.timeout);
    converse(&mut wire, number, state);
    // A reset is sent when the last handle goes, so a shutdown must not come first.
    state.streams.lock().unwrap()[number] = None;
    if !matches!(wire.socket().linger(), Ok(Some(_))) {
        let _ = wire.socket().shutdown(Shutdown::Both);
    }
}

fn converse(wire: &mut Wire, number: usize, state: &State) {
    let note = |change: &dyn Fn(&mut Log)| {
        change(&mut state.log.lock().unwrap());
        state.changed.notify_all();
    };
    for nth in 0.. {
        let mut request = match wire.request_head() {
            Ok(request) => Request { connection: number, nth, ..request },
            Err(Fault::Closed | Fault::Late(_)) => break,
            Err(fault) => {
                let what =
                    format!("{fault:?}, all read: {:?}", String::from_utf8_lossy(wire.seen()));
                note(&|log| log.broken.push(what.clone()));
                break;
            }
        };
        note(&|log| log.heads.push(request.target.clone()));
        let path = request.target.split('?').next().unwrap_or_default().to_owned();
        let reply = state.replies.lock().unwrap().get(&path).cloned();
        if reply.as_ref().is_some_and(|reply| reply.early) {
            let acts = reply.map(|reply| reply.acts).unwrap_or_default();
            if !play(wire, acts) {
                break;
            }
            if wire.request_body(&mut request).is_err() {
                break;
            }
            note(&|log| log.requests.push(request.clone()));
            continue;
        }
        if request
            .fields
            .one("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            wire.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if let Err(fault) = wire.request_body(&mut request) {
            let what = format!("{} {}: {fault:?}", request.method, request.target);
            note(&|log| log.broken.push(what.clone()));
            break;
        }
        let acts = reply.map_or_else(|| vec![Act::Send(echo(&request))], |reply| reply.acts);
        note(&|log| log.requests.push(request.clone()));
        if !play(wire, acts) {
            break;
        }
    }
}

/// Plays the acts; `false` when the connection is over.
fn play(wire: &mut Wire, acts: Vec<Act>) -> bool {
    for act in acts {
        match act {
            Act::Send(bytes) => wire.send(&bytes),
            Act::Wait(gate) => gate.pass(),
            Act::Close => return false,
            Act::Reset => {
                let _ = wire.socket().set_linger(Some(Duration::ZERO));
                return false;
            }
            Act::Echo => {
                while let Ok(bytes) = wire.some() {
                    if bytes.is_empty() {
                        break;
                    }
                    wire.send(&bytes);
                }
                return false;
            }
        }
    }
    true
}

/// A 200 whose body says what was received.
fn echo(request: &Request) -> Vec<u8> {
    let fields: Vec<_> = request
        .fields
        .0
        .iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(value)))
        .collect();
    let body = serde_json::json!({
        "method": request.method,
        "target": request.target,
        "headers": fields,
        "body": String::from_utf8_lossy(&request.body),
    })
    .to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let shown = if request.method == "HEAD" { String::new() } else { body };
    [head.into_bytes(), shown.into_bytes()].concat()
}
