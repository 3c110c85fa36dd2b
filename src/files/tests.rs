use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::access::{Identity, Rights};
use super::*;

/// keyward as user 10001 with the group 10001.
fn identity(user: u32, groups: &[u32]) -> Identity {
    Identity { user, groups: groups.to_vec() }
}

fn rights(path: &str, user: u32, group: u32, mode: u32) -> Rights {
    Rights { path: path.into(), user, group, mode, listed: Vec::new() }
}

/// A file in a folder, both given as user, group and mode.
fn judged(
    identity: Identity,
    folder: (u32, u32, u32),
    file: (u32, u32, u32),
) -> Result<Option<String>, String> {
    let access = Access {
        identity,
        file: rights("/m/key", file.0, file.1, file.2),
        links: Vec::new(),
        folder: rights("/m", folder.0, folder.1, folder.2),
        is_mounted: false,
    };
    access.judge(FileKind::Secret).map_err(|fault| fault.to_string())
}

#[test]
fn the_mounts_of_kubernetes_docker_and_systemd_are_fine_in_their_default_modes() {
    let us = || identity(10001, &[10001]);
    for (what, folder, file, warns) in [
        ("our own", (10001, 10001, 0o700), (10001, 10001, 0o600), None),
        ("Kubernetes, fsGroup", (0, 10001, 0o3777), (0, 10001, 0o440), None),
        ("Kubernetes, defaultMode", (0, 0, 0o1777), (0, 0, 0o644), Some("every user (mode 644)")),
        ("Kubernetes, fsGroup and 0640", (0, 10001, 0o2755), (0, 10001, 0o640), None),
        ("Docker", (0, 0, 0o755), (0, 0, 0o444), Some("every user (mode 444)")),
        ("systemd, our user's", (10001, 10001, 0o500), (10001, 10001, 0o400), None),
        ("systemd, by an access list", (0, 0, 0o550), (0, 0, 0o440), None),
        ("a folder that others cannot enter", (10001, 10001, 0o750), (10001, 10001, 0o644), None),
        ("our group may write", (0, 10001, 0o775), (0, 10001, 0o660), None),
        ("another group reads", (0, 0, 0o755), (0, 44, 0o640), Some("group 44")),
    ] {
        let found = judged(us(), folder, file);
        match (found, warns) {
            (Ok(None), None) => {}
            (Ok(Some(words)), Some(part)) => assert!(words.contains(part), "{what}: {words}"),
            (found, _) => panic!("{what}: {found:?}"),
        }
    }
}

#[test]
fn another_user_that_can_write_is_named_with_what_to_do() {
    let us = || identity(10001, &[10001]);
    for (what, folder, file, part) in [
        (
            "every user writes the file",
            (0, 0, 0o1777),
            (0, 0, 0o646),
            "written by every user (mode 646)",
        ),
        (
            "every user writes the folder",
            (0, 0, 0o777),
            (0, 0, 0o600),
            "folder /m can be written by others (mode 777)",
        ),
        ("a group writes the file", (0, 0, 0o755), (0, 44, 0o664), "written by group 44"),
        ("a group writes the folder", (0, 44, 0o775), (0, 0, 0o600), "replaced by group 44"),
        (
            "the file is another user's",
            (0, 0, 0o755),
            (12345, 0, 0o600),
            "user 12345, to whom it belongs",
        ),
        ("also in a sticky folder", (0, 0, 0o1777), (12345, 0, 0o600), "user 12345"),
        (
            "the folder is another user's",
            (12345, 0, 0o755),
            (0, 0, 0o600),
            "/m belongs to user 12345",
        ),
        (
            "sticky, yet another user's",
            (12345, 0, 0o1777),
            (0, 0, 0o600),
            "/m belongs to user 12345",
        ),
    ] {
        let words = judged(us(), folder, file).expect_err(what);
        assert!(words.contains(part), "{what}: {words}");
    }
}

#[test]
fn a_user_named_by_an_access_list_counts_as_another_user() {
    use super::access_list::Named;
    let judged = |named| {
        let mut access = Access {
            identity: identity(10001, &[10001]),
            file: rights("/m/key", 0, 10001, 0o660),
            links: Vec::new(),
            folder: rights("/m", 0, 0, 0o755),
            is_mounted: false,
        };
        access.file.listed = vec![named];
        access.judge(FileKind::Secret).map_err(|fault| fault.to_string())
    };
    assert_eq!(judged(Named::User(10001)), Ok(None));
    assert_eq!(judged(Named::Group(10001)), Ok(None));
    assert!(judged(Named::User(33)).expect_err("refused").contains("written by user 33"));
    assert!(judged(Named::Group(33)).expect_err("refused").contains("written by group 33"));
}

/// As Compose does with `secrets: { key: { file: ./key } }`, on a host whose user has the id 1000
/// and the umask 002.
#[test]
fn a_file_that_is_mounted_by_itself_may_belong_to_a_user_of_the_host() {
    let judged = |mode, is_mounted| {
        let access = Access {
            identity: identity(10001, &[10001]),
            file: rights("/run/secrets/key", 1000, 1000, mode),
            links: Vec::new(),
            folder: rights("/run/secrets", 0, 0, 0o755),
            is_mounted,
        };
        access.judge(FileKind::Trusted).map_err(|fault| fault.to_string())
    };
    for mode in [0o644, 0o664] {
        let warning = judged(mode, true).expect("fine").expect("a warning");
        assert!(warning.contains("belongs to user 1000: that user can change it"), "{warning}");
        judged(mode, false).expect_err("not mounted");
    }
    judged(0o666, true).expect_err("every user writes");
    // Where the kernel tells: a folder that is mounted everywhere, and a file that is mounted
    // nowhere.
    let file = tempfile::NamedTempFile::new().expect("a file");
    assert!(!super::access::is_mounted(file.path()));
    assert!(super::access::is_mounted(Path::new("/proc")));
}

#[test]
fn root_works_for_the_owner_of_a_folder_that_no_other_user_writes_to() {
    let root = || identity(0, &[0]);
    let warning =
        judged(root(), (998, 998, 0o700), (998, 998, 0o600)).expect("fine").expect("a warning");
    assert!(warning.contains("changed by user 998, to whom the folder /m belongs"), "{warning}");
    assert_eq!(judged(root(), (0, 0, 0o700), (0, 0, 0o600)), Ok(None));
    // In a folder of root's, and in one that every user writes to, another user's file stays
    // another user's.
    for folder in [(0, 0, 0o755), (0, 0, 0o1777), (998, 998, 0o1777)] {
        judged(root(), folder, (998, 998, 0o600)).expect_err("another user could write");
    }
}

#[test]
fn a_link_of_another_user_is_refused_and_the_links_of_a_mount_are_followed() {
    let linked = |owner| Access {
        identity: identity(10001, &[10001]),
        file: rights("/etc/other", 0, 0, 0o600),
        links: vec![(rights("/m/key", owner, owner, 0o777), rights("/m", 0, 0, 0o1777))],
        folder: rights("/etc", 0, 0, 0o755),
        is_mounted: false,
    };
    assert!(linked(0).judge(FileKind::Secret).is_ok());
    let words = linked(12345).judge(FileKind::Secret).expect_err("refused").to_string();
    assert!(words.contains("the symbolic link /m/key belongs"), "{words}");

    // As Kubernetes lays a Secret volume out.
    let dir = tempfile::tempdir().expect("a folder");
    let mount = dir.path().join("mount");
    let version = mount.join("..2027_06_25");
    fs::create_dir_all(&version).expect("made");
    fs::write(version.join("key"), "secret\n").expect("written");
    symlink("..2027_06_25", mount.join("..data")).expect("linked");
    symlink("..data/key", mount.join("key")).expect("linked");
    fs::set_permissions(&mount, fs::Permissions::from_mode(0o3777)).expect("chmod");
    let found = read_secret(&mount.join("key"), 100).expect("read");
    assert_eq!(found.content.as_slice(), b"secret\n");
    assert!(found.warning.is_some_and(|words| words.contains("can be read by every user")));
    fs::set_permissions(&version, fs::Permissions::from_mode(0o777)).expect("chmod");
    let Err(fault) = read_secret(&mount.join("key"), 100) else {
        panic!("the folder behind the links counts")
    };
    assert!(fault.to_string().contains("..data can be written by others"), "{fault}");
}

#[test]
fn a_file_that_is_too_large_or_a_folder_is_not_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("file");
    fs::write(&path, "12345").expect("written");
    assert_eq!(read(&path, 5).expect("read").as_slice(), b"12345");
    assert!(matches!(read(&path, 4), Err(FileError::TooLarge { most: 4 })));
    assert!(matches!(read(dir.path(), 4), Err(FileError::Unreadable(_))));
    assert!(matches!(read(&dir.path().join("no"), 4), Err(FileError::Unreadable(_))));
}

/// UTF-16 with its mark, low byte first, as PowerShell writes it.
fn utf_16(text: &str) -> Vec<u8> {
    "\u{feff}"
        .chars()
        .chain(text.chars())
        .collect::<String>()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn utf_16_be(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect()
}

#[test]
fn marks_and_utf_16_are_no_part_of_a_text() {
    let marked = |text: &str| format!("\u{feff}{text}").into_bytes();
    for content in [
        b"gr\xc3\xbc\xc3\x9f\r\n".to_vec(),
        marked("grüß\r\n"),
        utf_16("grüß\r\n"),
        utf_16_be("grüß\r\n"),
    ] {
        assert_eq!(&*text_of(&content), "grüß\r\n".as_bytes());
    }
    // Two files in one, each with its mark; within a line it is a character.
    assert_eq!(
        &*text_of("\u{feff}a\r\n\u{feff}b\u{feff}\n".as_bytes()),
        "a\r\nb\u{feff}\n".as_bytes()
    );
    for (broken, what) in
        [(&[0xff, 0xfe, 0x00, 0xd8][..], "half a pair"), (&[0xff, 0xfe, 0x41], "half a unit")]
    {
        assert!(std::str::from_utf8(&text_of(broken)).is_err(), "{what}");
        assert!(
            one_line(broken).is_err_and(|fault| fault.to_string().contains("is not text")),
            "{what}"
        );
    }
}

#[test]
fn a_password_is_one_line_whatever_wrote_the_file() {
    let line = |content: &[u8]| {
        one_line(content).map(|line| line.to_string()).map_err(|fault| fault.to_string())
    };
    for content in [
        b"s3cret".to_vec(),
        b"s3cret\n".to_vec(),
        b"\xef\xbb\xbfs3cret\r\n".to_vec(),
        utf_16("s3cret\r\n\r\n"),
    ] {
        assert_eq!(line(&content).as_deref(), Ok("s3cret"));
    }
    assert_eq!(line(b" with spaces \n").as_deref(), Ok(" with spaces "));
    for (content, part) in [
        (&b"one\ntwo\n"[..], "more than one line"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        (b"", "is empty"),
        (b"\x80\x81", "is not text"),
    ] {
        let words = line(content).expect_err("refused");
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn a_shared_secret_is_text_without_its_marks_or_bytes_as_they_are() {
    let secret = |content: &[u8]| shared_secret(content).map(|secret| secret.to_vec()).ok();
    for content in [
        b"s3cret".to_vec(),
        b"s3cret\r\n".to_vec(),
        b"\xef\xbb\xbfs3cret\n".to_vec(),
        utf_16("s3cret\r\n"),
    ] {
        assert_eq!(secret(&content).as_deref(), Some(&b"s3cret"[..]));
    }
    assert_eq!(secret(b"two\nlines\n").as_deref(), Some(&b"two\nlines"[..]));
    // Random bytes may end in a line feed, and begin with the mark of UTF-8.
    assert_eq!(secret(b"\xef\xbb\xbf\x80\n").as_deref(), Some(&b"\xef\xbb\xbf\x80\n"[..]));
    for ambiguous in [&b"\xff\xfe\x01\x02\x80\x80"[..], b"\xff\xfea", b"\xfe\xff\x80\x80"] {
        assert_eq!(secret(ambiguous), None);
    }
}
