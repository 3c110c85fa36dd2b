//! `validate` is `run` without serving: on every broken configuration and file both say the same,
//! with file, line and what to do, and neither starts half. A reload is judged alike.

mod addresses;
mod case;
mod files;
mod issuers;
mod names;
mod redis;
mod running;
mod tls;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use crate::support::eventually;

use self::case::{Case, GOOD, listener, program, swap, write};

/// What is in a folder, but for the files of locks and what a case holds open.
fn listing(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).expect("a folder").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).expect("inside").display().to_string();
            if path.is_dir() {
                folders.push(path);
            }
            if !name.ends_with(".lock") && !name.starts_with("std") {
                found.insert(name);
            }
        }
    }
    found
}

fn run(folder: &Path, text: &str, arguments: &[&str]) -> Output {
    write(folder, "keyward.toml", text);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(arguments)
        .args(["-c", "keyward.toml"])
        .current_dir(folder)
        .output();
    output.expect("it runs")
}

/// What was said, without the lines of the log.
fn said(output: &Output) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_said = |line: &&str| !line.starts_with('{') && !line.contains(": warning: ");
    text.lines().filter(is_said).map(str::to_owned).collect()
}

fn cases() -> Vec<Case> {
    let all = [
        tls::cases(),
        addresses::cases(),
        files::cases(),
        issuers::cases(),
        names::cases(),
        redis::cases(),
    ];
    all.into_iter().flatten().collect()
}

#[test]
fn validate_and_run_say_the_same_of_whatever_is_broken_and_nothing_starts_half() {
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    let mut wrong = Vec::new();
    for Case { name, prepare, place, words } in cases {
        let folder = tempfile::Builder::new().prefix("kw").tempdir().expect("a folder");
        let folder = folder.path();
        let (text, _held) = prepare(folder);
        write(folder, "keyward.toml", &text);
        let before = listing(folder);
        let mut check = |holds: bool, what: String| {
            if !holds {
                wrong.push(format!("{name}: {what}"));
            }
        };
        let validated = run(folder, &text, &["validate"]);
        let after_validate = listing(folder);
        check(
            after_validate == before,
            format!("validate leaves {after_validate:?} of {before:?}"),
        );
        let ran = run_to_its_end(folder);
        let after = listing(folder);
        check(after == before, format!("run leaves {after:?} of {before:?}"));
        for (command, output) in [("validate", &validated), ("run", &ran)] {
            check(
                output.status.code() == Some(1),
                format!("{command} ends with {}", output.status),
            );
            check(
                output.stdout.is_empty(),
                format!("{command} says {:?}", String::from_utf8_lossy(&output.stdout)),
            );
        }
        let (one, other) = (said(&validated), said(&ran));
        check(one == other, format!("validate says {one:#?}, run says {other:#?}"));
        let whole: Vec<&str> = one.iter().map(String::as_str).collect();
        let whole = whole.join("\n");
        for word in words {
            check(whole.contains(word), format!("{word:?} is missing in {whole}"));
        }
        check(
            whole.contains(&format!("keyward.toml:{place}")),
            format!("{place:?} is not the place of {whole}"),
        );
        check(
            !one.is_empty() && one.iter().all(|line| line.starts_with("keyward.toml:")),
            format!("no file: {whole}"),
        );
        check(!whole.contains("canary"), format!("a secret is said: {whole}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// `run` on the configuration of a folder, which must end by itself.
fn run_to_its_end(folder: &Path) -> Output {
    let (stdout, stderr) = (
        tempfile::NamedTempFile::new().expect("a file"),
        tempfile::NamedTempFile::new().expect("a file"),
    );
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(["run", "-c", "keyward.toml"])
        .current_dir(folder)
        .stdout(stdout.reopen().expect("a handle"))
        .stderr(stderr.reopen().expect("a handle"))
        .spawn()
        .expect("it starts");
    let mut status = None;
    let is_over = eventually(|| {
        status = child.try_wait().expect("our child");
        // One that serves will not end: there is no need to wait for that.
        status.is_some()
            || fs::read_to_string(stderr.path()).is_ok_and(|text| text.contains("\"started\""))
    });
    let _ = child.kill();
    let ended = child.wait().expect("our child");
    assert!(is_over, "it neither starts nor ends");
    let read = |file: &tempfile::NamedTempFile| fs::read(file.path()).expect("read");
    Output { status: status.unwrap_or(ended), stdout: read(&stdout), stderr: read(&stderr) }
}

#[test]
fn what_is_good_is_valid_without_a_trace_and_runs() {
    let folder = tempfile::Builder::new().prefix("kw").tempdir().expect("a folder");
    let folder = folder.path();
    write(folder, "keyward.toml", GOOD);
    let before = listing(folder);
    let validated = run(folder, GOOD, &["validate"]);
    assert_eq!(validated.status.code(), Some(0), "{}", String::from_utf8_lossy(&validated.stderr));
    assert_eq!(listing(folder), before);
    let ran = run_to_its_end(folder);
    assert!(
        String::from_utf8_lossy(&ran.stderr).contains("\"started\""),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn what_can_be_served_and_is_probably_not_meant_is_a_warning_of_both() {
    let folder = tempfile::Builder::new().prefix("kw").tempdir().expect("a folder");
    let folder = folder.path();
    files::keys(folder);
    files::key(folder, "old.key", "canary");
    let certificate = |name: &str, from: i32, until: i32| {
        let mut params = rcgen::CertificateParams::new([format!("{name}.test")]).expect("a name");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        write(folder, &format!("{name}.pem"), made.pem());
        write(folder, &format!("{name}.key"), key.serialize_pem());
        let path = folder.join(format!("{name}.key"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
    };
    certificate("a", 2001, 2002);
    certificate("b", 2901, 2902);
    let text = listener(
        "tls = [{ certificate = \"a.pem\", key = \"a.key\" }, { certificate = \"b.pem\", \
         key = \"b.key\" }]",
    );
    let validated = run(folder, &text, &["validate"]);
    assert_eq!(validated.status.code(), Some(0));
    let ran = run_to_its_end(folder);
    for output in [validated, ran] {
        let words = String::from_utf8_lossy(&output.stderr).replace('\\', "");
        for part in [
            "keyward.toml:3:24: \"certificate\": \"a.pem\" expired on 2002-01-01T00:00:00Z",
            "keyward.toml:3:66: \"certificate\": \"b.pem\" is not valid before 2901-01-01T00:00:00",
            "keys/old.key is not used",
        ] {
            assert!(words.contains(part), "{part} in {words}");
        }
        assert!(!words.contains("canary"));
    }
}

/// What is wrong with each of several things is said in one go.
#[test]
fn faults_that_show_only_when_files_are_used_are_all_said_at_once() {
    let folder = tempfile::Builder::new().prefix("kw").tempdir().expect("a folder");
    let folder = folder.path();
    let (_program, port) = program("127.0.0.1");
    write(folder, "file", "");
    write(folder, "set.json", "garbage");
    let text = swap("127.0.0.1:0", &format!("127.0.0.1:{port}"))
        .replace("admin.sock", "file/admin.sock")
        .replace("\"keyward.db\"", "\"file/keyward.db\"");
    let issuer = "[[issuer]]\nname = \"idp\"\nissuer = \"https://idp.test\"\naudience = [\"a\"]\n\
                  jwks_file = \"set.json\"\n";
    let text = format!("{text}[log]\naccess = \"none/access.log\"\n{issuer}");
    let validated = run(folder, &text, &["validate"]);
    let places: Vec<String> = String::from_utf8_lossy(&validated.stderr)
        .lines()
        .filter_map(|line| Some(line.strip_prefix("keyward.toml:")?.split(": ").next()?.to_owned()))
        .collect();
    assert_eq!(
        places,
        ["2:11", "5:10", "7:8", "22:10", "27:13"],
        "{}",
        String::from_utf8_lossy(&validated.stderr)
    );
    assert_eq!(said(&run_to_its_end(folder)), said(&validated));
}
