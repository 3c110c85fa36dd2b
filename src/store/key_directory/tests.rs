use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::create::create;
use super::*;

const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);

fn open(directory: &Path, algorithms: &[SigningAlgorithm]) -> Result<KeyDirectory, String> {
    KeyDirectory::open(directory, algorithms, NOW).map_err(|fault| fault.to_string())
}

fn look(
    directory: &Path,
    algorithms: &[SigningAlgorithm],
) -> Result<(KeyDirectory, Vec<PathBuf>), String> {
    KeyDirectory::look(directory, algorithms, NOW).map_err(|fault| fault.to_string())
}

#[test]
fn what_was_made_is_found_again_and_is_the_owners_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let directory = dir.path().join("a/keys");
    let first = open(&directory, &SigningAlgorithm::ALL).expect("made");
    let again = open(&directory, &SigningAlgorithm::ALL).expect("found");
    assert_eq!(first.store.fingerprint().expose(), again.store.fingerprint().expose());
    assert_eq!(exposed(&first.peppers), exposed(&again.peppers));
    assert_eq!(exposed(&first.macs), exposed(&again.macs));
    let kids = |keys: &KeyDirectory| {
        let mut kids: Vec<_> = keys.signing.iter().map(|(kid, _, _)| kid.clone()).collect();
        kids.sort();
        kids
    };
    assert_eq!(kids(&first), kids(&again));
    assert_eq!(kids(&first).len(), 4);
    for entry in fs::read_dir(&directory).expect("a directory") {
        let mode = entry.expect("an entry").metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&directory).expect("metadata").permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_look_reads_what_is_there_and_makes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let directory = dir.path().join("keys");
    let look = |algorithms: &[SigningAlgorithm]| KeyDirectory::look(&directory, algorithms, NOW);
    let (keys, lacking) = look(&[SigningAlgorithm::EdDsa]).expect("made up");
    assert_eq!((keys.peppers.len(), keys.macs.len(), keys.signing.len()), (1, 1, 1));
    assert!(!directory.exists());
    let names = |paths: &[PathBuf]| -> Vec<String> {
        paths
            .iter()
            .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
            .collect()
    };
    let lacking = names(&lacking);
    assert_eq!(
        lacking.get(..3),
        Some(&["store.key", "pepper.key", "mac-1.key"].map(str::to_owned)[..])
    );
    assert!(lacking.len() == 4 && lacking[3].starts_with("jwt-eddsa-"), "{lacking:?}");

    let made = open(&directory, &[SigningAlgorithm::EdDsa]).expect("made");
    let (found, lacking) = look(&[SigningAlgorithm::EdDsa]).expect("found");
    assert_eq!(exposed(&found.peppers), exposed(&made.peppers));
    assert_eq!(found.store.fingerprint().expose(), made.store.fingerprint().expose());
    assert_eq!(names(&lacking), Vec::<String>::new());
    let (_, lacking) = look(&SigningAlgorithm::ALL).expect("found");
    assert_eq!(lacking.len(), 3, "the other algorithms");
    let whole = fs::read_dir(&directory).expect("a directory").count();
    fs::remove_file(directory.join("pepper.key")).expect("removed");
    assert!(look(&[]).err().expect("refused").to_string().contains("restore it"));
    assert_eq!(fs::read_dir(&directory).expect("a directory").count(), whole - 1);
}

fn exposed(keys: &[SecretBytes]) -> Vec<[u8; 32]> {
    keys.iter().map(|key| *key.expose()).collect()
}

/// Puts a key of one digit there, as its operator would.
fn add(directory: &Path, name: &str, digit: &str) {
    let path = directory.join(name);
    fs::write(&path, format!("{}\n", digit.repeat(64))).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

#[test]
fn of_peppers_and_of_macs_the_one_that_sorts_last_is_the_first_and_what_was_removed_stays_away() {
    type Ring = fn(&KeyDirectory) -> &[SecretBytes];
    let rings: [(&str, &str, Ring); 2] =
        [("pepper", "pepper.key", |keys| &keys.peppers), ("mac", "mac-1.key", |keys| &keys.macs)];
    for (sort, made, ring) in rings {
        let dir = tempfile::tempdir().expect("a directory");
        let ring = || exposed(ring(&open(dir.path(), &[SigningAlgorithm::Hs256]).expect("opened")));
        let first = ring();
        assert_eq!(first.len(), 1);
        add(dir.path(), &format!("{sort}-20270625T100000Z.key"), "2");
        assert_eq!(ring(), [[0x22; 32], first[0]]);
        // One that verifies before it makes.
        add(dir.path(), &format!("{sort}-0-next.key"), "3");
        assert_eq!(ring(), [[0x22; 32], first[0], [0x33; 32]]);
        fs::remove_file(dir.path().join(made)).expect("removed");
        assert_eq!(ring(), [[0x22; 32], [0x33; 32]], "what was retired is not made anew");
        fs::write(dir.path().join(format!("{sort}-0-next.key")), "canary").expect("written");
        let fault = open(dir.path(), &[]).err().expect("refused");
        assert!(
            fault.contains("-0-next.key: is not 64 hexadecimal digits")
                && !fault.contains("canary"),
            "{fault}"
        );
    }
}

#[test]
fn a_directory_from_before_there_was_a_key_of_the_store_has_its_pepper_for_one() {
    let dir = tempfile::tempdir().expect("a directory");
    add(dir.path(), "pepper.key", "7");
    let keys = open(dir.path(), &[]).expect("opened");
    let before = StoreKey::new(SecretBytes::new([0x77; 32]));
    assert_eq!(exposed(&keys.peppers), [[0x77; 32]]);
    assert_eq!(keys.store.fingerprint().expose(), before.fingerprint().expose());
    assert_eq!(exposed(&keys.macs), [*before.opaque_key().expose()]);
    // The pepper is rotated away, and the store is still known.
    add(dir.path(), "pepper-2.key", "8");
    fs::remove_file(dir.path().join("pepper.key")).expect("removed");
    let keys = KeyDirectory::reopen(dir.path(), &[], NOW).expect("opened");
    assert_eq!(exposed(&keys.peppers), [[0x88; 32]]);
    assert_eq!(keys.store.fingerprint().expose(), before.fingerprint().expose());
}

#[test]
fn a_directory_without_its_keys_is_not_filled_up_with_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let reopened = || KeyDirectory::reopen(dir.path(), &[], NOW).map_err(|fault| fault.to_string());
    assert!(reopened().err().expect("refused").contains("store.key: No such file"));
    open(dir.path(), &[SigningAlgorithm::Hs256]).expect("made");
    fs::remove_file(dir.path().join("pepper.key")).expect("removed");
    assert!(reopened().err().expect("refused").contains("pepper.key: is missing, although"));
    add(dir.path(), "pepper-2.key", "8");
    reopened().expect("there is another one");
    fs::remove_file(dir.path().join("store.key")).expect("removed");
    assert!(
        open(dir.path(), &[]).err().expect("refused").contains("store.key: is missing, although")
    );
}

#[test]
fn faults_are_said_in_words_and_without_the_key() {
    let dir = tempfile::tempdir().expect("a directory");
    open(dir.path(), &[SigningAlgorithm::Hs256]).expect("made");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let fault = open(dir.path(), &[]).err().expect("refused");
    assert!(
        fault.contains("can be replaced by every user") && fault.contains("chmod 700"),
        "{fault}"
    );
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("chmod");
    let pepper = dir.path().join("pepper.key");
    let secret = fs::read_to_string(&pepper).expect("text");

    fs::set_permissions(&pepper, fs::Permissions::from_mode(0o646)).expect("chmod");
    let fault = open(dir.path(), &[]).err().expect("refused");
    assert!(
        fault.contains("can be written by every user") && fault.contains("chmod 600"),
        "{fault}"
    );
    fs::set_permissions(&pepper, fs::Permissions::from_mode(0o600)).expect("chmod");

    fs::write(&pepper, "12").expect("written");
    assert!(open(dir.path(), &[]).err().expect("refused").contains("64 hexadecimal digits"));

    fs::remove_file(&pepper).expect("removed");
    assert!(open(dir.path(), &[]).err().expect("refused").contains("restore it"));

    fs::write(&pepper, secret).expect("written");
    fs::set_permissions(&pepper, fs::Permissions::from_mode(0o600)).expect("chmod");
    let odd = dir.path().join("jwt-rot13-x.key");
    fs::write(&odd, "canary").expect("written");
    let fault = open(dir.path(), &[]).err().expect("refused");
    assert!(fault.contains("names no algorithm") && !fault.contains("canary"), "{fault}");
}

/// Lays the keys of `from` out as Kubernetes does in a Secret volume.
fn as_a_volume(from: &Path, mount: &Path, [folder, file]: [u32; 2]) {
    let version = mount.join("..2027_06_25_10_00_00.123456789");
    fs::create_dir_all(&version).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let copy = version.join(entry.file_name());
        fs::copy(entry.path(), &copy).expect("copied");
        fs::set_permissions(&copy, fs::Permissions::from_mode(file)).expect("chmod");
        symlink(Path::new("..data").join(entry.file_name()), mount.join(entry.file_name()))
            .expect("linked");
    }
    symlink(version.file_name().expect("a name"), mount.join("..data")).expect("linked");
    fs::set_permissions(mount, fs::Permissions::from_mode(folder)).expect("chmod");
}

#[test]
fn a_volume_of_kubernetes_works_in_its_modes_and_is_not_written_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = dir.path().join("keys");
    let first = open(&made, &[SigningAlgorithm::Hs256, SigningAlgorithm::Es256]).expect("made");
    for (modes, warned) in
        [([0o3777, 0o440], 0), ([0o1777, 0o644], 5), ([0o755, 0o444], 5), ([0o500, 0o400], 0)]
    {
        let mount = dir.path().join(format!("mount-{:o}", modes[0]));
        as_a_volume(&made, &mount, modes);
        let before = fs::read_dir(&mount).expect("a directory").count();
        let keys = open(&mount, &[SigningAlgorithm::Hs256, SigningAlgorithm::Es256])
            .expect("all keys are there");
        assert_eq!(keys.store.fingerprint().expose(), first.store.fingerprint().expose());
        assert_eq!(keys.signing.len(), 2);
        assert_eq!(keys.warnings.len(), warned, "{modes:?}: {:?}", keys.warnings);
        let (looked, lacking) = look(&mount, &[SigningAlgorithm::Hs256]).expect("all are fine");
        assert_eq!((looked.warnings.len(), lacking.len()), (warned, 0));
        assert_eq!(
            fs::read_dir(&mount).expect("a directory").count(),
            before,
            "nothing was written"
        );
    }
}

#[test]
fn looking_makes_nothing_and_finds_what_a_start_would_refuse() {
    let dir = tempfile::tempdir().expect("a directory");
    let directory = dir.path().join("keys");
    open(&directory, &[SigningAlgorithm::Hs256]).expect("made");
    fs::remove_file(directory.join("mac-1.key")).expect("removed");
    let (_, lacking) = look(&directory, &[]).expect("made at the start");
    assert_eq!(lacking, [directory.join("mac-1.key")]);
    assert!(!directory.join("mac-1.key").exists());
    for name in ["store.key", "pepper-2.key", "mac-2.key", "jwt-hs256-2.key"] {
        let before = fs::read(directory.join(name)).ok();
        add(&directory, name, "x");
        let fault = look(&directory, &[]).err().expect("no key");
        assert!(fault.contains(name) && fault.contains("hexadecimal"), "{fault}");
        match before {
            Some(before) => fs::write(directory.join(name), before).expect("written"),
            None => fs::remove_file(directory.join(name)).expect("removed"),
        }
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("chmod");
    assert!(look(&directory, &[]).err().expect("refused").contains("chmod 700"));
}

#[test]
fn keys_from_another_system_are_the_same_keys() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = open(dir.path(), &SigningAlgorithm::ALL).expect("made");
    for entry in fs::read_dir(dir.path()).expect("a directory") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("text");
        fs::write(&path, format!("\u{feff}{}", text.replace('\n', "\r\n"))).expect("written");
    }
    let again = open(dir.path(), &SigningAlgorithm::ALL).expect("understood");
    assert_eq!(first.store.fingerprint().expose(), again.store.fingerprint().expose());
    assert_eq!(
        (exposed(&first.peppers), exposed(&first.macs)),
        (exposed(&again.peppers), exposed(&again.macs))
    );
    let materials = |keys: &KeyDirectory| {
        let mut all: Vec<_> = keys
            .signing
            .iter()
            .map(|(kid, _, material)| (kid.clone(), material.expose().to_vec()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(materials(&first), materials(&again));
}

#[test]
fn a_directory_to_mount_holds_every_key_and_is_never_made_over_another() {
    let dir = tempfile::tempdir().expect("a directory");
    let directory = dir.path().join("deep/keys");
    let made = create(&directory, &[SigningAlgorithm::EdDsa], NOW).expect("made");
    let names: Vec<_> =
        made.iter().map(|path| path.file_name().expect("a name").to_string_lossy()).collect();
    assert!(names.iter().any(|name| name.starts_with("jwt-eddsa-")), "{names:?}");
    assert_eq!(names.len(), 4, "{names:?}");
    for path in &made {
        assert_eq!(fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o600);
    }
    let text = |path: &PathBuf| fs::read_to_string(path).expect("text");
    let before: Vec<_> = made.iter().map(text).collect();
    let fault = create(&directory, &[], NOW).expect_err("refused").to_string();
    assert!(fault.contains("is not empty"), "{fault}");
    assert_eq!(made.iter().map(text).collect::<Vec<_>>(), before);
    // It is all that a start needs.
    open(&directory, &[SigningAlgorithm::EdDsa]).expect("whole");
    assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 4);
    // An empty folder is what a mount point is.
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).expect("made");
    assert_eq!(create(&empty, &[], NOW).expect("made").len(), 3);
}
