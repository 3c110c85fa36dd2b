//! The contents of files, read once per load, and the stamps by which a change is noticed.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};
use zeroize::Zeroizing;

use super::TlsError;
use crate::files::{self, FileError, FileKind};

/// The most that a file may hold, in bytes: the certificates of all public authorities take some
/// 250 KiB.
const LARGEST: u64 = 8 * 1024 * 1024;

/// Two changes within this time may have the same time of change: file systems count in steps, of
/// 2 s in the worst case (FAT).
const CLOCK_STEP: Duration = Duration::from_secs(2);

/// The contents of files, as they were at one time.
pub struct Contents(Vec<Content>);

struct Content {
    path: PathBuf,
    bytes: io::Result<Zeroizing<Vec<u8>>>,
    /// Why it cannot be used as a secret.
    exposure: Option<String>,
}

impl Contents {
    /// Reads every file. One that cannot be read is a fault only when its content is asked for.
    pub(super) fn read(paths: &[PathBuf]) -> Self {
        let content = |path: &PathBuf| Content {
            path: path.clone(),
            bytes: read(path),
            exposure: match files::judge(path, FileKind::Secret) {
                Err(FileError::Writable(words)) => Some(words),
                // What cannot be judged cannot be read: `bytes` is the error.
                _ => None,
            },
        };
        Self(paths.iter().map(content).collect())
    }

    fn find(&self, path: &Path) -> Option<&Content> {
        self.0.iter().find(|known| known.path == path)
    }

    /// The content of one of the files.
    pub(super) fn of(&self, path: &Path) -> Result<&[u8], TlsError> {
        let source = match self.find(path).map(|known| &known.bytes) {
            Some(Ok(content)) => return Ok(content),
            // An error of the system is copied by its number; it has no other content.
            Some(Err(fault)) => match fault.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => io::Error::new(fault.kind(), fault.to_string()),
            },
            None => io::Error::from(io::ErrorKind::NotFound),
        };
        Err(TlsError::Unreadable { path: path.to_owned(), source })
    }

    /// The content of one of the files, which is a key.
    pub(super) fn of_secret(&self, path: &Path) -> Result<&[u8], TlsError> {
        match self.find(path).and_then(|known| known.exposure.as_ref()) {
            Some(words) => Err(TlsError::unusable(path, words.clone())),
            None => self.of(path),
        }
    }

    /// Equal for equal contents and equal errors of these files. SHA-256, since the contents include
    /// keys.
    pub(super) fn digest(&self, paths: &[PathBuf]) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        for content in paths.iter().filter_map(|path| self.find(path)) {
            match &content.bytes {
                Ok(content) => {
                    context.update(&content.len().to_be_bytes());
                    context.update(content);
                }
                Err(fault) => context.update(fault.to_string().as_bytes()),
            }
        }
        context.finish().as_ref().to_vec()
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() && !found.is_dir() {
        // A pipe blocks the reader, and cannot be read again.
        return Err(io::Error::other("it is not a regular file"));
    }
    files::read(path, LARGEST).map_err(|fault| match fault {
        FileError::Unreadable(source) => source,
        other => io::Error::other(format!("it {other}")),
    })
}

/// What changes with a file, without reading it. Symbolic links are followed: a link that points
/// elsewhere is another file. Times are in seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Unlike the other one, no program can set it back.
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Whether a change from now on is sure to give another stamp.
    fn is_settled(&self, now: SystemTime) -> bool {
        let last = self.modified.0.max(self.changed.0);
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        u64::try_from(last)
            .map_or(true, |last| last.saturating_add(CLOCK_STEP.as_secs()) < since_epoch)
    }
}

/// The stamps of files, as they were at one time.
#[derive(Clone, Debug)]
pub(super) struct Stamps {
    /// None: the file cannot be found.
    files: Vec<Option<Stamp>>,
    is_settled: bool,
}

impl Stamps {
    /// Looks at every file.
    pub(super) fn take(paths: &[PathBuf], now: SystemTime) -> Self {
        let stamp = |path: &PathBuf| Some(Stamp::of(&std::fs::metadata(path).ok()?));
        let files: Vec<_> = paths.iter().map(stamp).collect();
        let is_settled = files.iter().flatten().all(|stamp| stamp.is_settled(now));
        Self { files, is_settled }
    }

    /// Whether contents that were read after `self` was taken are still those of the files.
    pub(super) fn vouch_for(&self, now: &Self) -> bool {
        self.is_settled && self.files == now.files
    }
}
