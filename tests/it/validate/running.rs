//! `validate`, a start and a reload beside what is running already: another keyward, or no Redis.

use std::fs;
use std::process::Output;

use crate::support::redis::free_port;
use crate::support::{Plan, Upstream, World, eventually};

use super::case::{pair, program, write};
use super::said;

#[test]
fn beside_a_running_keyward_of_the_same_configuration_what_that_one_holds_is_no_fault() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream);
    let world = plan.clone().start();
    let notes = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let validated = world.run(&["validate"]);
    assert_eq!(validated.status.code(), Some(0), "{}", notes(&validated));
    let pid = world.pid().as_raw_nonzero();
    for held in [
        world.address().to_string(),
        world.admin_address().to_string(),
        "admin.sock".into(),
        "keyward.db".into(),
    ] {
        let note =
            format!("{held} is in use by a running keyward of this configuration (process {pid})");
        assert!(notes(&validated).contains(&note), "{note}: {}", notes(&validated));
    }
    // It goes on serving, and its listener may move.
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    let path = world.folder().join("keyward.toml");
    let text = fs::read_to_string(&path).expect("read");
    let moved =
        text.replace(&world.address().to_string(), &format!("0.0.0.0:{}", world.address().port()));
    world.configure_raw(&moved);
    assert_eq!(world.run(&["validate"]).status.code(), Some(0));
    // What another program holds is a fault all the same.
    let (_program, port) = program("127.0.0.1");
    world.configure(&plan.table("listener", &format!("address = \"127.0.0.1:{port}\"")));
    let refused = world.run(&["validate"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        notes(&refused).contains(&format!("another program has port {port}")),
        "{}",
        notes(&refused)
    );
}

/// Another configuration that names the same store is no reload of the running one.
#[test]
fn a_store_that_another_keyward_has_open_is_a_fault() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream).start();
    let other = Plan::usual(&upstream).set("admin", "address", "\"off\"").set(
        "admin",
        "socket",
        "\"second.sock\"",
    );
    world.write("second.toml", &other);
    for command in ["validate", "run"] {
        let output = world.run_on("second.toml", &[command]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command}: {words}");
        assert!(
            words.contains("second.toml:") && words.contains("another keyward is using the store"),
            "{command}: {words}"
        );
    }
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
}

/// The one difference: `run` waits for a Redis that is away, lets no token through and says why;
/// `validate` refuses.
#[test]
fn a_redis_that_cannot_be_reached_is_named_by_both() {
    let upstream = Upstream::start();
    let port = free_port();
    let mut world = Plan::usual(&upstream).redis(&format!("redis://127.0.0.1:{port}")).prepare();
    let validated = world.run(&["validate"]);
    let words = String::from_utf8_lossy(&validated.stderr).into_owned();
    assert_eq!(validated.status.code(), Some(1), "{words}");
    let fault = format!("127.0.0.1:{port} cannot be reached");
    assert!(
        words.contains("keyward.toml:")
            && words.contains(&fault)
            && words.contains("start it, or correct"),
        "{words}"
    );
    world.launch();
    assert!(
        eventually(|| world.output().contains(&fault) && world.ready() == Some(503)),
        "{}",
        world.output()
    );
}

/// The words in the log are those of `validate`, and nothing has changed.
#[test]
fn a_reload_is_judged_as_validate_judges() {
    let upstream = Upstream::start();
    let plan = Plan::usual(&upstream);
    let world = plan.clone().start();
    let folder = world.folder();
    pair(folder, "a");
    pair(folder, "b");
    write(folder, "set.json", "garbage");
    let (_program, port) = program("127.0.0.1");
    let file = |name: &str| format!("\"{}\"", folder.join(name).display());
    let idp = "name = \"idp\"\nissuer = \"https://idp.test\"\naudience = [\"a\"]";
    let app = "name = \"tls\"\nendpoints = [\"https://a.test\"]";
    for (table, lines) in [
        ("listener", format!("address = \"127.0.0.1:{port}\"")),
        (
            "listener",
            format!(
                "address = \"127.0.0.1:0\"\ntls = {{ certificate = {}, key = {} }}",
                file("a.pem"),
                file("b.key")
            ),
        ),
        ("issuer", format!("{idp}\njwks_file = {}", file("set.json"))),
        ("issuer", format!("{idp}\nsecret_file = {}", file("none"))),
        ("upstream", format!("{app}\ntls = {{ ca_file = {} }}", file("none"))),
        ("route", "path = \"/x\"\nupstream = \"absent\"\npublic = true".to_owned()),
    ] {
        world.configure(&plan.clone().table(table, &lines));
        let validated = world.run(&["validate"]);
        assert_eq!(validated.status.code(), Some(1), "{lines}");
        let faults: Vec<String> =
            said(&validated).into_iter().filter(|line| !line.starts_with("keyward: ")).collect();
        assert!(!faults.is_empty());
        world.reload();
        for fault in faults {
            assert!(is_logged(&world, &fault), "{fault} is missing in {}", world.output());
        }
    }
    assert_eq!(world.metric("keyward_config_reloads_total", "outcome=\"refused\""), 6.0);
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
}

/// Whether a line of the log has these words in one of its fields.
fn is_logged(world: &World, words: &str) -> bool {
    fn holds(value: &serde_json::Value, words: &str) -> bool {
        match value {
            serde_json::Value::String(text) => text.contains(words),
            serde_json::Value::Object(fields) => fields.values().any(|value| holds(value, words)),
            _ => false,
        }
    }
    let output = world.output();
    let mut lines = output.lines().filter_map(|line| serde_json::from_str(line).ok());
    lines.any(|line| holds(&line, words))
}

/// A start waits for it, and says with file and line for what.
#[test]
fn a_start_that_waits_for_redis_says_so_in_the_words_of_validate() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).redis("redis://127.0.0.1:1").launch();
    assert!(eventually(|| world.output().contains("the store cannot be reached yet")));
    let validated = world.run(&["validate"]);
    assert_eq!(validated.status.code(), Some(1));
    let faults = said(&validated);
    let fault = faults.iter().find(|line| line.contains("127.0.0.1:1")).expect("it is named");
    assert!(fault.contains("start it, or correct"), "{fault}");
    assert!(is_logged(&world, fault), "{fault} is missing in {}", world.output());
    assert!(!world.has_ended());
}
