//! Whether files and folders could be made or written, found out without a trace. The errors say
//! why not, and what to do.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::telemetry::access_log;

/// Looks whether a file could be opened for writing, be it made or not.
pub(super) fn file(path: &Path) -> Result<(), String> {
    match look(path)? {
        Some(found) if found.is_dir() => {
            Err(format!("{} is a folder: name a file in it", path.display()))
        }
        Some(_) => may_write(path, Access::WRITE_OK),
        None => match look(&parent(path))? {
            Some(found) if found.is_dir() => {
                may_write(&parent(path), Access::WRITE_OK | Access::EXEC_OK)
            }
            Some(_) => Err(no_folder(&parent(path))),
            None => Err(format!(
                "the folder {} is not there: make it, or name another file",
                parent(path).display()
            )),
        },
    }
}

/// Looks whether a file could be appended to, or made in a folder that is there. Pipes that have a
/// name, and sockets, cannot: opening one waits for its reader, or fails.
pub(super) fn log(path: &Path) -> Result<(), String> {
    file(path)?;
    let kind = look(path)?.map(|found| found.file_type());
    let has_name = || fs::canonicalize(path).is_ok();
    match kind {
        Some(kind) if kind.is_fifo() && has_name() => access_log::check_pipe(path).map_err(|_| {
            format!(
                "{} is a named pipe that no process reads: start its reader first, or name a file",
                path.display()
            )
        }),
        Some(kind) if kind.is_socket() && has_name() => {
            Err(format!("{} is a socket: name a file", path.display()))
        }
        _ => Ok(()),
    }
}

/// Looks whether a file could be opened for writing, or be made with the folders above it.
pub(super) fn file_in_new_folders(path: &Path) -> Result<(), String> {
    match look(path)? {
        Some(_) => file(path),
        None => folder(&parent(path)),
    }
}

/// Looks whether files could be made in a folder, be it there or to be made with those above it.
pub(super) fn folder(path: &Path) -> Result<(), String> {
    // Beside a bare name.
    let mut at = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
    loop {
        match look(&at)? {
            Some(found) if found.is_dir() => {
                return may_write(&at, Access::WRITE_OK | Access::EXEC_OK);
            }
            Some(_) => return Err(no_folder(&at)),
            None => at = parent(&at),
        }
    }
}

/// Looks whether files could be made beside this one, in a folder that is there.
pub(super) fn folder_of(path: &Path) -> Result<(), String> {
    match look(&parent(path))? {
        Some(_) => folder(&parent(path)),
        None => Err(format!(
            "the folder {} is not there: make it, or name another one",
            parent(path).display()
        )),
    }
}

fn look(path: &Path) -> Result<Option<Metadata>, String> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            let is_in_the_way =
                |above: &&Path| fs::metadata(above).is_ok_and(|found| !found.is_dir());
            Err(no_folder(path.ancestors().find(is_in_the_way).unwrap_or(path)))
        }
        Err(error) => Err(format!("{} cannot be looked at: {error}", path.display())),
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        // Of a relative name; the root has no other folder above it.
        Some(_) => PathBuf::from("."),
        None => PathBuf::from("/"),
    }
}

fn no_folder(path: &Path) -> String {
    format!("{} is not a folder: move it away, or name another one", path.display())
}

fn may_write(path: &Path, access: Access) -> Result<(), String> {
    rustix::fs::access(path, access).map_err(|error| {
        let user = rustix::process::geteuid().as_raw();
        format!(
            "{} cannot be written by user {user} ({error}): change its rights, or name another one",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_named_and_nothing_is_made() {
        let dir = tempfile::tempdir().expect("a folder");
        let inside = |name: &str| dir.path().join(name);
        fs::write(inside("a"), "").expect("written");
        let left = || fs::read_dir(dir.path()).expect("a list").count();
        file(&inside("a")).expect("it is there");
        file(&inside("new")).expect("it can be made");
        folder(&inside("b/c/d")).expect("they can be made");
        folder_of(&inside("new")).expect("it is there");
        for (outcome, words) in [
            (file(dir.path()), "is a folder: name a file in it"),
            (file(&inside("b/c")), "the folder"),
            (file(&inside("a/b")), "a is not a folder"),
            (folder(&inside("a/b/c")), "a is not a folder"),
            (folder_of(&inside("b/c")), "is not there: make it"),
        ] {
            let said = outcome.expect_err(words);
            assert!(said.contains(words), "{words}: {said}");
        }
        assert_eq!(left(), 1);
        file(Path::new("relative")).expect("the working directory");
    }
}
