//! The admin socket: a Unix socket for one user.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::wire::socket_file::{self, BoundSocketFile, SocketFile};
pub use crate::wire::socket_file::{SocketError, SocketFileHandle};

/// The admin socket, bound and listening. Removes its file when it is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    pub(super) listener: UnixListener,
    file: SocketFile,
}

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;

/// The admin socket, bound and not listened on yet: nothing is at its path so far.
#[derive(Debug)]
pub struct BoundAdminSocket(Bound);

#[derive(Debug)]
enum Bound {
    Here(BoundSocketFile),
    /// It is listened on already.
    HandedOver(AdminSocket),
}

impl BoundAdminSocket {
    /// Listens, and puts the socket's file in its place.
    ///
    /// # Errors
    ///
    /// As [`AdminSocket::reserve`], for what has happened since.
    pub fn listen(self) -> Result<AdminSocket, SocketError> {
        match self.0 {
            Bound::Here(bound) => {
                let (listener, file) = bound.listen(BACKLOG)?;
                Ok(AdminSocket { listener, file })
            }
            Bound::HandedOver(socket) => Ok(socket),
        }
    }
}

impl AdminSocket {
    /// Binds the socket for `path` with mode 0600, without listening: no client finds it yet. A
    /// missing directory is made with mode 0700. The file of a keyward that has died is replaced.
    ///
    /// # Errors
    ///
    /// When another process listens there, when something else than a socket is at the path, or
    /// when the operating system refuses: for the administrator to solve.
    pub fn reserve(path: &Path) -> Result<BoundAdminSocket, SocketError> {
        socket_file::make_directory_of(path)?;
        BoundSocketFile::bind(path, 0o600).map(|bound| BoundAdminSocket(Bound::Here(bound)))
    }

    /// Binds as [`reserve`](Self::reserve) does, and listens.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        Self::reserve(path)?.listen()
    }

    /// The socket at `path` that another process listens on and hands over, with its lock. Its file
    /// is not removed until it is [taken](SocketFileHandle::take).
    ///
    /// # Errors
    ///
    /// When the lock is not that of `path`, or not held.
    pub fn handed_over(
        path: &Path,
        listener: UnixListener,
        lock: File,
    ) -> Result<BoundAdminSocket, SocketError> {
        let file = SocketFile::handed_over(path, lock)?;
        Ok(BoundAdminSocket(Bound::HandedOver(Self { listener, file })))
    }

    /// What a process needs that is to take it over: the socket, and the say over its file.
    ///
    /// # Errors
    ///
    /// When the system has no file descriptor to give.
    pub fn share(&self) -> io::Result<(UnixListener, SocketFileHandle)> {
        Ok((self.listener.try_clone()?, self.file.handle()))
    }

    /// Looks whether [`bind`](Self::bind) would succeed, without a trace. That a directory can be
    /// made or written is not looked at.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn check(path: &Path) -> Result<(), SocketError> {
        socket_file::check(path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn the_socket_and_its_directory_are_for_one_user_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("data/deep/admin.sock");
        let socket = AdminSocket::bind(&path).expect("bound");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&dir.path().join("data/deep")), 0o700);
        UnixStream::connect(&path).expect("it listens");
        drop(socket);
        let left: Vec<_> =
            fs::read_dir(path.parent().expect("parent")).expect("list").flatten().collect();
        assert_eq!(left.len(), 1, "only the lock file: {left:?}");
    }

    #[test]
    fn a_stale_file_is_replaced_and_a_living_socket_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("admin.sock");
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
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("admin.sock");
        let _foreign = UnixListener::bind(&path).expect("bound");
        assert!(matches!(AdminSocket::bind(&path), Err(SocketError::InUse { .. })));
    }

    #[test]
    fn the_longest_path_that_a_client_can_connect_to_is_bound_and_a_longer_one_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir_bytes = dir.path().as_os_str().len();
        let directory = dir.path().join("d".repeat(107 - dir_bytes - "//a".len()));
        let path = directory.join("a");
        assert_eq!(path.as_os_str().len(), 107);
        let socket = AdminSocket::bind(&path).expect("bound");
        assert_eq!(mode(&path), 0o600);
        UnixStream::connect(&path).expect("it listens");
        drop(socket);
        let refused =
            AdminSocket::bind(&directory.join("ab")).expect_err("no client could connect to it");
        assert!(refused.to_string().contains("cannot use"), "{refused}");
    }

    #[test]
    fn what_is_not_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("admin.sock");
        fs::write(&path, "precious").expect("written");
        assert!(matches!(AdminSocket::bind(&path), Err(SocketError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).expect("read"), "precious");
    }
}
