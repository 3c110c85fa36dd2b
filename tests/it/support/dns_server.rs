//! A server of names, over UDP and TCP, whose zone changes while it runs.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// What the server says of a name.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// These addresses, of both families, for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// The same, over UDP only that it does not fit.
    OverTcp(Vec<IpAddr>, u32),
    /// It is another name, for so many seconds.
    Alias(&'static str, u32),
    /// This code.
    Code(ResponseCode),
    /// Nothing.
    Nothing,
    /// Bytes that are no message.
    Garbage,
}

/// Addresses as they are typed, for so many seconds.
pub(crate) fn addresses(texts: &[&str], seconds: u32) -> Says {
    let ips = texts.iter().map(|text| text.parse().expect("an address"));
    Says::Addresses(ips.collect(), seconds)
}

#[derive(Default)]
struct State {
    zone: Mutex<HashMap<String, Says>>,
    /// The names that were asked for, with the type, and whether over TCP.
    asked: Mutex<Vec<(String, RecordType, bool)>>,
    is_over: AtomicBool,
}

pub(crate) struct DnsServer {
    address: SocketAddr,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

/// How often the threads look whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl DnsServer {
    /// One that says of every name that there is no such name.
    pub(crate) fn start() -> Self {
        // A port that is free for both.
        let (tcp, udp) = (0..100)
            .find_map(|_| {
                let tcp = TcpListener::bind("127.0.0.1:0").ok()?;
                let udp = UdpSocket::bind(tcp.local_addr().ok()?).ok()?;
                Some((tcp, udp))
            })
            .expect("a port is free");
        let address = tcp.local_addr().expect("a bound socket has an address");
        tcp.set_nonblocking(true).expect("a socket can be set up");
        udp.set_read_timeout(Some(LOOK_EVERY)).expect("a socket can be set up");
        let state = Arc::new(State::default());
        let threads = vec![
            std::thread::spawn({
                let state = Arc::clone(&state);
                move || state.serve_udp(&udp)
            }),
            std::thread::spawn({
                let state = Arc::clone(&state);
                move || state.serve_tcp(&tcp)
            }),
        ];
        Self { address, state, threads }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it says this of the name, which is absolute and without the last dot.
    pub(crate) fn says(&self, name: &str, says: Says) {
        self.state.zone.lock().unwrap().insert(name.to_owned(), says);
    }

    /// How often it was asked for the IPv4 addresses of a name.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|(of, kind, _)| of == name && *kind == RecordType::A).count()
    }

    /// How often it was asked over TCP.
    pub(crate) fn asked_over_tcp(&self) -> usize {
        self.state.asked.lock().unwrap().iter().filter(|(_, _, is_tcp)| *is_tcp).count()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl State {
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut bytes = [0; 4096];
        while !self.is_over.load(Ordering::SeqCst) {
            let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
            if let Some(answer) = self.answer(&bytes[..length], false) {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        std::thread::scope(|scope| {
            while !self.is_over.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        scope.spawn(|| self.serve_connection(stream));
                    }
                    Err(_) => std::thread::park_timeout(LOOK_EVERY),
                }
            }
        });
    }

    /// Messages, each with its length before it (RFC 1035, section 4.2.2).
    fn serve_connection(&self, mut stream: TcpStream) {
        stream.set_nonblocking(false).expect("a socket can be set up");
        stream.set_read_timeout(Some(LOOK_EVERY)).expect("a socket can be set up");
        let mut read = Vec::new();
        let mut bytes = [0; 4096];
        while !self.is_over.load(Ordering::SeqCst) {
            match stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(length) => read.extend_from_slice(&bytes[..length]),
                Err(_) => continue,
            }
            let Some(length) = read.first_chunk::<2>() else { continue };
            let end = 2 + usize::from(u16::from_be_bytes(*length));
            if read.len() < end {
                continue;
            }
            let answer = self.answer(&read[2..end], true);
            read.drain(..end);
            if let Some(answer) = answer {
                let length = u16::try_from(answer.len()).expect("an answer is short");
                let _ = stream.write_all(&[&length.to_be_bytes()[..], &answer].concat());
            }
        }
    }

    fn answer(&self, bytes: &[u8], is_tcp: bool) -> Option<Vec<u8>> {
        let request = Message::from_vec(bytes).ok()?;
        let query = request.queries.first()?.clone();
        let text = |name: &Name| name.to_lowercase().to_string().trim_end_matches('.').to_owned();
        let asked = text(query.name());
        self.asked.lock().unwrap().push((asked.clone(), query.query_type(), is_tcp));
        let mut answer = Message::response(request.metadata.id, OpCode::Query);
        answer.metadata.recursion_available = true;
        let (mut name, mut owner) = (asked, query.name().clone());
        answer.add_query(query.clone());
        loop {
            let says = self.zone.lock().unwrap().get(&name).cloned();
            match says.unwrap_or(Says::Code(ResponseCode::NXDomain)) {
                Says::OverTcp(..) if !is_tcp => answer.metadata.truncation = true,
                Says::Addresses(ips, seconds) | Says::OverTcp(ips, seconds) => {
                    let records = ips.into_iter().map(RData::from);
                    let records = records.filter(|data| data.record_type() == query.query_type());
                    for data in records {
                        answer.add_answer(Record::from_rdata(owner.clone(), seconds, data));
                    }
                }
                Says::Alias(target, seconds) => {
                    let next = Name::from_ascii(format!("{target}.")).expect("a name");
                    let data = RData::CNAME(CNAME(next.clone()));
                    answer.add_answer(Record::from_rdata(owner, seconds, data));
                    (name, owner) = (text(&next), next);
                    continue;
                }
                Says::Code(code) => answer.metadata.response_code = code,
                Says::Nothing => return None,
                Says::Garbage => {
                    // With the id of the request, as it would be passed over otherwise.
                    return Some([&bytes[..2], &[0xff; 30]].concat());
                }
            }
            return answer.to_vec().ok();
        }
    }
}
