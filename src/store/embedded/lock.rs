//! The lock of the one process that may use a store: `<path>.lock`, held by the kernel for as long
//! as the process lives, however that ends. The file stays, and names the holder.
//!
//! A server that takes over from a running one gets that one's lock, and both hold it.
//!
//! A server that starts while a command has the store waits for the command, which ends by itself.
//! So no command keeps a server from starting.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::fault::OpenError;
use super::files::{beside, cannot};
use super::options::{EmbeddedOptions, Opener};
use crate::files::{give_to_owner_of_folder, make_folder};

/// How often the lock is tried.
const EVERY: Duration = Duration::from_millis(10);

/// What the lock file says of a command, after the number of its process.
const COMMAND: &str = "command";

/// Takes the lock of the store at `path`; waits for it as long as `options` say. Makes the
/// directory if need be.
pub(super) fn take(path: &Path, options: EmbeddedOptions) -> Result<File, OpenError> {
    if let Some(directory) = path.parent() {
        make_folder(directory).map_err(cannot("make", directory))?;
    }
    let name = beside(path, ".lock");
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(cannot("open", &name))?;
    give_to_owner_of_folder(&lock, &name).map_err(cannot("give away", &name))?;
    let began = Instant::now();
    let mut is_told = false;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(cannot("lock", &name)(error).into()),
        }
        let holder = Holder::read(&mut lock);
        let timeout =
            if holder.is_command { options.wait_for_command } else { options.wait_for_server };
        if began.elapsed() >= timeout {
            return Err(OpenError::Locked { path: path.to_owned(), process: holder.process });
        }
        if !is_told {
            tracing::info!(path = %path.display(), process = holder.process, "waiting for another \
             process to be done with the store");
            is_told = true;
        }
        thread::sleep(EVERY);
    }
    name_holder(&lock, options.opener);
    Ok(lock)
}

/// Names this process in the file: for the words of a refusal. The lock does not depend on it, nor
/// on space on the disk.
pub(super) fn name_holder(mut lock: &File, opener: Opener) {
    let said = match opener {
        Opener::Server => std::process::id().to_string(),
        Opener::Command => format!("{} {COMMAND}", std::process::id()),
    };
    let _ = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{said}"));
}

/// Makes sure that a lock that another process has handed over is that of the store at `path`, and
/// is held.
pub(super) fn check_adopted(path: &Path, lock: &File) -> Result<(), OpenError> {
    let name = beside(path, ".lock");
    let of_store = match fs::metadata(&name) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        found => Some(found.map_err(cannot("look at", &name))?),
    };
    let handed = lock.metadata().map_err(cannot("look at", &name))?;
    if of_store.is_none_or(|found| (found.dev(), found.ino()) != (handed.dev(), handed.ino())) {
        return Err(OpenError::OtherStore(path.to_owned()));
    }
    // One file description for both processes: to lock it again changes nothing.
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(OpenError::Locked { path: path.to_owned(), process: None })
        }
        Err(TryLockError::Error(error)) => Err(cannot("lock", &name)(error).into()),
    }
}

/// Looks whether the lock of the store at `path` is free. Nothing is made.
pub(super) fn look(path: &Path) -> Result<(), OpenError> {
    let name = beside(path, ".lock");
    let mut lock = match File::open(&name) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(cannot("open", &name))?,
    };
    // Shared: two processes that look do not block each other, and one that takes it tries again.
    match lock.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let process = Holder::read(&mut lock).process;
            Err(OpenError::Locked { path: path.to_owned(), process })
        }
        Err(TryLockError::Error(error)) => Err(cannot("lock", &name)(error).into()),
    }
}

/// The holder of a lock, as its file names it: for a moment, that may be the holder before.
struct Holder {
    process: Option<u32>,
    is_command: bool,
}

impl Holder {
    fn read(lock: &mut File) -> Self {
        let mut said = String::new();
        // What cannot be read says nothing.
        let _ = lock.rewind().and_then(|()| lock.read_to_string(&mut said));
        let mut words = said.split_whitespace();
        let process = words.next().and_then(|id| id.parse().ok());
        Self { process, is_command: words.next() == Some(COMMAND) }
    }
}
