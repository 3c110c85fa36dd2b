//! The access log: workers gather lines in batches, and a thread writes them, so that a slow disk
//! or a full pipe never holds up a request. If the thread cannot keep up, whole batches are
//! dropped, and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::OFlags;

use super::log::LogFormat;

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to; [`AccessLog::open_again`] opens it anew.
    File(PathBuf),
}

/// The access log and the queue of its writer.
pub struct AccessLog {
    format: LogFormat,
    target: AccessLogTarget,
    sender: Mutex<Option<SyncSender<Vec<u8>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    dropped: Arc<AtomicU64>,
    /// The file that the writer turns to before its next batch. It is not in the queue, because a
    /// full queue refuses it.
    next: Arc<Mutex<Option<File>>>,
}

/// So many batches may wait: at 64 KiB each, 4 MiB.
const MOST_BATCHES: usize = 64;

impl AccessLog {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or the thread cannot be started.
    pub fn start(target: AccessLogTarget, format: LogFormat) -> io::Result<Self> {
        let output = open(&target)?;
        let (sender, receiver) = sync_channel(MOST_BATCHES);
        let (dropped, next) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Option<File>>>::default());
        let writer = std::thread::Builder::new().name("keyward-log".into()).spawn({
            let (target, lost, next) = (target.clone(), Arc::clone(&dropped), Arc::clone(&next));
            move || write_all(&receiver, &target, output, &next, &lost)
        })?;
        let (sender, writer) = (Mutex::new(Some(sender)), Mutex::new(Some(writer)));
        Ok(Self { format, target, sender, writer, dropped, next })
    }

    /// How lines look.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        self.format
    }

    /// Hands lines over; never waits.
    pub fn write(&self, lines: Vec<u8>) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else { return };
        if let Err(TrySendError::Full(lines) | TrySendError::Disconnected(lines)) =
            sender.try_send(lines)
        {
            self.dropped.fetch_add(count(&lines), Ordering::Relaxed);
        }
    }

    /// Opens the target anew, as after a rotation, and has further lines written there, however
    /// full the queue is.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened. Lines go to the old one.
    pub fn open_again(&self) -> io::Result<()> {
        let Some(file) = open(&self.target)? else { return Ok(()) };
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        // An empty batch, so that the old file is closed although no line comes. In a full queue,
        // the next batch does the same.
        self.write(Vec::new());
        Ok(())
    }

    /// How many lines were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes what waits, and ends.
    pub fn close(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }
}

const NONBLOCK: i32 = OFlags::NONBLOCK.bits() as i32;

/// Checks that a process reads a named pipe.
///
/// # Errors
///
/// `ENXIO` where none does; or the pipe cannot be opened.
pub fn check_pipe(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).custom_flags(NONBLOCK).open(path).map(drop)
}

fn open(target: &AccessLogTarget) -> io::Result<Option<File>> {
    let AccessLogTarget::File(path) = target else { return Ok(None) };
    // Not to wait for a reader, where it is a pipe; writing to it waits all the same.
    let file = OpenOptions::new().create(true).append(true).custom_flags(NONBLOCK).open(path)?;
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(Some(file))
}

fn write_all(
    receiver: &Receiver<Vec<u8>>,
    target: &AccessLogTarget,
    mut output: Option<File>,
    next: &Mutex<Option<File>>,
    dropped: &AtomicU64,
) {
    for lines in receiver {
        if let Some(file) = next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            output = Some(file);
        }
        let written = match (&mut output, target) {
            (Some(file), _) => file.write_all(&lines),
            (None, AccessLogTarget::Stderr) => io::stderr().write_all(&lines),
            (None, _) => io::stdout().write_all(&lines).and_then(|()| io::stdout().flush()),
        };
        if written.is_err() {
            dropped.fetch_add(count(&lines), Ordering::Relaxed);
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_rotation_lines_go_to_the_new_file_once_it_is_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, rotated) =
            (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let log =
            AccessLog::start(AccessLogTarget::File(path.clone()), LogFormat::Json).expect("opened");
        log.write(b"first\n".to_vec());
        std::fs::rename(&path, &rotated).expect("rotated");
        log.write(b"second\n".to_vec());
        let text = |path: &PathBuf| std::fs::read_to_string(path).expect("a file");
        while !text(&rotated).ends_with("second\n") {
            std::thread::yield_now();
        }
        assert!(!path.exists());
        log.open_again().expect("opened");
        log.write(b"third\n".to_vec());
        log.close();
        assert_eq!((text(&rotated).as_str(), text(&path).as_str()), ("first\nsecond\n", "third\n"));
    }

    #[test]
    fn a_file_that_cannot_be_opened_anew_is_a_fault_and_the_old_one_stays_in_use() {
        let folder = tempfile::tempdir().expect("a folder");
        let (inner, moved) = (folder.path().join("logs"), folder.path().join("moved"));
        std::fs::create_dir(&inner).expect("a folder");
        let target = AccessLogTarget::File(inner.join("access.log"));
        let log = AccessLog::start(target, LogFormat::Json).expect("opened");
        std::fs::rename(&inner, &moved).expect("moved");
        assert!(log.open_again().is_err());
        log.write(b"a line\n".to_vec());
        log.close();
        assert_eq!(std::fs::read_to_string(moved.join("access.log")).expect("a file"), "a line\n");
    }
}
