//! Copy and paste: the lines of the pages, run by `sh` in an empty folder with a real keyward.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::KEYWARD;
use crate::command_line::unbroken;
use crate::configurations::{FIRST_CONFIGURATION, configuration};
use crate::page::{OPERATION, TOKEN_APIS, block, blocks, items, section, subjects};

/// After this time a test fails because something hangs.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a text is what a pattern shows, `…` standing for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.trim_end().split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.trim_end().strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, inner)) = parts.split_last() else { return rest.is_empty() };
    let found =
        inner.iter().all(|part| rest.split_once(part).map(|(_, tail)| rest = tail).is_some());
    found && rest.ends_with(last)
}

/// A free loopback port, below those that the kernel gives to outgoing connections. Its last four
/// digits are not a port of the pages, because those are replaced in the text.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 20_000) as u16;
    let ports =
        std::iter::repeat_with(|| 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000);
    let mut ports =
        ports.take(20_000).filter(|port| ![3000, 8080, 9090].contains(&(port % 10_000)));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// Looks again and again until there is a result.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(Instant::now() < deadline, "waited too long: {what}"),
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A process that does not outlive its test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().expect("it starts"))
    }

    fn stop(&mut self, signal: Signal) {
        kill_process(Pid::from_raw(self.0.id().cast_signed()).expect("an id"), signal)
            .expect("it runs");
        let status = wait_for("the end of keyward", || self.0.try_wait().expect("ours"));
        assert!(status.success(), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An empty folder with `keyward` on the path, and free ports in the place of those of the pages.
struct Workspace {
    folder: tempfile::TempDir,
    work: PathBuf,
    ports: BTreeMap<&'static str, u16>,
}

impl Workspace {
    /// None without curl or openssl, which the lines of the pages need.
    fn new(ports: &[&'static str]) -> Option<Self> {
        for (program, argument) in [("curl", "--version"), ("openssl", "version")] {
            if Command::new(program).arg(argument).stdout(Stdio::null()).status().is_err() {
                eprintln!("NOT CHECKED: the lines of the pages need {program}, which is not there");
                return None;
            }
        }
        let folder = tempfile::Builder::new().prefix("kw").tempdir().expect("a folder");
        let work = folder.path().join("work");
        fs::create_dir(&work).expect("made");
        std::os::unix::fs::symlink(KEYWARD, folder.path().join("keyward")).expect("linked");
        Some(Self { folder, work, ports: ports.iter().map(|port| (*port, free_port())).collect() })
    }

    fn text(&self, text: &str) -> String {
        self.ports
            .iter()
            .fold(text.to_owned(), |text, (shown, free)| text.replace(shown, &free.to_string()))
    }

    fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .current_dir(&self.work)
            .env("PATH", format!("{}:{path}", self.folder.path().display()));
        command
    }

    /// What the lines print.
    fn shell(&self, lines: &str) -> String {
        let output =
            self.command("sh").args(["-euc", &self.text(lines)]).output().expect("a shell");
        let (said, complaints) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{lines}\n{said}\n{complaints}");
        said.into_owned()
    }

    /// Starts keyward on the README's configuration and waits until it is ready.
    fn run(&self) -> Running {
        fs::write(self.work.join("keyward.toml"), self.text(configuration())).expect("written");
        let file = |name| File::create(self.folder.path().join(name)).expect("a file");
        let mut command = self.command(KEYWARD);
        let mut running =
            Running::start(command.arg("run").stdout(file("stdout")).stderr(file("stderr")));
        wait_for("a keyward that is ready", || {
            let words = || fs::read_to_string(self.folder.path().join("stderr"));
            assert!(running.0.try_wait().expect("ours").is_none(), "it ended: {:?}", words());
            self.command(KEYWARD)
                .arg("health")
                .output()
                .expect("it runs")
                .status
                .success()
                .then_some(())
        });
        running
    }
}

/// Serves the files below a folder, as `python3 -m http.server` would.
fn serve(folder: PathBuf, listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty());
            let request = lines.next().unwrap_or_default();
            let path =
                request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            lines.for_each(drop);
            let body = fs::read_to_string(folder.join(path)).unwrap_or_default();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = (&stream).write_all((head + &body).as_bytes());
        }
    });
}

#[test]
fn the_first_configuration_works_by_copy_and_paste_and_prints_what_is_shown() {
    let Some(workspace) = Workspace::new(&["8080", "9090", "3000"]) else { return };
    serve(
        workspace.work.join("www"),
        TcpListener::bind(("127.0.0.1", workspace.ports["3000"])).expect("a free port"),
    );
    let mut keyward = workspace.run();
    // Started already, and they stay.
    let stays =
        |line: &&str| line.starts_with("python3 -m http.server 3000") || *line == "keyward run";
    let (mut printed, mut started) = (String::new(), 0);
    for (kind, block) in blocks(section("README.md", FIRST_CONFIGURATION)) {
        if kind == "sh" {
            let (stay, paste): (Vec<_>, Vec<_>) = block.lines().partition(stays);
            started += stay.len();
            printed = workspace.shell(&paste.join("\n"));
        } else if kind == "text" {
            assert!(fits(block, &printed), "shown:\n{block}\nprinted:\n{printed}");
        }
    }
    assert_eq!(started, 2, "a service and keyward");
    keyward.stop(Signal::TERM);

    let keys = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        line.as_object().expect("an object").keys().cloned().collect::<Vec<_>>()
    };
    let log = fs::read_to_string(workspace.folder.path().join("stdout")).expect("an access log");
    let logged = log
        .lines()
        .find(|line| line.contains(r#""path":"/members.txt""#) && line.contains(r#""status":200"#))
        .expect("a line");
    assert_eq!(keys(block(OPERATION, "Read the logs", "json")), keys(logged));

    let items = items(OPERATION, "Read the logs");
    let known: BTreeSet<_> = items.iter().flat_map(|item| subjects(item)).collect();
    let found: BTreeSet<_> = log.lines().flat_map(keys).collect();
    let found: BTreeSet<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found.difference(&known).collect::<Vec<_>>(), [] as [&&str; 0], "not in the page");
    // Of tunnels, of what broke off, and of requests that belong to a trace.
    let traced = ["trace_id", "span_id", "tracestate"];
    let rare: BTreeSet<_> =
        ["bytes_received", "cause", "complete"].into_iter().chain(traced).collect();
    let absent: BTreeSet<_> = known.difference(&found).copied().collect();
    assert!(absent.is_subset(&rare), "in the page, and not in the log: {absent:?}");
}

#[test]
fn the_lines_for_keys_and_backups_work_by_copy_and_paste() {
    let Some(workspace) = Workspace::new(&["8080", "9090", "3000"]) else { return };
    let mut keyward = workspace.run();
    // The machine may have other processes of this name.
    let pidof = workspace.folder.path().join("pidof");
    fs::write(&pidof, format!("#!/bin/sh\necho {}\n", keyward.0.id())).expect("written");
    fs::set_permissions(&pidof, fs::Permissions::from_mode(0o700)).expect("it can be run");
    let has = |outcome: &str| {
        let name = format!("keyward_config_reloads_total{{outcome=\"{outcome}\"}} 1");
        let metrics = workspace.shell("curl -sS http://127.0.0.1:9090/metrics");
        metrics.lines().any(|line| line == name).then_some(())
    };
    let files =
        || fs::read_dir(workspace.work.join("keyward-data/keys")).expect("a folder").count();
    let before = files();
    workspace.shell(block(OPERATION, "Rotate keys", "sh"));
    wait_for("a reload", || has("done"));
    assert_eq!(files(), before + 3);

    assert_eq!(workspace.shell(block(OPERATION, "Probe", "sh")), "ready\n");
    workspace.shell(block(OPERATION, "Back up", "sh"));
    keyward.stop(Signal::TERM);
    let said = workspace.shell(block(OPERATION, "Restore", "sh"));
    assert!(said.starts_with("restored from backup.db"), "{said}");
    workspace.run().stop(Signal::TERM);
}

#[test]
fn the_lines_of_the_demo_are_those_of_its_page_and_work() {
    let Some(workspace) = Workspace::new(&["8080"]) else { return };
    let address = workspace.text("127.0.0.1:8080");
    let arguments = ["demo", "--address", &address];
    let mut demo = Running::start(
        workspace
            .command(KEYWARD)
            .args(arguments)
            .env("TMPDIR", &workspace.work)
            .stdout(Stdio::piped()),
    );
    let mut said =
        BufReader::new(demo.0.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let guide: Vec<String> =
        said.by_ref().take_while(|line| line != "# The access log follows.").collect();
    let pasted = guide
        .iter()
        .skip(1)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect::<Vec<_>>();
    let (own, lines) = pasted.split_at(2);
    let shown = block(TOKEN_APIS, "Try all four in the demo", "sh");
    assert_eq!(unbroken(&workspace.text(shown)).lines().collect::<Vec<_>>(), lines);
    let printed = workspace.shell(&format!("{}\n{}\n{shown}", own[0], own[1]));
    let statuses: Vec<_> =
        printed.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)).collect();
    assert_eq!(statuses, ["200", "401", "200", "401", "200", "200", "200"], "{printed}");
    assert!(
        printed.contains(r#""x-keyward-subject": "auth0|demo""#) && !printed.contains("root"),
        "{printed}"
    );
    demo.stop(Signal::INT);
    assert_eq!(
        fs::read_dir(&workspace.work).expect("a folder").count(),
        0,
        "the demo leaves nothing"
    );
}
