//! One keyward of its own: a temporary folder, a configuration, and the real binary running on it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::message::Response;
use super::redis::free_port;
use super::{Plan, TIMEOUT, eventually, lateness};

impl Plan {
    /// Starts a world, and waits until it is ready.
    pub(crate) fn start(self) -> World {
        let mut world = self.prepare();
        world.restart();
        world
    }

    /// Everything but the process.
    pub(crate) fn prepare(self) -> World {
        let world = World::stopped();
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
        world.launch_with(variables);
        world
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
    /// Processes that another one has taken over from.
    older: Mutex<Vec<Child>>,
}

impl World {
    /// In a folder of its own, without a configuration and without a process.
    pub(super) fn stopped() -> Self {
        let folder = tempfile::Builder::new().prefix("kw").tempdir().expect("a temporary folder");
        let (child, older) = (Mutex::default(), Mutex::default());
        Self { folder, listen: free_address(), admin: free_address(), child, older }
    }

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

    /// Writes this text as the configuration.
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

    /// Starts the process, and does not wait for it.
    pub(crate) fn launch(&mut self) {
        self.spawn();
    }

    /// SIGKILL, then `meanwhile`, then another start. For threads that share the world.
    pub(crate) fn replace(&self, meanwhile: impl FnOnce()) {
        self.end();
        meanwhile();
        self.spawn();
    }

    fn spawn(&self) {
        self.launch_with(&[]);
    }

    /// Starts the process with these variables in its environment.
    pub(super) fn launch_with(&self, variables: &[(&str, &str)]) {
        let mut running = self.child();
        assert!(running.is_none(), "it is running already");
        *running = Some(self.command(variables).spawn().expect("the binary starts"));
    }

    /// The command that starts the process, for a test that adds to it.
    pub(crate) fn command(&self, variables: &[(&str, &str)]) -> Command {
        let file = |name: &str| {
            let path = self.folder.path().join(name);
            File::options().create(true).append(true).open(path).expect("an output file")
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command
            .arg("run")
            .arg("-c")
            .arg(self.config())
            .current_dir(self.folder.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"));
        command
    }

    /// Starts a process that takes over from the one that runs, and waits until it has. That one
    /// ends by itself, later.
    pub(crate) fn take_over(&self) {
        let begun = || self.output().matches("\"taken over\"").count();
        let before = begun();
        let mut next = self.command(&[]).arg("--take-over").spawn().expect("the binary starts");
        let has_ended = |next: &mut Child| next.try_wait().is_ok_and(|status| status.is_some());
        assert!(
            eventually(|| begun() > before || has_ended(&mut next)) && !has_ended(&mut next),
            "it has taken over:\n{}",
            self.output()
        );
        if let Some(older) = self.child().replace(next) {
            self.older().push(older);
        }
    }

    /// How many of the processes that were taken over from have not ended yet.
    pub(crate) fn older_processes(&self) -> usize {
        let mut older = self.older();
        older.retain_mut(|child| match child.try_wait().expect("our child can be waited for") {
            None => true,
            Some(status) => {
                assert!(status.success(), "{status}:\n{}", self.output());
                false
            }
        });
        older.len()
    }

    fn older(&self) -> MutexGuard<'_, Vec<Child>> {
        self.older.lock().unwrap_or_else(PoisonError::into_inner)
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
                !lateness::is_over(began, TIMEOUT),
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

    /// An answer of the admin socket, as JSON.
    pub(crate) fn admin_socket_get(&self, path: &str) -> Value {
        let mut client = Client::connect_unix(&self.folder.path().join("admin.sock"));
        let head = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        let answer = client.ask(head);
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// The text of an answer of the admin listener; empty when there is none.
    pub(crate) fn admin_text(&self, path: &str) -> String {
        self.admin_get(path).map(|response| response.text()).unwrap_or_default()
    }

    /// The sum of all series of a metric whose labels contain this text.
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
        let deadline = Instant::now() + TIMEOUT;
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

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.end();
    }

    fn end(&self) {
        for mut child in self.older().drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
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

    /// A GET with this bearer token.
    pub(crate) fn get_with(&self, target: &str, token: &str) -> Response {
        self.ask("GET", target, &format!("Authorization: Bearer {token}\r\n"), "")
    }

    /// The status of a GET on the guarded route with this token.
    pub(crate) fn status_with(&self, token: &str) -> u16 {
        self.get_with("/private/x", token).status
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let from = output.len().saturating_sub(4000);
            let tail = output.get(from..).unwrap_or(&output);
            eprintln!("the end of the output of keyward:\n{tail}");
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

/// A loopback address on which no process listens.
fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}
