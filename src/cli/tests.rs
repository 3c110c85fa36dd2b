//! The commands as they are typed, in front of a program that only remembers what it was asked.

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
            "create {} {} {:?}",
            request.identity.subject, request.mints, request.expires_in
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

/// The operations on a store that cannot carry them out.
struct Failing;

fn unavailable<T: Send>(words: &str) -> AdminFuture<'_, T> {
    Box::pin(async { Err(AdminError::Unavailable(words.to_owned())) })
}

impl Administration for Failing {
    fn explain(&self, _: ExplainRequest) -> AdminFuture<'_, Explanation> {
        unavailable("the store is damaged: page 5")
    }

    fn bootstrap_create(&self, _: BootstrapRequest) -> AdminFuture<'_, IssuedBootstrap> {
        Box::pin(async {
            Err(AdminError::Refused("there is no token API named \"jarvispy\"".into()))
        })
    }

    fn list(&self, _: Filter) -> AdminFuture<'_, Vec<Listing>> {
        unavailable("the store is damaged: page 3")
    }

    fn revoke(&self, _: TokenKind, _: TokenId) -> AdminFuture<'_, Revocation> {
        unavailable("the store has no room left: disk")
    }

    fn user_add(&self, _: UserRequest) -> AdminFuture<'_, UserListing> {
        Box::pin(async { Err(AdminError::Refused("the username is taken".into())) })
    }

    fn users(&self, _: Option<String>, _: usize) -> AdminFuture<'_, Vec<UserListing>> {
        unavailable("the store is damaged: page 4")
    }

    fn user_change(&self, _: UserChange) -> AdminFuture<'_, UserOutcome> {
        unavailable("too many passwords wait to be hashed")
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
    fn run(&self, config: &Path) -> Result<(), Failure> {
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

#[test]
fn the_commands_are_consistent_in_themselves() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn run_and_demo_are_handed_on_with_their_outcome() {
    let program = Program::default();
    let ended = (REFUSED, String::new(), "keyward: it has ended\n".to_owned());
    assert_eq!(program.type_in(&["run", "-c", "a.toml"]), ended);
    assert_eq!(program.type_in(&["--config", "b.toml", "run"]), ended);
    assert_eq!(program.type_in(&["run"]), ended);
    assert_eq!(program.type_in(&["demo"]).0, DONE);
    assert_eq!(program.type_in(&["demo", "--address", "[::1]:0"]).0, DONE);
    let calls = program.calls.borrow();
    assert_eq!(
        *calls,
        ["run a.toml", "run b.toml", "run keyward.toml", "demo 127.0.0.1:8080", "demo [::1]:0"]
    );
}

#[test]
fn wrong_usage_is_exit_code_2_and_does_nothing() {
    let program = Program::default();
    let with = |more: &[&'static str]| [CREATE.as_slice(), more].concat();
    for arguments in [
        vec![],
        vec!["frobnicate"],
        vec!["run", "extra"],
        vec!["run", "--frobnicate"],
        vec!["bootstrap"],
        vec!["bootstrap", "create", "--token-api", "jarvispy"],
        with(&["--mints", "0"]),
        with(&["--mints", "1000001"]),
        with(&["--mints", "1.5"]),
        with(&["--expires-in", "24"]),
        with(&["--expires-in", "0s"]),
        with(&["--email", ""]),
        with(&["token"]),
        vec!["bootstrap", "revoke", "not-a-uuid"],
        vec!["token", "revoke"],
        vec!["token", "list", "--limit", "0"],
        vec!["token", "list", "--limit", "100001"],
        vec!["completions", "cobol"],
    ] {
        let (code, out, err) = program.type_in(&arguments);
        assert_eq!((code, out.as_str()), (ExitCode::from(WRONG_USAGE), ""), "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
    assert!(program.diary().is_empty());
    assert!(program.calls.borrow().is_empty());
}

#[test]
fn help_version_and_completions_go_to_standard_output() {
    let program = Program::default();
    let (code, out, err) = program.type_in(&["--help"]);
    assert_eq!((code, err.as_str()), (DONE, ""));
    assert!(out.contains("bootstrap") && out.contains("completions"), "{out}");
    let line = format!("keyward {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(program.type_in(&["version"]).1, line);
    assert_eq!(program.type_in(&["--version"]).1, line);
    let (_, out, _) = program.type_in(&["version", "--json"]);
    assert_eq!(
        out,
        format!("{{\"name\":\"keyward\",\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION"))
    );
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = program.type_in(&["completions", shell]);
        assert_eq!(code, DONE);
        assert!(out.contains("validate"), "{shell}");
    }
}

#[test]
fn the_schema_and_the_reference_need_no_configuration() {
    let program = Program::default();
    let (code, out, err) = program.type_in(&["schema"]);
    assert_eq!((code, err.as_str()), (DONE, ""));
    let schema: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(schema["properties"]["server"]["properties"]["workers"]["maximum"], 256);
    let (code, out, err) = program.type_in(&["schema", "--markdown"]);
    assert_eq!((code, err.as_str()), (DONE, ""));
    assert!(out.starts_with("# Configuration\n"), "{out}");
    assert!(program.calls.borrow().is_empty());
}

#[test]
fn validate_says_one_line_or_what_is_wrong() {
    let mut program = Program::default();
    program.settings.summary = "1 listener, 2 routes".into();
    program.settings.warnings = vec!["route /x is public".into()];
    let (code, out, err) = program.type_in(&["validate"]);
    assert_eq!((code, out.as_str()), (DONE, "keyward.toml is valid: 1 listener, 2 routes\n"));
    assert_eq!(err, "keyward: warning: route /x is public\n");

    program.faults = vec!["one".into()];
    let (code, out, err) = program.type_in(&["validate"]);
    assert_eq!((code, out.as_str(), err.as_str()), (REFUSED, "", "keyward: one\n"));
    assert_eq!(program.type_in(&CREATE).0, REFUSED, "nothing is done on a bad configuration");
    assert!(program.diary().is_empty());
}

#[test]
fn a_real_configuration_file_is_read_and_its_faults_have_places() {
    let program = Program { reads_files: true, ..Program::default() };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.toml");
    let name = path.to_str().expect("text");
    let validate = || program.type_in(&["validate", "-c", name]);
    let (code, _, err) = validate();
    assert!(code == REFUSED && err.contains("no such file"), "{err}");
    let good = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"app\"\n\
                endpoints = [\"http://127.0.0.1:1\"]\n[[route]]\npath = \"/\"\n\
                upstream = \"app\"\npublic = true\n";
    fs::write(&path, good).expect("written");
    let (code, out, _) = validate();
    assert_eq!(
        (code, out),
        (DONE, format!("{name} is valid: 1 listener, 1 route, 1 upstream, 0 token APIs\n"))
    );
    fs::write(&path, format!("{good}pubic = 1\n[sever]\n")).expect("written");
    let (code, out, err) = validate();
    assert_eq!((code, out.as_str(), err.lines().count()), (REFUSED, "", 2), "{err}");
    assert!(err.starts_with(&format!("{name}:10:1: unknown key")), "{err}");
    assert!(err.contains(&format!("\n{name}:11:")), "{err}");
}

#[test]
fn a_command_waits_for_a_store_that_another_process_is_about_to_leave() {
    let program = Program { busy: Cell::new(3), ..Program::default() };
    let (code, out, _) = program.type_in(&CREATE);
    assert_eq!((code, program.busy.get()), (DONE, 0), "{out}");
    let program = Program { busy: Cell::new(u32::MAX), ..Program::default() };
    let (code, out, err) = program.type_in(&CREATE);
    assert_eq!((code, out.as_str()), (REFUSED, ""));
    assert!(err.contains("using the store") && err.contains("may be starting"), "{err}");
    assert!(program.busy.get() < u32::MAX - 2, "it tried again");
}

#[test]
fn keys_create_names_the_files_and_says_what_they_are_for() {
    let program = Program::default();
    let (code, out, err) = program.type_in(&[
        "keys",
        "create",
        "made",
        "--algorithm",
        "es256",
        "--algorithm",
        "HS256",
    ]);
    assert_eq!((code, out.as_str()), (DONE, "made/mac-1.key\nmade/store.key\n"));
    assert!(err.contains("[keys]") && err.contains("Keep a copy"), "{err}");
    assert_eq!(
        program.tokens.diary.lock().expect("lock").as_slice(),
        [r#"keys keyward.toml ["HS256", "ES256"]"#]
    );
    let wrong = program.type_in(&["keys", "create", "made", "--algorithm", "none"]);
    assert!(
        wrong.0 == ExitCode::from(WRONG_USAGE) && wrong.2.contains("there are HS256, EdDSA"),
        "{}",
        wrong.2
    );
    let locked = Program { locked: true, ..Program::default() };
    let (code, out, err) = locked.type_in(&["keys", "create", "made"]);
    assert_eq!((code, out.as_str(), err.as_str()), (REFUSED, "", "keyward: made: is not empty\n"));
}

#[test]
fn store_backup_and_restore_say_what_they_hold_and_what_it_means() {
    let program = Program::default();
    let (code, out, err) = program.type_in(&["store", "backup", "b"]);
    assert_eq!(code, DONE);
    assert!(
        out.starts_with("backed up to b: 3 tokens, 1 revoked") && out.contains("4096 bytes"),
        "{out}"
    );
    assert!(err.contains("the keys are not in it"), "{err}");
    let (_, out, _) = program.type_in(&["store", "backup", "b", "--replace", "--json"]);
    assert_eq!(out, "{\"tokens\":3,\"revoked\":1,\"users\":2,\"bytes\":4096}\n");
    let (code, out, err) = program.type_in(&["store", "restore", "b"]);
    assert!(code == DONE && out.starts_with("restored from b: 3 tokens"), "{out}");
    assert!(err.contains("kept at old") && err.contains("accepted again"), "{err}");
    let (_, out, _) = program.type_in(&["store", "restore", "b", "--json"]);
    assert!(out.ends_with("\"before\":\"old\"}\n"), "{out}");
    let diary = program.tokens.diary.lock().expect("lock");
    assert_eq!(
        diary.as_slice(),
        ["backup b Nothing", "backup b EarlierBackup", "restore b", "restore b"]
    );
    let locked = Program { locked: true, ..Program::default() };
    for command in ["backup", "restore"] {
        assert_eq!(locked.type_in(&["store", command, "b"]).0, REFUSED);
        assert_eq!(locked.type_in(&["store", command]).0, ExitCode::from(WRONG_USAGE));
    }
}

#[test]
fn store_migrate_is_a_table_or_json_and_fails_on_a_difference() {
    let mut program = Program::default();
    let arguments = ["store", "migrate", "--from", "a.toml", "--to", "b.toml"];
    let (code, out, err) = program.type_in(&arguments);
    let table = "SORT      FOUND  EXPIRED  THERE  COPIED  VERIFIED\n\
                 API keys  3      1        0      2       2\n";
    assert_eq!((code, out.as_str()), (DONE, table));
    assert_eq!(err, "keyward: reading the source\nkeyward: copied 2 of 2\n");
    assert_eq!(program.tokens.diary.lock().expect("lock").as_slice(), ["migrate a.toml b.toml"]);
    program.faults = vec!["one".into()];
    let (code, out, err) = program.type_in(&[arguments.as_slice(), &["--json"]].concat());
    let summary: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, summary["counts"][0]["sort"].as_str()), (REFUSED, Some("api_keys")));
    assert!(err.contains(&format!("keyward: API key {ID} of \"a\" differs: \\u{{1b}}\n")), "{err}");
    assert!(err.ends_with("keyward: the two stores are not the same: 1 differ\n"), "{err}");
    program.locked = true;
    let (code, out, err) = program.type_in(&arguments);
    assert!(code == REFUSED && out.is_empty() && err.contains("a keyward is running"), "{err}");
    assert_eq!(
        program.type_in(&["store", "migrate", "--from", "a.toml"]).0,
        ExitCode::from(WRONG_USAGE)
    );
}

#[test]
fn store_check_is_a_table_or_json_and_fails_on_a_fault() {
    let mut program = Program::default();
    let (code, out, err) = program.type_in(&["store", "check"]);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (DONE, "SEVERITY  WHAT     FOUND   WANTED\nfine      version  7.0.15  -\n", "")
    );
    program.faults = vec!["one".into()];
    let (code, out, err) = program.type_in(&["store", "check"]);
    assert!(code == REFUSED && out.contains("all\\u{1b}keys-lru  noeviction\n"), "{out}");
    assert_eq!(err, "keyward: maxmemory-policy: records would vanish\n");
    let (code, out, err) = program.type_in(&["store", "check", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, err.as_str(), list[1]["severity"].as_str()), (REFUSED, "", Some("fault")));
    program.locked = true;
    let (code, out, err) = program.type_in(&["store", "check"]);
    assert!(code == REFUSED && out.is_empty() && err.contains("another process"), "{err}");
}

#[test]
fn bootstrap_create_prints_the_token_alone() {
    let program = Program::default();
    let (code, out, err) =
        program.type_in(&[CREATE.as_slice(), &["--mints", "5", "--expires-in", "24h"]].concat());
    assert_eq!((code, out.as_str()), (DONE, "header.payload.mac\n"));
    assert_eq!(err, format!("keyward: made bootstrap token {ID}\n"));
    assert_eq!(program.diary(), ["create u1 5 Some(86400s)"]);
    program.type_in(&CREATE);
    assert_eq!(program.diary(), ["create u1 1 None"]);
}

#[test]
fn lists_are_a_table_or_one_json_array() {
    let program = Program::default();
    let (code, out, _) = program.type_in(&["token", "list", "--sub", "u1", "--limit", "5"]);
    assert_eq!(code, DONE);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(lines[0].starts_with("ID ") && lines[0].ends_with("LAST USED"), "{out}");
    assert!(
        lines[1].starts_with(ID)
            && lines[1].contains("2027-06-25T10:00:00Z")
            && lines[1].contains("never"),
        "{out}"
    );
    assert!(!out.contains('\u{1b}'), "a name cannot steer the terminal");
    assert_eq!(lines[0].find("USERNAME"), lines[1].find("ann"), "columns are aligned");
    let (_, out, _) = program.type_in(&["bootstrap", "list", "--token-api", "jarvispy", "--json"]);
    let parsed: Vec<Listing> = serde_json::from_str(&out).expect("an array");
    assert_eq!(parsed.len(), 1);
    let diary = program.diary();
    assert!(diary[0].contains("sort: Some(ApiKey)") && diary[0].contains("limit: 5"), "{diary:?}");
    assert!(
        diary[1].contains("sort: Some(Bootstrap)") && diary[1].contains("jarvispy"),
        "{diary:?}"
    );
    let (_, _, err) = program.type_in(&["token", "list", "--limit", "1"]);
    assert!(err.contains("only the first 1"), "{err}");
}

#[test]
fn revoking_what_is_not_there_is_refused() {
    let program = Program::default();
    let (code, out, _) = program.type_in(&["token", "revoke", ID]);
    assert_eq!((code, out), (DONE, format!("revoked token {ID}\n")));
    let (code, out, err) = program.type_in(&["bootstrap", "revoke", ID]);
    assert_eq!((code, out.as_str()), (REFUSED, ""));
    assert_eq!(err, format!("keyward: there is no bootstrap token with the id {ID}\n"));
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

#[test]
fn a_token_that_could_not_be_printed_is_no_success_and_its_id_is_said() {
    let program = Program::default();
    let mut err = Vec::new();
    let arguments = std::iter::once("keyward").chain(CREATE);
    assert_eq!(execute(arguments, &program, &mut ClosedPipe, &mut err), REFUSED);
    let err = String::from_utf8(err).expect("text");
    assert!(err.contains("cannot be written") && err.contains(ID), "{err}");
    for command in [["version"].as_slice(), &["completions", "bash"], &["validate"]] {
        let arguments = std::iter::once(&"keyward").chain(command);
        assert_eq!(
            execute(arguments, &program, &mut ClosedPipe, &mut Vec::new()),
            REFUSED,
            "{command:?}"
        );
    }
    let mut err = Vec::new();
    let code = execute(["keyward", "token", "list"], &program, &mut ClosedPipe, &mut err);
    assert_eq!(
        (code, err.as_slice()),
        (DONE, b"".as_slice()),
        "a list that is cut short was read as far as wanted"
    );
}

#[test]
fn a_running_keyward_is_asked_first_and_the_store_only_when_none_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("admin.sock");
    let mut program = Program { locked: true, ..Program::default() };
    program.settings.admin_socket = path.clone();
    let running = Tokens { prefix: "running: ", ..Tokens::default() };
    let served = Serving::start(AdminSocket::bind(&path).expect("bound"), &running);
    assert_eq!(program.type_in(&["token", "revoke", ID]).0, DONE);
    let (code, out, _) = program.type_in(&[CREATE.as_slice(), &["--expires-in", "90s"]].concat());
    assert_eq!((code, out.as_str()), (DONE, "header.payload.mac\n"));
    assert_eq!(
        *running.diary.lock().expect("lock"),
        [format!("running: revoke token {ID}"), "running: create u1 1 Some(90s)".into()]
    );
    let (code, out, _) = program.type_in(&["health"]);
    assert_eq!(
        (code, out.as_str()),
        (DONE, "ready\n"),
        "without an admin address, the socket says it"
    );
    program.settings.admin_address = Some(served.probes);
    assert_eq!(program.type_in(&["health"]).0, DONE);
    drop(served);

    assert_eq!(program.type_in(&["health"]).0, REFUSED, "none runs any more");
    program.settings.admin_address = None;
    let (code, _, err) = program.type_in(&["health"]);
    assert_eq!(code, REFUSED);
    assert!(err.contains("no keyward runs"), "{err}");
    let (code, _, err) = program.type_in(&["token", "revoke", ID]);
    assert_eq!((code, err.as_str()), (REFUSED, "keyward: the store is open in another process\n"));
    program.locked = false;
    assert_eq!(program.type_in(&["token", "revoke", ID]).0, DONE);
    drop(UnixListener::bind(&path).expect("a file that a dead process left"));
    assert_eq!(program.type_in(&["token", "revoke", ID]).0, DONE);
    assert_eq!(program.diary().len(), 2, "both straight to the store");
}

#[test]
fn a_keyward_that_may_run_but_cannot_be_asked_is_not_passed_by() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("file"), "").expect("written");
    let mut program = Program::default();
    // Not a directory: whether a process listens there cannot be told.
    program.settings.admin_socket = dir.path().join("file/admin.sock");
    let (code, _, err) = program.type_in(&["token", "revoke", ID]);
    assert_eq!(code, REFUSED);
    assert!(err.contains("cannot be reached"), "{err}");
    assert!(program.diary().is_empty(), "the store was left alone");
}

#[test]
fn a_failing_store_is_exit_code_1_with_its_words() {
    let program = Program { fails: true, ..Program::default() };
    for (arguments, words) in [
        (CREATE.as_slice(), "keyward: there is no token API named \"jarvispy\"\n"),
        (&["token", "list"], "keyward: the store is damaged: page 3\n"),
        (&["token", "revoke", ID], "keyward: the store has no room left: disk\n"),
        (&["user", "list"], "keyward: the store is damaged: page 4\n"),
        (&["user", "disable", "ann"], "keyward: too many passwords wait to be hashed\n"),
    ] {
        assert_eq!(
            program.type_in(arguments),
            (REFUSED, String::new(), words.to_owned()),
            "{arguments:?}"
        );
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
                    serve_socket(socket, tokens.clone(), tokens, stopped)
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

#[test]
fn a_user_is_added_with_a_password_from_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("password");
    let program = Program::default();
    let add = |more: &[&str]| {
        let path = file.to_str().expect("text");
        let fixed = [
            "user",
            "add",
            "--username",
            "ann",
            "--email",
            "ann@example.com",
            "--full-name",
            "Ann X",
        ];
        program.type_in(&[&fixed[..], &["--password-file", path], more].concat())
    };
    // As Notepad and PowerShell write it.
    let marked = "\u{feff}correct horse\r\n";
    for bytes in
        [marked.as_bytes().to_vec(), marked.encode_utf16().flat_map(u16::to_le_bytes).collect()]
    {
        fs::write(&file, bytes).expect("written");
        assert_eq!(add(&[]).0, DONE);
        assert_eq!(program.diary().pop().as_deref(), Some("add ann None correct horse"));
    }
    fs::write(&file, "correct horse\r\n").expect("written");
    let (code, out, err) = add(&[]);
    assert_eq!((code, out, err), (DONE, format!("{ID}\n"), String::new()));
    fs::write(&file, "\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}").expect("written");
    assert_eq!(add(&["--token-api", "x"]).0, DONE);
    assert_eq!(
        program.diary(),
        [
            "add ann None correct horse".to_owned(),
            format!("add ann Some(\"x\") {}", "\\xc3\\xbc".repeat(8))
        ]
    );
    for (content, words) in [
        (&b"canary"[..], "8"),
        (b"canary one\ncanary two\n", "one line"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", "UTF-8"),
    ] {
        fs::write(&file, content).expect("written");
        let (code, out, err) = add(&[]);
        assert_eq!((code, out), (REFUSED, String::new()));
        assert!(err.contains(words) && !err.contains("canary"), "{err}");
    }
    fs::write(&file, "x".repeat(100_000)).expect("written");
    assert_eq!(add(&[]).0, REFUSED);
    fs::remove_file(&file).expect("removed");
    assert!(add(&[]).2.contains("cannot be read"));
    assert!(program.diary().is_empty());
    // A password is never an argument, and what cannot be is wrong usage.
    for wrong in [&["--password", "correct horse"][..], &["--username", "a b"], &["--email", "a"]] {
        assert_eq!(add(wrong).0, ExitCode::from(WRONG_USAGE), "{wrong:?}");
    }
}

#[test]
fn users_are_listed_disabled_enabled_and_given_passwords() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("password");
    fs::write(&file, "battery staple\n").expect("written");
    let program = Program::default();
    let (code, out, _) = program.type_in(&["user", "list"]);
    let table = format!(
        "ID                                    TOKEN API  USERNAME  EMAIL            FULL NAME     \
         REGISTERED            STATE\n\
         {ID}  accounts   ann       ann@example.com  Ann\\u{{1b}}[2J  2027-06-25T10:00:00Z  \
         disabled\n"
    );
    assert_eq!((code, out), (DONE, table));
    let (_, out, _) =
        program.type_in(&["user", "list", "--json", "--limit", "7", "--token-api", "accounts"]);
    assert!(
        out.starts_with(&format!(r#"[{{"id":"{ID}","token_api":"accounts","username":"ann","#)),
        "{out}"
    );
    for (command, words) in [("disable", "disabled user ann\n"), ("enable", "enabled user ann\n")] {
        let (code, out, _) = program.type_in(&["user", command, "ann"]);
        assert_eq!((code, out.as_str()), (DONE, words));
        let (code, out, err) = program.type_in(&["user", command, "nobody"]);
        assert_eq!(
            (code, out.as_str(), err.as_str()),
            (REFUSED, "", "keyward: there is no user nobody\n")
        );
    }
    let path = file.to_str().expect("text");
    let (code, out, _) = program.type_in(&["user", "passwd", "ann", "--password-file", path]);
    assert_eq!((code, out.as_str()), (DONE, "set the password of user ann\n"));
    assert_eq!(
        program.diary(),
        [
            "users None 1000",
            "users Some(\"accounts\") 7",
            "change ann disable",
            "change nobody disable",
            "change ann enable",
            "change nobody enable",
            "change ann battery staple",
        ]
    );
}
