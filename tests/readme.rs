//! The documents held to the program: README.md, CONTRIBUTING.md, and the pages in docs/.
//!
//! * Every configuration in `toml` is one, with what an excerpt leaves out added to it.
//! * Every line with `keyward` is one that the program takes: its commands and options exist. The
//!   lines for an own service, of the demo, and for keys and backups are run by `sh`, with the
//!   ports replaced by free ones; what is shown in `text` below them is what they have to print,
//!   `…` standing for anything. The one thing that is replaced is the service behind keyward.
//! * Every link leads to a page and a heading, every file that is named is there, and the lists of
//!   commands, metrics, reasons, limits and names are those of the program.

#![expect(
    clippy::disallowed_methods,
    reason = "tests measure what takes real time, and wait for other processes"
)]
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
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use keyward::config::parse;
use keyward::domain::RawToken;
use keyward::gateway::{IdentityNames, Preset};
use keyward::telemetry::Reason;
use keyward::telemetry::metrics::{FleetGauges, Gauges, IssuerGauges, render};
use keyward::tokens::keyring::SecretBytes;
use keyward::tokens::opaque::{Alphabet, OpaqueFormat, OpaqueTokens};
use rustix::process::{Pid, Signal, kill_process};

/// Every page, with its text.
const PAGES: [(&str, &str); 9] = [
    ("README.md", include_str!("../README.md")),
    ("CONTRIBUTING.md", include_str!("../CONTRIBUTING.md")),
    ("docs/fleet.md", include_str!("../docs/fleet.md")),
    ("docs/identity-providers.md", include_str!("../docs/identity-providers.md")),
    (OPERATION, include_str!("../docs/operation.md")),
    ("docs/performance.md", include_str!("../docs/performance.md")),
    (SECURITY, include_str!("../docs/security.md")),
    (TOKEN_APIS, include_str!("../docs/token-apis.md")),
    ("docs/upgrade.md", include_str!("../docs/upgrade.md")),
];
/// A page that is made from the code and held to it where it is made.
const GENERATED: &str = "docs/configuration.md";
const OPERATION: &str = "docs/operation.md";
const SECURITY: &str = "docs/security.md";
const TOKEN_APIS: &str = "docs/token-apis.md";
const MAKEFILE: &str = include_str!("../Makefile");
const EXAMPLE: &str = include_str!("../config.example.toml");
const KEYWARD: &str = env!("CARGO_BIN_EXE_keyward");
const FIRST_CONFIGURATION: &str = "In front of your own service";
/// How long anything may take before it is called a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// The text of a page.
fn page(name: &str) -> &'static str {
    let found = PAGES.into_iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no page {name:?}")).1
}

/// The text under a heading of a page, up to the next.
fn section(name: &str, title: &str) -> &'static str {
    let (_, rest) = page(name)
        .split_once(&format!("\n## {title}\n"))
        .unwrap_or_else(|| panic!("no section {title:?} in {name}"));
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The items of the lists in a section, each on one line.
fn items(name: &str, title: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in section(name, title).lines() {
        match (line.strip_prefix("* "), line.strip_prefix("  "), items.last_mut()) {
            (Some(first), _, _) => items.push(first.to_owned()),
            (None, Some(more), Some(item)) => {
                item.push(' ');
                item.push_str(more.trim_start());
            }
            _ => {}
        }
    }
    items
}

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What an item is about: what stands between backticks before its colon.
fn subjects(item: &str) -> impl Iterator<Item = &str> {
    code(item.split_once(": ").expect("a subject and what is said of it").0)
}

/// A page without its blocks, on one line.
fn prose(text: &str) -> String {
    let outside: Vec<_> = text.split("```").step_by(2).collect();
    outside.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines of a shell that were broken up, in one piece each.
fn unbroken(lines: &str) -> String {
    let pieces: Vec<_> = lines.split("'\\\n'").collect();
    let whole = pieces.concat();
    let mut parts = whole.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, part| format!("{} {}", line.trim_end(), part.trim_start()))
}

/// The fenced blocks of a text, each with its language.
fn blocks(text: &'static str) -> Vec<(&'static str, &'static str)> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a language and a body")).collect()
}

/// The rows of the tables in a section whose first cell is code: the code of each cell.
fn rows(name: &str, title: &str) -> Vec<Vec<Vec<String>>> {
    let code = |cell: &str| code(cell).map(str::to_owned).collect::<Vec<_>>();
    let lines = section(name, title).lines().filter(|line| line.starts_with("| "));
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
/// connections, and without a port of the documents' within it.
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

/// An empty folder with `keyward` on the path, and the documents' ports replaced.
struct Room {
    folder: tempfile::TempDir,
    work: PathBuf,
    ports: BTreeMap<&'static str, u16>,
}

impl Room {
    /// None where there is no curl or no openssl, which the documents' lines need.
    fn new(ports: &[&'static str]) -> Option<Self> {
        for (program, argument) in [("curl", "--version"), ("openssl", "version")] {
            if Command::new(program).arg(argument).stdout(Stdio::null()).status().is_err() {
                eprintln!("NOT CHECKED: the documents' lines need {program}, which is not there");
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

fn configuration() -> &'static str {
    block("README.md", FIRST_CONFIGURATION, "toml")
}

/// The first block of a section in a language.
fn block(name: &str, title: &str, language: &str) -> &'static str {
    let found = blocks(section(name, title)).into_iter().find(|(kind, _)| *kind == language);
    found.unwrap_or_else(|| panic!("no {language} in {title:?} of {name}")).1
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
    for (kind, block) in blocks(section("README.md", FIRST_CONFIGURATION)) {
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
    assert_eq!(keys(block(OPERATION, "Read the logs", "json")), keys(logged));

    let items = items(OPERATION, "Read the logs");
    let known: BTreeSet<_> = items.iter().flat_map(|item| subjects(item)).collect();
    let found: BTreeSet<_> = log.lines().flat_map(keys).collect();
    let found: BTreeSet<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found.difference(&known).collect::<Vec<_>>(), [] as [&&str; 0], "not in the page");
    // Of tunnels, and of what broke off.
    let rare = BTreeSet::from(["bytes_received", "cause", "complete"]);
    let absent: BTreeSet<_> = known.difference(&found).copied().collect();
    assert!(absent.is_subset(&rare), "in the page, and not in the log: {absent:?}");
}

#[test]
fn the_lines_for_keys_and_backups_work_by_copy_and_paste() {
    let Some(room) = Room::new(&["8080", "9090", "3000"]) else { return };
    let mut keyward = room.run();
    // The machine may have other processes of this name.
    let pidof = room.folder.path().join("pidof");
    fs::write(&pidof, format!("#!/bin/sh\necho {}\n", keyward.0.id())).expect("written");
    fs::set_permissions(&pidof, fs::Permissions::from_mode(0o700)).expect("it can be run");
    let has = |outcome: &str| {
        let name = format!("keyward_config_reloads_total{{outcome=\"{outcome}\"}} 1");
        let metrics = room.shell("curl -sS http://127.0.0.1:9090/metrics");
        metrics.lines().any(|line| line == name).then_some(())
    };
    let files = || fs::read_dir(room.work.join("keyward-data/keys")).expect("a folder").count();
    let before = files();
    room.shell(block(OPERATION, "Rotate keys", "sh"));
    wait_for("a reload", || has("done"));
    assert_eq!(files(), before + 3);

    assert_eq!(room.shell(block(OPERATION, "Probe", "sh")), "ready\n");
    room.shell(block(OPERATION, "Back up", "sh"));
    keyward.stop(Signal::TERM);
    let said = room.shell(block(OPERATION, "Restore", "sh"));
    assert!(said.starts_with("restored from backup.db"), "{said}");
    room.run().stop(Signal::TERM);
}

#[test]
fn the_lines_of_the_demo_are_those_of_its_page_and_work() {
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
    let shown = block(TOKEN_APIS, "Try all four in the demo", "sh");
    assert_eq!(unbroken(&room.text(shown)).lines().collect::<Vec<_>>(), lines);
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
fn every_command_is_in_the_list_and_every_option_there_exists() {
    let items = items(OPERATION, "Use the command line");
    let command = |item: &str| {
        let first = code(item).next().expect("a command");
        first.strip_prefix("keyward ").expect("of keyward").to_owned()
    };
    let shown: BTreeSet<_> = items.iter().map(|item| command(item)).collect();
    let mut known = commands(&[]);
    known.insert("help".into());
    assert_eq!(shown, known);
    for item in &items {
        let help = help(&command(item).split(' ').collect::<Vec<_>>());
        for option in code(item).filter(|code| code.starts_with("--")) {
            let name = option.split(' ').next().unwrap_or_default();
            assert!(help.contains(name), "{} {option}", command(item));
        }
    }
}

/// Every line with `keyward` in a text of a shell: its words, as far as keyward gets them.
fn lines_of_keyward(text: &str) -> Vec<Vec<String>> {
    let is_boundary = |before: &str| before.chars().next_back().is_none_or(|c| " (\n".contains(c));
    text.match_indices("keyward ")
        .filter(|(at, _)| is_boundary(&text[..*at]))
        .map(|(at, name)| {
            let rest = &text[at + name.len()..];
            let line = rest.split(['\n', ')', '|', ';', '&', '<', '>']).next().unwrap_or_default();
            line.split_whitespace().map(|word| word.trim_matches(['\'', '"']).to_owned()).collect()
        })
        .collect()
}

#[test]
fn every_line_of_the_command_line_is_one_that_the_program_takes() {
    let mut tried = BTreeSet::new();
    for (name, text) in PAGES {
        let shell = blocks(text).into_iter().filter(|(kind, _)| *kind == "sh");
        let prose = prose(text);
        let spans = code(&prose).filter(|code| code.starts_with("keyward "));
        let lines = shell.map(|(_, lines)| unbroken(lines)).chain(spans.map(str::to_owned));
        for words in lines.flat_map(|lines| lines_of_keyward(&lines)) {
            // `help` alone takes no `--help`; the list of commands has it.
            if words == ["help"] || !tried.insert(words.clone()) {
                continue;
            }
            // What stands before `--help` is judged, and nothing is done.
            let output =
                Command::new(KEYWARD).args(&words).arg("--help").output().expect("it runs");
            let complaints = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: keyward {}\n{complaints}", words.join(" "));
        }
    }
    assert!(tried.len() > 20, "{tried:?}");
}

/// The files that stand for those that configurations name: a secret, and a certificate with its
/// key.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn write() -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder") };
        let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).expect("made");
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        let secret = "a secret that is long enough for every use\n".to_owned();
        for (name, text) in [("both.pem", pem), ("secret", secret)] {
            let path = files.folder.path().join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("private");
        }
        files
    }

    /// What stands for the file that is named at this key; none: the key names no file.
    fn standing_for(&self, key: &str) -> Option<String> {
        let is_secret = ["password_file", "secret_file"].iter().any(|of| key.ends_with(of));
        let of_pem = ["file", "certificate", "certificates", "key", "tls"];
        let name = match key {
            _ if is_secret => "secret",
            _ if of_pem.iter().any(|of| key.ends_with(of)) => "both.pem",
            _ => return None,
        };
        Some(self.folder.path().join(name).display().to_string())
    }
}

/// An excerpt of a configuration, with what it leaves out.
fn completed(excerpt: &str, files: &Files) -> String {
    let strings =
        |line: &str| line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let key = |line: &str| line.split_once(" = ").map(|(key, _)| key.trim().to_owned());
    let (mut named, mut defined, mut text) = (BTreeSet::new(), BTreeSet::new(), String::new());
    let mut table = "";
    for line in excerpt.lines() {
        let line = line.split(" # ").next().unwrap_or_default().trim_end();
        if line.starts_with('[') {
            table = line;
        }
        match (table, key(line).as_deref()) {
            (_, Some("name")) => defined.extend(strings(line)),
            ("[[route]]", Some("accept")) | ("[[token_api]]", Some("issuer")) => {
                named.extend(strings(line));
            }
            _ => {}
        }
        let is_path = |string: &String| string.starts_with('/') || string.ends_with(".pem");
        let file = key(line).and_then(|key| files.standing_for(&key));
        let line = match file {
            Some(file) => strings(line)
                .into_iter()
                .filter(is_path)
                .fold(line.to_owned(), |line, name| line.replace(&name, &file)),
            None => line.to_owned(),
        };
        text += &(line + "\n");
    }
    if !text.contains("[[listener]]") {
        text += "[[listener]]\naddress = \"127.0.0.1:8080\"\n";
    }
    if !text.contains("[[upstream]]") && text.contains("upstream = \"app\"") {
        text += "[[upstream]]\nname = \"app\"\nendpoints = [\"http://127.0.0.1:3000\"]\n";
    }
    for name in named.difference(&defined) {
        text += &format!(
            "[[issuer]]\nname = \"{name}\"\nissuer = \"https://{name}.test\"\n\
             audience = [\"account\"]\n"
        );
    }
    if !text.contains("[[route]]") && !text.contains("[[token_api]]") {
        text += "[[token_api]]\nname = \"own\"\nstyle = \"accounts\"\nmount = \"/own\"\n";
    }
    text
}

#[test]
fn every_configuration_is_valid() {
    let files = Files::write();
    let mut shown = 0;
    for (name, text) in PAGES {
        for (_, excerpt) in blocks(text).into_iter().filter(|(kind, _)| *kind == "toml") {
            let whole = completed(excerpt, &files);
            let parsed = parse(&whole, name, &|_| None);
            assert!(parsed.is_ok(), "{name}:\n{whole}\n{}", parsed.expect_err("faults"));
            shown += 1;
        }
    }
    assert!(shown > 20, "{shown}");
}

/// The place of a heading in a page, as links name it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in PAGES {
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            if target.starts_with("https://") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let beside = Path::new(name).parent().unwrap_or(Path::new(""));
            let path = match file.strip_prefix("../") {
                _ if file.is_empty() => name.to_owned(),
                Some(above) => above.to_owned(),
                None => beside.join(file).display().to_string(),
            };
            if path == GENERATED {
                continue;
            }
            assert!(folder.join(&path).is_file(), "{name}: {target}");
            if !place.is_empty() {
                let mut headings = page(&path).lines().filter_map(|line| line.strip_prefix("## "));
                assert!(headings.any(|heading| anchor(heading) == place), "{name}: {target}");
            }
        }
    }
}

#[test]
fn every_file_and_every_target_of_make_that_a_page_names_is_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_source = |code: &&str| {
        let folders = ["src/", "tests/", "docs/", "bench/", "deploy/", "fuzz/"];
        folders.iter().any(|folder| code.starts_with(folder)) && *code != GENERATED
    };
    for (name, text) in PAGES {
        let prose = prose(text);
        for path in code(&prose).filter(is_source) {
            assert!(folder.join(path).exists(), "{name}: {path}");
        }
        let shell = blocks(text).into_iter().filter(|(kind, _)| *kind == "sh");
        let lines = shell.flat_map(|(_, lines)| lines.lines()).chain(code(&prose));
        for line in lines.filter_map(|line| line.strip_prefix("make ")) {
            let target = line.split(' ').next().unwrap_or_default();
            assert!(MAKEFILE.contains(&format!("\n{target}:")), "{name}: make {target}");
        }
    }
}

#[test]
fn every_page_is_held_to_the_program_and_fits_on_a_screen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for file in fs::read_dir(folder).expect("a folder") {
        let name = format!("docs/{}", file.expect("a file").file_name().display());
        let is_held = name == GENERATED || PAGES.iter().any(|(known, _)| *known == name);
        assert!(is_held, "{name} is not in the list of pages");
    }
    for (name, text) in PAGES {
        for (number, line) in (1..).zip(text.lines()) {
            assert!(line.chars().count() <= 100, "{name}:{number} is longer than 100 columns");
        }
    }
    assert!(page("README.md").lines().count() <= 200, "the README is for the first hour");
}

#[test]
fn every_metric_is_in_the_list_and_every_one_there_exists() {
    let (issuers, fleet) = (vec![IssuerGauges::default()], Some(FleetGauges::default()));
    let text = render(std::iter::empty(), &Gauges { issuers, fleet, ..Gauges::default() });
    let known = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let items = items(OPERATION, "Scrape metrics");
    let shown: BTreeSet<_> = items.iter().flat_map(|item| subjects(item)).collect();
    assert_eq!(shown, known.collect());
}

#[test]
fn every_reason_of_a_refusal_is_in_the_list() {
    let items = items(SECURITY, "Know what is refused");
    let shown: BTreeSet<_> = items.iter().flat_map(|item| subjects(item)).collect();
    // `token_api` is in the words below the list.
    let known = Reason::ALL.into_iter().filter(|reason| *reason != Reason::TokenApi);
    assert_eq!(shown, known.map(Reason::as_str).collect());
}

/// A pattern of the one form that the page uses: what it begins with, a class of characters, how
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
    let rows = rows(TOKEN_APIS, "Find leaked keys with a secret scanner");
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
fn the_presets_of_the_documents_are_those_of_the_program() {
    let own = rows("README.md", "What upstreams see");
    let others = rows(SECURITY, "Choose the names of the identity headers");
    assert_eq!((own.len(), others.len()), (10, 7));
    let lower = |cell: &Vec<String>| cell.first().map(|name| name.to_ascii_lowercase());
    for (column, (word, preset)) in Preset::WORDS.iter().enumerate() {
        let is_own = *preset == Preset::Keyward;
        let names = IdentityNames::preset(*preset);
        for (at, (field, header)) in names.fields().into_iter().enumerate() {
            let (row, column) = match others.get(at) {
                Some(row) if !is_own => (row, column),
                // The same in every preset.
                _ => (&own[at], 1),
            };
            let shown = (row[0][0].as_str(), lower(&row[column]));
            assert_eq!(shown, (field, header.map(str::to_owned)), "{word}");
        }
    }
}

#[test]
fn the_limits_of_the_documents_are_those_of_the_example() {
    let items = items(SECURITY, "Bound what clients can use up");
    assert!(items.len() > 20, "{items:?}");
    for item in items {
        let subjects: Vec<_> = subjects(&item).collect();
        let (table, key) = subjects[0].split_once('.').expect("a table and a key");
        let (_, rest) = EXAMPLE.split_once(&format!("\n[{table}]\n")).expect("the table");
        let line =
            rest.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).expect("the key");
        assert_eq!(
            subjects[1],
            line.split(' ').next().unwrap_or_default().trim_matches('"'),
            "{key}"
        );
    }
}
