//! Files that keyward makes. What root makes in another user's folder is given to that user: the
//! service must be able to read what a command under `sudo` has made.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, fchown};
use std::path::Path;

/// Makes a folder, and those above it that are missing, for their owner only.
///
/// # Errors
///
/// The system refuses.
pub fn make_folder(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_folder(above)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => give_to_owner_of_folder(&File::open(path)?, path),
    }
}

/// Gives a file or folder that was just made at `path` to the owner of the folder that it is in,
/// if this is root.
///
/// # Errors
///
/// The system refuses.
pub fn give_to_owner_of_folder(made: &File, path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let owner = fs::metadata(folder)?;
    // A folder that every user may write to, such as /tmp, is not its owner's alone.
    let is_for_all = owner.mode() & 0o002 != 0;
    if owner.uid() == 0 || is_for_all || made.metadata()?.uid() != 0 {
        return Ok(());
    }
    fchown(made, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    fn owner(path: &Path) -> (u32, u32) {
        let found = fs::metadata(path).expect("there");
        (found.uid(), found.mode() & 0o777)
    }

    #[test]
    fn folders_are_made_for_their_owner_and_those_that_are_there_stay() {
        let dir = tempfile::tempdir().expect("a folder");
        let deep = dir.path().join("a/b");
        make_folder(&deep).expect("made");
        assert_eq!((owner(&deep).1, owner(&dir.path().join("a")).1), (0o700, 0o700));
        fs::set_permissions(&deep, fs::Permissions::from_mode(0o750)).expect("chmod");
        make_folder(&deep).expect("there");
        assert_eq!(owner(&deep).1, 0o750);
        fs::write(dir.path().join("file"), "").expect("written");
        make_folder(&dir.path().join("file/x")).expect_err("a file is in the way");
    }

    /// What the system lets only root do can only be tried by root.
    #[test]
    fn what_root_makes_in_a_folder_belongs_to_the_folders_owner() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        make_folder(&data).expect("made");
        assert_eq!(owner(&data).0, 0);
        chown(&data, Some(10001), Some(10001)).expect("chown");
        let keys = data.join("keys/deep");
        make_folder(&keys).expect("made");
        assert_eq!((owner(&keys).0, owner(&data.join("keys")).0), (10001, 10001));
        for (folder, expected) in [(&data, 10001), (&dir.path().to_owned(), 0)] {
            let path = folder.join("file");
            let made = File::create(&path).expect("made");
            give_to_owner_of_folder(&made, &path).expect("given");
            assert_eq!(owner(&path).0, expected);
        }
        fs::set_permissions(&data, fs::Permissions::from_mode(0o1777)).expect("chmod");
        let path = data.join("of all");
        give_to_owner_of_folder(&File::create(&path).expect("made"), &path).expect("kept");
        assert_eq!(owner(&path).0, 0);
    }
}
