//! Keys and secrets as they are mounted by Kubernetes, Docker and systemd, in front of the real
//! binary.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::{Plan, TestUser, Upstream, World};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Makes keys with `keyward keys create`, and mounts them where the world has its keys, as a Secret
/// volume.
fn mounted(upstream: &Upstream, folder: u32, file: u32) -> World {
    let world = Plan::usual(upstream).prepare();
    let output = world.run(&["keys", "create", "made"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.lines().count() == 4, "{said}");
    let version = world.keys().join("..2027_06_25_10_00_00.1");
    fs::create_dir_all(&version).expect("made");
    for path in said.lines() {
        let name = Path::new(path).file_name().expect("a name");
        fs::copy(world.folder().join(path), version.join(name)).expect("copied");
        chmod(&version.join(name), file);
        symlink(Path::new("..data").join(name), world.keys().join(name)).expect("linked");
    }
    symlink("..2027_06_25_10_00_00.1", world.keys().join("..data")).expect("linked");
    chmod(&world.keys(), folder);
    chmod(world.folder(), 0o755);
    world
}

/// FIELD F6: the default modes of Secret volumes with and without `fsGroup`, of Docker and of
/// systemd.
#[test]
fn keys_in_a_mount_are_used_as_they_are_and_nothing_is_written_to_it() {
    let upstream = Upstream::start();
    for (folder, file, warns) in
        [(0o3777, 0o440, false), (0o1777, 0o644, true), (0o755, 0o444, true), (0o500, 0o400, false)]
    {
        let mut world = mounted(&upstream, folder, file);
        let before = fs::read_dir(world.keys()).expect("keys").count();
        let validated = world.run(&["validate"]);
        let words = String::from_utf8_lossy(&validated.stderr).into_owned();
        assert!(
            validated.status.success() && words.contains("can be read by every user") == warns,
            "{words}"
        );
        world.restart();
        let key = world.key(TestUser::ALICE);
        assert_eq!(world.status_with(&key.token), 200);
        world.reload();
        assert_eq!(world.status_with(&key.token), 200);
        assert_eq!(fs::read_dir(world.keys()).expect("keys").count(), before);
        assert_eq!(
            world.output().contains("can be read by every user"),
            warns,
            "{folder:o} {file:o}"
        );
        world.stop();
    }
}

#[test]
fn keys_that_another_user_can_write_keep_it_from_starting() {
    let upstream = Upstream::start();
    for (folder, file, part) in [
        (0o1777, 0o646, "can be written by every user (mode 646)"),
        (0o777, 0o600, "can be replaced by every user"),
    ] {
        let world = mounted(&upstream, folder, file);
        for command in ["validate", "run"] {
            let output = world.run(&[command]);
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{command}");
            assert!(words.contains(part) && words.contains("chmod"), "{command}: {words}");
        }
    }
}

#[test]
fn keys_are_never_made_over_others() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let output = world.run(&["keys", "create", "keys"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && words.contains("nothing is overwritten"), "{words}");
}

#[test]
fn secrets_are_found_in_the_folder_of_systemds_credentials() {
    let upstream = Upstream::start();
    let plan = |path: &str| {
        let issuer = format!(
            "name = 'login'\nissuer = 'https://login.test'\naudience = ['a']\n\
             secret_file = {path:?}"
        );
        Plan::usual(&upstream).table("issuer", &issuer)
    };
    let world = plan("$CREDENTIALS_DIRECTORY/login").prepare();
    let credentials = world.folder().join("credentials");
    fs::create_dir(&credentials).expect("made");
    fs::write(credentials.join("login"), "\u{feff}0123456789abcdef0123456789abcdef\r\n")
        .expect("written");
    chmod(&credentials.join("login"), 0o400);
    chmod(&credentials, 0o500);
    for path in ["$CREDENTIALS_DIRECTORY/login", "${CREDENTIALS_DIRECTORY}/login"] {
        world.configure(&plan(path));
        let validate = |credentials: Option<&Path>| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
            command.arg("validate").arg("-c").arg(world.folder().join("keyward.toml"));
            match credentials {
                Some(folder) => command.env("CREDENTIALS_DIRECTORY", folder),
                None => command.env_remove("CREDENTIALS_DIRECTORY"),
            };
            let output = command.output().expect("it runs");
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        assert_eq!(validate(Some(&credentials)), (Some(0), String::new()));
        let (code, words) = validate(None);
        assert!(
            code == Some(1) && words.contains("CREDENTIALS_DIRECTORY is not defined (systemd"),
            "{words}"
        );
    }
}
