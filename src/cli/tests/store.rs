//! The commands of the store and of the keys.

use super::*;

#[test]
fn a_command_waits_for_a_store_that_another_process_is_about_to_leave() {
    let program = Program { busy: Cell::new(3), ..Program::default() };
    let (code, out, _) = program.type_in(&CREATE);
    assert_eq!((code, program.busy.get()), (DONE, 0), "{out}");
    let program = Program { busy: Cell::new(u32::MAX), ..Program::default() };
    let (code, out, err) = program.type_in(&CREATE);
    assert_eq!((code, out.as_str()), (REFUSED, ""));
    assert!(err.contains("using the store") && err.contains("may be starting"), "{err}");
    assert!(program.busy.get() < u32::MAX - 2, "it tried again");
}

#[test]
fn keys_create_names_the_files_and_says_what_they_are_for() {
    let program = Program::default();
    let (code, out, err) = program.type_in(&[
        "keys",
        "create",
        "made",
        "--algorithm",
        "es256",
        "--algorithm",
        "HS256",
    ]);
    assert_eq!((code, out.as_str()), (DONE, "made/mac-1.key\nmade/store.key\n"));
    assert!(err.contains("[keys]") && err.contains("Keep a copy"), "{err}");
    assert_eq!(
        program.tokens.diary.lock().expect("lock").as_slice(),
        [r#"keys keyward.toml ["HS256", "ES256"]"#]
    );
    let wrong = program.type_in(&["keys", "create", "made", "--algorithm", "none"]);
    assert!(
        wrong.0 == ExitCode::from(WRONG_USAGE) && wrong.2.contains("there are HS256, EdDSA"),
        "{}",
        wrong.2
    );
    let locked = Program { locked: true, ..Program::default() };
    let (code, out, err) = locked.type_in(&["keys", "create", "made"]);
    assert_eq!((code, out.as_str(), err.as_str()), (REFUSED, "", "keyward: made: is not empty\n"));
}

#[test]
fn store_backup_and_restore_say_what_they_hold_and_what_it_means() {
    let program = Program::default();
    let (code, out, err) = program.type_in(&["store", "backup", "b"]);
    assert_eq!(code, DONE);
    assert!(
        out.starts_with("backed up to b: 3 tokens, 1 revoked") && out.contains("4096 bytes"),
        "{out}"
    );
    assert!(err.contains("the keys are not in it"), "{err}");
    let (_, out, _) = program.type_in(&["store", "backup", "b", "--replace", "--json"]);
    assert_eq!(out, "{\"tokens\":3,\"revoked\":1,\"users\":2,\"bytes\":4096}\n");
    let (code, out, err) = program.type_in(&["store", "restore", "b"]);
    assert!(code == DONE && out.starts_with("restored from b: 3 tokens"), "{out}");
    assert!(err.contains("kept at old") && err.contains("accepted again"), "{err}");
    let (_, out, _) = program.type_in(&["store", "restore", "b", "--json"]);
    assert!(out.ends_with("\"before\":\"old\"}\n"), "{out}");
    let diary = program.tokens.diary.lock().expect("lock");
    assert_eq!(
        diary.as_slice(),
        ["backup b Nothing", "backup b EarlierBackup", "restore b", "restore b"]
    );
    let locked = Program { locked: true, ..Program::default() };
    for command in ["backup", "restore"] {
        assert_eq!(locked.type_in(&["store", command, "b"]).0, REFUSED);
        assert_eq!(locked.type_in(&["store", command]).0, ExitCode::from(WRONG_USAGE));
    }
}

#[test]
fn store_migrate_is_a_table_or_json_and_fails_on_a_difference() {
    let mut program = Program::default();
    let arguments = ["store", "migrate", "--from", "a.toml", "--to", "b.toml"];
    let (code, out, err) = program.type_in(&arguments);
    let table = "SORT      FOUND  EXPIRED  THERE  COPIED  VERIFIED\n\
                 API keys  3      1        0      2       2\n";
    assert_eq!((code, out.as_str()), (DONE, table));
    assert_eq!(err, "keyward: reading the source\nkeyward: copied 2 of 2\n");
    assert_eq!(program.tokens.diary.lock().expect("lock").as_slice(), ["migrate a.toml b.toml"]);
    program.faults = vec!["one".into()];
    let (code, out, err) = program.type_in(&[arguments.as_slice(), &["--json"]].concat());
    let summary: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, summary["counts"][0]["sort"].as_str()), (REFUSED, Some("api_keys")));
    assert!(err.contains(&format!("keyward: API key {ID} of \"a\" differs: \\u{{1b}}\n")), "{err}");
    assert!(err.ends_with("keyward: the two stores are not the same: 1 differ\n"), "{err}");
    program.locked = true;
    let (code, out, err) = program.type_in(&arguments);
    assert!(code == REFUSED && out.is_empty() && err.contains("a keyward is running"), "{err}");
    assert_eq!(
        program.type_in(&["store", "migrate", "--from", "a.toml"]).0,
        ExitCode::from(WRONG_USAGE)
    );
}

#[test]
fn store_check_is_a_table_or_json_and_fails_on_a_fault() {
    let mut program = Program::default();
    let (code, out, err) = program.type_in(&["store", "check"]);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (DONE, "SEVERITY  WHAT     FOUND   WANTED\nfine      version  7.0.15  -\n", "")
    );
    program.faults = vec!["one".into()];
    let (code, out, err) = program.type_in(&["store", "check"]);
    assert!(code == REFUSED && out.contains("all\\u{1b}keys-lru  noeviction\n"), "{out}");
    assert_eq!(err, "keyward: maxmemory-policy: records would vanish\n");
    let (code, out, err) = program.type_in(&["store", "check", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, err.as_str(), list[1]["severity"].as_str()), (REFUSED, "", Some("fault")));
    program.locked = true;
    let (code, out, err) = program.type_in(&["store", "check"]);
    assert!(code == REFUSED && out.is_empty() && err.contains("another process"), "{err}");
}
