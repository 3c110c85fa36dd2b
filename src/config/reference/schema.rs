//! The JSON Schema (2020-12) of the file, for editors.
//!
//! It is as strict as a schema can be about a file whose strings may hold environment variables:
//! a string with `${` in it is let through wherever a string can stand.

use serde_json::{Map, Value, json};

use super::words::{is_required, rules_of, type_of};
use crate::config::tables::Root;
use crate::settings::Settings as _;
use crate::settings::describe::{Description, Key, Shape};

/// A string with an environment variable in it.
const VARIABLE: &str = r"\$\{|^\$CREDENTIALS_DIRECTORY";
const DURATION: &str = r"^([0-9]+(d|h|m|s|ms|us|ns))+$";
const SIZE: &str = r"^[0-9]+(B|KiB|MiB|GiB)$";
const OFF: &str = "^off$";

/// The schema, as JSON to read.
#[must_use]
pub fn schema() -> String {
    let mut schema = object(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "keyward.toml",
    }));
    schema.extend(table(&Root::description()));
    schema.insert("$defs".into(), definitions());
    format!("{:#}", Value::Object(schema))
}

fn definitions() -> Value {
    json!({
        "variable": {
            "description": "A string with an environment variable in it.",
            "type": "string",
            "pattern": VARIABLE,
        },
        "claim": {
            "anyOf": [
                { "type": ["string", "integer", "boolean"] },
                { "type": "array", "items": { "type": ["string", "integer", "boolean"] } },
                { "$ref": "#/$defs/claims" },
            ],
        },
        "claims": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": { "$ref": "#/$defs/claim" },
        },
    })
}

fn table(description: &Description) -> Map<String, Value> {
    let keys = &description.keys;
    let properties: Map<_, _> = keys.iter().map(|key| (key.name.into(), property(key))).collect();
    let mut schema = object(json!({
        "description": description.text,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    }));
    let required: Vec<_> = keys.iter().filter(|key| is_required(key)).map(|key| key.name).collect();
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    let rules: Vec<Value> = keys.iter().flat_map(|key| rules(key, description)).collect();
    if !rules.is_empty() {
        schema.insert("allOf".into(), rules.into());
    }
    schema
}

fn property(key: &Key) -> Value {
    let of_table = key.shape.table().map_or("", |table| table.text.as_str());
    let mut sentences = vec![if key.text.is_empty() { of_table } else { &key.text }.to_owned()];
    if is_string_with_grammar(&key.shape) {
        sentences.push(format!("It is a {}.", type_of(key)));
    }
    sentences.extend(rules_of(key));
    sentences.retain(|sentence| !sentence.is_empty());
    let mut schema = Map::new();
    if !sentences.is_empty() {
        schema.insert("description".into(), sentences.join(" ").into());
    }
    for (name, value) in shape(&key.shape) {
        schema.entry(name).or_insert(value);
    }
    // A default is spelled as in TOML, which for these values is as in JSON.
    let default = key.default.as_ref().and_then(|default| serde_json::from_str(default).ok());
    if let Some(default) = default {
        schema.insert("default".into(), default);
    }
    schema.into()
}

/// Whether a pattern alone does not say what may stand there.
const fn is_string_with_grammar(shape: &Shape) -> bool {
    matches!(shape, Shape::Duration(_) | Shape::Size(..) | Shape::OrOff(_) | Shape::Text(_))
}

fn shape(shape: &Shape) -> Map<String, Value> {
    let schema = match shape {
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Integer(range) => {
            json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
        }
        Shape::Duration(_) => string(DURATION),
        Shape::Size(..) => string(SIZE),
        Shape::OrOff(of) => match **of {
            Shape::Size(..) => string(&format!("{SIZE}|{OFF}")),
            _ => string(&format!("{DURATION}|{OFF}")),
        },
        Shape::Words(words) => {
            json!({ "anyOf": [{ "enum": words }, { "$ref": "#/$defs/variable" }] })
        }
        Shape::Text(_) => json!({ "type": "string" }),
        Shape::TextOrTable(_, description) => {
            json!({ "anyOf": [{ "type": "string" }, table(description)] })
        }
        Shape::List { item, is_filled, is_unique } => list(item, *is_filled, *is_unique),
        Shape::OneOrList(item) => {
            json!({ "anyOf": [self::shape(item), list(item, true, false)] })
        }
        Shape::Claims => {
            json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/claim" } })
        }
        Shape::Named(_, value) => {
            json!({ "type": "object", "additionalProperties": self::shape(value) })
        }
        Shape::Either(shapes) => {
            json!({ "anyOf": shapes.iter().map(self::shape).collect::<Vec<_>>() })
        }
        Shape::Table(description) => table(description).into(),
        Shape::Tables(description) => json!({ "type": "array", "items": table(description) }),
        Shape::OneOrTables(description) => {
            let one = Value::from(table(description));
            json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
        }
    };
    object(schema)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn string(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("{pattern}|{VARIABLE}") })
}

fn list(item: &Shape, is_filled: bool, is_unique: bool) -> Value {
    let mut schema = object(json!({ "type": "array", "items": shape(item) }));
    if is_filled {
        schema.insert("minItems".into(), 1.into());
    }
    if is_unique {
        schema.insert("uniqueItems".into(), true.into());
    }
    schema.into()
}

/// How a key goes together with others.
fn rules(key: &Key, description: &Description) -> Vec<Value> {
    let (name, rules) = (key.name, &key.rules);
    let forbidden = json!({ "properties": { name: false } });
    let mut schemas = Vec::new();
    if let Some((other, word)) = rules.only_with {
        let is_default = description
            .key(other)
            .and_then(|other| other.default.as_ref())
            .is_some_and(|default| default.trim_matches('"') == word);
        let is_there = if is_default { json!([]) } else { json!([other]) };
        let is_word =
            |value: Value| json!({ "properties": { other: value }, "required": is_there });
        if rules.is_required {
            let condition = is_word(json!({ "const": word }));
            schemas.push(json!({ "if": condition, "then": { "required": [name] } }));
        }
        let perhaps =
            is_word(json!({ "anyOf": [{ "const": word }, { "$ref": "#/$defs/variable" }] }));
        schemas.push(json!({ "if": { "not": perhaps }, "then": forbidden }));
    }
    if let Some((other, words)) = rules.useless_with {
        let words: Vec<_> = words.iter().map(|(word, _)| word).collect();
        let is_one = json!({ "properties": { other: { "enum": words } }, "required": [other] });
        schemas.push(json!({ "if": is_one, "then": forbidden }));
    }
    if !rules.needs.is_empty() {
        let one: Vec<_> = rules.needs.iter().map(|key| json!({ "required": [key] })).collect();
        schemas.push(json!({ "dependentSchemas": { name: { "anyOf": one } } }));
    }
    if let Some(other) = rules.excludes {
        let without = json!({ "not": { "required": [other] } });
        schemas.push(json!({ "dependentSchemas": { name: without } }));
    }
    schemas
}
