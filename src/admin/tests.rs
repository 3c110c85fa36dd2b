//! Both listeners through real sockets, in front of an administration and a status that are kept in
//! memory.

mod probes;
mod socket;
mod users;

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
                limits: request.limits,
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
        let dir = tempfile::tempdir().expect("a folder");
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
                    serve_socket(bound, operations, said, None, stopped)
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
        limits: serde_json::from_str(r#"{"rate":"10/s","concurrent_requests":2}"#).expect("limits"),
    }
}
