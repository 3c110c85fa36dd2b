//! The commands as they are typed, in front of a program that only remembers what it was asked.

mod failing;
mod store;
mod tokens;
mod usage;
mod users;

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use failing::Failing;

use super::*;
use crate::admin::{
    AdminError, AdminFuture, AdminSocket, Administration, BootstrapRequest, ExplainRequest,
    IssuedBootstrap, Listing, NotReady, Revocation, Status, StatusFuture, TokenKind, UserAction,
    UserChange, UserListing, UserOutcome, UserRequest, serve_probes, serve_socket,
};
use crate::domain::{RawToken, Timestamp, TokenId};
use crate::telemetry::Explanation;
use crate::tokens::finding::{Finding, Severity};
use crate::tokens::migration::{Count, Migration, Side, Sort, Step};
use crate::tokens::signed::SigningAlgorithm;
use crate::tokens::store::Filter;

const DONE: ExitCode = ExitCode::SUCCESS;
const REFUSED: ExitCode = ExitCode::FAILURE;

const ID: &str = "f1c2a3b4-5d6e-4f80-9a0b-1c2d3e4f5a6b";

const CREATE: [&str; 12] = [
    "bootstrap",
    "create",
    "--token-api",
    "jarvispy",
    "--sub",
    "u1",
    "--username",
    "ann",
    "--organization",
    "acme",
    "--role",
    "user",
];

/// One API key, and a diary of what was asked; `prefix` tells two of them apart.
#[derive(Clone, Default)]
struct Tokens {
    diary: Arc<Mutex<Vec<String>>>,
    prefix: &'static str,
}

impl Tokens {
    fn write(&self, line: String) {
        self.diary.lock().expect("lock").push(format!("{}{line}", self.prefix));
    }

    fn user() -> UserListing {
        UserListing {
            id: crate::domain::AccountId::parse(ID).expect("an id"),
            token_api: "accounts".into(),
            username: "ann".into(),
            email: "ann@example.com".into(),
            full_name: "Ann\u{1b}[2J".into(),
            created_at: Timestamp::from_unix_millis(1_813_917_600_000),
            is_disabled: true,
        }
    }

    fn id() -> TokenId {
        TokenId::parse(ID).expect("an id")
    }
}

impl Administration for Tokens {
    fn explain(&self, request: ExplainRequest) -> AdminFuture<'_, Explanation> {
        self.write(format!("explain {} {}", request.method, request.url));
        Box::pin(async { Err(AdminError::Refused("there is no gateway".into())) })
    }

    fn bootstrap_create(&self, request: BootstrapRequest) -> AdminFuture<'_, IssuedBootstrap> {
        self.write(format!(
            "create {} {} {:?}{}",
            request.identity.subject,
            request.mints,
            request.expires_in,
            request.limits.map_or_else(String::new, |limits| format!(" {limits}"))
        ));
        Box::pin(async {
            Ok(IssuedBootstrap {
                id: Self::id(),
                token: RawToken::new("header.payload.mac".into()),
            })
        })
    }

    fn list(&self, filter: Filter) -> AdminFuture<'_, Vec<Listing>> {
        self.write(format!("list {filter:?}"));
        Box::pin(async {
            Ok(vec![Listing {
                id: Self::id(),
                kind: TokenKind::ApiKey,
                token_api: "jarvispy".into(),
                subject: "u1".into(),
                username: Some("ann".into()),
                organization: None,
                role: None,
                email: None,
                name: Some("laptop\u{1b}[2J".into()),
                mints_left: None,
                limits: serde_json::from_str(r#"{"rate":"5/m"}"#).expect("limits"),
                issued_at: Timestamp::from_unix_millis(1_813_917_600_000),
                expires_at: None,
                last_used_at: None,
            }])
        })
    }

    fn revoke(&self, kind: TokenKind, id: TokenId) -> AdminFuture<'_, Revocation> {
        self.write(format!("revoke {kind} {id}"));
        Box::pin(async move {
            match kind {
                TokenKind::ApiKey => Ok(Revocation::Revoked),
                TokenKind::Bootstrap => Ok(Revocation::NotFound),
            }
        })
    }

    fn user_add(&self, request: UserRequest) -> AdminFuture<'_, UserListing> {
        let password = request.password.password().expose().escape_ascii().to_string();
        self.write(format!("add {} {:?} {password}", request.username.as_str(), request.token_api));
        Box::pin(async { Ok(Self::user()) })
    }

    fn users(&self, token_api: Option<String>, limit: usize) -> AdminFuture<'_, Vec<UserListing>> {
        self.write(format!("users {token_api:?} {limit}"));
        Box::pin(async { Ok(vec![Self::user()]) })
    }

    fn user_change(&self, change: UserChange) -> AdminFuture<'_, UserOutcome> {
        let action = match &change.action {
            UserAction::Disable => "disable".to_owned(),
            UserAction::Enable => "enable".to_owned(),
            UserAction::SetPassword(password) => {
                password.password().expose().escape_ascii().to_string()
            }
        };
        self.write(format!("change {} {action}", change.username.as_str()));
        let is_known = change.username.as_str() != "nobody";
        Box::pin(
            async move { Ok(if is_known { UserOutcome::Done } else { UserOutcome::NotFound }) },
        )
    }
}

impl Status for Tokens {
    fn reasons(&self) -> StatusFuture<'_, Vec<NotReady>> {
        Box::pin(async { Vec::new() })
    }

    fn is_started(&self) -> bool {
        true
    }

    fn components(&self) -> StatusFuture<'_, Vec<crate::admin::Component>> {
        Box::pin(async { Vec::new() })
    }

    fn listening(&self) -> Vec<String> {
        vec!["127.0.0.1:8080".into()]
    }

    fn metrics(&self) -> String {
        String::new()
    }
}

#[derive(Default)]
struct Program {
    settings: Settings,
    /// Whether the configuration is read from its file, instead of `settings`.
    reads_files: bool,
    faults: Vec<String>,
    tokens: Tokens,
    locked: bool,
    /// Whether the store is damaged.
    fails: bool,
    /// How often the store is still in use.
    busy: Cell<u32>,
    calls: RefCell<Vec<String>>,
}

fn refused<T>(words: &str) -> Result<T, Failure> {
    Err(words.to_owned().into())
}

impl Runtime for Program {
    fn run(&self, config: &Path, _beginning: Beginning) -> Result<(), Failure> {
        self.calls.borrow_mut().push(format!("run {}", config.display()));
        refused("it has ended")
    }

    fn demo(&self, address: SocketAddr) -> Result<(), Failure> {
        self.calls.borrow_mut().push(format!("demo {address}"));
        Ok(())
    }

    fn settings(&self, config: &Path) -> Result<Settings, Failure> {
        self.calls.borrow_mut().push(format!("settings {}", config.display()));
        if self.reads_files {
            return Ok(Settings::from(&crate::config::load(config)?));
        }
        if let [first, ..] = self.faults.as_slice() {
            return refused(first);
        }
        let mut settings = self.settings.clone();
        if settings.admin_socket.as_os_str().is_empty() {
            settings.admin_socket = "/nothing/listens/here".into();
        }
        Ok(settings)
    }

    fn openapi(&self, _: &Path) -> Result<String, Failure> {
        Ok("{}".into())
    }

    fn check_store(&self, _: &Path) -> Result<Vec<Finding>, Failure> {
        if self.locked {
            return refused("the store is open in another process");
        }
        let (found, wanted) = ("all\u{1b}keys-lru", "noeviction");
        let finding =
            Finding::of(Severity::Fault, "maxmemory-policy", found, wanted, "records would vanish");
        Ok([Finding::fine("version", "7.0.15")]
            .into_iter()
            .chain((!self.faults.is_empty()).then_some(finding))
            .collect())
    }

    fn create_keys(
        &self,
        config: &Path,
        directory: &Path,
        algorithms: &[SigningAlgorithm],
    ) -> Result<Vec<PathBuf>, Failure> {
        if self.locked {
            return refused(&format!("{}: is not empty", directory.display()));
        }
        let names: Vec<_> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
        self.tokens.write(format!("keys {} {names:?}", config.display()));
        Ok(vec![directory.join("mac-1.key"), directory.join("store.key")])
    }

    fn back_up_store(
        &self,
        _: &Path,
        file: &Path,
        replace: Replace,
    ) -> Result<BackupReport, Failure> {
        if self.locked {
            return refused("b is there already");
        }
        self.tokens.write(format!("backup {} {replace:?}", file.display()));
        Ok(BackupReport { tokens: 3, revoked: 1, users: 2, bytes: 4096 })
    }

    fn restore_store(&self, _: &Path, file: &Path) -> Result<RestoreReport, Failure> {
        if self.locked {
            return refused("a keyward is running");
        }
        self.tokens.write(format!("restore {}", file.display()));
        Ok(RestoreReport {
            holds: BackupReport { tokens: 3, ..BackupReport::default() },
            before: Some("old".into()),
        })
    }

    fn migrate_store(
        &self,
        from: &Path,
        to: &Path,
        step: &mut dyn FnMut(Step),
    ) -> Result<Migration, Failure> {
        if self.locked {
            return refused("the source: a keyward is running");
        }
        step(Step::Reading(Side::Source));
        step(Step::Copied(2, 2));
        self.tokens.write(format!("migrate {} {}", from.display(), to.display()));
        let differences: Vec<_> =
            self.faults.iter().map(|_| format!("API key {ID} of \"a\" differs: \u{1b}")).collect();
        let count =
            Count { sort: Sort::ApiKeys, found: 3, expired: 1, there: 0, copied: 2, verified: 2 };
        Ok(Migration { counts: vec![count], differing: differences.len(), differences })
    }

    fn open_administration(&self, _: &Path) -> Result<Box<dyn Administration>, OpenRefusal> {
        if self.locked {
            let words = "the store is open in another process".to_owned();
            return Err(OpenRefusal::Other(words.into()));
        }
        if self.busy.get() > 0 {
            self.busy.set(self.busy.get() - 1);
            return Err(OpenRefusal::InUse("another keyward is using the store".into()));
        }
        if self.fails { Ok(Box::new(Failing)) } else { Ok(Box::new(self.tokens.clone())) }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(200)
    }
}

impl Program {
    /// Exit code, standard output, standard error.
    fn type_in(&self, arguments: &[&str]) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let arguments = std::iter::once(&"keyward").chain(arguments);
        let code = execute(arguments, self, &mut out, &mut err);
        (code, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
    }

    fn diary(&self) -> Vec<String> {
        std::mem::take(&mut *self.tokens.diary.lock().expect("lock"))
    }
}

/// Output whose reader is gone.
struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The listener of probes and the admin socket of a keyward, on a thread of their own, until dropped.
struct Serving {
    probes: SocketAddr,
    stop: tokio::sync::watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    fn start(socket: AdminSocket, tokens: &Tokens) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let tokens = Arc::new(tokens.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        listener.set_nonblocking(true).expect("set");
        let probes = listener.local_addr().expect("an address");
        let thread = std::thread::spawn(move || {
            admin_client::block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let ((), served) = tokio::join!(
                    serve_probes(listener, tokens.clone(), stopped.clone()),
                    serve_socket(socket, tokens.clone(), tokens, None, stopped)
                );
                served.expect("served");
            })
            .expect("a runtime");
        });
        Self { probes, stop, thread: Some(thread) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends");
        }
    }
}
