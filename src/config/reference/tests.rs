//! The reference and the schema, held against the files in the repository and against the reader.

mod validator;

use serde_json::{Value, json};
use validator::is_valid;

use super::{markdown, schema};
use crate::config::parse;
use crate::config::tables::Root;
use crate::config::tests::example::{EXAMPLE, tree, whole};
use crate::settings::Settings as _;
use crate::settings::describe::{Description, Shape};
use crate::settings::typed::{self, Table};

const PAGE: &str = include_str!("../../../docs/configuration.md");

fn parsed_schema() -> Value {
    serde_json::from_str(&schema()).expect("JSON")
}

/// A file as JSON.
fn json_of(table: &Table) -> Value {
    fn value(typed: &typed::Value) -> Value {
        match typed {
            typed::Value::Text { value, typed } => typed.as_ref().unwrap_or(value).clone().into(),
            typed::Value::Integer { value, .. } => (*value).into(),
            typed::Value::Float(typed) => typed.parse::<f64>().expect("a number").into(),
            typed::Value::Boolean(boolean) => (*boolean).into(),
            typed::Value::Array(items) => items.iter().map(|item| value(&item.value)).collect(),
            typed::Value::Table(table) => json_of(table),
            other => panic!("{other:?} stands in no configuration"),
        }
    }
    table.entries.iter().map(|entry| (entry.key.clone(), value(&entry.node.value))).collect()
}

#[test]
fn the_page_is_what_the_program_writes() {
    assert!(
        markdown() == PAGE,
        "docs/configuration.md is out of date: keyward schema --markdown > docs/configuration.md"
    );
}

#[test]
fn lines_of_the_page_have_at_most_100_columns() {
    let long: Vec<_> = PAGE.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(long.is_empty(), "{long:#?}");
}

fn each_key(table: &Description, path: &str, see: &mut dyn FnMut(&str, &str, &Shape)) {
    for key in &table.keys {
        let below = format!("{path}/{}", key.name);
        see(&below, &key.text, &key.shape);
        if let Some(inner) = key.shape.table() {
            each_key(inner, &below, see);
        }
    }
}

#[test]
fn every_key_is_on_the_page_with_what_it_means() {
    each_key(&Root::description(), "", &mut |path, text, shape| {
        let name = path.rsplit('/').next().unwrap_or_default();
        // At the top the text is that of the table.
        if path.matches('/').count() > 1 {
            assert!(PAGE.contains(&format!("\n* **`{name}`** (")), "{path}");
            assert!(text.ends_with(['.', ':']), "{path}: {text:?}");
        } else {
            assert!(shape.table().is_some_and(|table| !table.text.is_empty()), "{path}");
        }
    });
}

#[test]
fn every_key_is_in_the_schema() {
    let schema = parsed_schema();
    let mut count = 0;
    each_key(&Root::description(), "", &mut |path, _, _| {
        let mut found = &schema;
        for name in path.split('/').skip(1) {
            // An array of tables has them as its items, and what may be either has both.
            let items = &found["items"];
            let table = [&found["anyOf"][0], items, &items["anyOf"][1], found]
                .into_iter()
                .find(|schema| schema["properties"].is_object());
            found =
                &table.unwrap_or_else(|| panic!("{path}: no table in {found}"))["properties"][name];
        }
        assert!(found["description"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
        count += 1;
    });
    assert!(count > 120, "{count}");
}

#[test]
fn defaults_are_of_their_own_kind() {
    let schema = parsed_schema();
    fn look(schema: &Value, root: &Value, count: &mut usize) {
        match schema {
            Value::Object(members) => {
                if let (Some(default), false) =
                    (members.get("default"), members.contains_key("$defs"))
                {
                    assert!(is_valid(default, schema, root), "{default} against {schema}");
                    *count += 1;
                }
                members.values().for_each(|member| look(member, root, count));
            }
            Value::Array(items) => items.iter().for_each(|item| look(item, root, count)),
            _ => {}
        }
    }
    let mut count = 0;
    look(&schema, &schema, &mut count);
    assert!(count > 60, "{count}");
}

#[test]
fn the_example_is_valid_by_the_schema() {
    let schema = parsed_schema();
    assert!(is_valid(&json_of(&tree(EXAMPLE)), &schema, &schema));
    let folder = tempfile::tempdir().unwrap();
    assert!(is_valid(&json_of(&whole(folder.path())), &schema, &schema));
}

/// What the reader refuses for one key or for a rule that is declared, the schema refuses, too.
#[test]
fn wrong_files_are_invalid_by_the_schema() {
    let schema = parsed_schema();
    let wrong = |lines: &str| {
        let text = format!("{EXAMPLE}\n{lines}\n");
        assert!(parse(&text, "k.toml", &|_| None).is_err(), "the reader takes {lines}");
        assert!(!is_valid(&json_of(&tree(&text)), &schema, &schema), "{lines}");
    };
    for lines in [
        "[[upstream]]\nendpoints = ['http://a']",
        "[[upstream]]\nname = 'a'\nendpoints = []",
        "[[upstream]]\nname = 'a'\nendpoints = ['http://a', 'http://a']",
        "[[upstream]]\nname = 'a'\nendpoints = ['http://a']\nunknown = 1",
        "[[upstream]]\nname = 'a'\nendpoints = ['http://a']\nidle_timeout = 4",
        "[[upstream]]\nname = 'a'\nendpoints = ['http://a']\nidle_timeout = '4'",
        "[[upstream]]\nname = 'a'\nendpoints = ['http://a']\nidle_connections = 10001",
        "[[upstream]]\nname = 'a'\nendpoints = ['http://a']\npreserve_host = 'yes'",
        "[[upstream]]\nname = 'a'\nendpoints = ['http://a']\nprotocol = 'http3'",
        "[[listener]]\naddress = '127.0.0.1:1'\ntls = []",
        "[[listener]]\naddress = '127.0.0.1:1'\ntls = { certificate = 'a' }",
        "[[token_api]]\nname = 'x'\nstyle = 'allowlist-jwt'\nmount = '/x'\nsession = '1h'",
        "[[issuer]]\nname = 'i'\nissuer = 'https://i'\nrequired_claims = { a = 1.5 }",
        "[[route]]\npath = '/a'\nupstream = 'app'\naccept = ['accounts']\nrequire.role = 'admin'",
        "[unknown]",
    ] {
        wrong(lines);
    }
    let store = |keys: Value| is_valid(&json!({ "store": keys }), &schema, &schema);
    let redis = |more: Value| {
        let mut keys = json!({ "kind": "redis", "url": "redis://a" });
        keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        store(keys)
    };
    assert!(store(json!({})) && store(json!({ "path": "a" })) && redis(json!({})));
    for keys in [json!({ "url": "redis://a" }), json!({ "kind": "redis" })] {
        assert!(!store(keys.clone()), "{keys}");
    }
    for (keys, is_right) in [
        (json!({ "path": "a" }), false),
        (json!({ "password": "a", "password_file": "b" }), false),
        (json!({ "client_key_file": "a" }), false),
        (json!({ "client_key_file": "a", "client_certificate_file": "b" }), true),
        (json!({ "max_staleness": "30s" }), false),
        (json!({ "max_staleness": "30s", "on_outage": "serve_cached" }), true),
        (json!({ "topology": "sentinel" }), false),
        (json!({ "topology": "sentinel", "sentinel_master": "m" }), true),
    ] {
        assert_eq!(redis(keys.clone()), is_right, "{keys}");
    }
}

#[test]
fn a_string_with_a_variable_is_valid_where_a_string_can_stand() {
    let schema = parsed_schema();
    let valid = |file: Value| is_valid(&file, &schema, &schema);
    assert!(valid(
        json!({ "log": { "level": "${LEVEL}" }, "timeouts": { "idle": "${IDLE:-5s}" } })
    ));
    assert!(valid(json!({ "store": { "kind": "${KIND}", "url": "${URL}" } })));
    assert!(valid(json!({ "limits": { "head": "${HEAD}" } })));
    assert!(!valid(json!({ "limits": { "headers": "${HEADERS}" } })));
}
