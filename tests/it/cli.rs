//! The command line from outside: exit codes, what goes to which output, and the two doors to the
//! tokens.

use std::process::Output;

use crate::support::{Plan, TestUser, Upstream, World};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{} {}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Fails with this exit code, words on standard error and nothing on standard output.
#[track_caller]
fn fails(output: &Output, code: i32) -> String {
    assert_eq!(
        output.status.code(),
        Some(code),
        "{} {}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert_eq!(text(&output.stdout), "");
    let words = text(&output.stderr);
    assert!(!words.trim().is_empty());
    words
}

fn start() -> (World, Upstream) {
    let upstream = Upstream::start();
    (Plan::usual(&upstream).start(), upstream)
}

#[test]
fn exit_codes_tell_done_from_refused_from_wrong_usage() {
    let (world, _upstream) = start();
    assert!(succeeds(&world.run(&["version"])).contains(env!("CARGO_PKG_VERSION")));
    succeeds(&world.run(&["validate"]));
    succeeds(&world.run(&["health"]));
    succeeds(&world.run(&["completions", "bash"]));
    fails(&world.run(&["no-such-command"]), 2);
    fails(&world.run(&["bootstrap", "create"]), 2);
    fails(&world.run(&["token", "revoke", "not-a-uuid"]), 2);
    fails(&world.run(&["run", "--no-such-option"]), 2);
    fails(&world.run(&["token", "revoke", "f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b"]), 1);
    fails(
        &world.run(&[
            "bootstrap",
            "create",
            "--token-api",
            "unknown",
            "--sub",
            "s",
            "--username",
            "u",
            "--organization",
            "o",
            "--role",
            "r",
        ]),
        1,
    );
}

#[test]
fn every_fault_of_a_configuration_is_told_at_once_with_its_place() {
    let (world, _upstream) = start();
    world.configure_raw(
        "[[listener]]\naddres = \"127.0.0.1:0\"\n\n[server]\nworkers = \"many\"\n\n\
         [[route]]\npath = \"/x\"\n\
         upstream = \"unknown\"\n",
    );
    for command in ["validate", "run"] {
        let words = fails(&world.run(&[command]), 1);
        for fault in ["keyward.toml:2:", "address", "keyward.toml:5:", "unknown"] {
            assert!(words.contains(fault), "{command}: {fault} is missing in {words}");
        }
    }
}

/// A route that neither accepts tokens of a token API nor is public is refused (DESIGN, section 2).
#[test]
fn nothing_is_open_by_default() {
    let (world, upstream) = start();
    for lines in ["", "accept = []", "public = false", "public = true\naccept = [\"jarvispy\"]"] {
        let plan = Plan::bare()
            .upstream("app", upstream.address())
            .route(&format!("path = \"/{{*rest}}\"\nupstream = \"app\"\n{lines}"));
        world.configure(&plan);
        fails(&world.run(&["validate"]), 1);
    }
}

#[test]
fn a_key_is_listed_and_revoked_from_the_command_line_and_dead_when_it_returns() {
    let (world, _upstream) = start();
    let (alice, bob) = (world.key(TestUser::ALICE), world.key(TestUser::BOB));
    assert_eq!(world.status_with(&alice.token), 200);
    let listed: serde_json::Value =
        serde_json::from_str(&succeeds(&world.run(&["token", "list", "--json"]))).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    let table = succeeds(&world.run(&["token", "list"]));
    assert!(table.contains(&alice.jti) && table.contains(&bob.jti), "{table}");
    succeeds(&world.run(&["token", "revoke", &alice.jti]));
    assert_eq!(world.status_with(&alice.token), 401);
    assert_eq!(world.status_with(&bob.token), 200);
    assert!(!succeeds(&world.run(&["token", "list"])).contains(&alice.jti));
}

#[test]
fn the_commands_work_on_the_store_itself_when_no_keyward_runs() {
    let (mut world, _upstream) = start();
    let alice = world.key(TestUser::ALICE);
    world.signal(rustix::process::Signal::TERM);
    assert!(world.ended().success());
    fails(&world.run(&["health"]), 1);
    assert!(succeeds(&world.run(&["token", "list"])).contains(&alice.jti));
    let bootstrap = world.bootstrap(TestUser::BOB, 1);
    succeeds(&world.run(&["token", "revoke", &alice.jti]));
    world.restart();
    assert_eq!(world.status_with(&alice.token), 401);
    world.api(TestUser::BOB).mint(&bootstrap);
}

/// The same after a SIGKILL, which leaves socket and lock behind.
#[test]
fn a_socket_and_a_lock_that_a_dead_keyward_left_are_no_hindrance() {
    let (mut world, _upstream) = start();
    let alice = world.key(TestUser::ALICE);
    world.kill();
    assert!(succeeds(&world.run(&["token", "list"])).contains(&alice.jti));
    world.restart();
    assert_eq!(world.status_with(&alice.token), 200);
}

/// RELIABILITY D5: two processes, one store.
#[test]
fn a_second_keyward_on_the_same_store_refuses_to_start() {
    let (world, upstream) = start();
    let alice = world.key(TestUser::ALICE);
    let other = Plan::usual(&upstream).set("admin", "address", "\"off\"").set(
        "admin",
        "socket",
        "\"second.sock\"",
    );
    world.write("second.toml", &other);
    fails(&world.run_on("second.toml", &["run"]), 1);
    assert_eq!(world.status_with(&alice.token), 200, "the first is unharmed");
}

/// What is secret cannot be read by other users of the machine.
#[test]
fn only_the_owner_can_open_keys_store_and_socket() {
    use std::os::unix::fs::PermissionsExt;
    let (world, _upstream) = start();
    world.key(TestUser::ALICE);
    let mode = |name: &str| {
        let data = std::fs::metadata(world.folder().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        data.permissions().mode() & 0o777
    };
    assert_eq!(mode("admin.sock"), 0o600);
    assert_eq!(mode("keyward.db") & 0o077, 0);
    let mut keys = 0;
    for entry in std::fs::read_dir(world.folder().join("keys")).expect("keys").flatten() {
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
        keys += 1;
    }
    assert!(keys > 0);
}

/// Section 4: a damaged store is told in words, and never taken for an empty one.
#[test]
fn a_damaged_store_is_told_in_words() {
    let (mut world, _upstream) = start();
    world.key(TestUser::ALICE);
    world.signal(rustix::process::Signal::TERM);
    assert!(world.ended().success());
    let path = world.folder().join("keyward.db");
    std::fs::write(&path, vec![b'x'; 64 * 1024]).expect("a file");
    for command in ["run", "token"] {
        let arguments: &[&str] = if command == "run" { &["run"] } else { &["token", "list"] };
        let words = fails(&world.run(arguments), 1);
        assert!(words.contains("keyward.db"), "{words}");
    }
}

#[test]
fn the_same_keys_are_needed_to_read_the_tokens_of_yesterday() {
    let (mut world, _upstream) = start();
    let alice = world.key(TestUser::ALICE);
    world.signal(rustix::process::Signal::TERM);
    assert!(world.ended().success());
    std::fs::rename(world.folder().join("keys"), world.folder().join("away")).expect("moved");
    for command in ["validate", "run"] {
        assert!(
            fails(&world.run(&[command]), 1).contains("was written with other keys"),
            "{command}"
        );
        assert!(
            !world.folder().join("keys").exists(),
            "{command} makes no keys that would stand in the way"
        );
    }
    std::fs::rename(world.folder().join("away"), world.folder().join("keys")).expect("moved back");
    world.restart();
    assert_eq!(world.status_with(&alice.token), 200);
}

#[test]
fn users_are_managed_through_both_doors_and_a_password_is_nowhere() {
    let upstream = Upstream::start();
    let accounts = "name = \"people\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"";
    let mut world = Plan::usual(&upstream).table("token_api", accounts).start();
    let file = world.folder().join("password");
    std::fs::write(&file, "canary horse battery\n").expect("written");
    let file = file.to_str().expect("text").to_owned();
    let add = |world: &World, name: &str, email: &str| {
        let names = [
            "--username",
            name,
            "--email",
            email,
            "--full-name",
            "Ann Unal",
            "--password-file",
            &file,
        ];
        world.run(&[&["user", "add"], &names[..]].concat())
    };
    let listed = |world: &World| -> Vec<(String, bool)> {
        let out = succeeds(&world.run(&["user", "list", "--json"]));
        let users: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        let of = |user: &serde_json::Value| {
            (
                user["username"].as_str().expect("a name").to_owned(),
                user["is_disabled"].as_bool().expect("a boolean"),
            )
        };
        users.as_array().expect("a list").iter().map(of).collect()
    };
    let id = succeeds(&add(&world, "Ann", "ann@example.com"));
    assert_eq!(id.trim().len(), 36);
    assert!(fails(&add(&world, "aNN", "other@example.com"), 1).contains("username is taken"));
    assert!(fails(&add(&world, "other", "ANN@example.com"), 1).contains("email address is taken"));
    succeeds(&world.run(&["user", "disable", "ann"]));
    assert_eq!(listed(&world), [("Ann".to_owned(), true)]);
    fails(&world.run(&["user", "disable", "unknown"]), 1);
    fails(
        &world.run(&["user", "passwd", "ann", "--token-api", "jarvispy", "--password-file", &file]),
        1,
    );
    // Without a password on standard input there is none.
    fails(&world.run(&["user", "passwd", "ann"]), 1);

    world.kill();
    succeeds(&add(&world, "bob", "bob@example.com"));
    succeeds(&world.run(&["user", "enable", "ANN"]));
    succeeds(&world.run(&["user", "passwd", "bob", "--password-file", &file]));
    assert_eq!(listed(&world), [("Ann".to_owned(), false), ("bob".to_owned(), false)]);
    assert!(!world.output().contains("canary"));
    for name in ["keyward.db", "keyward.db-wal"] {
        let bytes = std::fs::read(world.folder().join(name)).unwrap_or_default();
        assert!(!bytes.windows(6).any(|window| window == b"canary"), "{name}");
    }
}
