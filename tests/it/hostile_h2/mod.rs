//! The corpus of HTTP/2 (RFC 9113): raw frames that a proxy must refuse, or forward once in one
//! normal form.
//!
//! Each file is a table of frames with what must come of them. [`run`] plays a table against one
//! keyward and one upstream, each case on a connection of its own. After each case the connection
//! is tried with another request, and a request on a new connection must get its own answer. Where
//! the RFC leaves a choice, a table names every outcome that is safe and no other.
//!
//! Error codes are diagnostic (RFC 9113, section 7): where the RFC asks for a special code, the
//! generic `PROTOCOL_ERROR` is taken, too. That a stream or a connection ends is what is asked for.

mod fields;
mod floods;
mod frames;
mod messages;
mod opening;
mod pseudo;
mod spoofing;
mod targets;

use crate::hostile::snapshot::{Outcome, Suite};
use crate::hostile::{BROKEN, CLOSING, HostileWorld, Want, echoes, is_refusal, nothing};
use crate::support::Request;
use crate::support::h2::{Connection, Head, PREFACE, State, code, settings};

/// One outcome of a case.
#[derive(Clone)]
enum Ending {
    /// The stream is answered with one of these statuses; the upstream gets nothing.
    Answer(&'static [u16]),
    /// The stream is reset with one of these codes; no whole request reaches the upstream.
    Reset(&'static [u32]),
    /// The connection ends with GOAWAY of one of these codes, and is closed.
    GoAway(&'static [u32]),
    /// The connection is closed and nothing more is sent.
    Closed,
    /// Exactly one request at the upstream, its answer at the client.
    Forwarded(Vec<Want>),
    /// Exactly one request at the upstream, whose answer cannot be passed on: one of these statuses
    /// at the client.
    Failed(&'static [u16]),
}

struct Case {
    name: String,
    /// The frames behind the preface and empty SETTINGS, or every byte of a raw case.
    send: Vec<u8>,
    is_raw: bool,
    /// The stream that is looked at.
    stream: u32,
    /// Each of these is right.
    ends: Vec<Ending>,
}

impl Case {
    /// Every byte is in the case: nothing is sent before.
    fn raw(mut self) -> Self {
        self.is_raw = true;
        self
    }

    /// Looks at this stream in place of stream 1.
    fn on(mut self, stream: u32) -> Self {
        self.stream = stream;
        self
    }

    /// Another outcome is right as well.
    fn or(mut self, end: Ending) -> Self {
        self.ends.push(end);
        self
    }
}

fn case(name: &str, send: impl AsRef<[u8]>, end: Ending) -> Case {
    let send = send.as_ref().to_vec();
    Case { name: name.into(), send, is_raw: false, stream: 1, ends: vec![end] }
}

/// Answered with one of these statuses.
fn answered(name: &str, statuses: &'static [u16], send: impl AsRef<[u8]>) -> Case {
    case(name, send, Ending::Answer(statuses))
}

/// A malformed request (section 8.1.1): a stream error, before which 400 may be said.
fn malformed(name: &str, send: impl AsRef<[u8]>) -> Case {
    case(name, send, Ending::Reset(&[code::PROTOCOL_ERROR])).or(Ending::Answer(&[400]))
}

/// A name or a value that no field may have (section 8.2.1). It is malformed, and a codec that
/// cannot represent it may end the connection (section 5.4.1).
fn unspeakable(name: &str, send: impl AsRef<[u8]>) -> Case {
    let codes = &[code::PROTOCOL_ERROR, code::COMPRESSION_ERROR];
    malformed(name, send).or(Ending::GoAway(codes))
}

/// A stream error of one of these codes.
fn stream_error(name: &str, codes: &'static [u32], send: impl AsRef<[u8]>) -> Case {
    case(name, send, Ending::Reset(codes))
}

/// A connection error of one of these codes.
fn connection_error(name: &str, codes: &'static [u32], send: impl AsRef<[u8]>) -> Case {
    case(name, send, Ending::GoAway(codes))
}

fn forwarded<const N: usize>(name: &str, send: impl AsRef<[u8]>, wants: [Want; N]) -> Case {
    case(name, send, Ending::Forwarded(wants.to_vec()))
}

/// Declined with one of these statuses, or forwarded.
fn either<const N: usize>(
    name: &str,
    statuses: &'static [u16],
    send: impl AsRef<[u8]>,
    wants: [Want; N],
) -> Case {
    forwarded(name, send, wants).or(Ending::Answer(statuses))
}

/// Malformed, or forwarded.
fn malformed_or<const N: usize>(name: &str, send: impl AsRef<[u8]>, wants: [Want; N]) -> Case {
    malformed(name, send).or(Ending::Forwarded(wants.to_vec()))
}

/// `GET /public/x`, for more fields.
fn public() -> Head {
    Head::get("/public/x")
}

/// `GET /private/x` with this token, for more fields.
fn private(token: &str) -> Head {
    Head::get("/private/x").with("authorization", format!("Bearer {token}"))
}

/// A target that other requests of a case use: what the upstream gets of it is not counted.
const BEFORE: &str = "/public/before";

/// A stream that no case uses.
const AFTER: u32 = 100_001;

/// What was seen to come of a case.
#[derive(Debug)]
enum Seen {
    Answer(u16),
    Reset(u32),
    GoAway(u32),
    Closed,
}

impl Seen {
    /// As the snapshot writes it.
    fn text(&self) -> String {
        match self {
            Self::Answer(status) => status.to_string(),
            Self::Reset(error) => format!("reset {}", code::name(*error)),
            Self::GoAway(error) => format!("goaway {}", code::name(*error)),
            Self::Closed => "none".to_owned(),
        }
    }
}

fn play(world: &HostileWorld, case: &Case) -> Result<Outcome, String> {
    world.upstream.take();
    let mut connection = Connection::raw(world.keyward.address()).with_timeout(CLOSING);
    let opening = if case.is_raw { Vec::new() } else { [PREFACE, &settings(&[])].concat() };
    connection.send([opening, case.send.clone()].concat());
    let seen = look(&mut connection, case)?;
    if let Some(odd) = connection.state.odd.first() {
        return Err(format!("the server sent what it may not: {odd}"));
    }
    sentinel(world)?;
    let at_upstream = at_upstream(world)?;
    let mut why = Vec::new();
    for end in &case.ends {
        match judge(world, end, &seen, &connection.state, case.stream, &at_upstream) {
            Ok(()) => {
                let is_kept = !connection.state.is_closed;
                return Ok(Outcome { answer: seen.text(), is_kept, forwarded: at_upstream.len() });
            }
            Err(what) => why.push(what),
        }
    }
    why.dedup();
    Err(format!("{seen:?}: {}", why.join("; ")))
}

/// Waits for what comes of the case, and tries the connection with another request if it lives.
fn look(connection: &mut Connection, case: &Case) -> Result<Seen, String> {
    let of_connection =
        case.ends.iter().all(|end| matches!(end, Ending::GoAway(_) | Ending::Closed));
    let is_over = |state: &State| state.is_closed || state.error().is_some();
    let stream = case.stream;
    let in_time =
        connection.read_until(|state| is_over(state) || !of_connection && state.is_over(stream));
    if !in_time {
        let what = if of_connection { "the connection lives on" } else { "nothing comes of it" };
        return Err(format!("{what}: {:?}", connection.state));
    }
    if !is_over(&connection.state) {
        connection.send(Head::get("/public/after").whole(AFTER));
        if !connection.read_until(|state| is_over(state) || state.is_over(AFTER)) {
            return Err(format!("the connection is out of step: {:?}", connection.state));
        }
    }
    if is_over(&connection.state) {
        if !connection.closes() {
            return Err(format!("the connection is not closed: {:?}", connection.state));
        }
        let answer = connection.state.stream(stream);
        return Ok(match (connection.state.error(), answer.status) {
            (Some(code), _) => Seen::GoAway(code),
            // Closed in good order behind the answer, as after a GOAWAY of the client's.
            (None, Some(status)) if answer.is_ended && !connection.state.goaways.is_empty() => {
                Seen::Answer(status)
            }
            (None, _) => Seen::Closed,
        });
    }
    let after = connection.state.stream(AFTER);
    let after = after.response().ok_or(format!("the next request is not answered: {after:?}"))?;
    echoes(&after, "/public/after")?;
    let seen = connection.state.stream(stream);
    match (seen.is_ended, seen.status, seen.reset) {
        (true, Some(status), _) => Ok(Seen::Answer(status)),
        (_, _, Some(code)) => Ok(Seen::Reset(code)),
        _ => Err(format!("a stream that is over, and is not: {seen:?}")),
    }
}

fn judge(
    world: &HostileWorld,
    end: &Ending,
    seen: &Seen,
    state: &State,
    stream: u32,
    at_upstream: &[Request],
) -> Result<(), String> {
    let among = |codes: &[u32], found: &u32| match codes.contains(found) {
        true => nothing(at_upstream),
        false => Err(format!("not one of the codes {codes:?}")),
    };
    match (end, seen) {
        (Ending::Answer(statuses), Seen::Answer(status)) => {
            if !statuses.contains(status) {
                return Err(format!("not one of {statuses:?}"));
            }
            let answer = state.stream(stream);
            // What the codec refuses by itself has no body: it never was a request.
            if !(*status == 431 && answer.is_head_only) {
                is_refusal(&answer.response().ok_or("no response")?)?;
            }
            nothing(at_upstream)
        }
        (Ending::Reset(codes), Seen::Reset(found)) => among(codes, found),
        (Ending::GoAway(codes), Seen::GoAway(found)) => among(codes, found),
        (Ending::Closed, Seen::Closed) => nothing(at_upstream),
        (Ending::Forwarded(wants), Seen::Answer(200)) => {
            let [request] = at_upstream else {
                let got = at_upstream.iter().map(|request| &request.target).collect::<Vec<_>>();
                return Err(format!("answered, and the upstream received {got:?}"));
            };
            world.normal(request)?;
            wants.iter().try_for_each(|want| want.check(request))
        }
        (Ending::Failed(statuses), Seen::Answer(status)) if statuses.contains(status) => {
            is_refusal(&state.stream(stream).response().ok_or("no response")?)?;
            match at_upstream {
                [request] => world.normal(request),
                _ => Err(format!("the upstream received {} requests", at_upstream.len())),
            }
        }
        (Ending::Answer(statuses) | Ending::Failed(statuses), _) => {
            Err(format!("not answered with one of {statuses:?}"))
        }
        (Ending::Reset(codes), _) => Err(format!("not reset with one of {codes:?}")),
        (Ending::GoAway(codes), _) => Err(format!("no GOAWAY with one of {codes:?}")),
        (Ending::Closed, _) => Err("not closed without an answer".into()),
        (Ending::Forwarded(_), _) => Err("not forwarded".into()),
    }
}

/// A harmless request on a connection of its own gets its own answer.
fn sentinel(world: &HostileWorld) -> Result<(), String> {
    let mut connection = Connection::open(world.keyward.address()).with_timeout(CLOSING);
    let id = connection.request(&Head::get("/public/sentinel"));
    connection.read_until(|state| state.is_over(id));
    let answer = connection.state.stream(id).response();
    echoes(
        &answer.ok_or(format!("the sentinel got no answer: {:?}", connection.state))?,
        "/public/sentinel",
    )
}

/// What the upstream received of a case, in whole requests.
fn at_upstream(world: &HostileWorld) -> Result<Vec<Request>, String> {
    let log = world.upstream.take();
    let others = ["/public/after", "/public/sentinel", BEFORE];
    if let Some(odd) = log.broken.iter().find(|what| !what.contains(BROKEN)) {
        return Err(format!("the upstream received half a request or none: {odd}"));
    }
    let is_counted = |request: &Request| !others.contains(&request.target.as_str());
    Ok(log.requests.into_iter().filter(is_counted).collect())
}

/// Plays a table; reports every case that goes wrong or differs from the snapshot, not only the
/// first.
fn run(theme: &str, cases: impl FnOnce(&str) -> Vec<Case>) {
    let world = HostileWorld::start();
    let cases = cases(&world.issued.token);
    let played =
        cases.iter().map(|case| (case.name.as_str(), case.send.as_slice(), play(&world, case)));
    Suite::new("http2", theme).settle(played);
}

/// The suite and the name of every case. Floods are none: how they are held is a matter of time.
pub(crate) fn names() -> Vec<(String, String)> {
    let tables = [
        ("fields", fields::cases("")),
        ("frames", frames::cases("")),
        ("messages", messages::cases("")),
        ("opening", opening::cases("")),
        ("pseudo", pseudo::cases("")),
        ("spoofing", spoofing::cases("")),
        ("targets", targets::cases("")),
    ];
    let of = |(theme, cases): (&str, Vec<Case>)| -> Vec<(String, String)> {
        cases.into_iter().map(|case| (format!("http2 {theme}"), case.name)).collect()
    };
    tables.into_iter().flat_map(of).collect()
}

#[test]
fn the_corpus_of_http2_has_at_least_112_cases_and_14_floods_and_no_name_twice() {
    let mut names = names();
    eprintln!("the corpus has {} cases of HTTP/2, and {} floods", names.len(), floods::NAMES.len());
    assert!(names.len() >= 112, "only {} cases", names.len());
    assert!(floods::NAMES.len() >= 14, "only {} floods", floods::NAMES.len());
    names.extend(floods::NAMES.iter().map(|&name| ("floods".to_owned(), name.to_owned())));
    names.sort();
    let twice: Vec<_> =
        names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(twice.is_empty(), "the same name twice: {twice:?}");
}
