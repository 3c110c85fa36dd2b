//! As much of JSON Schema (2020-12) as the schema of the configuration uses. A keyword that is not
//! known is a failure, so that none is passed over.

use regex_automata::dfa::regex::Regex;
use serde_json::{Map, Value};

/// Whether a value is valid; `root` is where references lead.
pub(super) fn is_valid(value: &Value, schema: &Value, root: &Value) -> bool {
    match schema {
        Value::Bool(is_valid) => *is_valid,
        Value::Object(keywords) => {
            let holds = |(name, argument): (&String, &Value)| {
                keyword(name, argument, keywords, value, root)
            };
            keywords.iter().all(holds)
        }
        other => panic!("{other} is no schema"),
    }
}

fn keyword(
    name: &str,
    argument: &Value,
    beside: &Map<String, Value>,
    value: &Value,
    root: &Value,
) -> bool {
    let valid = |value: &Value, schema: &Value| is_valid(value, schema, root);
    let schemas = || argument.as_array().expect("schemas").iter();
    let names = || argument.as_array().expect("names").iter().map(|name| name.as_str().unwrap());
    match name {
        "$schema" | "$defs" | "title" | "description" | "default" | "then" => true,
        "$ref" => {
            let place = argument.as_str().and_then(|to| to.strip_prefix('#')).expect("in here");
            valid(value, root.pointer(place).expect("a definition"))
        }
        "type" => match argument {
            Value::Array(types) => types.iter().any(|of| is_of_type(value, of)),
            of => is_of_type(value, of),
        },
        "const" => value == argument,
        "enum" => argument.as_array().expect("values").contains(value),
        "anyOf" => schemas().any(|schema| valid(value, schema)),
        "allOf" => schemas().all(|schema| valid(value, schema)),
        "not" => !valid(value, argument),
        "if" => !valid(value, argument) || valid(value, &beside["then"]),
        "minimum" => value.as_i64().is_none_or(|number| number >= argument.as_i64().unwrap()),
        "maximum" => value.as_i64().is_none_or(|number| number <= argument.as_i64().unwrap()),
        "pattern" => value.as_str().is_none_or(|text| {
            Regex::new(argument.as_str().unwrap()).expect("a pattern").is_match(text)
        }),
        "items" => {
            value.as_array().is_none_or(|items| items.iter().all(|one| valid(one, argument)))
        }
        "minItems" => {
            value.as_array().is_none_or(|items| items.len() as u64 >= argument.as_u64().unwrap())
        }
        "uniqueItems" => value.as_array().is_none_or(|items| {
            items.iter().enumerate().all(|(at, item)| !items[..at].contains(item))
        }),
        "required" => {
            value.as_object().is_none_or(|members| names().all(|name| members.contains_key(name)))
        }
        "minProperties" => {
            value.as_object().is_none_or(|all| all.len() as u64 >= argument.as_u64().unwrap())
        }
        "properties" => value.as_object().is_none_or(|members| {
            let schemas = argument.as_object().expect("properties");
            schemas
                .iter()
                .all(|(name, schema)| members.get(name).is_none_or(|member| valid(member, schema)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|members| {
            let known = beside.get("properties").and_then(Value::as_object);
            let is_known = |name: &str| known.is_some_and(|known| known.contains_key(name));
            members.iter().all(|(name, member)| is_known(name) || valid(member, argument))
        }),
        "dependentSchemas" => value.as_object().is_none_or(|members| {
            let schemas = argument.as_object().expect("schemas");
            schemas.iter().all(|(name, schema)| !members.contains_key(name) || valid(value, schema))
        }),
        other => panic!("the keyword {other:?} is not known"),
    }
}

fn is_of_type(value: &Value, of: &Value) -> bool {
    match of.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the type {other:?} is not known"),
    }
}
