//! The directory of the fleet's secrets: made on first start, readable by its owner only, or made
//! by `keyward keys create` and mounted.
//!
//! A mount of Kubernetes, Docker or systemd may be readable for others, but writable only for its
//! owner: see [`crate::files`]. Where all keys are there, nothing is written: a directory that is
//! read-only will do.
//!
//! * `store.key`: 64 hexadecimal digits with which the store is sealed and by which it knows its
//!   fleet. It is not rotated.
//! * `pepper.key`, `pepper-<name>.key`: 64 hexadecimal digits under which tokens are known. The one
//!   whose name sorts last is that of new tokens; each of the others still knows its own. The first
//!   has the name `1`. In a directory from before there was a `store.key` it was that, too, and is
//!   copied.
//! * `mac-<name>.key`: 64 hexadecimal digits under which opaque tokens are told from made-up ones.
//!   The one whose name sorts last makes tokens; each of the others still tells its own. The first
//!   is `mac-1.key`, derived from `store.key`: keys that were made before there were such files
//!   stay good, and two instances that start at once on a new directory write the same.
//! * `jwt-<kid>.key`: a signing key. `<kid>` begins with the algorithm and goes on with the time of
//!   making, as in `hs256-20270625T100000Z-1a2b3c4d`, so the newest of an algorithm sorts last, and
//!   signs. HS256: 64 hexadecimal digits or more; the others: PKCS#8 as PEM.
//!
//! A key is rotated by adding one, and retired by removing it once its tokens are gone.

pub mod create;
mod error;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::domain::{Timestamp, hex};
use crate::files;
use crate::tokens::keyring::{SecretBytes, StoreKey};
use crate::tokens::signed::{KeyMaterial, SigningAlgorithm};

pub use error::KeyDirectoryError;

/// The most that the file of one key may have, in bytes: RSA keys of 16384 bits take some 13 KiB.
const LARGEST_KEY: u64 = 64 * 1024;

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
    /// What is allowed and yet probably not meant: keys that every user can read.
    pub warnings: Vec<String>,
}

type SigningKey = (String, SigningAlgorithm, KeyMaterial);

impl KeyDirectory {
    /// Reads the directory; makes it, the store's key, the first pepper, the first MAC key and a
    /// signing key for each of `algorithms`, where they are missing.
    ///
    /// # Errors
    ///
    /// See [`KeyDirectoryError`]. Signing keys without a store's key or without a pepper are
    /// refused: it would be another fleet's directory, or half of one, and every token would seem
    /// revoked.
    pub fn open(
        directory: &Path,
        algorithms: &[SigningAlgorithm],
        now: Timestamp,
    ) -> Result<Self, KeyDirectoryError> {
        files::make_folder(directory).map_err(KeyDirectoryError::files(directory))?;
        // Where nothing is to be made, no other process is waited for.
        let _turn = if is_complete(directory, algorithms) { None } else { turn(directory) };
        Self::read(directory, algorithms, now, &mut Reader::default())
    }

    /// As [`open`](Self::open), without a trace: what is missing is made up in memory and good for
    /// nothing but a check. Returns the files that [`open`](Self::open) would make, too.
    ///
    /// # Errors
    ///
    /// See [`KeyDirectoryError`].
    pub fn look(
        directory: &Path,
        algorithms: &[SigningAlgorithm],
        now: Timestamp,
    ) -> Result<(Self, Vec<PathBuf>), KeyDirectoryError> {
        let mut reader = Reader { missing: Some(Vec::new()), ..Reader::default() };
        let keys = Self::read(directory, algorithms, now, &mut reader)?;
        Ok((keys, reader.missing.unwrap_or_default()))
    }

    fn read(
        directory: &Path,
        algorithms: &[SigningAlgorithm],
        now: Timestamp,
        reader: &mut Reader,
    ) -> Result<Self, KeyDirectoryError> {
        let files = KeyDirectoryError::files;
        let (mut signing, mut peppers, mut macs) = (Vec::new(), Vec::new(), Vec::new());
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.map_err(files(directory))?),
        };
        if entries.is_some() {
            // A user that can write to the folder can put a key of its own in.
            files::check_folder(directory)
                .map_err(|fault| KeyDirectoryError::of_file(directory, fault))?;
        }
        for entry in entries.into_iter().flatten() {
            let path = entry.map_err(files(directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let named =
                |sort: &str| name.strip_prefix(sort).and_then(|name| name.strip_suffix(".key"));
            if let Some(kid) = named("jwt-") {
                signing.push(signing_key(&path, kid, &reader.text(&path)?)?);
            } else if let Some(name) = named("mac-") {
                macs.push((name.to_owned(), secret(&path, &reader.text(&path)?)?));
            } else if let Some(name) = named("pepper-") {
                peppers.push((name.to_owned(), secret(&path, &reader.text(&path)?)?));
            } else if name.ends_with(".key") && !["store.key", "pepper.key"].contains(&name) {
                reader.warnings.push(format!(
                    "[keys] directory: {} is not used: names of keys are store.key, pepper.key, or \
                     begin with \"pepper-\", \"mac-\" or \"jwt-\"",
                    path.display()
                ));
            }
        }
        // Looked for after the listing: of two processes that start at once, one made it and both
        // use it.
        let pepper_path = directory.join("pepper.key");
        let store_path = directory.join("store.key");
        let is_new = signing.is_empty() && peppers.is_empty();
        let missing = |path: &Path| {
            let fault = "is missing, although there are other keys beside it; restore it from \
                         where they came from";
            KeyDirectoryError::malformed(path, fault)
        };
        let store = if store_path.exists() {
            reader.text(&store_path)?
        } else if pepper_path.exists() {
            let pepper = secret(&pepper_path, &reader.text(&pepper_path)?)?;
            reader.make(&store_path, hex_text(pepper.expose()))?
        } else if is_new {
            reader.make(&store_path, random_text().map_err(files(&store_path))?)?
        } else {
            return Err(missing(&store_path));
        };
        let store = StoreKey::new(secret(&store_path, &store)?);
        let pepper = if pepper_path.exists() {
            Some(reader.text(&pepper_path)?)
        } else if is_new {
            Some(reader.make(&pepper_path, random_text().map_err(files(&pepper_path))?)?)
        } else if peppers.is_empty() {
            return Err(missing(&pepper_path));
        } else {
            None
        };
        if let Some(text) = pepper {
            peppers.push(("1".to_owned(), secret(&pepper_path, &text)?));
        }
        if macs.is_empty() {
            let path = directory.join("mac-1.key");
            let text = reader.make(&path, hex_text(store.opaque_key().expose()))?;
            macs.push((String::new(), secret(&path, &text)?));
        }
        for &algorithm in algorithms {
            if signing.iter().all(|(_, known, _)| *known != algorithm) {
                let kid = new_kid(algorithm, now).map_err(files(directory))?;
                let path = directory.join(format!("jwt-{kid}.key"));
                let material = KeyMaterial::generate(algorithm)
                    .map_err(|fault| KeyDirectoryError::malformed(&path, fault))?;
                let text = match algorithm {
                    SigningAlgorithm::Hs256 => hex_text(material.expose()),
                    _ => material.to_pem(),
                };
                signing.push(signing_key(&path, &kid, &reader.make(&path, text)?)?);
            }
        }
        Ok(Self {
            store,
            peppers: newest_first(peppers),
            macs: newest_first(macs),
            signing,
            warnings: std::mem::take(&mut reader.warnings),
        })
    }

    /// Reads the directory of a keyward that runs already: as [`open`](Self::open), but a store's
    /// key that is missing is refused, not made anew. It is a folder that was moved or not mounted,
    /// and a new one would stand in the way of the right one.
    ///
    /// # Errors
    ///
    /// See [`KeyDirectoryError`].
    pub fn reopen(
        directory: &Path,
        algorithms: &[SigningAlgorithm],
        now: Timestamp,
    ) -> Result<Self, KeyDirectoryError> {
        Self::require(directory)?;
        Self::open(directory, algorithms, now)
    }

    /// Looks for the store's key, or the pepper that it is made of.
    ///
    /// # Errors
    ///
    /// When neither is there.
    pub fn require(directory: &Path) -> Result<(), KeyDirectoryError> {
        let path = directory.join("store.key");
        match fs::metadata(&path) {
            Err(source) if !directory.join("pepper.key").exists() => {
                Err(KeyDirectoryError::Files { path, source })
            }
            _ => Ok(()),
        }
    }
}

/// How long a start waits while another process makes keys: several of RSA take a second.
const TURN: Duration = Duration::from_secs(5);

/// Whether everything is there that [`KeyDirectory::open`] would make.
fn is_complete(directory: &Path, algorithms: &[SigningAlgorithm]) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    let names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let has =
        |sort: &str| names.iter().any(|name| name.starts_with(sort) && name.ends_with(".key"));
    has("store.key")
        && has("pepper")
        && has("mac-")
        && algorithms
            .iter()
            .all(|algorithm| has(&format!("jwt-{}-", algorithm.name().to_lowercase())))
}

/// A lock for one process after the other: of two that start on an empty directory, the second
/// finds what the first has made, and does not sign with a key that the first does not know. Where
/// the file system has no locks, none is held.
fn turn(directory: &Path) -> Option<fs::File> {
    let lock = fs::File::open(directory).ok()?;
    let began = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Some(lock),
            Err(fs::TryLockError::WouldBlock) if began.elapsed() < TURN => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return None,
        }
    }
}

/// The key whose name sorts last is the first.
fn newest_first(mut named: Vec<(String, SecretBytes)>) -> Vec<SecretBytes> {
    named.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    named.into_iter().map(|(_, key)| key).collect()
}

fn random_text() -> io::Result<Zeroizing<String>> {
    let mut secret = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(secret.as_mut()).map_err(|_| io::Error::other("no randomness"))?;
    Ok(hex_text(secret.as_ref()))
}

/// The text of a file: hexadecimal digits and the end of the line.
fn hex_text(bytes: &[u8]) -> Zeroizing<String> {
    // With enough capacity for all of it: a text that grows leaves copies of a secret behind.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2 + 1));
    text.extend(bytes.iter().flat_map(|&byte| hex::pair(byte)).map(char::from));
    text.push('\n');
    text
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, rest) = text.trim().as_bytes().as_chunks::<2>();
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for &[high, low] in pairs {
        bytes.push(hex::value(high)? << 4 | hex::value(low)?);
    }
    rest.is_empty().then_some(bytes)
}

fn new_kid(algorithm: SigningAlgorithm, now: Timestamp) -> io::Result<String> {
    let mut random = [0; 4];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
    let stamp = now.to_rfc3339_zulu().replace(['-', ':'], "");
    Ok(format!("{}-{stamp}-{}", algorithm.name().to_lowercase(), hex::encode(&random)))
}

/// Writes a file that appears whole or not at all, for its owner only. If another process has made
/// it meanwhile, that one stays.
fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let given = files::give_to_owner_of_folder(&file, &draft);
    let written = given.and_then(|()| file.write_all(text)).and_then(|()| file.sync_all());
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

/// Why a key is missing that could not be made.
fn unmade(path: &Path) -> impl FnOnce(io::Error) -> KeyDirectoryError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            KeyDirectoryError::Unmade { path, source }
        }
        _ => KeyDirectoryError::Files { path, source },
    }
}

/// The secret that is written in the file at `path`.
fn secret(path: &Path, text: &str) -> Result<SecretBytes, KeyDirectoryError> {
    from_hex(text)
        .and_then(|bytes| bytes.as_slice().try_into().ok())
        .map(SecretBytes::new)
        .ok_or_else(|| KeyDirectoryError::malformed(path, "is not 64 hexadecimal digits"))
}

/// The signing key that is written in the file at `path`.
fn signing_key(path: &Path, kid: &str, text: &str) -> Result<SigningKey, KeyDirectoryError> {
    const NAMELESS: &str = "names no algorithm: it should begin with jwt-hs256-, jwt-eddsa-, \
                            jwt-es256- or jwt-rs256-";
    let malformed = |fault: &str| KeyDirectoryError::malformed(path, fault);
    let named = kid.split('-').next().unwrap_or_default();
    let algorithm = SigningAlgorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm.name().eq_ignore_ascii_case(named))
        .ok_or_else(|| malformed(NAMELESS))?;
    let bytes = if algorithm == SigningAlgorithm::Hs256 {
        from_hex(text).ok_or_else(|| malformed("is not hexadecimal"))?.to_vec()
    } else {
        let body = text.trim().strip_prefix("-----BEGIN PRIVATE KEY-----");
        let body = body.and_then(|text| text.strip_suffix("-----END PRIVATE KEY-----"));
        let body = body.map(|body| Zeroizing::new(body.split_whitespace().collect::<String>()));
        body.and_then(|body| STANDARD.decode(body.as_bytes()).ok())
            .ok_or_else(|| malformed("is not a PKCS#8 private key in PEM"))?
    };
    Ok((kid.to_owned(), algorithm, KeyMaterial::new(bytes)))
}

/// Reads the files of keys, and makes those that are missing.
#[derive(Default)]
struct Reader {
    warnings: Vec<String>,
    /// The files that are missing, if they are only noted and not made.
    missing: Option<Vec<PathBuf>>,
}

impl Reader {
    fn text(&mut self, path: &Path) -> Result<Zeroizing<String>, KeyDirectoryError> {
        let found = files::read_secret(path, LARGEST_KEY)
            .map_err(|fault| KeyDirectoryError::of_file(path, fault))?;
        self.warnings.extend(
            found.warning.map(|words| format!("[keys] directory: {} {words}", path.display())),
        );
        let text = Zeroizing::new(files::text_of(&found.content).into_owned());
        let text = std::str::from_utf8(&text).map_err(|_| {
            KeyDirectoryError::malformed(path, "is not text: keys are hexadecimal digits or PEM")
        })?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// The text of a file that is missing, which is `text` unless another process has made the file
    /// at the same time.
    fn make(
        &mut self,
        path: &Path,
        text: Zeroizing<String>,
    ) -> Result<Zeroizing<String>, KeyDirectoryError> {
        if let Some(missing) = &mut self.missing {
            missing.push(path.to_owned());
            return Ok(text);
        }
        write_new(path, text.as_bytes()).map_err(unmade(path))?;
        self.text(path)
    }
}
