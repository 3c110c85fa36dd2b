//! Under load, everything changes, and no request fails: a hundred reloads, twenty changes of
//! certificates, five changes of the process.
//!
//! The clients are ordinary ones. They keep their connections, over HTTP/1.1 and HTTP/2, in the
//! clear and with TLS; they begin a new one where the response says `Connection: close` or the
//! server has said GOAWAY; and they send no request twice.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Scope;
use std::time::Duration;

use crate::support::h2::{Connection, Head};
use crate::support::redis::{RedisServer, free_port};
use crate::support::tls::{self, SelfSigned};
use crate::support::{
    Act, Client, Gate, Ongoing, Plan, Reply, Response, TestUser, Upstream, World, eventually, open,
};

/// The name in all certificates.
const NAME: &str = "a.example";

/// How often everything changes: more in the long form.
fn times(usual: usize) -> usize {
    let is_long = std::env::var_os("KEYWARD_LONG").is_some();
    if is_long { usual * 10 } else { usual }
}

/// Requests that go on until it is over.
#[derive(Default)]
struct Load {
    is_over: AtomicBool,
    /// Each has begun.
    clients: AtomicUsize,
    answered: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

/// A loop of requests, which gets one answer at a time.
trait Connected {
    /// The answer to the next request, and whether the connection is to be left; an error: none
    /// came.
    fn ask(&mut self, turn: usize) -> Result<(Response, bool), String>;
}

/// Over HTTP/1.1, these requests in turn.
struct Http1<'a>(Client, &'a [Vec<u8>]);

impl Connected for Http1<'_> {
    fn ask(&mut self, turn: usize) -> Result<(Response, bool), String> {
        let Self(client, requests) = self;
        client.try_send(&requests[turn % requests.len()]).map_err(|fault| fault.to_string())?;
        let (response, _) = client.final_response("GET").map_err(|fault| format!("{fault:?}"))?;
        let closes = response.fields.one("connection").as_deref() == Some("close");
        Ok((response, closes))
    }
}

/// Over HTTP/2, GET and POST in turn.
struct Http2<'a>(Connection, &'a str);

impl Connected for Http2<'_> {
    fn ask(&mut self, turn: usize) -> Result<(Response, bool), String> {
        let Self(connection, token) = self;
        let authorization = format!("Bearer {token}");
        let id = connection.next_id();
        connection.send(if turn.is_multiple_of(2) {
            Head::get("/private/x").with("authorization", authorization).whole(id)
        } else {
            let head = Head::post("/private/x").with("authorization", authorization);
            head.with_body(id, vec![b'b'; 2000])
        });
        let is_answered =
            connection.read_until(|state| state.stream(id).is_over() || state.is_closed);
        let stream = connection.state.stream(id);
        match stream.response() {
            Some(response) if is_answered && stream.is_ended => {
                Ok((response, !connection.state.goaways.is_empty()))
            }
            _ => Err(format!("{:?}", connection.state)),
        }
    }
}

impl Load {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Requests on connections that `connect` makes, until it is over.
    fn run<C: Connected>(&self, what: &str, pause: bool, connect: impl Fn() -> C) {
        let mut connected = None;
        for turn in 0.. {
            if self.is_over() {
                return;
            }
            let outcome = connected.get_or_insert_with(&connect).ask(turn);
            match outcome {
                Ok((response, closes)) if response.status == 200 => {
                    self.answered.fetch_add(1, Ordering::SeqCst);
                    if closes {
                        connected = None;
                    }
                }
                other => {
                    let failure = format!("{what}, request {turn}: {other:?}");
                    self.failures.lock().expect("no panic").push(failure);
                    connected = None;
                }
            }
            if turn == 0 {
                self.clients.fetch_add(1, Ordering::SeqCst);
            }
            // Some clients have something to think about.
            if pause {
                std::thread::park_timeout(Duration::from_millis((turn % 23) as u64));
            }
        }
    }

    /// Ends it. No request has failed, and many were answered.
    #[track_caller]
    fn conclude(&self, world: &World) {
        self.is_over.store(true, Ordering::SeqCst);
        let failures = self.failures.lock().expect("no panic");
        let first: Vec<_> = failures.iter().take(5).collect();
        assert!(failures.is_empty(), "{} failed: {first:#?}\n{}", failures.len(), world.output());
        assert!(self.answered.load(Ordering::SeqCst) > 100);
    }
}

/// Where the clients of a test connect to, and what they trust.
struct Places<'a> {
    clear: SocketAddr,
    tls: SocketAddr,
    certificates: &'a [SelfSigned],
    token: &'a str,
    requests: &'a [Vec<u8>],
}

/// GET and POST, with and without a token.
fn requests(token: &str) -> Vec<Vec<u8>> {
    let body = "b".repeat(3000);
    let authorization = format!("Authorization: Bearer {token}\r\n");
    let mut requests = Vec::new();
    for (path, fields) in [("/public/x", ""), ("/private/x", authorization.as_str())] {
        requests.push(format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\n{fields}\r\n"));
        requests.push(format!(
            "POST {path} HTTP/1.1\r\nHost: {NAME}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }
    requests.into_iter().map(String::into_bytes).collect()
}

/// Starts the clients, and waits until each has had an answer.
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    load: &'scope Load,
    places: &'scope Places<'scope>,
) {
    let Places { clear, tls, token, requests, .. } = *places;
    let trusted = move || places.certificates.iter().collect::<Vec<_>>();
    for pause in [false, true] {
        scope.spawn(move || {
            load.run("HTTP/1.1", pause, || Http1(Client::connect(clear), requests));
        });
        scope.spawn(move || {
            load.run("HTTP/1.1 with TLS", pause, || {
                let client = tls::connect(tls, NAME, &trusted()).expect("a handshake");
                Http1(client, requests)
            });
        });
        scope.spawn(move || {
            load.run("HTTP/2", pause, || Http2(Connection::open(clear), token));
        });
    }
    scope.spawn(move || {
        load.run("HTTP/2 with TLS", false, || {
            let stream = tls::handshake(tls, NAME, &trusted(), None, &["h2"]).expect("a handshake");
            let mut connection = Connection::over(stream);
            connection.begin(&[]);
            Http2(connection, token)
        });
    });
    // A connection for each request.
    scope.spawn(move || {
        let closing: Vec<Vec<u8>> = requests
            .iter()
            .map(|request| {
                let text = String::from_utf8_lossy(request);
                text.replacen("\r\n", "\r\nConnection: close\r\n", 1).into_bytes()
            })
            .collect();
        load.run("a new connection", false, || Http1(Client::connect(clear), &closing));
    });
    let has_begun = || load.clients.load(Ordering::SeqCst) == 8;
    assert!(eventually(has_begun), "{:?}", load.failures.lock());
}

/// An event stream of which the first event has come. The second one comes when the gate is opened.
fn events(world: &World, upstream: &Upstream, token: &str) -> (Client, Gate) {
    let gate = Gate::default();
    let begin = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                  Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let acts = [
        Act::Send(begin.into()),
        Act::Wait(gate.clone()),
        Act::Send(b"6\r\nsecond\r\n".into()),
        Act::Wait(Gate::default()),
    ];
    upstream.answer("/private/sse", Reply::acts(acts));
    let mut client = world.client();
    client.send(format!(
        "GET /private/sse HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {token}\r\n\r\n"
    ));
    read_to(&mut client, "first");
    (client, gate)
}

/// Reads until these words have come.
fn read_to(client: &mut Client, words: &str) {
    while !String::from_utf8_lossy(client.seen()).contains(words) {
        let more = client.some().expect("more comes");
        assert!(!more.is_empty(), "closed after {:?}", String::from_utf8_lossy(client.seen()));
    }
}

/// The files of a listener's certificate.
struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
}

impl CertificateFiles {
    fn of(folder: &Path) -> Self {
        Self { certificate: folder.join("served.pem"), key: folder.join("served.key") }
    }

    fn line(&self) -> String {
        let Self { certificate, key } = self;
        format!(
            "tls = {{ certificate = \"{}\", key = \"{}\" }}",
            certificate.display(),
            key.display()
        )
    }

    /// Puts another pair in their place, each file at once.
    fn replace(&self, folder: &Path) {
        for (from, to) in [("pem", &self.certificate), ("key", &self.key)] {
            let new = to.with_extension("new");
            std::fs::copy(folder.join(format!("{NAME}.{from}")), &new).expect("copied");
            std::fs::rename(new, to).expect("moved");
        }
    }
}

/// Certificates of one name, each in a folder of its own.
fn certificates(folder: &Path, count: usize) -> (Vec<PathBuf>, Vec<SelfSigned>) {
    let folders: Vec<_> = (0..count).map(|n| folder.join(n.to_string())).collect();
    let made = folders.iter().map(|folder| {
        std::fs::create_dir(folder).expect("a folder");
        tls::self_signed(folder, NAME)
    });
    let made = made.collect();
    (folders, made)
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// Quiet, as there are very many requests; what is open may stay so.
fn quiet(upstream: &Upstream, tls: SocketAddr, files: &CertificateFiles) -> Plan {
    Plan::usual(upstream)
        .table("listener", &format!("address = \"{tls}\"\n{}", files.line()))
        .set("log", "access", "\"off\"")
        .set("log", "level", "\"info\"")
        .set("server", "shutdown_grace", "\"10m\"")
        .set("server", "tunnel_grace", "\"10m\"")
}

/// Whether a new connection is shown this certificate.
fn is_served(address: SocketAddr, certificate: &SelfSigned) -> bool {
    tls::connect(address, NAME, &[certificate]).is_ok()
}

#[test]
fn reloads_and_changes_of_certificates_cost_no_request() {
    let (reloads, changes) = (times(100), times(20));
    let folder = tempfile::tempdir().expect("a folder");
    let (folders, certificates) = certificates(folder.path(), changes + 1);
    let files = CertificateFiles::of(folder.path());
    files.replace(&folders[0]);
    let upstreams = [Upstream::start(), Upstream::start()];
    let (tls, beside) = (free_address(), free_address());
    // Routes, upstreams, limits and listeners are others each time.
    let plan = |n: usize| {
        let mut plan = quiet(&upstreams[n % 2], tls, &files)
            .set("limits", "headers", &(90 + n % 7).to_string())
            .set("timeouts", "idle", &format!("\"{}s\"", 60 + n % 5));
        if n.is_multiple_of(3) {
            plan = plan.table("listener", &format!("address = \"{beside}\""));
        }
        if n.is_multiple_of(2) {
            plan = plan.route("path = \"/other/{*rest}\"\nupstream = \"app\"\npublic = true");
        }
        plan
    };
    let world = plan(0).start();
    let token = world.key(TestUser::ALICE).token;
    let (mut tunnel, gate) = open(&world, &upstreams[0], "/private/ws", Ongoing::WebSocket, &token);
    let (mut stream, more) = events(&world, &upstreams[0], &token);
    let load = Load::default();
    let requests = requests(&token);
    let places = Places {
        clear: world.address(),
        tls,
        certificates: &certificates,
        token: &token,
        requests: &requests,
    };
    std::thread::scope(|scope| {
        start(scope, &load, &places);
        for n in 1..=reloads {
            world.configure(&plan(n));
            if n.is_multiple_of(4) {
                // The listener moves to all addresses, and back.
                listen_on_all(&world);
            }
            world.reload();
            let change = n * changes / reloads;
            if change > (n - 1) * changes / reloads {
                files.replace(&folders[change]);
                assert!(eventually(|| is_served(tls, &certificates[change])), "change {change}");
            }
            upstreams.iter().for_each(|upstream| drop(upstream.take()));
            if load.failures.lock().is_ok_and(|failures| !failures.is_empty()) {
                break;
            }
        }
        load.conclude(&world);
    });
    assert_eq!(world.metric("keyward_config_reloads_total", "outcome=\"refused\""), 0.0);
    // What was open all the while is open.
    gate.open();
    assert_eq!(tunnel.exactly(4).expect("the tunnel carries"), b"more");
    more.open();
    read_to(&mut stream, "second");
}

/// Has the listener at all addresses, as of the next reload or start.
fn listen_on_all(world: &World) {
    let path = world.folder().join("keyward.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    let all = format!("0.0.0.0:{}", world.address().port());
    world.configure_raw(&text.replacen(&world.address().to_string(), &all, 1));
}

/// Hands over so many times under load.
fn hand_overs(plan: impl Fn(&Upstream, SocketAddr, &CertificateFiles) -> Plan, count: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let (folders, certificates) = certificates(folder.path(), 1);
    let files = CertificateFiles::of(folder.path());
    files.replace(&folders[0]);
    let upstream = Upstream::start();
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                     Upgrade: websocket\r\n\r\nfirst";
    let tls = free_address();
    let world = plan(&upstream, tls, &files).start();
    let alice = TestUser::ALICE;
    let token = world.key(alice).token;
    let (mut stream, more) = events(&world, &upstream, &token);
    upstream.answer("/private/ws", Reply::bytes(switching).then(Act::Echo));
    let mut tunnel = world.client();
    tunnel.send(format!(
        "GET /private/ws HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {token}\r\n\
         Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    let (switched, _) = tunnel.final_response("GET").expect("an answer");
    assert_eq!(switched.status, 101, "{switched}");
    assert_eq!(tunnel.exactly(5).expect("it carries"), b"first");
    let load = Load::default();
    let requests = requests(&token);
    let places = Places {
        clear: world.address(),
        tls,
        certificates: &certificates,
        token: &token,
        requests: &requests,
    };
    std::thread::scope(|scope| {
        start(scope, &load, &places);
        for n in 0..count {
            // The listener moves, too.
            world.configure(&plan(&upstream, tls, &files));
            if n.is_multiple_of(2) {
                listen_on_all(&world);
            }
            // A token that is revoked around the change is good for no process afterwards.
            let short = world.key(alice).token;
            let mut old = world.client();
            let private = format!(
                "GET /private/x HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {short}\r\n\r\n"
            );
            assert_eq!(old.ask(&private).status, 200);
            world.take_over();
            assert_eq!(world.status_with(&short), 200);
            assert_eq!(world.api(alice).revoke(&short).status, 200);
            assert_eq!(world.status_with(&short), 401);
            // Where it was closed for being idle too long, it asks nothing.
            if old.try_send(&private).is_ok()
                && let Ok((answer, _)) = old.final_response("GET")
            {
                assert_eq!(answer.status, 401, "{answer}");
            }
            let before = load.answered.load(Ordering::SeqCst);
            let goes_on = || load.answered.load(Ordering::SeqCst) > before + 50;
            assert!(eventually(goes_on), "the load goes on");
            // The tunnel is where it was.
            tunnel.send("ping");
            assert_eq!(tunnel.exactly(4).expect("it carries"), b"ping");
            drop(upstream.take());
        }
        load.conclude(&world);
    });
    more.open();
    read_to(&mut stream, "second");
    // What is open ends with its token, in whichever process it is; then nothing is left of it.
    assert_eq!(world.api(alice).revoke(&token).status, 200);
    let _ = tunnel.rest();
    drop(stream);
    assert!(eventually(|| world.older_processes() == 0), "{}", world.output());
    assert_eq!(world.ready(), Some(200));
}

#[test]
fn five_hand_overs_cost_no_request() {
    hand_overs(quiet, times(5));
}

#[test]
fn hand_overs_cost_no_request_with_redis() {
    let redis = RedisServer::start();
    hand_overs(|upstream, tls, files| quiet(upstream, tls, files).redis(&redis.url()), times(2));
}
