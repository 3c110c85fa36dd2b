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
mod pipelining;
mod responses;
pub(crate) mod snapshot;
mod spoofing;
mod targets;
mod upgrade;

use std::time::Duration;

use snapshot::{Outcome, Suite};

use crate::support::{
    Client, Fault, Issued, Person, Plan, Request, Response, Upstream, World, json,
};

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

/// `POST /public/x` with these field lines (each with its CRLF) and whatever follows the head.
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

/// One keyward, one upstream, one person with a token.
pub(crate) struct Range {
    pub(crate) world: World,
    pub(crate) upstream: Upstream,
    pub(crate) issued: Issued,
}

const PERSON: Person = Person::ALICE;

/// How long a refused connection may stay open.
pub(crate) const CLOSING: Duration = Duration::from_secs(5);

/// A target that marks requests whose body breaks off: what the upstream saw of them may be logged
/// late.
pub(crate) const BROKEN: &str = "/public/broken";

impl Range {
    pub(crate) fn open() -> Self {
        let upstream = Upstream::start();
        Self::of(Plan::usual(&upstream), upstream)
    }

    /// The same by another plan for this upstream.
    pub(crate) fn of(plan: Plan, upstream: Upstream) -> Self {
        let world = plan.start();
        let issued = world.key(PERSON);
        Self { world, upstream, issued }
    }

    fn client(&self) -> Client {
        self.world.client().with_patience(CLOSING)
    }

    /// A harmless request on a connection of its own gets its own answer.
    pub(crate) fn sentinel(&self) -> Result<(), String> {
        let mut client = self.client();
        client
            .send("GET /public/sentinel HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        match client.final_response("GET") {
            Ok((response, _)) => echoes(&response, "/public/sentinel"),
            Err(fault) => Err(format!("the sentinel got no answer: {fault:?}")),
        }
    }

    fn play(&self, case: &Case) -> Result<Outcome, String> {
        self.upstream.take();
        let send = replace(&case.send, b"@TOKEN@", self.issued.token.as_bytes());
        let method = send.split(|&b| b == b' ').next().unwrap_or_default();
        let method = String::from_utf8_lossy(method).into_owned();
        let mut client = self.client();
        client.send(&send);
        if case.finish {
            client.finish();
        }
        match &case.expect {
            Expect::Answers(statuses, targets) => self.play_answers(&mut client, statuses, targets),
            expect => self.play_one(&mut client, &method, case.finish, expect),
        }
        .map_err(|what| format!("{what}\n    the client read: {:?}", shown(client.seen())))
    }

    fn play_one(
        &self,
        client: &mut Client,
        method: &str,
        finish: bool,
        expect: &Expect,
    ) -> Result<Outcome, String> {
        let answer = match client.final_response(method) {
            Ok((response, interim)) => {
                if let Some(odd) = interim.iter().find(|one| !matches!(one.status, 100 | 103)) {
                    return Err(format!("an interim answer {}", odd.status));
                }
                Some(response)
            }
            Err(Fault::Closed) => None,
            Err(fault) => return Err(format!("no answer: {fault:?}")),
        };
        let is_kept = match &answer {
            Some(response) => self.go_on(client, response, expect, finish)?,
            None if matches!(expect, Expect::Cut(_))
                || (finish && matches!(expect, Expect::Broken(_))) =>
            {
                false
            }
            None => return Err("closed without an answer".into()),
        };
        self.sentinel()?;
        let status = answer.as_ref().map(|response| response.status);
        let at_upstream = self.at_upstream()?;
        let among = |statuses: &[u16]| match status {
            Some(status) if !statuses.contains(&status) => {
                Err(format!("answered {status}, not {statuses:?}"))
            }
            _ => answer.as_ref().map_or(Ok(()), is_refusal),
        };
        match expect {
            Expect::Refused(statuses) | Expect::Declined(statuses) | Expect::Cut(statuses) => {
                among(statuses)?;
                nothing(&at_upstream)
            }
            Expect::Broken(statuses) => {
                among(statuses)?;
                nothing(&at_upstream)
            }
            Expect::Either(statuses, _) if at_upstream.is_empty() => among(statuses),
            Expect::Forwarded(wants) | Expect::Either(_, wants) => {
                let response = answer.as_ref().ok_or("no answer")?;
                let [request] = at_upstream.as_slice() else {
                    let got = at_upstream.iter().map(|request| &request.target).collect::<Vec<_>>();
                    return Err(format!("answered {status:?}, and the upstream received {got:?}"));
                };
                if response.status != 200 {
                    return Err(format!("forwarded, but answered {status:?}"));
                }
                self.normal(request)?;
                wants.iter().try_for_each(|want| want.check(request))
            }
            Expect::Answers(..) => Err("a sequence is played elsewhere".into()),
        }?;
        let answer = status.map_or("none".to_owned(), |status| status.to_string());
        Ok(Outcome { answer, is_kept, forwarded: at_upstream.len() })
    }

    /// After the answer: the connection is closed if it must be, else it is closed or still in
    /// step. Says whether it is kept.
    fn go_on(
        &self,
        client: &mut Client,
        response: &Response,
        expect: &Expect,
        finish: bool,
    ) -> Result<bool, String> {
        let must_close = matches!(expect, Expect::Refused(_) | Expect::Cut(_) | Expect::Broken(_));
        if must_close || finish || response.until_close {
            return match client.rest() {
                Ok(rest) if rest.is_empty() => Ok(false),
                Ok(rest) => Err(format!("more bytes after the answer: {:?}", shown(&rest))),
                Err(_) => {
                    Err(format!("answered {}, but the connection stays open", response.status))
                }
            };
        }
        client.send("GET /public/after HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        match client.final_response("GET") {
            Err(Fault::Closed) => Ok(false),
            Ok((response, _)) => echoes(&response, "/public/after").map(|()| true),
            Err(fault) => Err(format!("the connection is out of step: {fault:?}")),
        }
    }

    /// What the upstream received of this case, in whole requests.
    fn at_upstream(&self) -> Result<Vec<Request>, String> {
        let log = self.upstream.take();
        let others = ["/public/after", "/public/sentinel", BROKEN];
        if let Some(odd) = log.broken.iter().find(|what| !what.contains(BROKEN)) {
            return Err(format!("the upstream received half a request or none: {odd}"));
        }
        let requests = log.requests.into_iter();
        Ok(requests
            .filter(|request| {
                request.target == BROKEN || !others.contains(&request.target.as_str())
            })
            .collect())
    }

    fn play_answers(
        &self,
        client: &mut Client,
        statuses: &[&[u16]],
        targets: &[&str],
    ) -> Result<Outcome, String> {
        let mut seen = Vec::new();
        for (nth, allowed) in statuses.iter().enumerate() {
            let (response, _) = match client.final_response("GET") {
                Ok(answer) => answer,
                Err(fault) => return Err(format!("no answer {nth}: {fault:?}")),
            };
            if !allowed.contains(&response.status) {
                return Err(format!("answer {nth} is {}, not {allowed:?}", response.status));
            }
            if response.status != 200 {
                is_refusal(&response)?;
            }
            seen.push(response.status.to_string());
        }
        client.finish();
        match client.rest() {
            Ok(rest) if rest.is_empty() => {}
            other => return Err(format!("after the last answer: {other:?}")),
        }
        self.sentinel()?;
        let got = self.at_upstream()?;
        got.iter().try_for_each(|request| self.normal(request))?;
        let got: Vec<_> = got.iter().map(|request| request.target.as_str()).collect();
        if got != targets {
            return Err(format!("the upstream received {got:?}, not {targets:?}"));
        }
        Ok(Outcome { answer: seen.join(" "), is_kept: false, forwarded: got.len() })
    }

    /// The one form in which keyward forwards: RELIABILITY's checklist, seen from the upstream.
    pub(crate) fn normal(&self, request: &Request) -> Result<(), String> {
        let fields = &request.fields;
        let path = request.target.split('?').next().unwrap_or_default();
        let hidden = ["%2f", "%5c", "%00", "%2e", "//", "/../", "/./", "..;", "#", "\\"];
        if !path.starts_with('/')
            || hidden.iter().any(|bad| path.to_ascii_lowercase().contains(bad))
        {
            return Err(format!("the path {path:?} is not in normal form"));
        }
        if !request.trailers.0.is_empty() {
            return Err(format!("trailers reached the upstream: {:?}", request.trailers));
        }
        let host = fields
            .one("host")
            .filter(|host| !host.is_empty())
            .ok_or("not exactly one Host, or an empty one")?;
        let websocket =
            fields.one("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
        let hop_by_hop = [
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "trailer",
            "http2-settings",
            "te",
            "connection",
        ];
        for name in hop_by_hop {
            let fine = (name == "te" && fields.one("te").is_some_and(|te| te.eq_ignore_ascii_case("trailers")))
                || (name == "connection" && websocket)
                // RFC 9110, 10.1.4: who sends TE lists it.
                || (name == "connection" && fields.has("te") && fields.all(name).iter().all(|value| value.eq_ignore_ascii_case("te")));
            if fields.has(name) && !fine {
                return Err(format!(
                    "{name} is hop-by-hop and reached the upstream: {:?}",
                    fields.all(name)
                ));
            }
        }
        if fields.has("upgrade") && !websocket {
            return Err(format!("Upgrade reached the upstream: {:?}", fields.all("upgrade")));
        }
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", host.as_str()),
        ] {
            if fields.all(name) != [value] {
                return Err(format!("{name} is {:?}, not once {value:?}", fields.all(name)));
            }
        }
        for name in ["forwarded", "x-request-id", "via"] {
            fields.one(name).ok_or(format!("not exactly one {name}: {:?}", fields.all(name)))?;
        }
        for (name, value) in &fields.0 {
            let folded: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
                .collect();
            let ours = folded.starts_with("x-keyward-")
                || [
                    "x-forwarded-for",
                    "x-forwarded-proto",
                    "x-forwarded-host",
                    "forwarded",
                    "x-request-id",
                ]
                .contains(&folded.as_str());
            if ours && !name.eq_ignore_ascii_case(&folded) {
                return Err(format!("the alias {name} reached the upstream"));
            }
            if ours
                && (fields.all(name).len() != 1 || String::from_utf8_lossy(value).contains("evil"))
            {
                return Err(format!("{name} is not ours alone: {:?}", fields.all(name)));
            }
        }
        let identity = [
            ("x-keyward-subject", PERSON.subject),
            ("x-keyward-username", PERSON.username),
            ("x-keyward-organization", PERSON.organization),
            ("x-keyward-role", PERSON.role),
            ("x-keyward-token-id", self.issued.jti.as_str()),
            ("x-keyward-credential", "jarvispy"),
        ];
        let private = path.starts_with("/private/");
        for (name, value) in identity {
            let right = if private { fields.all(name) == [value] } else { !fields.has(name) };
            if !right {
                return Err(format!("{name} is {:?} on {path}", fields.all(name)));
            }
        }
        if fields.has("x-keyward-email") || (private && fields.has("authorization")) {
            return Err("an e-mail address or the credential reached the upstream".into());
        }
        Ok(())
    }
}

impl Want {
    pub(crate) fn check(&self, request: &Request) -> Result<(), String> {
        let right = match self {
            Self::Target(target) => request.target == *target,
            Self::Method(method) => request.method == *method,
            Self::Host(host) => request.fields.all("host") == [*host],
            Self::Body(body) => request.body == *body,
            Self::Field(name, value) => request.fields.all(name) == [*value],
            Self::Without(name) => !request.fields.has(name),
        };
        if right {
            Ok(())
        } else {
            Err(format!("the upstream received {request:?}, against {self:?}"))
        }
    }
}

impl std::fmt::Debug for Want {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Target(target) => write!(f, "target {target}"),
            Self::Method(method) => write!(f, "method {method}"),
            Self::Host(host) => write!(f, "host {host}"),
            Self::Body(body) => write!(f, "body {:?}", String::from_utf8_lossy(body)),
            Self::Field(name, value) => write!(f, "{name}: {value}"),
            Self::Without(name) => write!(f, "no {name}"),
        }
    }
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
    let range = Range::open();
    let played =
        cases.iter().map(|case| (case.name.as_str(), case.send.as_slice(), range.play(case)));
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
