//! The access log: lines are gathered by the workers and written by a thread of its own, so that a slow disk or a full pipe never
//! holds up a request. If the thread cannot keep up, whole batches are dropped, and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::log::LogFormat;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to, opened anew by [`AccessLog::reopen`].
    File(PathBuf),
}

/// The way to the writer.
pub struct AccessLog {
    format: LogFormat,
    sender: Mutex<Option<SyncSender<Message>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Lines(Vec<u8>),
    Reopen,
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
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let writer = std::thread::Builder::new()
            .name("keyward-log".into())
            .spawn(move || write_all(&receiver, &target, output, &lost))?;
        Ok(Self { format, sender: Mutex::new(Some(sender)), writer: Mutex::new(Some(writer)), dropped })
    }

    /// How lines look.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        self.format
    }

    /// Hands lines over; never waits.
    pub fn write(&self, lines: Vec<u8>) {
        self.send(Message::Lines(lines));
    }

    /// Opens the file anew, as after a rotation.
    pub fn reopen(&self) {
        self.send(Message::Reopen);
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

    fn send(&self, message: Message) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else { return };
        if let Err(TrySendError::Full(Message::Lines(lines)) | TrySendError::Disconnected(Message::Lines(lines))) =
            sender.try_send(message)
        {
            self.dropped.fetch_add(count(&lines), Ordering::Relaxed);
        }
    }
}

fn open(target: &AccessLogTarget) -> io::Result<Option<File>> {
    match target {
        AccessLogTarget::File(path) => OpenOptions::new().create(true).append(true).open(path).map(Some),
        AccessLogTarget::Stdout | AccessLogTarget::Stderr => Ok(None),
    }
}

fn write_all(receiver: &Receiver<Message>, target: &AccessLogTarget, mut output: Option<File>, dropped: &AtomicU64) {
    for message in receiver {
        let lines = match message {
            Message::Lines(lines) => lines,
            Message::Reopen => {
                // If the new file cannot be opened, the old one is better than none.
                match open(target) {
                    Ok(fresh) => output = fresh,
                    Err(fault) => tracing::error!(%fault, "the access log could not be reopened"),
                }
                continue;
            }
        };
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
