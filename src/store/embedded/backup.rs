//! A copy of the whole store in one file, and the store from such a copy.
//!
//! A backup is a snapshot: SQLite reads a state of the database that was acknowledged, whatever a
//! running keyward writes meanwhile, from another process. Both directions verify the copy as a
//! start would, before it gets its name: pages and indexes, layout, seal, keys, and every record. A
//! backup has no log, and another tie (`tie`): a log that was left beside the place where it is put
//! is not taken for its own.
//!
//! The keys are not in a backup.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::fault::{Fault, OpenError};
use super::files::{self, beside};
use super::schema::{self, Access, STEPS};
use super::tie::{Beginning, Tie};
use super::{EmbeddedOptions, Layout, StoreIdentity, lock, verify as verify_all};
use crate::domain::Timestamp;
use crate::files::give_to_owner_of_folder;

/// What may be at the place of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing.
    Refuse,
    /// An earlier backup, which is replaced once the new one is whole.
    Replace,
}

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Tokens: API keys, sessions, bootstrap tokens.
    pub records: u64,
    /// Keys that are revoked and still listed.
    pub retired: u64,
    /// Users.
    pub accounts: u64,
    /// The size of the file.
    pub bytes: u64,
}

/// Why there is no copy. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store itself cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// There is no store.
    #[error("there is no store at {}: nothing to back up", .0.display())]
    NoStore(PathBuf),
    /// A keyward runs on the store that is to be replaced.
    #[error(
        "a keyward is running on the store {}{}: stop it, then restore; a running one would go on \
         with what it remembers",
        path.display(), process.map(|id| format!(" (process {id})")).unwrap_or_default()
    )]
    Running {
        /// The store.
        path: PathBuf,
        /// The process, where it could be told.
        process: Option<u32>,
    },
    /// What is at the place of the backup stays.
    #[error("{} is there already and {why}; nothing was written", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
        /// Why it stays.
        why: &'static str,
    },
    /// The place of the backup is one of the store's own.
    #[error(
        "{} belongs to the store itself, or would be taken for a file of it; name another file",
        path.display()
    )]
    OfStore {
        /// The place.
        path: PathBuf,
    },
    /// The file is no backup that could be used.
    #[error("{} cannot be used as a backup: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be made, read, moved or removed.
    #[error("cannot {doing} {}", path.display())]
    Files {
        /// What was to be done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// SQLite could not copy.
    #[error("the store could not be copied to {}", path.display())]
    Copy {
        /// The copy.
        path: PathBuf,
        /// SQLite's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::Files { doing, path: path.to_owned(), source }
}

/// Copies the store at `store` into the file `target`. A keyward may run on the store: it goes on
/// serving.
///
/// # Errors
///
/// See [`BackupError`]. Nothing is at `target` then that was not there before.
pub fn back_up(
    store: &Path,
    identity: &StoreIdentity<'_>,
    target: &Path,
    existing: Existing,
    options: EmbeddedOptions,
) -> Result<Copied, BackupError> {
    let store = std::path::absolute(store).map_err(failed("find", store))?;
    let target = std::path::absolute(target).map_err(failed("find", target))?;
    if !store.try_exists().map_err(failed("look at", &store))? {
        return Err(BackupError::NoStore(store));
    }
    check_target(&store, &target, existing)?;
    let source = snapshot(&store, options)?;
    let draft = Draft::new(beside(&target, &format!(".new-{}", std::process::id())))?;
    let copied = draft.fill(&source, &store, options.busy)?;
    drop(source);
    verify(&draft.path, identity, options).map_err(|fault| for_store(fault, &store))?;
    draft.publish(&target, existing)?;
    Ok(copied)
}

/// A connection with an open transaction on the state that was acknowledged last.
pub(super) fn snapshot(store: &Path, options: EmbeddedOptions) -> Result<Connection, OpenError> {
    // Without a running keyward, the files are unchecked. With one, they are in use and were
    // checked at its start.
    let at_once = EmbeddedOptions { wait_for_server: Duration::ZERO, ..options };
    let alone = match lock::take(store, at_once) {
        Ok(lock) => Some(lock),
        Err(OpenError::Locked { .. }) => None,
        Err(other) => return Err(other),
    };
    if !files::is_ours(store).map_err(files::files("read", store))? {
        return Err(OpenError::Foreign { path: store.to_owned() });
    }
    files::check_journal(store)?;
    if alone.is_some() {
        files::check_log(store)?;
    }
    let explain = |fault: Fault| fault.explain_opening(store);
    let connection = schema::connect(store, Access::Read, options.busy).map_err(explain)?;
    // A transaction begins with its first look.
    let begun = connection.execute_batch("BEGIN");
    let begun =
        begun.and_then(|()| connection.query_row("SELECT count(*) FROM meta", [], |_| Ok(())));
    begun.map_err(|error| explain(error.into()))?;
    // From here on, a keyward may start.
    drop(alone);
    Ok(connection)
}

fn check_target(store: &Path, target: &Path, existing: Existing) -> Result<(), BackupError> {
    let refused = |why| Err(BackupError::Exists { path: target.to_owned(), why });
    if is_name_of_store(store, target) {
        return Err(BackupError::OfStore { path: target.to_owned() });
    }
    let found = match fs::symlink_metadata(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("look at", target))?,
    };
    if is_of_store(store, target)? {
        return refused("belongs to the store itself");
    }
    if existing == Existing::Refuse {
        return refused(
            "is not overwritten: name another file, or say --replace to replace an earlier backup",
        );
    }
    if !found.is_file() || !files::is_ours(target).map_err(failed("read", target))? {
        return refused("is no backup of a store of keyward, so --replace does not replace it");
    }
    Ok(())
}

/// What a store has beside its database, by the endings of their names.
pub(super) const BESIDE: [&str; 6] = ["", "-wal", "-shm", "-journal", ".lock", ".new"];

/// Whether the store would take a file at `path` for one of its own, be it there or not.
fn is_name_of_store(store: &Path, path: &Path) -> bool {
    let place = |path: &Path| {
        let folder = path.parent().map(|folder| fs::canonicalize(folder).ok());
        (folder, path.file_name().map(ToOwned::to_owned))
    };
    let wanted = place(path);
    BESIDE.iter().any(|ending| place(&beside(store, ending)) == wanted)
}

/// Whether `path` is the store's database or one of the files beside it.
fn is_of_store(store: &Path, path: &Path) -> Result<bool, BackupError> {
    let identity = |path: &Path| match fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("look at", path)(error)),
    };
    let Some(found) = identity(path)? else { return Ok(false) };
    for ending in BESIDE {
        if identity(&beside(store, ending))? == Some(found) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A copy under a temporary name. Removed when dropped, unless it was published.
struct Draft {
    path: PathBuf,
    is_published: bool,
}

impl Draft {
    fn new(path: PathBuf) -> Result<Self, BackupError> {
        let draft = Self { path, is_published: false };
        draft.remove();
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.path);
        let made = made.map_err(failed("make", &draft.path))?;
        give_to_owner_of_folder(&made, &draft.path).map_err(failed("give away", &draft.path))?;
        Ok(draft)
    }

    /// Copies everything that `source` sees of `origin`, into one file that can be read anywhere,
    /// without files beside it.
    fn fill(
        &self,
        source: &Connection,
        origin: &Path,
        busy: Duration,
    ) -> Result<Copied, BackupError> {
        let path = &self.path;
        let copy = |fault: Fault| match fault.explain_opening(origin) {
            OpenError::Refused { source, .. } => BackupError::Copy { path: path.clone(), source },
            other => other.into(),
        };
        let mut target = schema::connect(path, Access::Write, busy).map_err(copy)?;
        copy_all(source, &mut target).map_err(copy)?;
        Tie::new().map_err(failed("name", path))?.write(&target).map_err(copy)?;
        set_journal_mode(&target, "delete").map_err(copy)?;
        let copied = count(&target).map_err(copy)?;
        target.close().map_err(|(_, error)| copy(error.into()))?;
        for ending in ["-wal", "-journal"] {
            if beside(path, ending).exists() {
                return Err(failed("finish", path)(io::Error::other(
                    "its log could not be written back",
                )));
            }
        }
        let file = File::open(path).map_err(failed("read", path))?;
        file.sync_all().map_err(failed("sync", path))?;
        let bytes = file.metadata().map_err(failed("look at", path))?.len();
        Ok(Copied { bytes, ..copied })
    }

    /// Gives it its name, for good.
    fn publish(mut self, target: &Path, existing: Existing) -> Result<(), BackupError> {
        let published = match existing {
            Existing::Replace => fs::rename(&self.path, target),
            Existing::Refuse => rename_to_free(&self.path, target),
        };
        match published {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let why = "was made while this was under way";
                return Err(BackupError::Exists { path: target.to_owned(), why });
            }
            other => other.map_err(failed("make", target))?,
        }
        self.is_published = true;
        sync_directory_of(target)
    }

    fn remove(&self) {
        for ending in ["", "-wal", "-shm", "-journal"] {
            // One that is left does no harm.
            let _ = files::remove(&beside(&self.path, ending));
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            self.remove();
        }
    }
}

/// Renames, unless there is something of that name.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system cannot.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        other => Ok(other?),
    }
}

fn sync_directory_of(path: &Path) -> Result<(), BackupError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("sync", directory))
}

fn copy_all(source: &Connection, target: &mut Connection) -> Result<(), Fault> {
    /// Between two tries, while another program has a lock.
    const PAUSE: Duration = Duration::from_millis(10);
    const TRIES: usize = 500;
    let backup = Backup::new(source, target)?;
    for _ in 0..TRIES {
        // All pages in one step: so they are of one state.
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            _ => std::thread::sleep(PAUSE),
        }
    }
    Err(Fault::System(io::Error::other("another program has locked it")))
}

fn count(connection: &Connection) -> Result<Copied, Fault> {
    let rows = |table: &str| -> Result<u64, Fault> {
        let known = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        if connection.query_row(known, [table], |row| row.get::<_, i64>(0))? == 0 {
            // A table that an older layout does not have.
            return Ok(0);
        }
        let count: i64 =
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or_default())
    };
    Ok(Copied {
        records: rows("record")?,
        retired: rows("retired")?,
        accounts: rows("account")?,
        bytes: 0,
    })
}

/// Checks a database that is not in use, as a start would.
fn verify(
    path: &Path,
    identity: &StoreIdentity<'_>,
    options: EmbeddedOptions,
) -> Result<Layout, OpenError> {
    let explain = |fault: Fault| fault.explain_opening(path);
    verify_all(schema::connect_without_log(path).map_err(explain)?, path, identity, options.busy)
}

/// What was found in a copy of the store is found in the store.
fn for_store(fault: OpenError, store: &Path) -> BackupError {
    let path = store.to_owned();
    BackupError::Store(match fault {
        OpenError::Damaged { what, .. } => OpenError::Damaged { path, what },
        OpenError::OtherKeys { .. } => OpenError::OtherKeys { path },
        OpenError::Newer { found, known, .. } => OpenError::Newer { path, found, known },
        other => other,
    })
}

/// What a restored store holds, and where the one is that was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What it holds.
    pub copied: Copied,
    /// The store of before, with its log beside it; `None`: there was none.
    pub before: Option<PathBuf>,
}

/// Makes the store at `store` from the file `backup`. What was there is moved aside, its log
/// included, and nothing is deleted.
///
/// # Errors
///
/// See [`BackupError`]. Unless the words say otherwise, the store is as it was.
pub fn restore(
    backup: &Path,
    identity: &StoreIdentity<'_>,
    store: &Path,
    now: Timestamp,
    options: EmbeddedOptions,
) -> Result<Restored, BackupError> {
    let store = std::path::absolute(store).map_err(failed("find", store))?;
    let backup = std::path::absolute(backup).map_err(failed("find", backup))?;
    let lock = lock::take(&store, options).map_err(|fault| match fault {
        OpenError::Locked { path, process } => BackupError::Running { path, process },
        other => other.into(),
    })?;
    let unusable = |why: String| BackupError::Unusable { path: backup.clone(), why };
    let source = open_backup(&store, &backup)?;
    let draft = Draft::new(beside(&store, ".restore"))?;
    let for_backup = |fault: BackupError| match fault {
        BackupError::Store(fault) => unusable(words_for_backup(&fault)),
        other => other,
    };
    let mut copied = draft.fill(&source, &backup, options.busy).map_err(for_backup)?;
    drop(source);
    let prepared = verify(&draft.path, identity, options).and_then(|layout| {
        bring_up_to_date(&draft.path, options)?;
        match layout {
            Layout::Current => Ok(()),
            Layout::Older => verify(&draft.path, identity, options).map(drop),
        }
    });
    prepared.map_err(|fault| unusable(words_for_backup(&fault)))?;
    let file = File::open(&draft.path).map_err(failed("read", &draft.path))?;
    file.sync_all().map_err(failed("sync", &draft.path))?;
    copied.bytes = file.metadata().map_err(failed("look at", &draft.path))?.len();
    drop(file);
    let before = move_aside(&store, now)?;
    if let Err(fault) = draft.publish(&store, Existing::Refuse) {
        move_back(before.as_deref(), &store)?;
        return Err(fault);
    }
    drop(lock);
    Ok(Restored { copied, before })
}

/// A connection to a backup, or to a database that was copied with its log.
fn open_backup(store: &Path, backup: &Path) -> Result<Connection, BackupError> {
    let unusable = |why: String| BackupError::Unusable { path: backup.to_owned(), why };
    let found = fs::metadata(backup).map_err(failed("read", backup))?;
    if !found.is_file() {
        return Err(unusable("it is not a file".into()));
    }
    if is_of_store(store, backup)? {
        return Err(unusable("it belongs to the store that is to be replaced".into()));
    }
    let foreign = || unusable("it is not a store of keyward".into());
    let Some(beginning) = Beginning::read(backup).map_err(failed("read", backup))? else {
        let is_cut = found.len() < 100;
        return Err(if is_cut {
            unusable(format!("it has {} bytes; it is empty or cut short", found.len()))
        } else {
            foreign()
        });
    };
    if !files::is_ours(backup).map_err(failed("read", backup))? {
        return Err(foreign());
    }
    let explain = |fault: Fault| unusable(words_for_backup(&fault.explain_opening(backup)));
    files::check_journal(backup).map_err(|fault| unusable(words_for_backup(&fault)))?;
    let log = fs::metadata(beside(backup, "-wal")).map_or(0, |log| log.len());
    if log > 0 {
        files::check_log(backup).map_err(|fault| unusable(words_for_backup(&fault)))?;
        return schema::connect(backup, Access::Read, Duration::ZERO).map_err(explain);
    }
    let wanted = u64::from(beginning.pages) * beginning.page_size;
    if found.len() < wanted {
        return Err(unusable(format!("it is cut short: it has {} bytes of {wanted}", found.len())));
    }
    schema::connect_without_log(backup).map_err(explain)
}

fn words_for_backup(fault: &OpenError) -> String {
    match fault {
        OpenError::Damaged { what, .. } => format!("it is damaged: {what}"),
        OpenError::OtherKeys { .. } => {
            "it was written with other keys: restore it with the key directory that belongs to it"
                .to_owned()
        }
        OpenError::Newer { found, known, .. } => {
            format!(
                "it was written by a newer keyward: it has layout {found}, and this one knows up \
                 to {known}"
            )
        }
        OpenError::ForeignLog { why, .. } => format!(
            "the -wal file beside it is not its log: {why}. Move the -wal and -shm files away and \
             try again, or use the ones \
             that belong to it"
        ),
        OpenError::Journal { .. } => {
            "a -journal file lies beside it: another program was interrupted while it changed it"
                .to_owned()
        }
        OpenError::Foreign { .. } => "it is not a store of keyward".to_owned(),
        other => {
            let mut words = other.to_string();
            let source = std::error::Error::source(other);
            words.extend(source.map(|source| format!(": {source}")));
            words
        }
    }
}

/// Gives a copy the present layout, and the log that a store has.
fn bring_up_to_date(path: &Path, options: EmbeddedOptions) -> Result<(), OpenError> {
    let explain = |fault: Fault| fault.explain_opening(path);
    let mut connection = schema::connect(path, Access::Write, options.busy).map_err(explain)?;
    set_journal_mode(&connection, "wal").map_err(explain)?;
    schema::migrate(&mut connection, path, STEPS)?;
    connection.close().map_err(|(_, error)| explain(error.into()))
}

/// SQLite answers with the mode that it has then, and with no error where that is the one of
/// before.
fn set_journal_mode(connection: &Connection, mode: &str) -> Result<(), Fault> {
    let has: String =
        connection.pragma_update_and_check(None, "journal_mode", mode, |row| row.get(0))?;
    if has == mode {
        Ok(())
    } else {
        Err(Fault::System(io::Error::other(format!("it stays in the journal mode {has}"))))
    }
}

/// Puts the store back that was moved away, the log first, see [`move_aside`].
fn move_back(aside: Option<&Path>, store: &Path) -> Result<(), BackupError> {
    let Some(aside) = aside else { return Ok(()) };
    for ending in ["-journal", "-wal", ""] {
        let (from, to) = (beside(aside, ending), beside(store, ending));
        if fs::symlink_metadata(&from).is_ok() {
            rename_to_free(&from, &to).map_err(failed("move back", &from))?;
        }
    }
    sync_directory_of(store)
}

/// Moves the store away with its log. In an order in which a crash leaves nothing that would be
/// taken for a store: without its database, a log is a fault; a database without its log would be
/// an older state.
fn move_aside(store: &Path, now: Timestamp) -> Result<Option<PathBuf>, BackupError> {
    let stamp = now.to_rfc3339_zulu().replace(['-', ':'], "");
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    let names = (0_u32..).map(|number| match number {
        0 => beside(store, &format!(".before-restore-{stamp}")),
        more => beside(store, &format!(".before-restore-{stamp}-{more}")),
    });
    let free = |name: &PathBuf| {
        ["", "-wal", "-journal"].iter().all(|ending| !is_there(&beside(name, ending)))
    };
    let Some(aside) = names.take(1000).find(free) else {
        return Err(failed("name a place for", store)(ErrorKind::AlreadyExists.into()));
    };
    let mut moved = None;
    for ending in ["", "-wal", "-journal"] {
        let (from, to) = (beside(store, ending), beside(&aside, ending));
        if is_there(&from) {
            fs::rename(&from, &to).map_err(failed("move", &from))?;
            sync_directory_of(store)?;
            moved = Some(aside.clone());
        }
    }
    let index = beside(store, "-shm");
    files::remove(&index).map_err(failed("remove", &index))?;
    Ok(moved)
}
