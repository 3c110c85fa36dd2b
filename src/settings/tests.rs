//! What a declaration promises: the struct, its default, the reading, and what is known of each
//! key.

use std::time::Duration;

use super::describe::{Order, Shape};
use super::fault::Findings;
use super::key::KindExt as _;
use super::kind::{boolean, duration, integer, text, words};
use super::list::{filled, one_or_list};
use super::section::read_file;
use super::settings;
use super::typed::{Entry, Node, Table, Value};
use super::units::seconds;
use super::{Secret, Settings as _};

settings! {
    /// A table
    /// of two lines.
    ///
    /// And a second paragraph.
    struct Sample {
        /// How many.
        count: u32 = integer(1..=9).or(3),
        /// Which.
        mode: bool = words(&[("on", true), ("off", false)]).or(false),
        /// Only while it is on.
        span: Duration = duration(seconds(1)..=seconds(9)).or(seconds(5)).only_with("mode", "on"),
        /// Shorter than the other.
        short: Duration = duration(seconds(0)..=seconds(9))
            .or(seconds(1))
            .compared(Order::Below, "span"),
        /// Must be there.
        name: Option<String> = text("a name", |text| Ok(text.to_owned())).required(),
        /// Of no use while it is off.
        plain: bool = boolean().or(true).useless_with("mode", &[("off", "it is off")]),
        /// With a name beside it.
        list: Option<Vec<String>> = filled(text("a word", |text| Ok(text.to_owned())))
            .unique()
            .optional()
            .needs(&["name"]),
        /// Not with a list.
        either: Option<Vec<String>> = one_or_list(text("a word", |text| Ok(text.to_owned())))
            .optional()
            .excludes("list"),
    }
}

fn value(text: &str) -> Value {
    let array = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match (array, text.parse::<i64>(), text.parse::<bool>()) {
        (Some(items), ..) => {
            let items = items.split_whitespace().enumerate();
            Value::Array(items.map(|(at, item)| Node { at, value: value(item) }).collect())
        }
        (_, Ok(number), _) => Value::Integer { value: Some(number), typed: text.to_owned() },
        (_, _, Ok(boolean)) => Value::Boolean(boolean),
        _ => Value::Text { value: text.to_owned(), typed: None },
    }
}

/// Reads keys that are given as `key=value`, and returns the faults as well.
fn read(keys: &[&str]) -> (Sample, Vec<String>) {
    let entries = keys.iter().map(|key| {
        let (key, text) = key.split_once('=').expect("a key and a value");
        Entry { key: key.to_owned(), at: 0, node: Node { at: 0, value: value(text) } }
    });
    let findings = Findings::new("");
    let sample = read_file(&Table { entries: entries.collect() }, &findings);
    let faults = findings.conclude("").err();
    let messages = faults.iter().flat_map(|faults| faults.iter());
    (sample, messages.map(|fault| fault.message.clone()).collect())
}

#[test]
fn what_is_absent_has_its_default_and_what_is_typed_arrives() {
    let (sample, faults) = read(&["name=a"]);
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(sample, Sample { name: Some("a".to_owned()), ..Sample::default() });
    assert_eq!((sample.count, sample.mode, sample.span), (3, false, seconds(5)));
    let (sample, faults) =
        read(&["name=a", "count=9", "mode=on", "span=9s", "short=8s", "plain=false", "list=[x y]"]);
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!((sample.count, sample.mode, sample.plain), (9, true, false));
    assert_eq!((sample.span, sample.short), (seconds(9), seconds(8)));
    assert_eq!(sample.list, Some(vec!["x".to_owned(), "y".to_owned()]));
    assert_eq!(read(&["name=a", "either=x"]).0.either, Some(vec!["x".to_owned()]));
}

#[test]
fn every_rule_of_a_declaration_is_kept() {
    for (keys, expected) in [
        (&["coun=1"][..], "unknown key \"coun\"; did you mean \"count\"?"),
        (&[], "missing key \"name\" in the file: it must be a name"),
        (&["name=a", "count=10"], "\"count\" must be an integer from 1 to 9, found the integer 10"),
        (&["name=a", "mode=of"], "\"mode\" must be \"on\" or \"off\", found \"of\": did you mean"),
        (&["name=a", "span=2s"], "\"span\" is for \"mode\" \"on\", and \"mode\" is \"off\""),
        (&["name=a", "short=6s"], "\"short\" must be shorter than \"span\""),
        (&["name=a", "mode=on", "span=1s", "short=1s"], "\"short\" must be shorter than \"span\""),
        (&["name=a", "plain=true"], "\"plain\" is of no use here: it is off"),
        (&["list=[x]"], "\"list\" needs \"name\""),
        (&["name=a", "list=[]"], "\"list\" must not be empty: list at least one item"),
        (&["name=a", "list=[x x]"], "\"list\" lists \"x\" twice"),
        (&["name=a", "list=[x 1]"], "each item of \"list\" must be a word, found the integer 1"),
        (&["name=a", "list=[x]", "either=y"], "either \"list\" or \"either\", not both"),
    ] {
        let (_, faults) = read(keys);
        assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{keys:?}: {faults:?}");
    }
}

/// One fault hides no other, and none is said twice.
#[test]
fn a_slip_of_the_pen_is_one_fault() {
    assert_eq!(read(&["nam=a"]).1, ["unknown key \"nam\"; did you mean \"name\"?"]);
    // With a word that is none of them, nothing is said of the keys that are for another.
    let (_, faults) = read(&["name=a", "mode=x", "span=2s"]);
    assert_eq!(faults.len(), 1, "{faults:?}");
}

#[test]
fn the_description_says_what_was_declared() {
    let table = Sample::description();
    assert_eq!(table.text, "A table of two lines.\n\nAnd a second paragraph.");
    let key = |name| table.key(name).expect("declared");
    assert_eq!(
        (key("count").text.as_str(), key("count").default.as_deref()),
        ("How many.", Some("3"))
    );
    assert!(matches!(&key("count").shape, Shape::Integer(range) if *range == (1..=9)));
    assert_eq!(key("mode").default.as_deref(), Some("\"off\""));
    assert_eq!(key("span").default.as_deref(), Some("\"5s\""));
    assert_eq!((key("name").default.as_deref(), key("name").rules.is_required), (None, true));
}

#[test]
fn a_secret_shows_in_no_debug() {
    assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "[secret]");
}
