//! The rule for secrets, keys and key sets: which users could change the file.
//!
//! Only root, keyward's user and keyward's groups may write. That is checked for the file, each
//! symbolic link on the way to it, and the folders that these are in: a user with write access to a
//! folder can replace the files in it, unless the folder is sticky and belongs to root or to
//! keyward's user. Folders further up are not checked: in a container they belong to its runtime.
//!
//! * A file that is mounted by itself, as Compose mounts a secret from a file of the host, keeps
//!   its owner on the host. Only root can mount, and has chosen this file: its owner and group may
//!   write, with a warning.
//! * A command under `sudo` reads what belongs to the service's user. So for root, the owner of a
//!   folder that no other user may write to counts as keyward's user, with a warning.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::access_list::{self, Named};
use super::error::FileError;

const STICKY: u32 = 0o1000;
const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_ENTER: u32 = 0o001;
const GROUP_READ: u32 = 0o040;
const GROUP_WRITE: u32 = 0o020;
/// The most that Linux follows.
const MOST_LINKS: usize = 40;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// No other user should read it.
    Secret,
    /// Every user may read it.
    Trusted,
}

/// The user and the groups of this process.
pub(super) struct Identity {
    pub(super) user: u32,
    pub(super) groups: Vec<u32>,
}

impl Identity {
    fn of_process() -> Self {
        // Without the list, fewer groups are ours: the stricter answer.
        let mut groups = rustix::process::getgroups().unwrap_or_default();
        groups.push(rustix::process::getegid());
        Self {
            user: rustix::process::geteuid().as_raw(),
            groups: groups.into_iter().map(|group| group.as_raw()).collect(),
        }
    }

    fn is_trusted_user(&self, user: u32) -> bool {
        user == 0 || user == self.user
    }

    fn is_trusted_group(&self, group: u32) -> bool {
        group == 0 || self.groups.contains(&group)
    }
}

/// The owner, the group and the mode of a file, link or folder.
#[derive(Clone, Debug)]
pub(super) struct Rights {
    pub(super) path: PathBuf,
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) mode: u32,
    /// The users and groups that an access list lets write.
    pub(super) listed: Vec<Named>,
}

impl Rights {
    fn of(path: &Path, found: &Metadata) -> Self {
        let listed = access_list::writers(path);
        Self { mode: found.mode() & 0o7777, listed, ..Self::of_link(path, found) }
    }

    /// Of a link, which has an owner, and no rights that matter.
    fn of_link(path: &Path, found: &Metadata) -> Self {
        let (user, group) = (found.uid(), found.gid());
        Self { path: path.to_owned(), user, group, mode: 0, listed: Vec::new() }
    }

    /// Names a user or group beside the owner that can write.
    fn other_writer(&self, identity: &Identity) -> Option<String> {
        if self.mode & OTHERS_WRITE != 0 {
            Some("every user".to_owned())
        } else if self.mode & GROUP_WRITE != 0 && !identity.is_trusted_group(self.group) {
            Some(format!("group {}", self.group))
        } else {
            self.listed.iter().find_map(|named| match named {
                Named::User(user) if !identity.is_trusted_user(*user) => {
                    Some(format!("user {user} (see getfacl)"))
                }
                Named::Group(group) if !identity.is_trusted_group(*group) => {
                    Some(format!("group {group} (see getfacl)"))
                }
                _ => None,
            })
        }
    }
}

/// What was found on the way to a file.
pub(super) struct Access {
    pub(super) identity: Identity,
    pub(super) file: Rights,
    /// Each link, with the folder that it is in.
    pub(super) links: Vec<(Rights, Rights)>,
    /// The folder that the file itself is in.
    pub(super) folder: Rights,
    /// Whether the file, not a folder above it, is mounted.
    pub(super) is_mounted: bool,
}

impl Access {
    /// Looks at the way to the file at `path`, which was found to be `found`.
    ///
    /// # Errors
    ///
    /// The system does not let us look.
    pub(super) fn of(path: &Path, found: &Metadata) -> io::Result<Self> {
        let mut at = std::path::absolute(path)?;
        let mut links = Vec::new();
        let folder = loop {
            let parent = at.parent().unwrap_or(Path::new("/")).to_owned();
            let folder = Rights::of(&parent, &fs::metadata(&parent)?);
            let here = fs::symlink_metadata(&at)?;
            if !here.is_symlink() {
                break folder;
            }
            if links.len() == MOST_LINKS {
                return Err(io::Error::other("there are too many symbolic links on the way to it"));
            }
            links.push((Rights::of_link(&at, &here), folder));
            at = parent.join(fs::read_link(&at)?);
        };
        let (identity, file) = (Identity::of_process(), Rights::of(&at, found));
        Ok(Self { identity, file, links, folder, is_mounted: is_mounted(&at) })
    }

    /// Another writer is an error, another reader may be worth a warning.
    ///
    /// # Errors
    ///
    /// [`FileError::Writable`], with what to change.
    pub(super) fn judge(&self, kind: FileKind) -> Result<Option<String>, FileError> {
        let refused = |words| Err(FileError::Writable(words));
        let mut warning = None;
        let links = self.links.iter().map(|(link, folder)| (link, folder));
        for (rights, folder) in links.chain([(&self.file, &self.folder)]) {
            let of_folder = judge_folder(folder, &self.identity)?;
            warning = warning.or(of_folder);
            if self.identity.is_trusted_user(rights.user) {
                continue;
            }
            let is_of_folder = self.identity.user == 0
                && rights.user == folder.user
                && folder.other_writer(&self.identity).is_none();
            if rights.path == self.file.path && self.is_mounted {
                warning.get_or_insert_with(|| {
                    format!(
                        "is mounted from a file that belongs to user {}: that user can change it",
                        rights.user
                    )
                });
            } else if !is_of_folder {
                return refused(format!(
                    "can be changed by user {}, to whom {} belongs: it should belong to root or to \
                     the user that keyward runs as ({})",
                    rights.user,
                    named(&rights.path, &self.file.path),
                    self.identity.user
                ));
            }
        }
        let is_of_mount =
            self.is_mounted && self.file.mode & OTHERS_WRITE == 0 && self.file.listed.is_empty();
        if let Some(writer) = self.file.other_writer(&self.identity)
            && !is_of_mount
        {
            return refused(format!(
                "can be written by {writer} (mode {:03o}), and so be another secret or key; chmod \
                 go-w it, or chmod 600",
                self.file.mode & 0o777
            ));
        }
        Ok(match kind {
            FileKind::Trusted => warning,
            FileKind::Secret => self.reader().or(warning),
        })
    }

    /// Names another user or group that can read it.
    fn reader(&self) -> Option<String> {
        let can_enter = self.folder.mode & OTHERS_ENTER != 0;
        let mode = self.file.mode & 0o777;
        if self.file.mode & OTHERS_READ != 0 && can_enter {
            Some(format!(
                "can be read by every user (mode {mode:03o}); chmod 600 it, or 440 in a mount of \
                 secrets"
            ))
        } else if self.file.mode & GROUP_READ != 0
            && !self.identity.is_trusted_group(self.file.group)
        {
            let group = self.file.group;
            Some(format!(
                "can be read by group {group}, which is not keyward's (mode {mode:03o}); chmod 600 \
                 it"
            ))
        } else {
            None
        }
    }
}

/// Whether something is mounted at this path. Where the system cannot tell, nothing is.
pub(super) fn is_mounted(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn named(path: &Path, file: &Path) -> String {
    if path == file { "it".to_owned() } else { format!("the symbolic link {}", path.display()) }
}

/// Checks that no other user could replace the files in `folder`.
///
/// # Errors
///
/// It cannot be looked at, or another user could.
pub fn check_folder(folder: &Path) -> Result<(), FileError> {
    judge_folder(&Rights::of(folder, &fs::metadata(folder)?), &Identity::of_process()).map(drop)
}

/// Returns a warning if it belongs to a user for whom root runs the command.
fn judge_folder(folder: &Rights, identity: &Identity) -> Result<Option<String>, FileError> {
    let name = folder.path.display();
    let is_trusted = identity.is_trusted_user(folder.user);
    match folder.other_writer(identity) {
        None if is_trusted => Ok(None),
        None if identity.user == 0 => Ok(Some(format!(
            "can be changed by user {}, to whom the folder {name} belongs; run keyward as that \
             user, or chown it to root",
            folder.user
        ))),
        // In a sticky folder only its owner and the owner of a file can remove or rename that file.
        Some(_) if is_trusted && folder.mode & STICKY != 0 => Ok(None),
        Some(writer) if is_trusted => Err(FileError::Writable(format!(
            "can be replaced by {writer}: the folder {name} can be written by others (mode {:03o}); \
             chmod 700 it, or make it sticky (chmod +t)",
            folder.mode
        ))),
        _ => Err(FileError::Writable(format!(
            "can be replaced: the folder {name} belongs to user {}, neither root nor the user that \
             keyward runs as ({}); chown it",
            folder.user, identity.user
        ))),
    }
}
