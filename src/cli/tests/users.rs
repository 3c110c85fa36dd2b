//! The commands of users.

use super::*;

#[test]
fn a_user_is_added_with_a_password_from_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("password");
    let program = Program::default();
    let add = |more: &[&str]| {
        let path = file.to_str().expect("text");
        let fixed = [
            "user",
            "add",
            "--username",
            "ann",
            "--email",
            "ann@example.com",
            "--full-name",
            "Ann X",
        ];
        program.type_in(&[&fixed[..], &["--password-file", path], more].concat())
    };
    // As Notepad and PowerShell write it.
    let marked = "\u{feff}correct horse\r\n";
    for bytes in
        [marked.as_bytes().to_vec(), marked.encode_utf16().flat_map(u16::to_le_bytes).collect()]
    {
        fs::write(&file, bytes).expect("written");
        assert_eq!(add(&[]).0, DONE);
        assert_eq!(program.diary().pop().as_deref(), Some("add ann None correct horse"));
    }
    fs::write(&file, "correct horse\r\n").expect("written");
    let (code, out, err) = add(&[]);
    assert_eq!((code, out, err), (DONE, format!("{ID}\n"), String::new()));
    fs::write(&file, "\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}").expect("written");
    assert_eq!(add(&["--token-api", "x"]).0, DONE);
    assert_eq!(
        program.diary(),
        [
            "add ann None correct horse".to_owned(),
            format!("add ann Some(\"x\") {}", "\\xc3\\xbc".repeat(8))
        ]
    );
    for (content, words) in [
        (&b"canary"[..], "8"),
        (b"canary one\ncanary two\n", "one line"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", "UTF-8"),
    ] {
        fs::write(&file, content).expect("written");
        let (code, out, err) = add(&[]);
        assert_eq!((code, out), (REFUSED, String::new()));
        assert!(err.contains(words) && !err.contains("canary"), "{err}");
    }
    fs::write(&file, "x".repeat(100_000)).expect("written");
    assert_eq!(add(&[]).0, REFUSED);
    fs::remove_file(&file).expect("removed");
    assert!(add(&[]).2.contains("cannot be read"));
    assert!(program.diary().is_empty());
    // A password is never an argument, and what cannot be is wrong usage.
    for wrong in [&["--password", "correct horse"][..], &["--username", "a b"], &["--email", "a"]] {
        assert_eq!(add(wrong).0, ExitCode::from(WRONG_USAGE), "{wrong:?}");
    }
}

#[test]
fn users_are_listed_disabled_enabled_and_given_passwords() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("password");
    fs::write(&file, "battery staple\n").expect("written");
    let program = Program::default();
    let (code, out, _) = program.type_in(&["user", "list"]);
    let table = format!(
        "ID                                    TOKEN API  USERNAME  EMAIL            FULL NAME     \
         REGISTERED            STATE\n\
         {ID}  accounts   ann       ann@example.com  Ann\\u{{1b}}[2J  2027-06-25T10:00:00Z  \
         disabled\n"
    );
    assert_eq!((code, out), (DONE, table));
    let (_, out, _) =
        program.type_in(&["user", "list", "--json", "--limit", "7", "--token-api", "accounts"]);
    assert!(
        out.starts_with(&format!(r#"[{{"id":"{ID}","token_api":"accounts","username":"ann","#)),
        "{out}"
    );
    for (command, words) in [("disable", "disabled user ann\n"), ("enable", "enabled user ann\n")] {
        let (code, out, _) = program.type_in(&["user", command, "ann"]);
        assert_eq!((code, out.as_str()), (DONE, words));
        let (code, out, err) = program.type_in(&["user", command, "nobody"]);
        assert_eq!(
            (code, out.as_str(), err.as_str()),
            (REFUSED, "", "keyward: there is no user nobody\n")
        );
    }
    let path = file.to_str().expect("text");
    let (code, out, _) = program.type_in(&["user", "passwd", "ann", "--password-file", path]);
    assert_eq!((code, out.as_str()), (DONE, "set the password of user ann\n"));
    assert_eq!(
        program.diary(),
        [
            "users None 1000",
            "users Some(\"accounts\") 7",
            "change ann disable",
            "change nobody disable",
            "change ann enable",
            "change nobody enable",
            "change ann battery staple",
        ]
    );
}
