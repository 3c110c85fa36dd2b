//! `POST /register`.

use serde_json::json;

use crate::api::worlds::{AccountsWorld, expect_json, members, text};

#[test]
fn a_registration_is_answered_with_the_account_and_not_with_its_password() {
    let world = AccountsWorld::start();
    let made = expect_json(&world.register("hershel", "correct horse"), 200);
    assert_eq!(members(&made), ["id", "username", "email", "full_name"]);
    assert_eq!(text(&made, "id").len(), 36);
    assert_eq!(
        (&made["username"], &made["email"], &made["full_name"]),
        (&json!("hershel"), &json!("hershel@example.com"), &json!("A TestUser"))
    );
}

#[test]
fn the_length_of_a_password_is_that_of_the_form_that_is_hashed() {
    let world = AccountsWorld::start();
    let register = |username: &str, password: &str| world.register(username, password).status;
    assert_eq!(register("short", &"e\u{301}".repeat(7)), 422);
    assert_eq!(register("longest", &"e\u{301}".repeat(128)), 200);
    assert_eq!(world.login("longest", &"\u{e9}".repeat(128)).status, 200);
    assert_eq!(register("toolong", &"\u{e9}".repeat(129)), 422);
}

#[test]
fn a_password_with_a_control_character_gets_422() {
    let world = AccountsWorld::start();
    for wrong in ["tab\tulated", "null\0byte", "line\nbreak", "delete\u{7f}d", "next\u{85}line"] {
        let refused = world.register("control", wrong);
        assert_eq!(refused.status, 422, "{wrong:?}");
        assert!(refused.text().contains("control characters"), "{refused}");
    }
}
