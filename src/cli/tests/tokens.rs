//! The commands of tokens: made, listed and revoked by a running keyward or in the store.

use super::*;

#[test]
fn bootstrap_create_prints_the_token_alone() {
    let program = Program::default();
    let (code, out, err) =
        program.type_in(&[CREATE.as_slice(), &["--mints", "5", "--expires-in", "24h"]].concat());
    assert_eq!((code, out.as_str()), (DONE, "header.payload.mac\n"));
    assert_eq!(err, format!("keyward: made bootstrap token {ID}\n"));
    assert_eq!(program.diary(), ["create u1 5 Some(86400s)"]);
    program.type_in(&CREATE);
    assert_eq!(program.diary(), ["create u1 1 None"]);
}

#[test]
fn bootstrap_create_takes_the_limits_of_the_keys() {
    let program = Program::default();
    let limits = ["--rate", "10/s", "--burst", "20", "--concurrent-requests", "2"];
    let (code, _, err) = program.type_in(&[CREATE.as_slice(), &limits].concat());
    assert_eq!(code, DONE, "{err}");
    assert_eq!(program.diary(), ["create u1 1 None 10/s, burst 20, 2 at a time"]);
    for wrong in [
        ["--rate", "10"].as_slice(),
        &["--rate", "0/s"],
        &["--burst", "5"],
        &["--rate", "1/s", "--burst", "0"],
        &["--concurrent-requests", "1000001"],
    ] {
        let (code, _, err) = program.type_in(&[CREATE.as_slice(), wrong].concat());
        assert_eq!(code, ExitCode::from(WRONG_USAGE), "{wrong:?}: {err}");
        assert!(program.diary().is_empty(), "{wrong:?}");
    }
}

#[test]
fn lists_are_a_table_or_one_json_array() {
    let program = Program::default();
    let (code, out, _) = program.type_in(&["token", "list", "--sub", "u1", "--limit", "5"]);
    assert_eq!(code, DONE);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(lines[0].starts_with("ID ") && lines[0].ends_with("LAST USED"), "{out}");
    assert!(
        lines[1].starts_with(ID)
            && lines[1].contains("2027-06-25T10:00:00Z")
            && lines[1].contains("never")
            && lines[1].contains("5/m, burst 1"),
        "{out}"
    );
    assert!(!out.contains('\u{1b}'), "a name cannot steer the terminal");
    assert_eq!(lines[0].find("USERNAME"), lines[1].find("ann"), "columns are aligned");
    let (_, out, _) = program.type_in(&["bootstrap", "list", "--token-api", "jarvispy", "--json"]);
    let parsed: Vec<Listing> = serde_json::from_str(&out).expect("an array");
    assert_eq!(parsed.len(), 1);
    let diary = program.diary();
    assert!(diary[0].contains("sort: Some(ApiKey)") && diary[0].contains("limit: 5"), "{diary:?}");
    assert!(
        diary[1].contains("sort: Some(Bootstrap)") && diary[1].contains("jarvispy"),
        "{diary:?}"
    );
    let (_, _, err) = program.type_in(&["token", "list", "--limit", "1"]);
    assert!(err.contains("only the first 1"), "{err}");
}

#[test]
fn revoking_what_is_not_there_is_refused() {
    let program = Program::default();
    let (code, out, _) = program.type_in(&["token", "revoke", ID]);
    assert_eq!((code, out), (DONE, format!("revoked token {ID}\n")));
    let (code, out, err) = program.type_in(&["bootstrap", "revoke", ID]);
    assert_eq!((code, out.as_str()), (REFUSED, ""));
    assert_eq!(err, format!("keyward: there is no bootstrap token with the id {ID}\n"));
}

#[test]
fn a_token_that_could_not_be_printed_is_no_success_and_its_id_is_said() {
    let program = Program::default();
    let mut err = Vec::new();
    let arguments = std::iter::once("keyward").chain(CREATE);
    assert_eq!(execute(arguments, &program, &mut ClosedPipe, &mut err), REFUSED);
    let err = String::from_utf8(err).expect("text");
    assert!(err.contains("cannot be written") && err.contains(ID), "{err}");
    for command in [["version"].as_slice(), &["completions", "bash"], &["validate"]] {
        let arguments = std::iter::once(&"keyward").chain(command);
        assert_eq!(
            execute(arguments, &program, &mut ClosedPipe, &mut Vec::new()),
            REFUSED,
            "{command:?}"
        );
    }
    let mut err = Vec::new();
    let code = execute(["keyward", "token", "list"], &program, &mut ClosedPipe, &mut err);
    assert_eq!(
        (code, err.as_slice()),
        (DONE, b"".as_slice()),
        "a list that is cut short was read as far as wanted"
    );
}

#[test]
fn a_running_keyward_is_asked_first_and_the_store_only_when_none_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("admin.sock");
    let mut program = Program { locked: true, ..Program::default() };
    program.settings.admin_socket = path.clone();
    let running = Tokens { prefix: "running: ", ..Tokens::default() };
    let served = Serving::start(AdminSocket::bind(&path).expect("bound"), &running);
    assert_eq!(program.type_in(&["token", "revoke", ID]).0, DONE);
    let (code, out, _) = program.type_in(&[CREATE.as_slice(), &["--expires-in", "90s"]].concat());
    assert_eq!((code, out.as_str()), (DONE, "header.payload.mac\n"));
    assert_eq!(
        *running.diary.lock().expect("lock"),
        [format!("running: revoke token {ID}"), "running: create u1 1 Some(90s)".into()]
    );
    let (code, out, _) = program.type_in(&["health"]);
    assert_eq!(
        (code, out.as_str()),
        (DONE, "ready\n"),
        "without an admin address, the socket says it"
    );
    program.settings.admin_address = Some(served.probes);
    assert_eq!(program.type_in(&["health"]).0, DONE);
    drop(served);

    assert_eq!(program.type_in(&["health"]).0, REFUSED, "none runs any more");
    program.settings.admin_address = None;
    let (code, _, err) = program.type_in(&["health"]);
    assert_eq!(code, REFUSED);
    assert!(err.contains("no keyward runs"), "{err}");
    let (code, _, err) = program.type_in(&["token", "revoke", ID]);
    assert_eq!((code, err.as_str()), (REFUSED, "keyward: the store is open in another process\n"));
    program.locked = false;
    assert_eq!(program.type_in(&["token", "revoke", ID]).0, DONE);
    drop(UnixListener::bind(&path).expect("a file that a dead process left"));
    assert_eq!(program.type_in(&["token", "revoke", ID]).0, DONE);
    assert_eq!(program.diary().len(), 2, "both straight to the store");
}

#[test]
fn a_keyward_that_may_run_but_cannot_be_asked_is_not_passed_by() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("file"), "").expect("written");
    let mut program = Program::default();
    // Not a directory: whether a process listens there cannot be told.
    program.settings.admin_socket = dir.path().join("file/admin.sock");
    let (code, _, err) = program.type_in(&["token", "revoke", ID]);
    assert_eq!(code, REFUSED);
    assert!(err.contains("cannot be reached"), "{err}");
    assert!(program.diary().is_empty(), "the store was left alone");
}

#[test]
fn a_failing_store_is_exit_code_1_with_its_words() {
    let program = Program { fails: true, ..Program::default() };
    for (arguments, words) in [
        (CREATE.as_slice(), "keyward: there is no token API named \"jarvispy\"\n"),
        (&["token", "list"], "keyward: the store is damaged: page 3\n"),
        (&["token", "revoke", ID], "keyward: the store has no room left: disk\n"),
        (&["user", "list"], "keyward: the store is damaged: page 4\n"),
        (&["user", "disable", "ann"], "keyward: too many passwords wait to be hashed\n"),
    ] {
        assert_eq!(
            program.type_in(arguments),
            (REFUSED, String::new(), words.to_owned()),
            "{arguments:?}"
        );
    }
}
