use super::*;

#[test]
fn a_password_is_counted_in_characters_and_shows_nothing() {
    let new = |text: &str| NewPassword::new(Password::presented(text.into()));
    assert_eq!(new("1234567"), Err(FieldFault::TooShort(8)));
    assert_eq!(new(&"ü".repeat(129)), Err(FieldFault::TooLong(128)));
    assert!(
        new(&"\u{1f600}".repeat(8)).is_ok()
            && new(&"\u{1f600}".repeat(128)).is_ok()
            && new(&" ".repeat(8)).is_ok()
    );
    let shown =
        format!("{:?} {:?}", new("canary-canary").unwrap(), Password::presented("canary".into()));
    assert_eq!(shown, "NewPassword(Password([secret])) Password([secret])");
    assert_eq!(Password::presented("a".into()), Password::presented("a".into()));
    assert_ne!(Password::presented("a".into()), Password::presented("b".into()));
    assert_ne!(Password::presented("a".into()), Password::presented("aa".into()));
}

fn prepared(text: &str) -> Result<String, FieldFault> {
    let prepared = Password::presented(text.into()).prepared()?;
    Ok(String::from_utf8(prepared.expose().to_vec()).unwrap())
}

#[test]
fn what_is_typed_in_different_forms_is_one_password() {
    for (typed, form) in [
        ("correct horse", "correct horse"),
        ("cafe\u{301} au lait", "caf\u{e9} au lait"),
        ("caf\u{e9} au lait", "caf\u{e9} au lait"),
        // Marks in another order, two at once, and syllables of Hangul.
        ("q\u{307}\u{323}", "q\u{323}\u{307}"),
        ("o\u{302}\u{301}", "\u{1ed1}"),
        ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
        // Characters with a canonical equivalent: ohm, kelvin, angstrom.
        ("\u{2126}\u{212a}\u{212b}", "\u{3a9}K\u{c5}"),
        // What is never composed.
        ("\u{958}", "\u{915}\u{93c}"),
    ] {
        assert_eq!(prepared(typed), Ok(form.into()), "{typed:?}");
        assert_eq!(prepared(form), Ok(form.into()), "{form:?}");
    }
    for space in [
        "\u{a0}", "\u{1680}", "\u{2000}", "\u{2003}", "\u{200a}", "\u{202f}", "\u{205f}",
        "\u{3000}",
    ] {
        assert_eq!(prepared(&format!("{space}a{space}b{space}")), Ok(" a b ".into()), "{space:?}");
    }
}

#[test]
fn what_differs_otherwise_stays_different() {
    // Case, width, ligatures, what is not seen, and emoji with what belongs to them.
    for text in [
        "Pass",
        "\u{ff30}\u{ff41}",
        "\u{fb01}",
        "\u{2460}",
        "a\u{200b}b",
        "\u{2764}\u{fe0f}",
        "\u{1f468}\u{200d}\u{1f469}",
        "\u{feff}a",
        "\u{10fffe}",
    ] {
        assert_eq!(prepared(text), Ok(text.into()), "{text:?}");
    }
}

#[test]
fn control_characters_are_in_no_password() {
    for wrong in [
        "a\0", "a\tb", "a\nb", "a\r", "\u{1b}", "\u{7f}", "\u{85}", "\u{9f}", "\u{2028}",
        "\u{2029}",
    ] {
        assert_eq!(prepared(wrong), Err(FieldFault::Control), "{wrong:?}");
        let long = format!("correct horse {wrong}");
        assert_eq!(
            NewPassword::new(Password::presented(long)),
            Err(FieldFault::Control),
            "{wrong:?}"
        );
    }
}

#[test]
fn a_password_is_counted_in_the_form_that_is_hashed() {
    let new = |text: &str| NewPassword::new(Password::presented(text.into()));
    // Four and eight letters with their marks.
    assert_eq!(new(&"e\u{301}".repeat(7)), Err(FieldFault::TooShort(8)));
    assert_eq!(new(&"e\u{301}".repeat(128)), new(&"\u{e9}".repeat(128)));
    assert!(new(&"e\u{301}".repeat(128)).is_ok());
    assert_eq!(new(&"e\u{301}".repeat(129)), Err(FieldFault::TooLong(128)));
    // One that becomes two.
    assert_eq!(new(&"\u{958}".repeat(65)), Err(FieldFault::TooLong(128)));
    assert_eq!(new(""), Err(FieldFault::TooShort(8)));
    assert_eq!(new(&"\u{390}".repeat(20_000)), Err(FieldFault::TooLong(128)));
    // The longest that may be typed.
    let typed = "\u{3b9}\u{308}\u{301}".repeat(128);
    assert!(new(&typed).is_ok() && typed.len() <= NewPassword::MOST_BYTES);
}

#[test]
fn preparing_never_moves_what_must_be_wiped() {
    for text in ["\u{958}", "\u{fb2c}", "\u{1d160}", "\u{390}", "\u{1f82}", "\u{3000}"] {
        let many = text.repeat(1000);
        let form = Password::presented(many.clone()).prepared().unwrap();
        assert!(form.expose().len() <= many.len() * NFC_GROWTH, "{text:?}");
    }
}
