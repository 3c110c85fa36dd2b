//! Every key meets every wrong type, and the fault names the key.

use super::example::{change, paths, resolved, tree, uncommented, whole};
use crate::settings::typed::{Node, Value};

/// Keys of the user's own choosing, whose values may have several types.
fn is_free(path: &str, value: &Value) -> bool {
    let below = |key| path.strip_prefix(key);
    if path.starts_with("route.when.headers.") || path.starts_with("route.when.query.") {
        return matches!(value, Value::Boolean(_));
    }
    match below("issuer.required_claims").or_else(|| below("route.require.claims")) {
        Some("") => matches!(value, Value::Table(_)),
        Some(_) => matches!(
            value,
            Value::Integer { value: Some(_), .. } | Value::Boolean(_) | Value::Table(_)
        ),
        None => false,
    }
}

/// One value of each type.
fn one_of_each() -> Vec<(&'static str, Value)> {
    let table = tree("v = { surprise = 1 }").entries.remove(0).node.value;
    let array = tree("v = [[]]").entries.remove(0).node.value;
    vec![
        ("a string", Value::Text { value: "\u{1}".to_owned(), typed: None }),
        ("an integer", Value::Integer { value: Some(-7), typed: "-7".to_owned() }),
        ("a huge integer", Value::Integer { value: None, typed: "9".repeat(30) }),
        ("a float", Value::Float("nan".to_owned())),
        ("a date", Value::Datetime("1979-05-27".to_owned())),
        ("a boolean", Value::Boolean(true)),
        ("an array", array),
        ("a table", table),
    ]
}

#[test]
fn a_value_of_the_wrong_type_is_a_fault_that_names_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let whole = whole(folder.path());
    let text = uncommented();
    for path in paths(&whole) {
        let key = path.rsplit('.').next().unwrap();
        for (what, value) in one_of_each() {
            if is_free(&path, &value) {
                continue;
            }
            let mut wrong = whole.clone();
            let mut replaced = None;
            change(&mut wrong, &path, &mut |entry| {
                replaced = Some(std::mem::replace(&mut entry.node.value, value.clone()));
                true
            });
            // The right type, except that no string here may hold a control character.
            if matches!((replaced.unwrap(), &value), (Value::Boolean(_), Value::Boolean(_))) {
                continue;
            }
            let faults = resolved(wrong, &text).expect_err(&format!("{path} as {what}"));
            // A table is looked into: then the fault is about what stands in it.
            let named = faults.contains(key) || faults.contains("surprise");
            assert!(named, "{path} as {what}: {faults}");
        }
    }
}

#[test]
fn an_item_of_the_wrong_type_is_a_fault_that_names_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let whole = whole(folder.path());
    let text = uncommented();
    let mut lists = 0;
    for path in paths(&whole) {
        let key = path.rsplit('.').next().unwrap();
        for (what, value) in one_of_each().into_iter().skip(1) {
            let mut wrong = whole.clone();
            let mut pushed = false;
            change(&mut wrong, &path, &mut |entry| {
                let at = entry.node.at;
                if let Value::Array(items) = &mut entry.node.value {
                    items.push(Node { at, value: value.clone() });
                    pushed = true;
                }
                true
            });
            if !pushed {
                continue;
            }
            lists += 1;
            let faults = resolved(wrong, &text).expect_err(&format!("{path} with {what}"));
            assert!(
                faults.contains(&format!("each item of {key:?}")) || faults.contains("surprise"),
                "{path} with {what}: {faults}"
            );
        }
    }
    assert!(lists > 0);
}
