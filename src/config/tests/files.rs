//! Files: the configuration itself, and those it names.

use std::path::{Path, PathBuf};

use super::{SMALL, faults, load};

/// A certificate and its key in a folder.
pub(super) fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

#[test]
fn a_missing_file_is_said_in_words_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("keyward.toml")).unwrap_err().to_string();
    assert!(missing.contains("keyward.toml: there is no such file"), "{missing}");
    assert!(missing.contains("keyward demo"), "{missing}");
    let directory = load(folder.path()).unwrap_err().to_string();
    assert!(directory.contains("this is a directory"), "{directory}");
}

#[test]
fn a_file_that_is_no_text_or_no_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("k.toml");
    std::fs::write(&path, b"[server]\n\xff").unwrap();
    let binary = load(&path).unwrap_err().to_string();
    assert!(binary.ends_with("is not UTF-8 text: line 2 holds a byte that cannot stand there"), "{binary}");
    std::fs::write(&path, vec![b' '; 4 * 1024 * 1024 + 1]).unwrap();
    let large = load(&path).unwrap_err().to_string();
    assert!(large.ends_with("is larger than 4MiB: not a configuration"), "{large}");
    std::fs::write(&path, SMALL).unwrap();
    assert!(load(&path).is_ok());
}

#[test]
fn certificates_are_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let broken = folder.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nhunter2\n").unwrap();
    let tls = |certificate: &Path, key: &Path| {
        let pair = format!("{{ certificate = {certificate:?}, key = {key:?} }}");
        faults(&format!("{SMALL}[[listener]]\naddress = '127.0.0.1:1'\ntls = [{pair}]\n")).join("\n")
    };
    assert_eq!(tls(&certificate, &key), "");
    let swapped = tls(&key, &certificate);
    assert!(swapped.contains("k.toml:16:24: \"certificate\": "), "{swapped}");
    assert!(swapped.contains("key.pem\" holds no certificate in PEM form"), "{swapped}");
    assert!(swapped.contains("cert.pem\" holds no private key in PEM form"), "{swapped}");
    let missing = tls(&folder.path().join("none.pem"), &key);
    assert!(missing.contains("none.pem\" cannot be read: No such file"), "{missing}");
    let broken = tls(&broken, &key);
    assert!(broken.contains("is broken") && !broken.contains("hunter2"), "{broken}");
    let single = faults(&format!("{SMALL}[[listener]]\naddress = '127.0.0.1:1'\ntls = {{ key = {key:?} }}\n"));
    assert_eq!(
        single,
        ["k.toml:16:7: missing key \"certificate\" in tls of [[listener]]: it must be the path of a PEM file"]
    );
}
