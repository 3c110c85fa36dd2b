//! One connection of the client: it sends what it is given, and reads frames by the letter.

use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::super::TIMEOUT;
use super::super::hpack::Decoder;
use super::super::message::{Fields, Response};
use super::super::transport::Transport;
use super::frames::{PREFACE, data, flag, frame, kind, setting, settings, window_update};
use super::{Head, State};

/// The peer takes no more bytes: it has closed, or has not read for as long as it was given.
#[derive(Debug)]
pub(crate) struct Stopped;

/// One connection to keyward.
pub(crate) struct Connection {
    io: Box<dyn Transport>,
    ahead: Vec<u8>,
    decoder: Decoder,
    /// A header block whose end is still to come: its stream, its flags and its bytes so far.
    partial: Option<(u32, u8, Vec<u8>)>,
    timeout: Duration,
    /// Whether what was read is granted again at once.
    is_granting: bool,
    next: u32,
    pub(crate) state: State,
}

/// What a window is before anything is said of it (section 6.9.2).
const WINDOW: i64 = 65_535;

impl Connection {
    /// A connection on which nothing was sent yet.
    pub(crate) fn raw(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, TIMEOUT)
            .unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        socket.set_nodelay(true).expect("a socket takes TCP_NODELAY");
        Self::over(socket)
    }

    /// The same over a connection that was made already, and may go through TLS.
    pub(crate) fn over(io: impl Transport + 'static) -> Self {
        Self {
            io: Box::new(io),
            ahead: Vec::new(),
            decoder: Decoder::new(),
            partial: None,
            timeout: TIMEOUT,
            is_granting: true,
            next: 1,
            state: State::default(),
        }
    }

    /// A connection by prior knowledge, with the preface and empty SETTINGS sent.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let mut connection = Self::raw(address);
        connection.begin(&[]);
        connection
    }

    /// Sends the preface and SETTINGS.
    pub(crate) fn begin(&mut self, parameters: &[(u16, u32)]) {
        self.send([PREFACE, &settings(parameters)].concat());
    }

    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What is read is not granted again: the windows run out.
    pub(crate) fn without_grants(mut self) -> Self {
        self.is_granting = false;
        self
    }

    /// Writes bytes. A peer that has closed is no fault: what it said is what counts.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.try_send(bytes, self.timeout);
    }

    /// Writes bytes to a peer that has so long to take each piece of them.
    pub(crate) fn try_send(
        &mut self,
        bytes: impl AsRef<[u8]>,
        time: Duration,
    ) -> Result<(), Stopped> {
        self.io.socket().set_write_timeout(Some(time)).map_err(|_| Stopped)?;
        self.io.write_all(bytes.as_ref()).and_then(|()| self.io.flush()).map_err(|_| Stopped)
    }

    /// Closes the sending side only.
    pub(crate) fn finish(&mut self) {
        let _ = self.io.socket().shutdown(Shutdown::Write);
    }

    /// The next stream identifier of ours.
    pub(crate) fn next_id(&mut self) -> u32 {
        let id = self.next;
        self.next += 2;
        id
    }

    /// Sends a whole request without a body on the next stream.
    pub(crate) fn request(&mut self, head: &Head) -> u32 {
        let id = self.next_id();
        self.send(head.whole(id));
        id
    }

    /// Sends the whole body of a stream, the first of its connection to have one, within the
    /// windows that the peer grants.
    pub(crate) fn send_body(&mut self, id: u32, body: &[u8]) {
        self.read_until(|state| !state.settings.is_empty());
        let initial = self.state.settings.get(&setting::INITIAL_WINDOW_SIZE);
        let initial = initial.map_or(WINDOW, |&size| i64::from(size));
        let granted =
            |state: &State, stream| state.granted.get(&stream).copied().unwrap_or_default();
        let mut sent = 0_i64;
        let mut pieces = body.chunks(16_384).peekable();
        while let Some(piece) = pieces.next() {
            sent += i64::try_from(piece.len()).expect("a piece's length");
            let is_granted = self.read_until(|state| {
                let stream = sent <= initial + granted(state, id);
                stream && sent <= WINDOW + granted(state, 0) || state.is_closed
            });
            assert!(
                is_granted && !self.state.is_closed,
                "{sent} bytes are not granted: {:?}",
                self.state
            );
            let flags = if pieces.peek().is_none() { flag::END_STREAM } else { 0 };
            self.send(data(id, flags, piece));
        }
    }

    /// Sends a request and reads its whole answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, head: &Head) -> Response {
        let id = self.request(head);
        self.answer(id)
    }

    /// The whole answer on a stream.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: u32) -> Response {
        self.read_until(|state| state.is_over(id));
        let stream = self.state.stream(id);
        assert!(stream.is_ended && self.state.odd.is_empty(), "stream {id}: {:?}", self.state);
        stream.response().expect("what has ended has begun")
    }

    /// Reads until the condition holds; `false` if it does not in time, or not before the end.
    pub(crate) fn read_until(&mut self, condition: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + self.timeout;
        while !condition(&self.state) {
            if self.state.is_closed || !self.read_frame(deadline) {
                return condition(&self.state);
            }
        }
        true
    }

    /// Reads until the peer closes; `false` if it does not in time.
    pub(crate) fn closes(&mut self) -> bool {
        self.read_until(|state| state.is_closed)
    }

    /// Reads what has come already.
    pub(crate) fn glance(&mut self) {
        let deadline = Instant::now() + Duration::from_millis(1);
        while !self.state.is_closed && self.read_frame(deadline) {}
    }

    /// Reads one frame and notes what it says. `false` when it is late.
    fn read_frame(&mut self, deadline: Instant) -> bool {
        while self.frame_length().is_none_or(|length| self.ahead.len() < length) {
            if self.state.is_closed {
                return true;
            }
            if !self.fill(deadline) {
                return false;
            }
        }
        let bytes: Vec<u8> = self.ahead.drain(..self.frame_length().unwrap_or_default()).collect();
        let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
        if let Err(what) = self.note(bytes[3], bytes[4], stream, &bytes[9..]) {
            self.state.odd.push(format!("{what} on stream {stream}"));
        }
        true
    }

    /// The length of the frame that is next, its head included.
    fn frame_length(&self) -> Option<usize> {
        let head = self.ahead.first_chunk::<9>()?;
        Some(9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize)
    }

    /// Reads more bytes, or notes the end. `false` when nothing comes in time.
    fn fill(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.io.socket().set_read_timeout(Some(left)).expect("a read timeout above zero is taken");
        let mut chunk = [0; 16 * 1024];
        match self.io.read(&mut chunk) {
            Ok(0) => self.state.is_closed = true,
            Ok(count) => self.ahead.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(_) => self.state.is_closed = true,
        }
        true
    }

    /// Notes a frame, and answers it where an answer is due.
    fn note(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), String> {
        if self.partial.is_some() && kind != kind::CONTINUATION {
            return Err(format!("a frame of type {kind} inside a header block"));
        }
        let number = |bytes: &[u8]| -> Result<u32, String> {
            let bytes = bytes.first_chunk().ok_or(format!("a short frame of type {kind}"))?;
            Ok(u32::from_be_bytes(*bytes))
        };
        match kind {
            kind::DATA => self.note_data(flags, stream, payload)?,
            kind::HEADERS => {
                if flags & (flag::PADDED | flag::PRIORITY) != 0 {
                    return Err(
                        "HEADERS with padding or priority, which this client cannot read".into()
                    );
                }
                self.partial = Some((stream, flags, payload.to_vec()));
                self.note_block(flags)?;
            }
            kind::CONTINUATION => {
                let partial = self.partial.as_mut().filter(|partial| partial.0 == stream);
                partial.ok_or("CONTINUATION of nothing")?.2.extend_from_slice(payload);
                self.note_block(flags)?;
            }
            kind::RST_STREAM => {
                let code = number(payload)?;
                self.state.streams.entry(stream).or_default().reset.get_or_insert(code);
            }
            kind::SETTINGS if flags & flag::ACK != 0 => self.state.acknowledged += 1,
            kind::SETTINGS => {
                for parameter in payload.chunks_exact(6) {
                    let id = u16::from_be_bytes([parameter[0], parameter[1]]);
                    self.state.settings.insert(id, number(&parameter[2..])?);
                }
                self.send(frame(kind::SETTINGS, flag::ACK, 0, ""));
            }
            kind::PING if flags & flag::ACK != 0 => self.state.pongs.push(payload.to_vec()),
            kind::PING => self.send(frame(kind::PING, flag::ACK, 0, payload)),
            kind::GOAWAY => {
                let last = number(payload)?;
                self.state.goaways.push((last, number(payload.get(4..).unwrap_or_default())?));
            }
            kind::WINDOW_UPDATE => {
                let increment = number(payload)?;
                if increment == 0 {
                    return Err("WINDOW_UPDATE by nothing".into());
                }
                *self.state.granted.entry(stream).or_default() += i64::from(increment);
            }
            kind::PUSH_PROMISE => return Err("PUSH_PROMISE".into()),
            _ => {}
        }
        Ok(())
    }

    fn note_data(&mut self, flags: u8, id: u32, payload: &[u8]) -> Result<(), String> {
        if flags & flag::PADDED != 0 {
            return Err("DATA with padding, which this client cannot read".into());
        }
        let stream = self.state.streams.get_mut(&id).ok_or("DATA on an idle stream")?;
        if stream.is_ended || stream.status.is_none() {
            return Err("DATA before the head or behind the end".into());
        }
        stream.body.extend_from_slice(payload);
        stream.is_ended = flags & flag::END_STREAM != 0;
        let is_open = !stream.is_over();
        if self.is_granting && !payload.is_empty() {
            let count = u32::try_from(payload.len()).expect("a frame's length");
            self.send(window_update(0, count));
            if is_open {
                self.send(window_update(id, count));
            }
        }
        Ok(())
    }

    /// Notes a header block once it is whole.
    fn note_block(&mut self, flags: u8) -> Result<(), String> {
        if flags & flag::END_HEADERS == 0 {
            return Ok(());
        }
        let (id, flags, block) = self.partial.take().expect("a block was begun");
        let fields = self.decoder.decode(&block)?;
        let is_end = flags & flag::END_STREAM != 0;
        let pseudo = fields.iter().take_while(|(name, _)| name.starts_with(b":")).count();
        let status = match &fields[..pseudo] {
            [] => None,
            [(name, value)] if name == b":status" => {
                Some(String::from_utf8_lossy(value).parse::<u16>().map_err(|_| "an odd status")?)
            }
            odd => return Err(format!("pseudo-header fields {odd:?}")),
        };
        let mut regular = Fields::default();
        for (name, value) in fields.into_iter().skip(pseudo) {
            let name = String::from_utf8_lossy(&name).into_owned();
            let hop =
                ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
            let is_name = |b: u8| b > b' ' && b < 0x7f && b != b':' && !b.is_ascii_uppercase();
            if hop.contains(&name.as_str()) || name.is_empty() || !name.bytes().all(is_name) {
                return Err(format!("the field {name:?}"));
            }
            if value.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) || value != value.trim_ascii() {
                return Err(format!("the value {value:?} of {name}"));
            }
            regular.0.push((name, value));
        }
        let stream = self.state.streams.entry(id).or_default();
        match status {
            _ if stream.is_ended => return Err("HEADERS behind the end".into()),
            Some(_) if stream.status.is_some() => return Err("a second final response".into()),
            Some(status @ 100..200) if !is_end => stream.interim.push(status),
            Some(status) => {
                (stream.status, stream.fields) = (Some(status), regular);
                (stream.is_ended, stream.is_head_only) = (is_end, is_end);
            }
            None if stream.status.is_none() || !is_end => {
                return Err("a head without a status".into());
            }
            None => (stream.trailers, stream.is_ended) = (regular, true),
        }
        Ok(())
    }
}
