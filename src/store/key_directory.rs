//! The directory of the fleet's secrets: made on first start, readable by its owner only, or made
//! by `keyward keys create` and mounted.
//!
//! A mount of Kubernetes, Docker or systemd may be read by others; nobody else may write to it, see
//! [`crate::files`]. Where all keys are there, nothing is written: a directory that is read-only
//! will do.
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
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::Timestamp;
use crate::files::{self, FileError};
use crate::tokens::keyring::{SecretBytes, StoreKey};
use crate::tokens::signed::{KeyMaterial, SigningAlgorithm};

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
    /// What is allowed and yet probably not meant: keys that everybody can read.
    pub warnings: Vec<String>,
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
    /// A key is missing, and the directory cannot be written to.
    #[error(
        "{path}: is missing and cannot be made: {source}; make a whole directory with \"keyward \
         keys create DIR\" and mount \
         that, or let keyward write to this one"
    )]
    Unmade {
        /// The key.
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
        files::make_folder(directory)
            .map_err(|source| KeyDirectoryError::Files { path: directory.to_owned(), source })?;
        // Where nothing is to be made, nobody is waited for.
        let _turn = if is_complete(directory, algorithms) { None } else { turn(directory) };
        Self::read(directory, algorithms, now, &mut Missing::Make)
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
        let mut missing = Missing::Note(Vec::new());
        let keys = Self::read(directory, algorithms, now, &mut missing)?;
        Ok((keys, if let Missing::Note(paths) = missing { paths } else { Vec::new() }))
    }

    fn read(
        directory: &Path,
        algorithms: &[SigningAlgorithm],
        now: Timestamp,
        missing_keys: &mut Missing,
    ) -> Result<Self, KeyDirectoryError> {
        let files = |path: &Path| {
            let path = path.to_owned();
            move |source| KeyDirectoryError::Files { path, source }
        };
        let mut reader = Reader::default();
        let (mut signing, mut peppers, mut macs) = (Vec::new(), Vec::new(), Vec::new());
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.map_err(files(directory))?),
        };
        if entries.is_some() {
            // Who can write here can put a key of their own in.
            files::check_folder(directory).map_err(|fault| file_fault(directory, fault))?;
        }
        for entry in entries.into_iter().flatten() {
            let path = entry.map_err(files(directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let named =
                |sort: &str| name.strip_prefix(sort).and_then(|name| name.strip_suffix(".key"));
            if let Some(kid) = named("jwt-") {
                signing.push(reader.signing(&path, kid)?);
            } else if let Some(name) = named("mac-") {
                macs.push((name.to_owned(), reader.secret(&path)?));
            } else if let Some(name) = named("pepper-") {
                peppers.push((name.to_owned(), reader.secret(&path)?));
            } else if name.ends_with(".key") && !["store.key", "pepper.key"].contains(&name) {
                reader.warnings.push(format!(
                    "[keys] directory: {} is not used: names of keys are store.key, pepper.key, or \
                     begin with \"pepper-\", \"mac-\" or \"jwt-\"",
                    path.display()
                ));
            }
        }
        // Looked for after the listing, and what was just made is read back: of two that start at
        // once, one made it and both use it.
        let pepper_path = directory.join("pepper.key");
        let store_path = directory.join("store.key");
        let is_new = signing.is_empty() && peppers.is_empty();
        let missing = |path: &Path| {
            let fault = "is missing, although there are other keys beside it; restore it from \
                         where they came from";
            KeyDirectoryError::Malformed { path: path.to_owned(), fault: fault.into() }
        };
        let store = if store_path.exists() {
            reader.secret(&store_path)?
        } else {
            let secret = match pepper_path.exists() {
                true => SecretText::hex(reader.secret(&pepper_path)?.expose()),
                false if is_new => SecretText::random().map_err(files(&store_path))?,
                false => return Err(missing(&store_path)),
            };
            missing_keys.obtain(&mut reader, &store_path, &secret)?
        };
        let store = StoreKey::new(store);
        if !pepper_path.exists() && peppers.is_empty() {
            if !is_new {
                return Err(missing(&pepper_path));
            }
            let secret = SecretText::random().map_err(files(&pepper_path))?;
            peppers
                .push(("1".to_owned(), missing_keys.obtain(&mut reader, &pepper_path, &secret)?));
        } else if pepper_path.exists() {
            peppers.push(("1".to_owned(), reader.secret(&pepper_path)?));
        }
        if macs.is_empty() {
            let path = directory.join("mac-1.key");
            let text = SecretText::hex(store.opaque_key().expose());
            macs.push((String::new(), missing_keys.obtain(&mut reader, &path, &text)?));
        }
        for algorithm in algorithms {
            if !signing.iter().any(|(_, known, _)| known == algorithm) {
                let path = directory.join(format!(
                    "jwt-{}.key",
                    new_kid(*algorithm, now).map_err(files(directory))?
                ));
                let kid = path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .and_then(|stem| stem.strip_prefix("jwt-"));
                let kid = kid.unwrap_or_default();
                let material = generate(&path, *algorithm)?;
                signing.push(match missing_keys {
                    Missing::Note(paths) => {
                        paths.push(path.clone());
                        (kid.to_owned(), *algorithm, material)
                    }
                    Missing::Make => {
                        write_signing(&path, *algorithm, &material)?;
                        reader.signing(&path, kid)?
                    }
                });
            }
        }
        let warnings = reader.warnings;
        Ok(Self {
            store,
            peppers: newest_first(peppers),
            macs: newest_first(macs),
            signing,
            warnings,
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

/// What becomes of keys that are missing.
enum Missing {
    /// They are made.
    Make,
    /// They are only noted.
    Note(Vec<PathBuf>),
}

impl Missing {
    /// A secret whose file is missing, with this text. What is made is read back: another process
    /// may have made it at the same time.
    fn obtain(
        &mut self,
        reader: &mut Reader,
        path: &Path,
        text: &SecretText,
    ) -> Result<SecretBytes, KeyDirectoryError> {
        match self {
            Self::Make => {
                write_new(path, &text.0).map_err(unmade(path))?;
                reader.secret(path)
            }
            Self::Note(paths) => {
                paths.push(path.to_owned());
                secret_of(path, &String::from_utf8_lossy(&text.0))
            }
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

/// One process after the other: of two that start on an empty directory, the second finds what the
/// first has made, and does not sign with a key that the first never hears of. Where the file
/// system has no locks, none is held.
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

fn generate(path: &Path, algorithm: SigningAlgorithm) -> Result<KeyMaterial, KeyDirectoryError> {
    KeyMaterial::generate(algorithm).map_err(|fault| KeyDirectoryError::Malformed {
        path: path.to_owned(),
        fault: fault.to_string(),
    })
}

fn write_signing(
    path: &Path,
    algorithm: SigningAlgorithm,
    material: &KeyMaterial,
) -> Result<(), KeyDirectoryError> {
    let text = match algorithm {
        SigningAlgorithm::Hs256 => SecretText::hex(material.expose()),
        SigningAlgorithm::EdDsa | SigningAlgorithm::Es256 | SigningAlgorithm::Rs256 => {
            SecretText(zeroize::Zeroizing::new(material.to_pem().as_bytes().to_vec()))
        }
    };
    write_new(path, &text.0).map_err(unmade(path))
}

/// Writes a file that appears whole or not at all, for its owner only. If somebody else has made it
/// meanwhile, theirs stays.
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

fn file_fault(path: &Path, fault: FileError) -> KeyDirectoryError {
    let path = path.to_owned();
    match fault {
        FileError::Unreadable(source) => KeyDirectoryError::Files { path, source },
        other => KeyDirectoryError::Malformed { path, fault: other.to_string() },
    }
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

/// The secret that is written in the file at `path`.
fn secret_of(path: &Path, text: &str) -> Result<SecretBytes, KeyDirectoryError> {
    from_hex(text.trim())
        .and_then(|bytes| bytes.as_slice().try_into().ok())
        .map(SecretBytes::new)
        .ok_or_else(|| KeyDirectoryError::Malformed {
            path: path.to_owned(),
            fault: "is not 64 hexadecimal digits".into(),
        })
}

/// Reads keys, and keeps what is worth a warning.
#[derive(Default)]
struct Reader {
    warnings: Vec<String>,
}

impl Reader {
    fn text(&mut self, path: &Path) -> Result<zeroize::Zeroizing<String>, KeyDirectoryError> {
        let found =
            files::read_secret(path, LARGEST_KEY).map_err(|fault| file_fault(path, fault))?;
        self.warnings.extend(
            found.warning.map(|words| format!("[keys] directory: {} {words}", path.display())),
        );
        let text = zeroize::Zeroizing::new(files::text_of(&found.content).into_owned());
        let text = std::str::from_utf8(&text).map_err(|_| KeyDirectoryError::Malformed {
            path: path.to_owned(),
            fault: "is not text: keys are hexadecimal digits or PEM".into(),
        })?;
        Ok(zeroize::Zeroizing::new(text.trim().to_owned()))
    }

    fn secret(&mut self, path: &Path) -> Result<SecretBytes, KeyDirectoryError> {
        secret_of(path, &self.text(path)?)
    }

    fn signing(
        &mut self,
        path: &Path,
        kid: &str,
    ) -> Result<(String, SigningAlgorithm, KeyMaterial), KeyDirectoryError> {
        let malformed = |fault: &str| KeyDirectoryError::Malformed {
            path: path.to_owned(),
            fault: fault.into(),
        };
        let named = kid.split('-').next().unwrap_or_default();
        let algorithm = SigningAlgorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(named))
            .ok_or_else(|| {
                malformed(
                    "names no algorithm: it should begin with jwt-hs256-, jwt-eddsa-, \
                           jwt-es256- or jwt-rs256-",
                )
            })?;
        let text = self.text(path)?;
        let bytes = match algorithm {
            SigningAlgorithm::Hs256 => {
                from_hex(&text).ok_or_else(|| malformed("is not hexadecimal"))?.to_vec()
            }
            SigningAlgorithm::EdDsa | SigningAlgorithm::Es256 | SigningAlgorithm::Rs256 => {
                let body = text
                    .strip_prefix("-----BEGIN PRIVATE KEY-----")
                    .and_then(|text| text.strip_suffix("-----END PRIVATE KEY-----"))
                    .ok_or_else(|| malformed("is not a PKCS#8 private key in PEM"))?;
                let body = zeroize::Zeroizing::new(body.split_whitespace().collect::<String>());
                STANDARD
                    .decode(body.as_bytes())
                    .map_err(|_| malformed("is not a PKCS#8 private key in PEM"))?
            }
        };
        Ok((kid.to_owned(), algorithm, KeyMaterial::new(bytes)))
    }
}
