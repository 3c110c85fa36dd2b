//! Both listeners through real sockets, in front of an administration and a status that are kept in
//! memory.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::domain::{Identity, RawToken, RecordSort, Timestamp, TokenId};
use crate::telemetry::Explanation;
use crate::tokens::store::Filter;

/// Tokens in a vector; fails all calls while `outage` is set.
#[derive(Default)]
struct Memory {
    tokens: Mutex<Vec<Listing>>,
    /// A password that is set is kept as the name, so that tests see it.
    users: Mutex<Vec<UserListing>>,
    outage: AtomicBool,
    filters: Mutex<Vec<Filter>>,
}

impl Memory {
    fn check(&self) -> Result<(), AdminError> {
        if self.outage.load(Ordering::SeqCst) {
            return Err(AdminError::Unavailable("the store is unavailable: unplugged".into()));
        }
        Ok(())
    }
}

impl Administration for Memory {
    fn explain(&self, request: ExplainRequest) -> AdminFuture<'_, Explanation> {
        Box::pin(async move {
            self.check()?;
            Err(AdminError::Refused(
                request.to_http().err().unwrap_or_else(|| "there is no gateway".to_owned()),
            ))
        })
    }

    fn bootstrap_create(&self, request: BootstrapRequest) -> AdminFuture<'_, IssuedBootstrap> {
        Box::pin(async move {
            self.check()?;
            if request.token_api != "jarvispy" {
                return Err(AdminError::Refused(format!(
                    "there is no token API named {:?}",
                    request.token_api
                )));
            }
            let id = TokenId::from_uuid(uuid::Uuid::new_v4());
            let Identity { subject, username, organization, role, email } = request.identity;
            let issued_at = Timestamp::from_unix_millis(1_813_917_600_000);
            self.tokens.lock().expect("lock").push(Listing {
                id,
                kind: TokenKind::Bootstrap,
                token_api: request.token_api,
                subject,
                username,
                organization,
                role,
                email,
                name: None,
                mints_left: Some(request.mints),
                issued_at,
                expires_at: request.expires_in.map(|span| issued_at.after(span)),
                last_used_at: None,
            });
            Ok(IssuedBootstrap { id, token: RawToken::new(format!("token-of-{id}")) })
        })
    }

    fn list(&self, filter: Filter) -> AdminFuture<'_, Vec<Listing>> {
        Box::pin(async move {
            self.check()?;
            let wanted = if filter.sort == Some(RecordSort::Bootstrap) {
                TokenKind::Bootstrap
            } else {
                TokenKind::ApiKey
            };
            let tokens = self.tokens.lock().expect("lock");
            let found = tokens
                .iter()
                .filter(|token| token.kind == wanted)
                .take(filter.limit)
                .cloned()
                .collect();
            self.filters.lock().expect("lock").push(filter);
            Ok(found)
        })
    }

    fn revoke(&self, kind: TokenKind, id: TokenId) -> AdminFuture<'_, Revocation> {
        Box::pin(async move {
            self.check()?;
            let mut tokens = self.tokens.lock().expect("lock");
            let before = tokens.len();
            tokens.retain(|token| token.id != id || token.kind != kind);
            Ok(if tokens.len() < before { Revocation::Revoked } else { Revocation::NotFound })
        })
    }

    fn user_add(&self, request: UserRequest) -> AdminFuture<'_, UserListing> {
        Box::pin(async move {
            self.check()?;
            let listing = UserListing {
                id: crate::domain::AccountId::from_uuid(uuid::Uuid::new_v4()),
                token_api: request.token_api.unwrap_or_else(|| "accounts".into()),
                username: request.username.as_str().into(),
                email: request.email.as_str().into(),
                full_name: request.full_name.as_str().into(),
                created_at: Timestamp::from_unix_millis(1_813_917_600_000),
                is_disabled: request.password.password().expose() == b"let me not in",
            };
            self.users.lock().expect("lock").push(listing.clone());
            Ok(listing)
        })
    }

    fn users(&self, token_api: Option<String>, limit: usize) -> AdminFuture<'_, Vec<UserListing>> {
        Box::pin(async move {
            self.check()?;
            let users = self.users.lock().expect("lock");
            let matches =
                |user: &&UserListing| token_api.as_ref().is_none_or(|name| *name == user.token_api);
            Ok(users.iter().filter(matches).take(limit).cloned().collect())
        })
    }

    fn user_change(&self, change: UserChange) -> AdminFuture<'_, UserOutcome> {
        Box::pin(async move {
            self.check()?;
            let mut users = self.users.lock().expect("lock");
            let Some(user) =
                users.iter_mut().find(|user| user.username == change.username.as_str())
            else {
                return Ok(UserOutcome::NotFound);
            };
            match change.action {
                UserAction::Disable => user.is_disabled = true,
                UserAction::Enable => user.is_disabled = false,
                UserAction::SetPassword(password) => {
                    user.full_name =
                        String::from_utf8(password.password().expose().to_vec()).expect("text");
                }
            }
            Ok(UserOutcome::Done)
        })
    }
}

#[derive(Default)]
struct FixedStatus {
    reasons: Mutex<Vec<NotReady>>,
    components: Mutex<Vec<Component>>,
    started: AtomicBool,
    hangs: AtomicBool,
}

impl Status for FixedStatus {
    fn reasons(&self) -> StatusFuture<'_, Vec<NotReady>> {
        Box::pin(async {
            if self.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            self.reasons.lock().expect("lock").clone()
        })
    }

    fn is_started(&self) -> bool {
        self.started.load(Ordering::SeqCst)
    }

    fn components(&self) -> StatusFuture<'_, Vec<Component>> {
        Box::pin(async { self.components.lock().expect("lock").clone() })
    }

    fn listening(&self) -> Vec<String> {
        vec!["127.0.0.1:8080".into()]
    }

    fn metrics(&self) -> String {
        "# HELP keyward_up 1\n# TYPE keyward_up gauge\nkeyward_up 1\n".into()
    }
}

/// Both listeners, served by a thread of their own.
struct World {
    probes: SocketAddr,
    socket: PathBuf,
    administration: Arc<Memory>,
    status: Arc<FixedStatus>,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("admin.sock");
        let bound = AdminSocket::bind(&socket).expect("bound");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        listener.set_nonblocking(true).expect("set");
        let probes = listener.local_addr().expect("an address");
        let (administration, status) =
            (Arc::new(Memory::default()), Arc::new(FixedStatus::default()));
        let (stop, stopped) = watch::channel(false);
        let (operations, said) = (Arc::clone(&administration), Arc::clone(&status));
        let thread = std::thread::spawn(move || {
            runtime().block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                let (_, served) = tokio::join!(
                    serve_probes(listener, said.clone(), stopped.clone()),
                    serve_socket(bound, operations, said, stopped)
                );
                served.expect("served");
            });
        });
        Self { probes, socket, administration, status, stop, thread: Some(thread), _dir: dir }
    }

    fn stop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends");
        }
    }

    /// One raw exchange with the probes; the request must ask for the connection to be closed.
    fn probe(&self, request: &str) -> String {
        talk(std::net::TcpStream::connect(self.probes).expect("connect"), request)
    }

    /// One raw exchange with the socket.
    fn operate(&self, request: &str) -> String {
        talk(UnixStream::connect(&self.socket).expect("connect"), request)
    }

    fn client(&self) -> SocketClient {
        runtime().block_on(SocketClient::find(&self.socket)).expect("can be told").expect("it runs")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn talk(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered, then closed");
    answer
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

fn post(body: &str) -> String {
    format!(
        "POST /v1/bootstrap-tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn status_of(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

fn body_of(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

fn request() -> BootstrapRequest {
    BootstrapRequest {
        token_api: "jarvispy".into(),
        identity: Identity {
            subject: "u 1+&é".into(),
            username: Some("ann".into()),
            organization: Some("acme".into()),
            role: Some("user".into()),
            email: None,
        },
        mints: 3,
        expires_in: Some(Duration::from_secs(60)),
    }
}

#[test]
fn livez_answers_whatever_the_store_says() {
    let world = World::start();
    *world.status.reasons.lock().expect("lock") = vec![NotReady::StoreUnavailable("gone".into())];
    world.status.hangs.store(true, Ordering::SeqCst);
    let answer = world.probe(&get("/livez?verbose"));
    assert_eq!(status_of(&answer), "200");
    assert_eq!(body_of(&answer), r#"{"status":"alive"}"#);
}

#[test]
fn readyz_names_every_reason() {
    let world = World::start();
    assert_eq!(status_of(&world.probe(&get("/readyz"))), "200");
    *world.status.reasons.lock().expect("lock") =
        vec![NotReady::Starting, NotReady::Draining, NotReady::StoreUnavailable("no room".into())];
    let answer = world.probe(&get("/readyz"));
    assert_eq!(status_of(&answer), "503");
    assert!(answer.to_ascii_lowercase().contains("cache-control: no-store"), "{answer}");
    assert_eq!(
        body_of(&answer),
        r#"{"status":"not ready","reasons":["starting","draining","store unavailable: no room"]}"#
    );
    let reasons = runtime().block_on(probe_readiness(world.probes)).expect("answered");
    assert_eq!(reasons, ["starting", "draining", "store unavailable: no room"]);
}

#[test]
fn a_readiness_that_is_not_known_in_time_is_a_no() {
    let world = World::start();
    world.status.hangs.store(true, Ordering::SeqCst);
    let answer = world.probe(&get("/readyz"));
    assert_eq!(status_of(&answer), "503");
    assert!(body_of(&answer).contains("no answer within 3 s"), "{answer}");
}

#[test]
fn startupz_healthz_and_metrics_say_what_the_status_says() {
    let world = World::start();
    assert_eq!(status_of(&world.probe(&get("/startupz"))), "503");
    world.status.started.store(true, Ordering::SeqCst);
    assert_eq!(status_of(&world.probe(&get("/startupz"))), "200");

    *world.status.components.lock().expect("lock") =
        vec![Component::well("store"), Component::degraded("upstream app", "1 of 2 endpoints")];
    let answer = world.probe(&get("/healthz"));
    assert_eq!(status_of(&answer), "200");
    assert_eq!(
        body_of(&answer),
        r#"{"status":"degraded","components":[{"name":"store","state":"ok"},{"name":"upstream app","state":"degraded","reason":"1 of 2 endpoints"}]}"#
    );
    world.status.components.lock().expect("lock").push(Component::failed("keys", "unreadable"));
    assert_eq!(status_of(&world.probe(&get("/healthz"))), "503");

    let answer = world.probe(&get("/metrics"));
    assert!(
        answer.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4\r\n"),
        "{answer}"
    );
    assert!(body_of(&answer).ends_with("keyward_up 1\n"));
}

#[test]
fn the_probe_listener_takes_only_get_and_head_and_no_body() {
    let world = World::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = world
            .probe(&format!("{method} /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert_eq!(status_of(&answer), "405", "{method}");
        assert!(answer.to_ascii_lowercase().contains("\r\nallow: get, head\r\n"), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    let answer = world.probe("HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!((status_of(&answer), body_of(&answer)), ("200", ""));
    for path in ["/", "/v1/tokens", "/metrics/", "/LIVEZ", "/livez/x"] {
        assert_eq!(status_of(&world.probe(&get(path))), "404", "{path}");
    }
    // Not asked to close, but it does: the body was not read.
    let answer = world.probe("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(status_of(&answer), "413");
    let long = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(64 * 1024));
    assert_eq!(status_of(&world.probe(&long)), "431");
}

#[test]
fn half_a_head_is_not_waited_for_for_ever() {
    let world = World::start();
    let mut stream = std::net::TcpStream::connect(world.probes).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    stream.write_all(b"GET /livez HT").expect("sent");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("closed by keyward, before the read timed out");
}

#[test]
fn a_bootstrap_token_is_made_listed_and_revoked_over_the_socket() {
    let world = World::start();
    let client = world.client();
    runtime().block_on(async {
        let issued = client.bootstrap_create(request()).await.expect("made");
        assert_eq!(issued.token.expose(), format!("token-of-{}", issued.id));
        let filter = Filter {
            token_api: Some("jarvispy".into()),
            subject: Some("u 1+&é".into()),
            sort: Some(RecordSort::Bootstrap),
            limit: 10,
        };
        let listed = client.list(filter.clone()).await.expect("listed");
        assert_eq!(listed, *world.administration.tokens.lock().expect("lock"));
        assert_eq!(
            world.administration.filters.lock().expect("lock").pop(),
            Some(filter),
            "carried to the letter"
        );
        assert_eq!(
            client
                .list(Filter { sort: Some(RecordSort::ApiKey), ..Filter::default() })
                .await
                .expect("listed"),
            []
        );
        assert_eq!(
            client.revoke(TokenKind::ApiKey, issued.id).await,
            Ok(Revocation::NotFound),
            "the other kind"
        );
        assert_eq!(client.revoke(TokenKind::Bootstrap, issued.id).await, Ok(Revocation::Revoked));
        assert_eq!(client.revoke(TokenKind::Bootstrap, issued.id).await, Ok(Revocation::NotFound));
    });
}

#[test]
fn a_store_that_fails_is_said_in_words_and_is_no_refusal() {
    let world = World::start();
    let client = world.client();
    world.administration.outage.store(true, Ordering::SeqCst);
    let failed = runtime().block_on(client.bootstrap_create(request())).expect_err("outage");
    assert_eq!(failed, AdminError::Unavailable("the store is unavailable: unplugged".into()));
    let answer = world.operate(&get("/v1/tokens"));
    assert_eq!(status_of(&answer), "503");
    assert!(answer.to_ascii_lowercase().contains("retry-after: 1"), "{answer}");
    world.administration.outage.store(false, Ordering::SeqCst);
    let wrong = BootstrapRequest { token_api: "other".into(), ..request() };
    let refused = runtime().block_on(client.bootstrap_create(wrong)).expect_err("unknown");
    assert_eq!(refused, AdminError::Refused("there is no token API named \"other\"".into()));
}

#[test]
fn what_is_sent_to_the_socket_is_checked_before_anything_is_done() {
    let world = World::start();
    let good = r#"{"token_api":"jarvispy","subject":"u1"}"#;
    let answer = world.operate(&post(good));
    assert_eq!(status_of(&answer), "201");
    assert!(answer.to_ascii_lowercase().contains("cache-control: no-store"), "{answer}");
    for (status, body) in [
        ("400", "{"),
        ("400", ""),
        ("422", "[]"),
        ("422", r#"{"token_api":"jarvispy"}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","subject":"u2"}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","admin":true}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","mints":0}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","mints":1000001}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","mints":1.5}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u1","expires_in_seconds":0}"#),
        ("422", r#"{"token_api":"jarvispy","subject":""}"#),
        ("422", r#"{"token_api":"jarvispy","subject":"u\u0000"}"#),
    ] {
        let answer = world.operate(&post(body));
        assert_eq!(status_of(&answer), status, "{body}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    assert_eq!(status_of(&world.operate(&post(&format!("\"{}\"", "x".repeat(64 * 1024))))), "413");
    assert_eq!(
        status_of(&world.operate(&post(good).replace("application/json", "text/plain"))),
        "415"
    );
    for (status, method, path) in [
        ("405", "PUT", "/v1/bootstrap-tokens"),
        ("405", "POST", "/v1/tokens"),
        ("405", "GET", "/v1/tokens/f1c2a3b4-5d6e-4f80-9a0b-1c2d3e4f5a6b"),
        ("405", "DELETE", "/v1/status"),
        ("422", "DELETE", "/v1/tokens/f1c2a3b45d6e4f809a0b1c2d3e4f5a6b"),
        ("404", "DELETE", "/v1/tokens/a/b"),
        ("404", "GET", "/v2/tokens"),
        ("400", "GET", "/v1/tokens?limit=0"),
        ("200", "GET", "/v1/tokens"),
    ] {
        let answer = world
            .operate(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert_eq!(status_of(&answer), status, "{method} {path}");
    }
    assert_eq!(
        world.administration.tokens.lock().expect("lock").len(),
        1,
        "only the good one was made"
    );
}

#[test]
fn the_status_over_the_socket_has_version_reasons_and_components() {
    let world = World::start();
    *world.status.reasons.lock().expect("lock") = vec![NotReady::Draining];
    *world.status.components.lock().expect("lock") = vec![Component::well("store")];
    let report = runtime().block_on(world.client().status()).expect("answered");
    assert_eq!(report.version, env!("CARGO_PKG_VERSION"));
    assert_eq!((report.ready, report.reasons), (false, vec!["draining".to_owned()]));
    assert_eq!(report.components, [Component::well("store")]);
}

#[test]
fn no_keyward_is_found_where_none_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("admin.sock");
    assert!(runtime().block_on(SocketClient::find(&path)).expect("missing: none").is_none());
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(
        runtime().block_on(SocketClient::find(&path)).expect("no process accepts: none").is_none()
    );
}

#[test]
fn stopping_ends_idle_connections_at_once_and_removes_the_socket() {
    let mut world = World::start();
    let mut idle = std::net::TcpStream::connect(world.probes).expect("connect");
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut first = [0; 12];
    idle.read_exact(&mut first).expect("answered");
    world.stop();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).expect("closed");
    assert!(!world.socket.exists(), "the socket's file is gone");
    assert!(std::net::TcpStream::connect(world.probes).is_err(), "no process listens");
}

fn user(username: &str, password: &str) -> UserRequest {
    UserRequest {
        token_api: None,
        username: crate::domain::Username::new(username).expect("a name"),
        email: crate::domain::Email::new("a@example.com").expect("an address"),
        full_name: crate::domain::FullName::new("Ann \"A\" Ünal").expect("a name"),
        password: new_password(password),
    }
}

fn new_password(text: &str) -> crate::domain::NewPassword {
    crate::domain::NewPassword::new(crate::domain::Password::presented(text.into()))
        .expect("long enough")
}

#[tokio::test]
async fn users_are_added_listed_and_changed_over_the_socket() {
    let world = World::start();
    let client = SocketClient::find(&world.socket).await.expect("told").expect("running");
    let added = client.user_add(user("Ann", "correct \"horse\" \u{1f40e}")).await.expect("added");
    assert_eq!((added.username.as_str(), added.is_disabled), ("Ann", false));
    client
        .user_add(UserRequest { token_api: Some("a&b".into()), ..user("bob", "let me not in") })
        .await
        .expect("added");
    let names = async |token_api: Option<&str>, limit| {
        let users = client.users(token_api.map(str::to_owned), limit).await.expect("listed");
        users.into_iter().map(|user| (user.username, user.is_disabled)).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 0).await, [("Ann".to_owned(), false), ("bob".to_owned(), true)]);
    assert_eq!(names(Some("a&b"), 5).await, [("bob".to_owned(), true)]);
    assert_eq!(names(None, 1).await.len(), 1);
    let change = async |username: &str, action| {
        let username = crate::domain::Username::new(username).expect("a name");
        client.user_change(UserChange { token_api: None, username, action }).await.expect("done")
    };
    assert_eq!(change("Ann", UserAction::Disable).await, UserOutcome::Done);
    assert_eq!(change("bob", UserAction::Enable).await, UserOutcome::Done);
    assert_eq!(change("eve", UserAction::Disable).await, UserOutcome::NotFound);
    assert_eq!(
        change("bob", UserAction::SetPassword(new_password("é battery \\ staple"))).await,
        UserOutcome::Done
    );
    assert_eq!(names(None, 0).await, [("Ann".to_owned(), true), ("bob".to_owned(), false)]);
    assert_eq!(
        world.administration.users.lock().expect("lock")[1].full_name,
        "é battery \\ staple"
    );
}

#[tokio::test]
async fn a_user_that_cannot_be_is_refused_by_the_socket_without_repeating_the_password() {
    let world = World::start();
    let add =
        r#"{"username":"ann","email":"a@example.com","full_name":"A","password":"correct horse"}"#;
    for (path, body, status, field) in [
        ("/v1/users", add.replace("ann", "a"), 422, "username"),
        ("/v1/users", add.replace("a@", "a"), 422, "email"),
        ("/v1/users", add.replace("correct horse", "canary"), 422, "password"),
        ("/v1/users", add.replace("}", ",\"role\":\"admin\"}"), 422, "role"),
        ("/v1/users/password", r#"{"username":"ann"}"#.to_owned(), 422, "password"),
        (
            "/v1/users/disable",
            r#"{"username":"ann","password":"canary canary"}"#.to_owned(),
            422,
            "password",
        ),
        ("/v1/users/rename", r#"{"username":"ann"}"#.to_owned(), 404, "nothing"),
        ("/v1/usersx", r#"{"username":"ann"}"#.to_owned(), 413, "body"),
    ] {
        let mut stream = UnixStream::connect(&world.socket).expect("connected");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(field),
            "{path} {answer}"
        );
        assert!(!answer.contains("canary"), "{answer}");
    }
    assert!(world.administration.users.lock().expect("lock").is_empty());
}

#[test]
fn what_is_wrong_with_a_request_to_explain_is_said_without_repeating_it() {
    let world = World::start();
    let explain =
        |body: &str| world.operate(&post(body).replacen("/v1/bootstrap-tokens", "/v1/explain", 1));
    for (body, words) in [
        (
            r#"{"method":"GET","url":"/canary","headers":[],"from":"127.0.0.1"}"#,
            "the URL must be whole",
        ),
        (
            r#"{"method":"GET","url":"http://a.example/","headers":[["x","a\ncanary"]],"from":"::1"}"#,
            "header 1 ",
        ),
        (
            r#"{"method":"GET","url":"http://a.example/","headers":[["x","canary"]],"from":"::1"}"#,
            "no gateway",
        ),
        (
            r#"{"method":"GET","url":"http://a.example/","headers":"canary","from":"::1"}"#,
            "wrong at column",
        ),
        (r#"{"canary":1}"#, "wrong at column"),
        ("canary", "wrong at column"),
    ] {
        let answer = explain(body);
        assert_eq!(status_of(&answer), "422", "{answer}");
        assert!(answer.contains(words) && !answer.contains("canary"), "{words}: {answer}");
    }
    assert_eq!(status_of(&explain(&" ".repeat(256 * 1024 + 1))), "413");
    assert_eq!(status_of(&world.operate(&get("/v1/explain"))), "405");
}
