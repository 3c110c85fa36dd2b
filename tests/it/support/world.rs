//! One keyward of its own: a temporary folder, a configuration, and the real binary running on it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Seek, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::{TempDir, tempfile};

use super::client::Client;
use super::message::Response;
use super::redis::free_port;
use super::{PATIENCE, Upstream, eventually, lateness};

/// What a world's configuration says; every key that is not set keeps its default.
#[derive(Clone)]
pub(crate) struct Plan {
    tables: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    listener: Vec<String>,
    arrays: String,
}

impl Plan {
    /// Nothing but the listeners, the files of its own folder, and the token API `jarvispy`.
    pub(crate) fn bare() -> Self {
        let mut plan =
            Self { tables: BTreeMap::new(), listener: Vec::new(), arrays: String::new() };
        plan.arrays.push_str(
            "[[token_api]]\nname = \"jarvispy\"\nstyle = \"allowlist-jwt\"\n\
             mount = \"/jarvispy/{organization}/{username}/api/v1\"\n\n",
        );
        plan.set("server", "workers", "2").set("server", "pin", "false")
    }

    /// The usual world: `/public/…` for all and `/private/…` for tokens of `jarvispy`, both to this
    /// upstream.
    pub(crate) fn usual(upstream: &Upstream) -> Self {
        Self::bare()
            .upstream("app", upstream.address())
            .route("path = \"/public/{*rest}\"\nupstream = \"app\"\npublic = true")
            .route("path = \"/private/{*rest}\"\nupstream = \"app\"\naccept = [\"jarvispy\"]")
    }

    /// Sets one key of a table; the value is TOML.
    pub(crate) fn set(mut self, table: &'static str, key: &'static str, value: &str) -> Self {
        self.tables.entry(table).or_default().insert(key, value.into());
        self
    }

    /// With its records in the Redis at this URL, for a test that is not about time: a busy machine
    /// keeps nothing from being told.
    pub(crate) fn redis(self, url: &str) -> Self {
        self.set("store", "kind", "\"redis\"")
            .set("store", "url", &format!("{url:?}"))
            .set("store", "timeout", "\"10s\"")
            .set("store", "read_timeout", "\"10s\"")
    }

    /// Adds a line to the one listener.
    pub(crate) fn listener(mut self, line: &str) -> Self {
        self.listener.push(line.into());
        self
    }

    pub(crate) fn upstream(self, name: &str, endpoint: SocketAddr) -> Self {
        self.table("upstream", &format!("name = \"{name}\"\nendpoints = [\"http://{endpoint}\"]"))
    }

    pub(crate) fn route(self, lines: &str) -> Self {
        self.table("route", lines)
    }

    /// Adds one `[[name]]` table with these lines.
    pub(crate) fn table(mut self, name: &str, lines: &str) -> Self {
        writeln!(self.arrays, "[[{name}]]\n{lines}\n").expect("a string takes what is written");
        self
    }

    pub(crate) fn start(self) -> World {
        let mut world = self.prepare();
        world.restart();
        world
    }

    /// Everything but the process.
    pub(crate) fn prepare(self) -> World {
        let folder = tempfile::Builder::new().prefix("kw").tempdir().expect("a temporary folder");
        let world = World {
            folder,
            listen: free_address(),
            admin: free_address(),
            child: Mutex::default(),
        };
        world.configure(&self);
        world
    }

    /// Starts a world that may never get ready.
    pub(crate) fn launch(self) -> World {
        let mut world = self.prepare();
        world.launch();
        world
    }

    /// The same, with these variables in its environment.
    pub(crate) fn launch_with(self, variables: &[(&str, &str)]) -> World {
        let world = self.prepare();
        world.spawn_with(variables);
        world
    }

    fn render(&self, folder: &Path, listen: SocketAddr, admin: SocketAddr) -> String {
        let mut tables = self.tables.clone();
        let mut add = |table, key, value: String| {
            tables.entry(table).or_default().entry(key).or_insert(value);
        };
        let path = |name: &str| format!("\"{}\"", folder.join(name).display());
        add("admin", "address", format!("\"{admin}\""));
        add("admin", "socket", path("admin.sock"));
        if !self.tables.get("store").is_some_and(|store| store.contains_key("url")) {
            add("store", "path", path("keyward.db"));
        }
        add("keys", "directory", path("keys"));
        add("log", "level", "\"debug\"".into());
        let mut text =
            format!("[[listener]]\naddress = \"{listen}\"\n{}\n\n", self.listener.join("\n"));
        for (table, keys) in &tables {
            writeln!(text, "[{table}]").expect("a string takes what is written");
            for (key, value) in keys {
                writeln!(text, "{key} = {value}").expect("a string takes what is written");
            }
            text.push('\n');
        }
        text + &self.arrays
    }
}

/// A running keyward (or one that was stopped and may be started again). The process ends when this
/// is dropped.
pub(crate) struct World {
    folder: TempDir,
    listen: SocketAddr,
    admin: SocketAddr,
    /// Shared, so that one of several threads may end it and start another.
    child: Mutex<Option<Child>>,
}

impl World {
    /// Writes the configuration anew, for the next start or reload.
    pub(crate) fn configure(&self, plan: &Plan) {
        self.configure_raw(&plan.render(self.folder.path(), self.listen, self.admin));
    }

    /// Writes another configuration beside it, with the same store and keys and an address of its
    /// own.
    pub(crate) fn write(&self, name: &str, plan: &Plan) {
        let text = plan.render(self.folder.path(), free_address(), free_address());
        fs::write(self.folder.path().join(name), text).expect("a configuration can be written");
    }

    /// Writes these words as the configuration.
    pub(crate) fn configure_raw(&self, text: &str) {
        fs::write(self.config(), text).expect("the configuration can be written");
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("keyward.toml")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listen
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the process, and leaves it to itself.
    pub(crate) fn launch(&mut self) {
        self.spawn();
    }

    /// SIGKILL, and another start, for who shares it; what happens between the two is up to the
    /// caller.
    pub(crate) fn replace(&self, meanwhile: impl FnOnce()) {
        self.end();
        meanwhile();
        self.spawn();
    }

    fn spawn(&self) {
        self.spawn_with(&[]);
    }

    fn spawn_with(&self, variables: &[(&str, &str)]) {
        let mut running = self.child();
        assert!(running.is_none(), "it is running already");
        let file = |name: &str| {
            let path = self.folder.path().join(name);
            File::options().create(true).append(true).open(path).expect("an output file")
        };
        let child = Command::new(env!("CARGO_BIN_EXE_keyward"))
            .arg("run")
            .arg("-c")
            .arg(self.config())
            .current_dir(self.folder.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the binary starts");
        *running = Some(child);
    }

    /// Starts the process and waits until it says that it is ready.
    pub(crate) fn restart(&mut self) {
        self.launch();
        let began = Instant::now();
        while self.ready() != Some(200) {
            let status = self.child().as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = status {
                *self.child() = None;
                panic!("keyward ended with {status} instead of getting ready:\n{}", self.output());
            }
            assert!(
                !lateness::is_over(began, PATIENCE),
                "keyward is not ready in time:\n{}",
                self.output()
            );
            std::thread::park_timeout(Duration::from_millis(3));
        }
    }

    /// The status of `/readyz`, if anything answers.
    pub(crate) fn ready(&self) -> Option<u16> {
        self.admin_get("/readyz").map(|response| response.status)
    }

    /// An answer of the admin listener, if there is one.
    pub(crate) fn admin_get(&self, path: &str) -> Option<Response> {
        let mut client = Client::try_connect(self.admin)?;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"));
        client.final_response("GET").ok().map(|(response, _)| response)
    }

    /// The sum of all series of a metric whose labels hold these words.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.admin_get("/metrics").expect("metrics").text();
        let series = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && line.contains(labels)
        });
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        let running = self.child();
        let child = running.as_ref().expect("it is running");
        Pid::from_raw(child.id().cast_signed()).expect("a process id")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.pid();
        // A child that has ended and has not been waited for can still be signalled, to no effect.
        kill_process(pid, signal).expect("our child can be signalled");
    }

    /// Has the configuration and the keys read again, and waits until the reload is counted, be it
    /// done or refused.
    pub(crate) fn reload(&self) {
        let count = || self.metric("keyward_config_reloads_total", "");
        let before = count();
        self.signal(Signal::HUP);
        assert!(eventually(|| count() > before), "the reload is counted:\n{}", self.output());
    }

    /// The folder of its keys, unless its plan says otherwise.
    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// Puts a key of 256 bits, in hexadecimal, into a file of this name there.
    pub(crate) fn add_key(&self, name: &str) {
        let file = self.keys().join(name);
        fs::write(&file, "5e".repeat(32)).expect("a key can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
    }

    /// Whether the process has ended, without waiting for it.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child()
            .as_mut()
            .is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Waits for the process to end by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.child().as_mut().expect("it was running").try_wait();
            if let Some(status) = status.expect("our child can be waited for") {
                *self.child() = None;
                return status;
            }
            assert!(Instant::now() < deadline, "keyward does not end in time:\n{}", self.output());
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert!(status.success(), "{status}:\n{}", self.output());
    }

    /// SIGKILL, and gone.
    pub(crate) fn kill(&mut self) {
        self.end();
    }

    fn end(&self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Runs a subcommand on this world's configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_on("keyward.toml", arguments)
    }

    /// Runs a subcommand on a configuration of this name in this world's folder. It has to end by
    /// itself.
    pub(crate) fn run_on(&self, config: &str, arguments: &[&str]) -> Output {
        self.run_on_with(config, arguments, &[], Stdio::null())
    }

    /// As [`run`](Self::run), with these variables in its environment.
    pub(crate) fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        self.run_on_with("keyward.toml", arguments, variables, Stdio::null())
    }

    /// As [`run`](Self::run), with these bytes on its standard input.
    pub(crate) fn run_reading(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
        let mut file = tempfile().expect("a file");
        file.write_all(input.as_ref())
            .and_then(|()| file.rewind())
            .expect("what is to be read can be written");
        self.run_on_with("keyward.toml", arguments, &[], file.into())
    }

    fn run_on_with(
        &self,
        config: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
        input: Stdio,
    ) -> Output {
        let (mut stdout, mut stderr) = (tempfile().expect("a file"), tempfile().expect("a file"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_keyward"))
            .args(arguments)
            .arg("-c")
            .arg(self.folder.path().join(config))
            .current_dir(self.folder.path())
            .envs(variables.iter().copied())
            .stdin(input)
            .stdout(stdout.try_clone().expect("a handle"))
            .stderr(stderr.try_clone().expect("a handle"))
            .spawn()
            .expect("the binary starts");
        let mut status = None;
        let ended = eventually(|| {
            status = child.try_wait().expect("our child can be waited for");
            status.is_some()
        });
        if !ended {
            let _ = child.kill();
            let _ = child.wait();
        }
        let said = |file: &mut File| {
            let mut bytes = Vec::new();
            file.rewind()
                .and_then(|()| file.read_to_end(&mut bytes))
                .expect("what was written can be read");
            bytes
        };
        let (stdout, stderr) = (said(&mut stdout), said(&mut stderr));
        let status = status.unwrap_or_else(|| {
            panic!(
                "keyward {arguments:?} does not end by itself:\n{}",
                String::from_utf8_lossy(&stderr)
            )
        });
        Output { status, stdout, stderr }
    }

    /// What keyward said on stdout and stderr since the first start.
    pub(crate) fn output(&self) -> String {
        ["stdout", "stderr"].iter().map(|name| self.file(name)).collect()
    }

    /// The lines of the access log so far.
    pub(crate) fn access_lines(&self) -> Vec<Value> {
        let output = self.output();
        let parsed = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.filter(|line| line["path"].is_string() && line["status"].is_number()).collect()
    }

    /// The one line of a path, when it is written.
    #[track_caller]
    pub(crate) fn access_line(&self, path: &str) -> Value {
        let of_path = || {
            self.access_lines().into_iter().filter(|line| line["path"] == path).collect::<Vec<_>>()
        };
        assert!(eventually(|| !of_path().is_empty()), "{path} has a line");
        let mut found = of_path();
        assert_eq!(found.len(), 1, "{path} has one line: {found:?}");
        found.remove(0)
    }

    fn file(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.listen)
    }

    /// One request on a connection of its own; `fields` are whole lines, each with its CRLF.
    pub(crate) fn ask(
        &self,
        method: &str,
        target: &str,
        fields: &str,
        body: impl AsRef<[u8]>,
    ) -> Response {
        self.client().ask(request(method, target, fields, body.as_ref()))
    }

    /// The status of a GET on the guarded route with this token.
    pub(crate) fn status_with(&self, token: &str) -> u16 {
        self.ask("GET", "/private/x", &format!("Authorization: Bearer {token}\r\n"), "").status
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let from = output.len().saturating_sub(4000);
            let tail = output.get(from..).unwrap_or(&output);
            eprintln!("keyward's last words:\n{tail}");
        }
    }
}

/// A plain request with `Connection: close`.
pub(crate) fn request(method: &str, target: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{fields}");
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// A loopback address that nobody listens on.
fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}
