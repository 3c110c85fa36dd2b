//! How commands are typed: usage, help, settings, exit codes.

use super::*;

#[test]
fn the_commands_are_consistent_in_themselves() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn run_and_demo_are_handed_on_with_their_outcome() {
    let program = Program::default();
    let ended = (REFUSED, String::new(), "keyward: it has ended\n".to_owned());
    assert_eq!(program.type_in(&["run", "-c", "a.toml"]), ended);
    assert_eq!(program.type_in(&["--config", "b.toml", "run"]), ended);
    assert_eq!(program.type_in(&["run"]), ended);
    assert_eq!(program.type_in(&["demo"]).0, DONE);
    assert_eq!(program.type_in(&["demo", "--address", "[::1]:0"]).0, DONE);
    let calls = program.calls.borrow();
    assert_eq!(
        *calls,
        ["run a.toml", "run b.toml", "run keyward.toml", "demo 127.0.0.1:8080", "demo [::1]:0"]
    );
}

#[test]
fn wrong_usage_is_exit_code_2_and_does_nothing() {
    let program = Program::default();
    let with = |more: &[&'static str]| [CREATE.as_slice(), more].concat();
    for arguments in [
        vec![],
        vec!["frobnicate"],
        vec!["run", "extra"],
        vec!["run", "--frobnicate"],
        vec!["bootstrap"],
        vec!["bootstrap", "create", "--token-api", "jarvispy"],
        with(&["--mints", "0"]),
        with(&["--mints", "1000001"]),
        with(&["--mints", "1.5"]),
        with(&["--expires-in", "24"]),
        with(&["--expires-in", "0s"]),
        with(&["--email", ""]),
        with(&["token"]),
        vec!["bootstrap", "revoke", "not-a-uuid"],
        vec!["token", "revoke"],
        vec!["token", "list", "--limit", "0"],
        vec!["token", "list", "--limit", "100001"],
        vec!["completions", "cobol"],
    ] {
        let (code, out, err) = program.type_in(&arguments);
        assert_eq!((code, out.as_str()), (ExitCode::from(WRONG_USAGE), ""), "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
    assert!(program.diary().is_empty());
    assert!(program.calls.borrow().is_empty());
}

#[test]
fn help_version_and_completions_go_to_standard_output() {
    let program = Program::default();
    let (code, out, err) = program.type_in(&["--help"]);
    assert_eq!((code, err.as_str()), (DONE, ""));
    assert!(out.contains("bootstrap") && out.contains("completions"), "{out}");
    let line = format!("keyward {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(program.type_in(&["version"]).1, line);
    assert_eq!(program.type_in(&["--version"]).1, line);
    let (_, out, _) = program.type_in(&["version", "--json"]);
    assert_eq!(
        out,
        format!("{{\"name\":\"keyward\",\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION"))
    );
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = program.type_in(&["completions", shell]);
        assert_eq!(code, DONE);
        assert!(out.contains("validate"), "{shell}");
    }
}

#[test]
fn the_schema_and_the_reference_need_no_configuration() {
    let program = Program::default();
    let (code, out, err) = program.type_in(&["schema"]);
    assert_eq!((code, err.as_str()), (DONE, ""));
    let schema: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(schema["properties"]["server"]["properties"]["workers"]["maximum"], 256);
    let (code, out, err) = program.type_in(&["schema", "--markdown"]);
    assert_eq!((code, err.as_str()), (DONE, ""));
    assert!(out.starts_with("# Configuration\n"), "{out}");
    assert!(program.calls.borrow().is_empty());
}

#[test]
fn validate_says_one_line_or_what_is_wrong() {
    let mut program = Program::default();
    program.settings.summary = "1 listener, 2 routes".into();
    program.settings.warnings = vec!["route /x is public".into()];
    let (code, out, err) = program.type_in(&["validate"]);
    assert_eq!((code, out.as_str()), (DONE, "keyward.toml is valid: 1 listener, 2 routes\n"));
    assert_eq!(err, "keyward: warning: route /x is public\n");

    program.faults = vec!["one".into()];
    let (code, out, err) = program.type_in(&["validate"]);
    assert_eq!((code, out.as_str(), err.as_str()), (REFUSED, "", "keyward: one\n"));
    assert_eq!(program.type_in(&CREATE).0, REFUSED, "nothing is done on a bad configuration");
    assert!(program.diary().is_empty());
}

#[test]
fn a_real_configuration_file_is_read_and_its_faults_have_places() {
    let program = Program { reads_files: true, ..Program::default() };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.toml");
    let name = path.to_str().expect("text");
    let validate = || program.type_in(&["validate", "-c", name]);
    let (code, _, err) = validate();
    assert!(code == REFUSED && err.contains("no such file"), "{err}");
    let good = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"app\"\n\
                endpoints = [\"http://127.0.0.1:1\"]\n[[route]]\npath = \"/\"\n\
                upstream = \"app\"\npublic = true\n";
    fs::write(&path, good).expect("written");
    let (code, out, _) = validate();
    assert_eq!(
        (code, out),
        (DONE, format!("{name} is valid: 1 listener, 1 route, 1 upstream, 0 token APIs\n"))
    );
    fs::write(&path, format!("{good}pubic = 1\n[sever]\n")).expect("written");
    let (code, out, err) = validate();
    assert_eq!((code, out.as_str(), err.lines().count()), (REFUSED, "", 2), "{err}");
    assert!(err.starts_with(&format!("{name}:10:1: unknown key")), "{err}");
    assert!(err.contains(&format!("\n{name}:11:")), "{err}");
}
