//! What the fields of an account take, at their edges.

use super::*;

#[test]
fn a_username_is_three_to_fifty_letters_and_digits() {
    for good in ["abc", "A1z", "007", &"x".repeat(50)] {
        assert_eq!(Username::new(good).expect(good).as_str(), good);
    }
    assert_eq!(Username::new("ab"), Err(FieldFault::TooShort(3)));
    assert_eq!(Username::new(""), Err(FieldFault::TooShort(3)));
    assert_eq!(Username::new(&"x".repeat(51)), Err(FieldFault::TooLong(50)));
    assert_eq!(Username::new(&"é".repeat(1_000_000)), Err(FieldFault::TooLong(50)));
    for wrong in
        ["a b", "a_b", "a-b", "a.b", "abé", "abc\n", "abc\0", "ａｂｃ", "a@b", "Kelvin\u{212a}"]
    {
        assert_eq!(Username::new(wrong), Err(FieldFault::NotAlphanumeric), "{wrong:?}");
    }
    assert_eq!(Username::new("AliCE7").unwrap().folded(), fold("aLIce7"));
}

#[test]
fn an_email_address_is_one_local_part_at_one_host_name() {
    let local = "l".repeat(64);
    // 64 + 1 + 63 + 1 + 63 + 1 + 61 = 254.
    let longest = format!("{local}@{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(61));
    assert_eq!(longest.len(), 254);
    for good in [
        "a@b.example",
        "first.last+tag@sub.example.co.uk",
        "!#$%&'*+-/=?^_`{|}~@x1.y2",
        "a@xn--bcher-kva.example",
        "a@1and1.com",
        &longest,
    ] {
        assert_eq!(Email::new(good).expect(good).as_str(), good);
    }
    let too_long = format!("{longest}c");
    let long_local = format!("l{local}@b.example");
    let long_label = format!("a@{}.example", "b".repeat(64));
    for wrong in [
        "",
        "a",
        "@",
        "a@",
        "@b.example",
        "a@b",
        "a@b@c.example",
        "a b@c.example",
        "a@b .example",
        ".a@b.example",
        "a.@b.example",
        "a..b@c.example",
        "a@.example",
        "a@b.",
        "a@b..example",
        "a@-b.example",
        "a@b-.example",
        "a@b_c.example",
        "a@127.0.0.1",
        "a@[127.0.0.1]",
        "\"a\"@b.example",
        "a@b.example\n",
        "a@b.example\0",
        "ü@b.example",
        "a@bücher.example",
        "a,b@c.example",
        "<a@b.example>",
        &too_long,
        &long_local,
        &long_label,
    ] {
        assert!(matches!(Email::new(wrong), Err(FieldFault::NotAnEmail(_))), "{wrong:?}");
    }
    assert_eq!(Email::new("A.B@C.Example").unwrap().folded(), "a.b@c.example");
}

#[test]
fn a_full_name_is_counted_in_characters_and_is_not_blank() {
    for good in ["x", "Hershel Moshkovitz", " Ann ", "Σωκράτης", &"\u{1f600}".repeat(200)] {
        assert_eq!(FullName::new(good).expect(good).as_str(), good);
    }
    assert_eq!(FullName::new(""), Err(FieldFault::TooShort(1)));
    assert_eq!(FullName::new(&"\u{1f600}".repeat(201)), Err(FieldFault::TooLong(200)));
    assert_eq!(FullName::new(" \u{3000} "), Err(FieldFault::Blank));
    for wrong in ["a\nb", "a\0", "\u{7f}", "a\u{85}"] {
        assert_eq!(FullName::new(wrong), Err(FieldFault::Control), "{wrong:?}");
    }
}

#[test]
fn the_forms_of_a_name_are_one() {
    assert_eq!(fold("HERSHEL"), "hershel");
    assert_eq!(fold("R\u{e9}mi"), fold("Re\u{301}mi"));
    // The kelvin sign is a K.
    assert_eq!(fold("\u{212a}evin"), "kevin");
    assert_ne!(fold("remi"), fold("r\u{e9}mi"));
}

#[test]
fn an_account_speaks_with_its_id_and_without_role_or_organization() {
    let account = Account {
        id: AccountId::parse("a1b2c3d4-5678-9abc-def0-123456789abc").unwrap(),
        token_api: "accounts".into(),
        username: Username::new("Hershel").unwrap(),
        email: Email::new("h@b.example").unwrap(),
        full_name: FullName::new("H").unwrap(),
        created_at: Timestamp::from_unix_millis(0),
        is_disabled: false,
        revision: 0,
    };
    let identity = Identity {
        subject: "a1b2c3d4-5678-9abc-def0-123456789abc".into(),
        username: Some("Hershel".into()),
        organization: None,
        role: None,
        email: Some("h@b.example".into()),
    };
    assert_eq!(account.identity(), identity);
    assert_eq!(AccountId::parse("A1B2C3D4-5678-9abc-def0-123456789abc"), Some(account.id));
    assert_eq!(AccountId::parse("a1b2c3d456789abcdef0123456789abc"), None);
}
