//! SIGUSR2: starts the program anew, to take over from this process.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What says that a process is to take over.
const TAKE_OVER: &str = "--take-over";

/// What in the environment is meant for one process.
const FOR_THIS_PROCESS: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// The program as it was started, so that it can be started again.
pub(in crate::app) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Of this process. To be called before its file is replaced.
    pub(in crate::app) fn own() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let named = arguments.next().map(PathBuf::from);
        // As it was called, where that is a path: it may be a link that is changed to the next
        // version.
        let path = match named.filter(|name| name.components().count() > 1) {
            Some(named) => std::path::absolute(named)?,
            None => std::env::current_exe()?,
        };
        Ok(Self { path, arguments: arguments.collect() })
    }

    pub(in crate::app) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it as it was started, with what says that it takes over. It has the environment,
    /// standard output and standard error of this process.
    pub(in crate::app) fn start_to_take_over(&self) -> io::Result<()> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        if !self.arguments.iter().any(|argument| argument == OsStr::new(TAKE_OVER)) {
            command.arg(TAKE_OVER);
        }
        for variable in FOR_THIS_PROCESS {
            command.env_remove(variable);
        }
        let mut child = command.spawn()?;
        // Its end is waited for, or it would be left as a zombie for as long as this process lives.
        let wait = move || match child.wait() {
            Ok(status) if !status.success() => {
                tracing::error!(%status, "the process that was to take over has ended");
            }
            Ok(_) | Err(_) => {}
        };
        std::thread::Builder::new().name("new-process".to_owned()).spawn(wait).map(drop)
    }
}
