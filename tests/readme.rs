//! The README held to the program: its configuration, its lines to paste, and its tables.
//!
//! What the README shows in `sh` is run by `sh`, with the ports replaced by free ones; what it
//! shows in `text` is what that has to print, `…` standing for anything. The one thing that is
//! replaced is the service behind keyward.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "it is a test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use keyward::config::{IdentityHeaders, Preset, parse};
use keyward::domain::RawToken;
use keyward::telemetry::Reason;
use keyward::telemetry::metrics::{FleetGauges, Gauges, IssuerGauges, render};
use keyward::tokens::keyring::SecretBytes;
use keyward::tokens::opaque::{Alphabet, OpaqueFormat, OpaqueTokens};
use rustix::process::{Pid, Signal, kill_process};

const README: &str = include_str!("../README.md");
const EXAMPLE: &str = include_str!("../config.example.toml");
const KEYWARD: &str = env!("CARGO_BIN_EXE_keyward");
const FIRST_CONFIGURATION: &str = "In front of your own service";
/// How long anything may take before it is called a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// The text under a heading, up to the next.
fn section(title: &str) -> &'static str {
    let (_, rest) = README
        .split_once(&format!("\n## {title}\n"))
        .unwrap_or_else(|| panic!("no section {title:?}"));
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The fenced blocks of a text, each with its language.
fn blocks(text: &'static str) -> Vec<(&'static str, &'static str)> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a language and a body")).collect()
}

/// The rows of the tables in a section whose first cell is code: the code of each cell.
fn rows(title: &str) -> Vec<Vec<Vec<String>>> {
    let code =
        |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let lines = section(title).lines().filter(|line| line.starts_with("| "));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(code).collect::<Vec<_>>());
    cells.filter(|cells| !cells[0].is_empty()).collect()
}

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

/// A loopback port that nobody listens on, below those that the kernel gives to outgoing
/// connections, and without a port of the README's within it.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 20_000) as u16;
    let ports =
        std::iter::repeat_with(|| 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000);
    let mut ports =
        ports.take(20_000).filter(|port| ![3000, 8080, 9090].contains(&(port % 10_000)));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
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

/// An empty folder with `keyward` on the path, and the README's ports replaced.
struct Room {
    folder: tempfile::TempDir,
    work: PathBuf,
    ports: BTreeMap<&'static str, u16>,
}

impl Room {
    /// None where there is no curl, which the README's lines need.
    fn new(ports: &[&'static str]) -> Option<Self> {
        if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("NOT CHECKED: the README's lines need curl, and there is none here");
            return None;
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

fn configuration() -> &'static str {
    blocks(section(FIRST_CONFIGURATION))
        .into_iter()
        .find(|(kind, _)| *kind == "toml")
        .expect("a configuration")
        .1
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
fn the_configuration_of_the_readme_is_valid() {
    let config =
        parse(configuration(), "README.md", &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn the_first_configuration_works_by_copy_and_paste_and_prints_what_is_shown() {
    let Some(room) = Room::new(&["8080", "9090", "3000"]) else { return };
    serve(
        room.work.join("www"),
        TcpListener::bind(("127.0.0.1", room.ports["3000"])).expect("a free port"),
    );
    let mut keyward = room.run();
    // Started already, and they stay.
    let stays =
        |line: &&str| line.starts_with("python3 -m http.server 3000") || *line == "keyward run";
    let (mut printed, mut started) = (String::new(), 0);
    for (kind, block) in blocks(section(FIRST_CONFIGURATION)) {
        if kind == "sh" {
            let (stay, paste): (Vec<_>, Vec<_>) = block.lines().partition(stays);
            started += stay.len();
            printed = room.shell(&paste.join("\n"));
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
    let log = fs::read_to_string(room.folder.path().join("stdout")).expect("an access log");
    let logged = log
        .lines()
        .find(|line| line.contains(r#""path":"/members.txt""#) && line.contains(r#""status":200"#))
        .expect("a line");
    let (_, shown) = blocks(section("Operation"))
        .into_iter()
        .find(|(kind, _)| *kind == "json")
        .expect("an example");
    assert_eq!(keys(shown), keys(logged));
}

#[test]
fn the_lines_of_the_demo_are_those_of_the_readme_and_work() {
    let Some(room) = Room::new(&["8080"]) else { return };
    let address = room.text("127.0.0.1:8080");
    let arguments = ["demo", "--address", &address];
    let mut demo = Running::start(
        room.command(KEYWARD).args(arguments).env("TMPDIR", &room.work).stdout(Stdio::piped()),
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
    let (_, shown) = blocks(section("The demo"))[0];
    assert_eq!(room.text(shown).lines().collect::<Vec<_>>(), lines);
    let printed = room.shell(&format!("{}\n{}\n{shown}", own[0], own[1]));
    let statuses: Vec<_> =
        printed.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)).collect();
    assert_eq!(statuses, ["200", "401", "200", "401", "200", "200", "200"], "{printed}");
    assert!(
        printed.contains(r#""x-keyward-subject": "auth0|demo""#) && !printed.contains("root"),
        "{printed}"
    );
    demo.stop(Signal::INT);
    assert_eq!(fs::read_dir(&room.work).expect("a folder").count(), 0, "the demo leaves nothing");
}

/// All commands below one, as its help names them.
fn commands(above: &[&str]) -> BTreeSet<String> {
    let help = help(above);
    let Some((_, listed)) = help.split_once("Commands:\n") else {
        return BTreeSet::from([above.join(" ")]);
    };
    let named = listed.lines().take_while(|line| !line.is_empty());
    let names = named
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty());
    names
        .filter(|name| *name != "help")
        .flat_map(|name| commands(&[above, &[name]].concat()))
        .collect()
}

fn help(command: &[&str]) -> String {
    let output = Command::new(KEYWARD).args(command).arg("--help").output().expect("it runs");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_command_is_in_the_readme_and_every_option_there_exists() {
    let rows = rows("Command line");
    let shown: BTreeSet<_> =
        rows.iter().map(|cells| cells[0][0].replacen("keyward ", "", 1)).collect();
    let mut known = commands(&[]);
    known.insert("help".into());
    assert_eq!(shown, known);
    for cells in &rows {
        let help = help(&cells[0][0].split(' ').skip(1).collect::<Vec<_>>());
        for option in cells[1].iter().filter_map(|code| code.split(' ').next()) {
            assert!(help.contains(option), "{} {option}", cells[0][0]);
        }
    }
}

#[test]
fn every_metric_is_in_the_readme_and_every_one_there_exists() {
    let (issuers, fleet) = (vec![IssuerGauges::default()], Some(FleetGauges::default()));
    let text = render(std::iter::empty(), &Gauges { issuers, fleet, ..Gauges::default() });
    let known = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let is_metric = |name: &String| name.starts_with("keyward_");
    let shown: BTreeSet<_> =
        rows("Operation").into_iter().map(|cells| cells[0][0].clone()).filter(is_metric).collect();
    assert_eq!(shown, known.map(str::to_owned).collect());
}

#[test]
fn every_reason_of_a_refusal_is_in_the_readme() {
    let cells =
        section("Refusals").lines().filter_map(|line| line.trim_matches('|').split('|').nth(2));
    let shown: BTreeSet<_> =
        cells.skip(1).flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    // `token_api` is in the words below the table.
    let known = Reason::ALL.into_iter().filter(|reason| *reason != Reason::TokenApi);
    assert_eq!(shown, known.map(Reason::as_str).collect());
}

/// A pattern of the one form that the README uses: what it begins with, a class of characters, how
/// many of them.
fn matches(pattern: &str, token: &str) -> bool {
    let (prefix, rest) = pattern.split_once('[').expect("a class");
    let (class, count) = rest.split_once("]{").expect("a count");
    let class: Vec<char> = class.chars().collect();
    let is_in = |c: char| {
        class.split(|c| *c == '-').collect::<Vec<_>>().windows(2).any(|ends| {
            let ends = (ends[0].last().expect("a range"), ends[1].first().expect("a range"));
            (*ends.0..=*ends.1).contains(&c)
        })
    };
    let count: usize = count.trim_end_matches('}').parse().expect("a number");
    token.strip_prefix(prefix).is_some_and(|body| body.len() == count && body.chars().all(is_in))
}

#[test]
fn a_secret_scanner_finds_each_opaque_token_by_the_expression_of_its_style() {
    let tokens = OpaqueTokens::new([&SecretBytes::new([7; 32])]);
    let mint = |prefix: &str, alphabet| {
        tokens.mint(&OpaqueFormat { prefix: prefix.into(), alphabet }).expect("random bytes")
    };
    let formats = [
        ("tenant-tokens", "sk-", Alphabet::Base62),
        ("agent-tokens", "sk_agt_", Alphabet::Hex),
        ("accounts", "rst_", Alphabet::Base36),
    ];
    let rows = rows("For secret scanners");
    assert_eq!(rows.len(), formats.len());
    for (cells, (style, prefix, alphabet)) in rows.iter().zip(formats) {
        assert_eq!(cells[0][0], style);
        for _ in 0..200 {
            let token: RawToken = mint(prefix, alphabet);
            for other in &rows {
                assert_eq!(
                    matches(&other[1][0], token.expose()),
                    other == cells,
                    "{} of {}",
                    other[1][0],
                    style
                );
            }
        }
    }
}

#[test]
fn the_presets_of_the_readme_are_those_of_the_program() {
    let rows = rows("What the upstream sees");
    assert_eq!(rows.len(), 10);
    for (column, preset) in Preset::ALL.into_iter().enumerate() {
        for (cells, (field, header)) in rows.iter().zip(IdentityHeaders::preset(preset).fields()) {
            let shown = cells[column + 1].first().map(|name| name.to_ascii_lowercase());
            assert_eq!(
                (cells[0][0].as_str(), shown.as_deref()),
                (field, header),
                "{}",
                preset.as_str()
            );
        }
    }
}

#[test]
fn the_limits_of_the_readme_are_those_of_the_example() {
    for cells in rows("Limits and timeouts") {
        let (table, key) = cells[0][0].split_once('.').expect("a table and a key");
        let (_, rest) = EXAMPLE.split_once(&format!("\n[{table}]\n")).expect("the table");
        let line =
            rest.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).expect("the key");
        assert_eq!(
            cells[1][0],
            line.split(' ').next().unwrap_or_default().trim_matches('"'),
            "{key}"
        );
    }
}
