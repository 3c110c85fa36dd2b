//! The configurations of the pages: each is one that the program takes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use keyward::config::parse;

use crate::page::{PAGES, block, blocks};

pub(crate) const FIRST_CONFIGURATION: &str = "In front of your own service";

pub(crate) fn configuration() -> &'static str {
    block("README.md", FIRST_CONFIGURATION, "toml")
}

#[test]
fn the_configuration_of_the_readme_is_valid() {
    let config =
        parse(configuration(), "README.md", &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.warnings, Vec::<String>::new());
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
