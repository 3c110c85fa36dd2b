//! The corpus: raw HTTP/1.1 that a proxy must refuse with the connection closed, or forward once in
//! one normal form.
//!
//! Each file is a table of literal bytes with what must come of them. [`run`] plays a table against
//! one keyward and one upstream, case after case, so that what a case leaves behind shows in the
//! next; after each of them a *sentinel* (a harmless request on a connection of its own) must
//! arrive and get its own answer. Where RFC 9110 and RFC 9112 leave a choice, the table names every
//! answer that is safe, never one that is not. Which of them it is, is in [`snapshot`].

mod authorization;
mod chunks;
mod connection;
mod expect;
mod fields;
mod framing;
mod host;
mod normal_form;
mod pipelining;
mod responses;
pub(crate) mod snapshot;
mod spoofing;
mod targets;
mod upgrade;
mod world;

use snapshot::Suite;
pub(crate) use world::{BROKEN, CLOSING, HostileWorld};

use crate::support::{Request, Response, json};

/// What the upstream must have received, beyond the normal form that every forwarded request has.
#[derive(Clone)]
pub(crate) enum Want {
    Target(&'static str),
    Method(&'static str),
    Host(&'static str),
    Body(&'static [u8]),
    /// This field exactly once, with this value.
    Field(&'static str, &'static str),
    /// No field of this name.
    Without(&'static str),
}

/// What must come of a case.
enum Expect {
    /// One of these answers, the connection closed, nothing at the upstream.
    Refused(&'static [u16]),
    /// One of these answers and nothing at the upstream; the connection may live on.
    Declined(&'static [u16]),
    /// One of these answers or none at all, the connection closed, nothing at the upstream.
    Cut(&'static [u16]),
    /// One of these answers (or none, if the client has stopped sending), the connection closed.
    /// The head may have reached the upstream, the whole request not.
    Broken(&'static [u16]),
    /// Exactly one request at the upstream, its answer at the client.
    Forwarded(Vec<Want>),
    /// Either declined with one of these answers, or forwarded.
    Either(&'static [u16], Vec<Want>),
    /// These answers in this order, these targets at the upstream in this order, and no more of
    /// either.
    Answers(Vec<&'static [u16]>, Vec<&'static str>),
}

struct Case {
    name: String,
    send: Vec<u8>,
    /// The client closes its sending side after the bytes.
    finish: bool,
    expect: Expect,
}

impl Case {
    fn then_finish(mut self) -> Self {
        self.finish = true;
        self
    }
}

fn case(name: &str, send: impl AsRef<[u8]>, expect: Expect) -> Case {
    Case { name: name.into(), send: send.as_ref().to_vec(), finish: false, expect }
}

fn refused(name: &str, statuses: &'static [u16], send: impl AsRef<[u8]>) -> Case {
    case(name, send, Expect::Refused(statuses))
}

fn declined(name: &str, statuses: &'static [u16], send: impl AsRef<[u8]>) -> Case {
    case(name, send, Expect::Declined(statuses))
}

fn cut(name: &str, statuses: &'static [u16], send: impl AsRef<[u8]>) -> Case {
    case(name, send, Expect::Cut(statuses))
}

fn broken(name: &str, statuses: &'static [u16], send: impl AsRef<[u8]>) -> Case {
    case(name, send, Expect::Broken(statuses))
}

fn forwarded<const N: usize>(name: &str, send: impl AsRef<[u8]>, wants: [Want; N]) -> Case {
    case(name, send, Expect::Forwarded(wants.to_vec()))
}

fn either<const N: usize>(
    name: &str,
    statuses: &'static [u16],
    send: impl AsRef<[u8]>,
    wants: [Want; N],
) -> Case {
    case(name, send, Expect::Either(statuses, wants.to_vec()))
}

fn answers<const A: usize, const T: usize>(
    name: &str,
    send: impl AsRef<[u8]>,
    statuses: [&'static [u16]; A],
    targets: [&'static str; T],
) -> Case {
    case(name, send, Expect::Answers(statuses.to_vec(), targets.to_vec()))
}

/// `POST /public/x` with these field lines (each with its CRLF) and the bytes that follow the head.
fn post(lines: &str, rest: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("POST /public/x HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
    [head.as_bytes(), rest.as_ref()].concat()
}

/// `GET /public/x` with these field lines (each with its CRLF), which need not be text.
fn get(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET /public/x HTTP/1.1\r\nHost: a.example\r\n", lines.as_ref(), b"\r\n"].concat()
}

/// `GET /private/x` with the test's token and these field lines.
fn private(lines: &str) -> Vec<u8> {
    format!(
        "GET /private/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer @TOKEN@\r\n{lines}\r\n"
    )
    .into_bytes()
}

/// A GET of this target, which need not be text.
fn get_target(target: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET ", target.as_ref(), b" HTTP/1.1\r\nHost: a.example\r\n\r\n"].concat()
}

pub(crate) fn nothing(requests: &[Request]) -> Result<(), String> {
    if requests.is_empty() { Ok(()) } else { Err(format!("the upstream received {requests:?}")) }
}

/// The answer is the upstream's echo of this target, so it is the answer to this request and no
/// other.
pub(crate) fn echoes(response: &Response, target: &str) -> Result<(), String> {
    if response.status != 200 {
        return Err(format!("{target} got {response}"));
    }
    match serde_json::from_slice::<serde_json::Value>(&response.body) {
        Ok(body) if body["target"] == target => Ok(()),
        _ => Err(format!("{target} got another's answer: {response}")),
    }
}

/// A refusal of keyward's own: a problem document (RFC 9457) that no cache keeps.
pub(crate) fn is_refusal(response: &Response) -> Result<(), String> {
    let fields = &response.fields;
    if fields.one("content-type").as_deref() != Some("application/problem+json") {
        return Err(format!("a refusal that is no problem document: {response}"));
    }
    if !fields.one("cache-control").is_some_and(|value| value.contains("no-store")) {
        return Err(format!("a refusal that caches may keep: {response}"));
    }
    if json(response)["status"] != response.status {
        return Err(format!("the problem document names another status: {response}"));
    }
    let challenge = fields.one("www-authenticate").unwrap_or_default();
    if response.status == 401 && !challenge.starts_with("Bearer") {
        return Err(format!("401 without a Bearer challenge: {response}"));
    }
    Ok(())
}

/// Plays a table; reports every case that goes wrong or differs from the snapshot, not only the
/// first.
fn run(theme: &str, cases: &[Case]) {
    let world = HostileWorld::start();
    let played =
        cases.iter().map(|case| (case.name.as_str(), case.send.as_slice(), world.play(case)));
    Suite::new("http1", theme).settle(played);
}

pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
    if bytes.len() > 400 { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    result.extend_from_slice(rest);
    result
}

/// The suite and the name of every case.
fn names() -> Vec<(String, String)> {
    let tables = [
        ("authorization", authorization::cases()),
        ("chunks", chunks::cases()),
        ("connection", connection::cases()),
        ("expect", expect::cases()),
        ("fields", fields::cases()),
        ("framing", framing::cases()),
        ("host", host::cases()),
        ("pipelining", pipelining::cases()),
        ("spoofing", spoofing::cases()),
        ("targets", targets::cases()),
        ("upgrade", upgrade::cases()),
    ];
    let of = |(theme, cases): (&str, Vec<Case>)| -> Vec<(String, String)> {
        cases.into_iter().map(|case| (format!("http1 {theme}"), case.name)).collect()
    };
    let mut names: Vec<_> = tables.into_iter().flat_map(of).collect();
    names.extend(responses::names().map(|name| ("http1 responses".to_owned(), name)));
    names
}

#[test]
fn the_corpus_has_at_least_371_cases_and_no_name_twice() {
    let mut names = names();
    eprintln!("the corpus has {} cases", names.len());
    names.sort();
    let twice: Vec<_> =
        names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(twice.is_empty(), "the same name twice: {twice:?}");
    assert!(names.len() >= 371, "only {} cases", names.len());
}
