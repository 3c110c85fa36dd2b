//! The file of a Unix socket that is listened on. It has its mode before a client can connect. That
//! of a process that lives is never taken, that of a dead one is replaced.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a lock is tried for: longer than another process has it that only looks ([`check`]).
const LOOK: Duration = Duration::from_millis(200);

/// A Unix socket that is bound and not listened on yet. Nothing is at its path so far.
#[derive(Debug)]
pub struct BoundSocketFile {
    socket: socket2::Socket,
    staging: Staging,
    path: PathBuf,
    lock: File,
}

/// The file of a socket that is listened on. It is removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile(Arc<Ownership>);

/// The say over the file of a socket, apart from the socket.
#[derive(Clone, Debug)]
pub struct SocketFileHandle(Arc<Ownership>);

#[derive(Debug)]
struct Ownership {
    path: PathBuf,
    /// Device and inode: no other file in its place is removed. None: it is not removed, because it
    /// has been, or belongs to another process.
    identity: Mutex<Option<(u64, u64)>>,
    /// The lock file is never removed: two processes could then hold a lock each.
    lock: File,
}

impl BoundSocketFile {
    /// Binds a socket for `path` whose file is to have the permissions `mode`, such as `0o600`.
    ///
    /// It is bound in a directory that only this user can enter, and moved to `path` when it is
    /// listened on: no client can connect before. The lock on `PATH.lock` decides between two
    /// processes that start at the same time.
    ///
    /// # Errors
    ///
    /// When another process listens there, when something else than a socket is at the path, or
    /// when the operating system refuses: for the administrator to solve.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, SocketError> {
        let failed = |action| SocketError::io(action, path);
        check_length(path)?;
        let lock = lock(path)?;
        refuse_what_lives(path)?;
        let directory = directory_of(path);
        let staging =
            Staging::create(directory).map_err(failed("make a private directory beside"))?;
        let socket = staging.bind().map_err(failed("bind"))?;
        let permissions = Permissions::from_mode(mode);
        fs::set_permissions(staging.socket(), permissions).map_err(failed("set the mode of"))?;
        socket.set_nonblocking(true).map_err(failed("configure"))?;
        Ok(Self { socket, staging, path: path.to_owned(), lock })
    }

    /// Listens, for `backlog` connections that wait to be accepted, and puts the file in its place.
    /// The listener does not block.
    ///
    /// # Errors
    ///
    /// As [`BoundSocketFile::bind`], for what has happened since.
    pub fn listen(self, backlog: i32) -> Result<(UnixListener, SocketFile), SocketError> {
        let Self { socket, staging, path, lock } = self;
        let failed = |action| SocketError::io(action, &path);
        socket.listen(backlog).map_err(failed("listen on"))?;
        refuse_what_lives(&path)?;
        let metadata = fs::symlink_metadata(staging.socket()).map_err(failed("look at"))?;
        fs::rename(staging.socket(), &path).map_err(failed("put in place"))?;
        let identity = Mutex::new(Some((metadata.dev(), metadata.ino())));
        Ok((socket.into(), SocketFile(Arc::new(Ownership { path, identity, lock }))))
    }
}

impl SocketFile {
    /// The file of a socket that another process listens on and hands over, with the lock that that
    /// process holds. It is not removed until it is [taken](SocketFileHandle::take).
    ///
    /// # Errors
    ///
    /// When the lock is not that of `path`, or not held: for the administrator to solve.
    pub fn handed_over(path: &Path, lock: File) -> Result<Self, SocketError> {
        let failed = SocketError::io("take over", path);
        let of_path = fs::metadata(lock_path(path)).map_err(failed)?;
        let handed = lock.metadata().map_err(failed)?;
        // One file description for both processes: to lock it again changes nothing.
        let is_held = lock.try_lock().is_ok();
        if !is_held || (of_path.dev(), of_path.ino()) != (handed.dev(), handed.ino()) {
            return Err(SocketError::InUse(path.to_owned()));
        }
        let identity = Mutex::new(None);
        Ok(Self(Arc::new(Ownership { path: path.to_owned(), identity, lock })))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The say over it, for one that does not have the socket.
    #[must_use]
    pub fn handle(&self) -> SocketFileHandle {
        SocketFileHandle(Arc::clone(&self.0))
    }

    /// Removes the file. Clients that have connected are not affected.
    pub fn remove(&mut self) {
        let Some(identity) = self.0.identity().take() else { return };
        if identity_of(&self.0.path) == Some(identity) {
            // Otherwise it is stale, and the next start replaces it.
            let _ = fs::remove_file(&self.0.path);
        }
    }
}

impl SocketFileHandle {
    /// From now on, it is not removed: another process listens on the socket.
    pub fn leave(&self) {
        *self.0.identity() = None;
    }

    /// From now on, it is removed with the socket: the other process has left it.
    pub fn take(&self) {
        *self.0.identity() = identity_of(&self.0.path);
    }

    /// Its lock, for the process that the socket is handed over to.
    ///
    /// # Errors
    ///
    /// When the system has no file descriptor to give.
    pub fn lock(&self) -> io::Result<File> {
        self.0.lock.try_clone()
    }
}

impl Ownership {
    fn identity(&self) -> MutexGuard<'_, Option<(u64, u64)>> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity_of(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Looks whether a socket could be bound at `path`, without a trace. That its directory can be
/// written is not looked at.
///
/// # Errors
///
/// As [`BoundSocketFile::bind`].
pub fn check(path: &Path) -> Result<(), SocketError> {
    check_length(path)?;
    if look_at_lock(path).map_err(SocketError::io("lock", path))? {
        return Err(SocketError::InUse(path.to_owned()));
    }
    refuse_what_lives(path)
}

/// Whether a process has the lock on the socket at `path`; false, if that cannot be told.
#[must_use]
pub fn is_locked(path: &Path) -> bool {
    look_at_lock(path).unwrap_or(false)
}

/// Whether the lock is taken. It is opened as for taking it, so that the system refuses the same.
fn look_at_lock(path: &Path) -> io::Result<bool> {
    let file = match OpenOptions::new().read(true).write(true).open(lock_path(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
}

/// Changes the permissions of a socket that is listened on.
///
/// # Errors
///
/// When the operating system refuses, because the file is gone, for instance.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), SocketError> {
    let permissions = Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).map_err(SocketError::io("set the mode of", path))
}

/// Makes the directory of a socket, which only this user can enter, if it is not there.
///
/// # Errors
///
/// When the path is too long for a socket, or the operating system refuses.
pub fn make_directory_of(path: &Path) -> Result<(), SocketError> {
    check_length(path)?;
    let created = DirBuilder::new().recursive(true).mode(0o700).create(directory_of(path));
    created.map_err(SocketError::io("make the directory of", path))
}

/// A file with a longer path could be put in place, and no client could connect.
fn check_length(path: &Path) -> Result<(), SocketError> {
    SocketAddr::from_pathname(path).map(drop).map_err(SocketError::io("use", path))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits a moment on the control thread for a process that only looks at the lock"
)]
fn lock(path: &Path) -> Result<File, SocketError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(lock_path(path)).map_err(SocketError::io("lock", path))?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOOK => thread::sleep(LOOK / 20),
            Err(TryLockError::WouldBlock) => return Err(SocketError::InUse(path.to_owned())),
            Err(TryLockError::Error(cause)) => return Err(SocketError::io("lock", path)(cause)),
        }
    }
}

/// The file whose lock says that a process has the socket at `path`.
#[must_use]
pub fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn refuse_what_lives(path: &Path) -> Result<(), SocketError> {
    let failed = SocketError::io("look at", path);
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed)?,
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(cause) => match cause.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(()),
            _ => Err(failed(cause)),
        },
    }
}

/// A directory that only this user can enter; removed with what is left in it.
#[derive(Debug)]
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

    fn bind(&self) -> io::Result<socket2::Socket> {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        let directory = File::open(&self.0)?;
        let mut path = self.socket();
        // The path of a socket has at most 107 bytes. The final one fits; where this one does not,
        // it is reached through the open directory.
        if SocketAddr::from_pathname(&path).is_err() {
            path = format!("/proc/self/fd/{}/s", directory.as_raw_fd()).into();
        }
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        Ok(socket)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.0);
    }
}

/// Why a socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process listens there.
    #[error("{} is in use: another keyward is running with the same socket, or another program \
             listens on it", .0.display())]
    InUse(PathBuf),
    /// What is there is not keyward's to replace.
    #[error(
        "{} is not a socket, so it is left alone: move it away or choose another path",
        .0.display()
    )]
    NotASocket(PathBuf),
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

impl SocketError {
    fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + Copy {
        move |cause| Self::Io { action, path: path.to_owned(), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(path: &Path) -> Result<(UnixListener, SocketFile), SocketError> {
        BoundSocketFile::bind(path, 0o660)?.listen(16)
    }

    #[test]
    fn nothing_is_at_the_path_before_it_is_listened_on_and_then_a_socket_of_that_mode() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s.sock");
        let bound = BoundSocketFile::bind(&path, 0o660).expect("bound");
        assert!(!path.exists());
        let (_listener, file) = bound.listen(16).expect("listening");
        assert_eq!(fs::symlink_metadata(&path).expect("there").permissions().mode() & 0o777, 0o660);
        UnixStream::connect(&path).expect("it listens");
        set_mode(&path, 0o600).expect("changed");
        assert_eq!(fs::symlink_metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_look_leaves_no_trace_and_finds_what_a_bind_would() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s.sock");
        check(&path).expect("nothing is there");
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0);
        let (_listener, file) = listen(&path).expect("listening");
        assert!(matches!(check(&path), Err(SocketError::InUse { .. })));
        drop(file);
        check(&path).expect("it is gone");
        fs::write(&path, "precious").expect("written");
        assert!(matches!(check(&path), Err(SocketError::NotASocket { .. })));
        assert!(matches!(check(Path::new(&"s".repeat(108))), Err(SocketError::Io { .. })));
    }

    #[test]
    fn a_socket_that_was_bound_and_dropped_leaves_what_was_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s.sock");
        drop(UnixListener::bind(&path).expect("a process that died leaves its file"));
        drop(BoundSocketFile::bind(&path, 0o660).expect("bound"));
        assert!(path.exists());
        let left = fs::read_dir(dir.path()).expect("list").count();
        assert_eq!(left, 2, "the file and the lock");
        listen(&path).expect("the stale file is replaced");
    }

    #[test]
    fn a_program_that_took_the_path_meanwhile_keeps_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s.sock");
        let bound = BoundSocketFile::bind(&path, 0o660).expect("bound");
        let _other = UnixListener::bind(&path).expect("bound by another program");
        assert!(matches!(bound.listen(16), Err(SocketError::InUse { .. })));
        UnixStream::connect(&path).expect("the other program still listens");
    }

    #[test]
    fn a_file_that_was_put_in_its_place_is_not_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s.sock");
        let (_listener, file) = listen(&path).expect("listening");
        let other = dir.path().join("other");
        fs::write(&other, "precious").expect("written");
        fs::rename(&other, &path).expect("moved");
        drop(file);
        assert_eq!(fs::read_to_string(&path).expect("read"), "precious");
    }
}
