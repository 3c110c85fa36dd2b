//! Files: the configuration itself, and those it names.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{SMALL, faults, load};
use crate::tls::{ClientAuth, ClientAuthMode};

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
    assert!(
        binary.ends_with("is not UTF-8 text: line 2 holds a byte that cannot stand there"),
        "{binary}"
    );
    std::fs::write(&path, vec![b' '; 4 * 1024 * 1024 + 1]).unwrap();
    let large = load(&path).unwrap_err().to_string();
    assert!(large.ends_with("is larger than 4MiB: not a configuration"), "{large}");
    std::fs::write(&path, SMALL).unwrap();
    assert!(load(&path).is_ok());
}

/// For faults that show only when the configuration is used.
#[test]
fn every_key_has_its_place_and_a_missing_one_that_of_its_table() {
    let text = format!(
        "{SMALL}[[listener]]\naddress = '127.0.0.1:1'\n[log]\nlevel = 'info' # ü\naccess = 'off'\n"
    );
    let places = super::read(&text).unwrap().places;
    let said = |key: &str| places.one(key, "a\nb").to_string();
    for (key, expected) in [
        ("listener[0].address", "k.toml:2:11: a b"),
        ("listener[1].address", "k.toml:15:11: a b"),
        ("listener[1].tls", "k.toml:14:1: a b"),
        ("log.access", "k.toml:18:10: a b"),
        ("log.format", "k.toml:16:1: a b"),
        ("upstream[0].endpoints", "k.toml:9:13: a b"),
        ("store.path", "k.toml: a b"),
    ] {
        assert_eq!(said(key), expected, "{key}");
    }
    let [last, first] = ["log.access", "listener[0].address"].map(|key| places.fault(key, "a"));
    let faults = places.conclude(vec![last.clone(), first.clone(), last.clone()]).unwrap_err();
    assert_eq!(faults.iter().collect::<Vec<_>>(), [&first, &last]);
    assert_eq!(places.conclude(Vec::new()), Ok(()));
}

#[test]
fn certificates_are_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let broken = folder.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nhunter2\n").unwrap();
    let tls = |certificate: &Path, key: &Path| {
        let pair = format!("{{ certificate = {certificate:?}, key = {key:?} }}");
        faults(&format!("{SMALL}[[listener]]\naddress = '127.0.0.1:1'\ntls = [{pair}]\n"))
            .join("\n")
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
    let single = faults(&format!(
        "{SMALL}[[listener]]\naddress = '127.0.0.1:1'\ntls = {{ key = {key:?} }}\n"
    ));
    assert_eq!(
        single,
        ["k.toml:16:7: missing key \"certificate\" in tls of [[listener]]: it must be the path \
             of a PEM file"]
    );
}

#[test]
fn a_pair_that_does_not_fit_is_refused_before_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let (other_certificate, other_key) = self::certificate(&other);
    let chain = folder.path().join("chain.pem");
    let text = [&other_certificate, &certificate]
        .map(|path| std::fs::read_to_string(path).unwrap())
        .concat();
    std::fs::write(&chain, text).unwrap();
    for (certificate, key, words) in [
        (&certificate, &other_key, "k.toml:16:"),
        (&certificate, &other_key, "\"key\": "),
        (&certificate, &other_key, "does not fit"),
        (&chain, &key, "\"certificate\": "),
        (&chain, &key, "is in the wrong order"),
    ] {
        let pair = format!("{{ certificate = {certificate:?}, key = {key:?} }}");
        let faults =
            faults(&format!("{SMALL}[[listener]]\naddress = '127.0.0.1:1'\ntls = {pair}\n"));
        assert!(faults.len() == 1 && faults[0].contains(words), "{words}: {faults:?}");
    }
    let redis = format!(
        "{SMALL}[store]\nkind = 'redis'\nurl = 'rediss://a'\n\
         client_certificate_file = {certificate:?}\n\
         client_key_file = {other_key:?}\n"
    );
    let faults = faults(&redis);
    assert!(
        faults.len() == 1
            && faults[0].contains("\"client_key_file\": ")
            && faults[0].contains("does not fit")
    );
}

#[test]
fn certificates_of_clients_need_an_authority_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let tls = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}\n");
    let listener = |lines: &str| format!("{SMALL}[[listener]]\naddress = '127.0.0.1:1'\n{lines}");
    let clients = |mode: &str| {
        listener(&format!("{tls}client_certificates = {{ ca_file = {certificate:?}{mode} }}\n"))
    };
    for (mode, expected) in [
        ("", ClientAuthMode::Required),
        (", mode = 'required'", ClientAuthMode::Required),
        (", mode = 'optional'", ClientAuthMode::Optional),
    ] {
        let config = super::read(&clients(mode)).unwrap();
        let expected = ClientAuth { ca_file: certificate.clone(), mode: expected };
        assert_eq!(
            config.listeners.last().unwrap().tls.as_ref().unwrap().client_auth,
            Some(expected)
        );
    }
    let without_tls =
        faults(&listener(&format!("client_certificates = {{ ca_file = {certificate:?} }}\n")));
    assert_eq!(
        without_tls,
        ["k.toml:16:23: \"client_certificates\" needs \"tls\": a client shows its certificate \
             in the TLS handshake"]
    );
    for (lines, words) in [
        (clients(", mode = 'off'"), "\"mode\" must be \"required\" or \"optional\""),
        (clients(", mod = 'optional'"), "did you mean \"mode\""),
        (
            listener(&format!("{tls}client_certificates = {{ mode = 'required' }}\n")),
            "missing key \"ca_file\"",
        ),
        (
            listener(&format!("{tls}client_certificates = {{ ca_file = {key:?} }}\n")),
            "holds no certificate",
        ),
        (listener(&format!("{tls}client_certificates = true\n")), "must be a table"),
    ] {
        let faults = faults(&lines);
        assert!(faults.len() == 1 && faults[0].contains(words), "{words}: {faults:?}");
    }
}

/// The configuration as PowerShell's `>` and Notepad write it.
#[test]
fn a_configuration_from_another_system_is_the_same_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("k.toml");
    std::fs::write(&path, SMALL).unwrap();
    let plain = load(&path).unwrap();
    let lines = SMALL.replace('\n', "\r\n");
    let marked = format!("\u{feff}{lines}");
    for bytes in [
        lines.clone().into_bytes(),
        marked.clone().into_bytes(),
        marked.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        marked.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    ] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(load(&path).unwrap(), plain);
    }
}

/// FIELD F6: one rule for every secret that is named.
#[test]
fn a_secret_that_others_could_write_is_refused_and_one_that_all_can_read_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    // Others can enter it, so what they may read there counts.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (certificate, key) = certificate(folder.path());
    let [password, secret, set] =
        ["password", "secret", "set.json"].map(|name| folder.path().join(name));
    std::fs::write(&password, "hunter2\n").unwrap();
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::write(&set, "{\"keys\": []}").unwrap();
    let redis = format!("{SMALL}[store]\nkind = 'redis'\nurl = 'rediss://a'\n");
    let issuer = |line: &str| {
        format!(
            "{SMALL}[[issuer]]\nname = 'i'\nissuer = 'https://i.test'\naudience = ['a']\n{line}\n"
        )
    };
    let pair = format!("{{ certificate = {certificate:?}, key = {key:?} }}");
    for (name, file, text) in [
        ("password_file", &password, format!("{redis}password_file = {password:?}\n")),
        (
            "client_key_file",
            &key,
            format!(
                "{redis}client_certificate_file = {certificate:?}\nclient_key_file = {key:?}\n"
            ),
        ),
        ("key", &key, format!("{SMALL}[[listener]]\naddress = '127.0.0.1:1'\ntls = {pair}\n")),
        ("secret_file", &secret, issuer(&format!("secret_file = {secret:?}"))),
        ("jwks_file", &set, issuer(&format!("jwks_file = {set:?}"))),
    ] {
        for (mode, is_warned) in
            [(0o600, false), (0o640, false), (0o644, true), (0o444, true), (0o440, false)]
        {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
            let config =
                super::read(&text).unwrap_or_else(|faults| panic!("{name} {mode:o}: {faults}"));
            let about = |warning: &&String| {
                warning.contains(&format!("\"{name}\"")) && warning.contains("every user")
            };
            let is_public = name == "jwks_file";
            assert_eq!(
                config.warnings.iter().any(|w| about(&w)),
                is_warned && !is_public,
                "{name} {mode:o}"
            );
        }
        for mode in [0o602, 0o666] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
            let found = faults(&text);
            assert!(found.len() == 1 && found[0].starts_with("k.toml:"), "{name}: {found:?}");
            assert!(
                found[0].contains(&format!("\"{name}\""))
                    && found[0].contains("written by every user"),
                "{found:?}"
            );
        }
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!("{redis}password_file = {password:?}\n");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(faults(&text).join("\n").contains("can be replaced by every user: the folder"));
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(faults(&text), Vec::<String>::new(), "sticky: no other user can replace it");
}
