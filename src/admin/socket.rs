//! The socket file: never open to others, never taken from a living keyward, never left in the way of the next one.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The admin socket, bound and listening. Removes its file when it is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Held for as long as the socket lives. The file itself stays: removing it would let two processes hold a lock each.
    _lock: File,
}

impl AdminSocket {
    /// Binds the socket at `path` with mode 0600. A missing directory is made with mode 0700. A file that a dead keyward
    /// left behind is replaced.
    ///
    /// The socket is bound in a directory that only this user can enter and moved to `path` once its mode is set: at no
    /// moment could anybody else have connected. `PATH.lock` decides between two keywards that start at the same time.
    ///
    /// # Errors
    ///
    /// Somebody listens there already, something else than a socket is in the way, or the file system refuses: the
    /// administrator's to solve.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |action| move |cause| SocketError::Io { action, path: path.to_owned(), cause };
        // Too long a path could still be put in place, and then nobody could connect.
        SocketAddr::from_pathname(path).map_err(failed("use"))?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("make the directory of"))?;
        let lock = lock(path)?;
        refuse_what_lives(path)?;

        let staging = Staging::create(directory).map_err(failed("make a private directory beside"))?;
        let listener = staging.bind().map_err(failed("bind"))?;
        fs::set_permissions(staging.socket(), Permissions::from_mode(0o600)).map_err(failed("set the mode of"))?;
        listener.set_nonblocking(true).map_err(failed("configure"))?;
        fs::rename(staging.socket(), path).map_err(failed("put in place"))?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // A file that cannot be removed is stale from now on, and the next start replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

fn lock(path: &Path) -> Result<File, SocketError> {
    let failed = |cause| SocketError::Io { action: "lock", path: path.to_owned(), cause };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

fn refuse_what_lives(path: &Path) -> Result<(), SocketError> {
    let failed = |cause| SocketError::Io { action: "look at", path: path.to_owned(), cause };
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed)?,
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(failed(cause)),
    }
}

/// A directory that only this user can enter; removed with what is left in it.
struct Staging(PathBuf);

impl Staging {
    fn create(beside: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        // A taken name belongs to another bind that is under way, or to one that was killed.
        for attempt in 0..100 {
            let path = beside.join(format!(".k{pid}-{attempt}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created.map(|()| Self(path)),
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }

    fn bind(&self) -> io::Result<UnixListener> {
        let path = self.socket();
        if SocketAddr::from_pathname(&path).is_ok() {
            return UnixListener::bind(path);
        }
        // The path of a socket has room for some hundred bytes. The final one fits, this one does not: go through the
        // open directory.
        let directory = File::open(&self.0)?;
        UnixListener::bind(format!("/proc/self/fd/{}/s", directory.as_raw_fd()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.0);
    }
}

/// Why the admin socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process listens there.
    #[error("{} is in use: another keyward is running with the same admin socket", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// What is there is not ours to replace.
    #[error("{} is not a socket, so it is left alone: move it away or choose another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was being done to the socket.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn the_socket_and_its_directory_are_for_one_user_and_leave_nothing_behind() {
        let room = tempfile::tempdir().expect("a directory");
        let path = room.path().join("data/deep/admin.sock");
        let socket = AdminSocket::bind(&path).expect("bound");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&room.path().join("data/deep")), 0o700);
        UnixStream::connect(&path).expect("it listens");
        drop(socket);
        let left: Vec<_> = fs::read_dir(path.parent().expect("parent")).expect("list").flatten().collect();
        assert_eq!(left.len(), 1, "only the lock file: {left:?}");
    }

    #[test]
    fn a_stale_file_is_replaced_and_a_living_socket_is_not() {
        let room = tempfile::tempdir().expect("a directory");
        let path = room.path().join("admin.sock");
        drop(UnixListener::bind(&path).expect("a process that died leaves its file"));
        let first = AdminSocket::bind(&path).expect("stale: replaced");
        assert_eq!(mode(&path), 0o600);
        let refused = AdminSocket::bind(&path).expect_err("alive");
        assert!(matches!(refused, SocketError::InUse { .. }), "{refused}");
        assert!(refused.to_string().contains("another keyward is running"), "{refused}");
        UnixStream::connect(&path).expect("the first one still listens");
        drop(first);
        AdminSocket::bind(&path).expect("free again");
    }

    #[test]
    fn a_socket_that_lives_without_our_lock_is_not_taken_either() {
        let room = tempfile::tempdir().expect("a directory");
        let path = room.path().join("admin.sock");
        let _foreign = UnixListener::bind(&path).expect("bound");
        assert!(matches!(AdminSocket::bind(&path), Err(SocketError::InUse { .. })));
    }

    #[test]
    fn the_longest_path_that_a_client_can_connect_to_is_bound_and_a_longer_one_is_refused() {
        let room = tempfile::tempdir().expect("a directory");
        let room_bytes = room.path().as_os_str().len();
        let directory = room.path().join("d".repeat(107 - room_bytes - "//a".len()));
        let path = directory.join("a");
        assert_eq!(path.as_os_str().len(), 107);
        let socket = AdminSocket::bind(&path).expect("bound");
        assert_eq!(mode(&path), 0o600);
        UnixStream::connect(&path).expect("it listens");
        drop(socket);
        let refused = AdminSocket::bind(&directory.join("ab")).expect_err("nobody could connect to it");
        assert!(refused.to_string().contains("cannot use"), "{refused}");
    }

    #[test]
    fn what_is_not_a_socket_is_left_alone() {
        let room = tempfile::tempdir().expect("a directory");
        let path = room.path().join("admin.sock");
        fs::write(&path, "precious").expect("written");
        assert!(matches!(AdminSocket::bind(&path), Err(SocketError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).expect("read"), "precious");
    }
}
