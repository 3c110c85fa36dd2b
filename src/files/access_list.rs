//! Access lists (acl(5)): users and groups beside those of a file's mode. Where there is a list,
//! the mode shows its mask in the place of the group.

use std::path::Path;

const ATTRIBUTE: &str = "system.posix_acl_access";
/// The longest list of Linux (`XATTR_SIZE_MAX`), in bytes.
const LONGEST: usize = 65_536;
const VERSION: u32 = 2;
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const WRITE: u16 = 0o2;

/// A user or group that a list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    User(u32),
    Group(u32),
}

/// The users and groups that the list of a file lets write; empty if it has none.
pub(super) fn writers(path: &Path) -> Vec<Named> {
    let mut list = vec![0; LONGEST];
    match rustix::fs::getxattr(path, ATTRIBUTE, list.as_mut_slice()) {
        Ok(length) => writers_in(list.get(..length).unwrap_or_default()),
        // None there, or the file system has none.
        Err(_) => Vec::new(),
    }
}

/// Reads a list in the form of `linux/posix_acl_xattr.h`: a version, then a tag, rights and an id
/// for each entry.
fn writers_in(list: &[u8]) -> Vec<Named> {
    let Some((version, entries)) = list.split_first_chunk::<4>() else { return Vec::new() };
    if u32::from_le_bytes(*version) != VERSION {
        return Vec::new();
    }
    let entries =
        entries.as_chunks::<8>().0.iter().map(|&[tag, high, rights, rights_high, id @ ..]| {
            let rights = u16::from_le_bytes([rights, rights_high]);
            (u16::from_le_bytes([tag, high]), rights, u32::from_le_bytes(id))
        });
    let mask = entries.clone().find(|(tag, ..)| *tag == MASK).map_or(u16::MAX, |(_, mask, _)| mask);
    let writers = entries.filter(|(_, rights, _)| rights & mask & WRITE != 0);
    let named = writers.filter_map(|(tag, _, id)| match tag {
        USER => Some(Named::User(id)),
        GROUP => Some(Named::Group(id)),
        _ => None,
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = VERSION.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            list.extend(
                tag.to_le_bytes().into_iter().chain(rights.to_le_bytes()).chain(id.to_le_bytes()),
            );
        }
        list
    }

    #[test]
    fn users_and_groups_that_may_write_within_the_mask_are_found() {
        let [owner, group_of, others] =
            [(0x01, 0o6, u32::MAX), (0x04, 0o4, u32::MAX), (0x20, 0, u32::MAX)];
        let named = |mask| {
            writers_in(&list(&[
                owner,
                (USER, 0o6, 33),
                (USER, 0o4, 34),
                group_of,
                (GROUP, 0o2, 44),
                (MASK, mask, u32::MAX),
                others,
            ]))
        };
        assert_eq!(named(0o7), [Named::User(33), Named::Group(44)]);
        assert_eq!(named(0o5), []);
        for broken in
            [&[][..], &[2, 0, 0], &[3, 0, 0, 0, 2, 0, 7, 0, 1, 0, 0, 0], &[2, 0, 0, 0, 2, 0, 7]]
        {
            assert_eq!(writers_in(broken), []);
        }
    }

    #[test]
    fn a_file_without_a_list_has_no_writers_by_name() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert_eq!(writers(file.path()), []);
    }
}
