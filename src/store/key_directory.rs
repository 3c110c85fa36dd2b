//! The directory of the fleet's secrets: made on first start, readable by its owner only.
//!
//! * `store.key`: 64 hexadecimal digits with which the store is sealed and by which it knows its fleet. It is not rotated.
//! * `pepper.key`, `pepper-<name>.key`: 64 hexadecimal digits under which tokens are known. The one whose name sorts last is that
//!   of new tokens; each of the others still knows its own. The first has the name `1`. In a directory from before there was a
//!   `store.key` it was that, too, and is copied.
//! * `mac-<name>.key`: 64 hexadecimal digits under which opaque tokens are told from made-up ones. The one whose name sorts last
//!   makes tokens; each of the others still tells its own. The first is `mac-1.key`, derived from `store.key`: keys that were made
//!   before there were such files stay good, and two instances that start at once on a new directory write the same.
//! * `jwt-<kid>.key`: a signing key. `<kid>` begins with the algorithm and goes on with the time of making, as in
//!   `hs256-20270625T100000Z-1a2b3c4d`, so the newest of an algorithm sorts last, and signs. HS256: 64 hexadecimal digits or
//!   more; the others: PKCS#8 as PEM.
//!
//! A key is rotated by adding one, and retired by removing it once its tokens are gone.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::Timestamp;
use crate::tokens::keyring::{SecretBytes, StoreKey};
use crate::tokens::signed::{KeyMaterial, SigningAlgorithm};

/// What the directory holds.
pub struct KeyDirectory {
    /// What the store is sealed with and known by.
    pub store: StoreKey,
    /// The peppers, the one of new tokens first; at least one.
    pub peppers: Vec<SecretBytes>,
    /// The keys of opaque tokens' MACs, the one that makes tokens first; at least one.
    pub macs: Vec<SecretBytes>,
    /// The signing keys by `kid`.
    pub signing: Vec<(String, SigningAlgorithm, KeyMaterial)>,
}

/// The directory cannot be used: the operator's to mend. Says nothing of a key's contents.
#[derive(Debug, thiserror::Error)]
pub enum KeyDirectoryError {
    /// A file or the directory itself cannot be read or written.
    #[error("{path}: {source}")]
    Files {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {fault}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What it is not.
        fault: String,
    },
}

impl KeyDirectory {
    /// Reads the directory; makes it, the store's key, the first pepper, the first MAC key and a signing key for each of
    /// `algorithms`, where they are missing.
    ///
    /// # Errors
    ///
    /// See [`KeyDirectoryError`]. Signing keys without a store's key or without a pepper are refused: it would be another fleet's
    /// directory, or half of one, and every token would seem revoked.
    pub fn open(directory: &Path, algorithms: &[SigningAlgorithm], now: Timestamp) -> Result<Self, KeyDirectoryError> {
        let files = |path: &Path| {
            let path = path.to_owned();
            move |source| KeyDirectoryError::Files { path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(files(directory))?;
        let mode = fs::metadata(directory).map_err(files(directory))?.permissions().mode();
        if mode & 0o022 != 0 {
            // Who can write here can put a key of their own in.
            let fault = format!("can be written by others (mode {:03o}); chmod 700 it", mode & 0o777);
            return Err(KeyDirectoryError::Malformed { path: directory.to_owned(), fault });
        }
        let (mut signing, mut peppers, mut macs) = (Vec::new(), Vec::new(), Vec::new());
        for entry in fs::read_dir(directory).map_err(files(directory))? {
            let path = entry.map_err(files(directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let named = |sort: &str| name.strip_prefix(sort).and_then(|name| name.strip_suffix(".key"));
            if let Some(kid) = named("jwt-") {
                signing.push(read_signing(&path, kid)?);
            } else if let Some(name) = named("mac-") {
                macs.push((name.to_owned(), read_secret(&path)?));
            } else if let Some(name) = named("pepper-") {
                peppers.push((name.to_owned(), read_secret(&path)?));
            }
        }
        // Looked for after the listing, and what was just made is read back: of two that start at once, one made it and both use it.
        let pepper_path = directory.join("pepper.key");
        let store_path = directory.join("store.key");
        let is_new = signing.is_empty() && peppers.is_empty();
        let missing = |path: &Path| {
            let fault = "is missing, although there are other keys beside it; restore it from where they came from";
            KeyDirectoryError::Malformed { path: path.to_owned(), fault: fault.into() }
        };
        if !store_path.exists() {
            let secret = match pepper_path.exists() {
                true => SecretText::hex(read_secret(&pepper_path)?.expose()),
                false if is_new => SecretText::random().map_err(files(&store_path))?,
                false => return Err(missing(&store_path)),
            };
            write_new(&store_path, &secret.0).map_err(files(&store_path))?;
        }
        let store = StoreKey::new(read_secret(&store_path)?);
        if !pepper_path.exists() && peppers.is_empty() {
            if !is_new {
                return Err(missing(&pepper_path));
            }
            let secret = SecretText::random().map_err(files(&pepper_path))?;
            write_new(&pepper_path, &secret.0).map_err(files(&pepper_path))?;
        }
        if pepper_path.exists() {
            peppers.push(("1".to_owned(), read_secret(&pepper_path)?));
        }
        if macs.is_empty() {
            let path = directory.join("mac-1.key");
            let text = SecretText::hex(store.opaque_key().expose());
            write_new(&path, &text.0).map_err(files(&path))?;
            macs.push((String::new(), read_secret(&path)?));
        }
        for algorithm in algorithms {
            if !signing.iter().any(|(_, known, _)| known == algorithm) {
                let path = directory.join(format!("jwt-{}.key", new_kid(*algorithm, now).map_err(files(directory))?));
                make_signing(&path, *algorithm)?;
                let kid = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.strip_prefix("jwt-"));
                signing.push(read_signing(&path, kid.unwrap_or_default())?);
            }
        }
        Ok(Self { store, peppers: newest_first(peppers), macs: newest_first(macs), signing })
    }
}

impl KeyDirectory {
    /// Reads the directory of a keyward that runs already: as [`open`](Self::open), but a store's key that is missing is refused,
    /// not made anew. It is a folder that was moved or not mounted, and a new one would stand in the way of the right one.
    ///
    /// # Errors
    ///
    /// See [`KeyDirectoryError`].
    pub fn reopen(
        directory: &Path,
        algorithms: &[SigningAlgorithm],
        now: Timestamp,
    ) -> Result<Self, KeyDirectoryError> {
        let path = directory.join("store.key");
        match fs::metadata(&path) {
            Err(source) if !directory.join("pepper.key").exists() => Err(KeyDirectoryError::Files { path, source }),
            _ => Self::open(directory, algorithms, now),
        }
    }
}

/// The key whose name sorts last is the first.
fn newest_first(mut named: Vec<(String, SecretBytes)>) -> Vec<SecretBytes> {
    named.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    named.into_iter().map(|(_, key)| key).collect()
}

/// Text that is wiped when it is no longer needed.
struct SecretText(zeroize::Zeroizing<Vec<u8>>);

impl SecretText {
    fn random() -> io::Result<Self> {
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(secret.as_mut()).map_err(|_| io::Error::other("no randomness"))?;
        Ok(Self::hex(secret.as_ref()))
    }

    fn hex(bytes: &[u8]) -> Self {
        let mut text = zeroize::Zeroizing::new(Vec::with_capacity(bytes.len() * 2 + 1));
        for byte in bytes {
            for digit in [byte >> 4, byte & 15] {
                text.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
            }
        }
        text.push(b'\n');
        Self(text)
    }
}

fn new_kid(algorithm: SigningAlgorithm, now: Timestamp) -> io::Result<String> {
    let mut random = [0; 4];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
    let stamp = now.to_rfc3339_zulu().replace(['-', ':'], "");
    Ok(format!("{}-{stamp}-{:08x}", algorithm.name().to_lowercase(), u32::from_be_bytes(random)))
}

fn make_signing(path: &Path, algorithm: SigningAlgorithm) -> Result<(), KeyDirectoryError> {
    let material = KeyMaterial::generate(algorithm)
        .map_err(|fault| KeyDirectoryError::Malformed { path: path.to_owned(), fault: fault.to_string() })?;
    let text = match algorithm {
        SigningAlgorithm::Hs256 => SecretText::hex(material.expose()),
        SigningAlgorithm::EdDsa | SigningAlgorithm::Es256 | SigningAlgorithm::Rs256 => {
            SecretText(zeroize::Zeroizing::new(material.to_pem().as_bytes().to_vec()))
        }
    };
    write_new(path, &text.0).map_err(|source| KeyDirectoryError::Files { path: path.to_owned(), source })
}

/// Writes a file that appears whole or not at all, for its owner only. If somebody else has made it meanwhile, theirs stays.
fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let _ = fs::remove_file(&draft);
    linked?;
    match path.parent() {
        Some(directory) => fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn read_text(path: &Path) -> Result<zeroize::Zeroizing<String>, KeyDirectoryError> {
    let files = |source| KeyDirectoryError::Files { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(files)?.permissions().mode();
    if mode & 0o077 != 0 {
        let fault = format!("is open to others (mode {:03o}); chmod 600 it", mode & 0o777);
        return Err(KeyDirectoryError::Malformed { path: path.to_owned(), fault });
    }
    fs::read_to_string(path).map(zeroize::Zeroizing::new).map_err(files)
}

fn read_secret(path: &Path) -> Result<SecretBytes, KeyDirectoryError> {
    let text = read_text(path)?;
    from_hex(text.trim()).and_then(|bytes| bytes.as_slice().try_into().ok()).map(SecretBytes::new).ok_or_else(|| {
        KeyDirectoryError::Malformed { path: path.to_owned(), fault: "is not 64 hexadecimal digits".into() }
    })
}

fn from_hex(text: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = zeroize::Zeroizing::new(digits?);
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    for pair in digits.chunks(2) {
        let [high, low] = pair else { return None };
        bytes.push(high << 4 | low);
    }
    Some(bytes)
}

fn read_signing(path: &Path, kid: &str) -> Result<(String, SigningAlgorithm, KeyMaterial), KeyDirectoryError> {
    let malformed = |fault: &str| KeyDirectoryError::Malformed { path: path.to_owned(), fault: fault.into() };
    let named = kid.split('-').next().unwrap_or_default();
    let algorithm =
        SigningAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(named)).ok_or_else(
            || malformed("names no algorithm: it should begin with jwt-hs256-, jwt-eddsa-, jwt-es256- or jwt-rs256-"),
        )?;
    let text = read_text(path)?;
    let bytes = match algorithm {
        SigningAlgorithm::Hs256 => from_hex(text.trim()).ok_or_else(|| malformed("is not hexadecimal"))?.to_vec(),
        SigningAlgorithm::EdDsa | SigningAlgorithm::Es256 | SigningAlgorithm::Rs256 => {
            let body = text
                .trim()
                .strip_prefix("-----BEGIN PRIVATE KEY-----")
                .and_then(|text| text.strip_suffix("-----END PRIVATE KEY-----"))
                .ok_or_else(|| malformed("is not a PKCS#8 private key in PEM"))?;
            let body = zeroize::Zeroizing::new(body.split_whitespace().collect::<String>());
            STANDARD.decode(body.as_bytes()).map_err(|_| malformed("is not a PKCS#8 private key in PEM"))?
        }
    };
    Ok((kid.to_owned(), algorithm, KeyMaterial::new(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);

    fn open(directory: &Path, algorithms: &[SigningAlgorithm]) -> Result<KeyDirectory, String> {
        KeyDirectory::open(directory, algorithms, NOW).map_err(|fault| fault.to_string())
    }

    #[test]
    fn what_was_made_is_found_again_and_is_the_owners_alone() {
        let room = tempfile::tempdir().expect("a directory");
        let directory = room.path().join("a/keys");
        let first = open(&directory, &SigningAlgorithm::ALL).expect("made");
        let again = open(&directory, &SigningAlgorithm::ALL).expect("found");
        assert_eq!(first.store.fingerprint().expose(), again.store.fingerprint().expose());
        assert_eq!(exposed(&first.peppers), exposed(&again.peppers));
        assert_eq!(exposed(&first.macs), exposed(&again.macs));
        let kids = |keys: &KeyDirectory| {
            let mut kids: Vec<_> = keys.signing.iter().map(|(kid, _, _)| kid.clone()).collect();
            kids.sort();
            kids
        };
        assert_eq!(kids(&first), kids(&again));
        assert_eq!(kids(&first).len(), 4);
        for entry in fs::read_dir(&directory).expect("a directory") {
            let mode = entry.expect("an entry").metadata().expect("metadata").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&directory).expect("metadata").permissions().mode() & 0o777, 0o700);
    }

    fn exposed(keys: &[SecretBytes]) -> Vec<[u8; 32]> {
        keys.iter().map(|key| *key.expose()).collect()
    }

    /// Puts a key of one digit there, as its operator would.
    fn add(directory: &Path, name: &str, digit: &str) {
        let path = directory.join(name);
        fs::write(&path, format!("{}\n", digit.repeat(64))).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    }

    #[test]
    fn of_peppers_and_of_macs_the_one_that_sorts_last_is_the_first_and_what_was_removed_stays_away() {
        type Ring = fn(&KeyDirectory) -> &[SecretBytes];
        let rings: [(&str, &str, Ring); 2] =
            [("pepper", "pepper.key", |keys| &keys.peppers), ("mac", "mac-1.key", |keys| &keys.macs)];
        for (sort, made, ring) in rings {
            let room = tempfile::tempdir().expect("a directory");
            let ring = || exposed(ring(&open(room.path(), &[SigningAlgorithm::Hs256]).expect("opened")));
            let first = ring();
            assert_eq!(first.len(), 1);
            add(room.path(), &format!("{sort}-20270625T100000Z.key"), "2");
            assert_eq!(ring(), [[0x22; 32], first[0]]);
            // One that verifies before it makes.
            add(room.path(), &format!("{sort}-0-next.key"), "3");
            assert_eq!(ring(), [[0x22; 32], first[0], [0x33; 32]]);
            fs::remove_file(room.path().join(made)).expect("removed");
            assert_eq!(ring(), [[0x22; 32], [0x33; 32]], "what was retired is not made anew");
            fs::write(room.path().join(format!("{sort}-0-next.key")), "canary").expect("written");
            let fault = open(room.path(), &[]).err().expect("refused");
            assert!(
                fault.contains("-0-next.key: is not 64 hexadecimal digits") && !fault.contains("canary"),
                "{fault}"
            );
        }
    }

    #[test]
    fn a_directory_from_before_there_was_a_key_of_the_store_has_its_pepper_for_one() {
        let room = tempfile::tempdir().expect("a directory");
        add(room.path(), "pepper.key", "7");
        let keys = open(room.path(), &[]).expect("opened");
        let before = StoreKey::new(SecretBytes::new([0x77; 32]));
        assert_eq!(exposed(&keys.peppers), [[0x77; 32]]);
        assert_eq!(keys.store.fingerprint().expose(), before.fingerprint().expose());
        assert_eq!(exposed(&keys.macs), [*before.opaque_key().expose()]);
        // The pepper is rotated away, and the store is still known.
        add(room.path(), "pepper-2.key", "8");
        fs::remove_file(room.path().join("pepper.key")).expect("removed");
        let keys = KeyDirectory::reopen(room.path(), &[], NOW).expect("opened");
        assert_eq!(exposed(&keys.peppers), [[0x88; 32]]);
        assert_eq!(keys.store.fingerprint().expose(), before.fingerprint().expose());
    }

    #[test]
    fn a_directory_without_its_keys_is_not_filled_up_with_others() {
        let room = tempfile::tempdir().expect("a directory");
        let reopened = || KeyDirectory::reopen(room.path(), &[], NOW).map_err(|fault| fault.to_string());
        assert!(reopened().err().expect("refused").contains("store.key: No such file"));
        open(room.path(), &[SigningAlgorithm::Hs256]).expect("made");
        fs::remove_file(room.path().join("pepper.key")).expect("removed");
        assert!(reopened().err().expect("refused").contains("pepper.key: is missing, although"));
        add(room.path(), "pepper-2.key", "8");
        reopened().expect("there is another one");
        fs::remove_file(room.path().join("store.key")).expect("removed");
        assert!(open(room.path(), &[]).err().expect("refused").contains("store.key: is missing, although"));
    }

    #[test]
    fn faults_are_said_in_words_and_without_the_key() {
        let room = tempfile::tempdir().expect("a directory");
        open(room.path(), &[SigningAlgorithm::Hs256]).expect("made");
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        assert!(open(room.path(), &[]).err().expect("refused").contains("chmod 700"));
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o700)).expect("chmod");
        let pepper = room.path().join("pepper.key");
        let secret = fs::read_to_string(&pepper).expect("text");

        fs::set_permissions(&pepper, fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(open(room.path(), &[]).err().expect("refused").contains("chmod 600"));
        fs::set_permissions(&pepper, fs::Permissions::from_mode(0o600)).expect("chmod");

        fs::write(&pepper, "12").expect("written");
        assert!(open(room.path(), &[]).err().expect("refused").contains("64 hexadecimal digits"));

        fs::remove_file(&pepper).expect("removed");
        assert!(open(room.path(), &[]).err().expect("refused").contains("restore it"));

        fs::write(&pepper, secret).expect("written");
        fs::set_permissions(&pepper, fs::Permissions::from_mode(0o600)).expect("chmod");
        let odd = room.path().join("jwt-rot13-x.key");
        fs::write(&odd, "canary").expect("written");
        let fault = open(room.path(), &[]).err().expect("refused");
        assert!(fault.contains("names no algorithm") && !fault.contains("canary"), "{fault}");
    }
}
