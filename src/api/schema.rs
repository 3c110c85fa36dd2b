//! JSON Schemas of what faces take and answer.

use serde_json::{Map, Value, json};

/// A JSON Schema with a name, which is unique over all faces.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The name.
    pub name: &'static str,
    /// The schema.
    pub schema: Value,
}

impl Schema {
    /// An object with exactly these members, each of which is there.
    pub(super) fn exactly<const N: usize>(
        name: &'static str,
        members: [(&'static str, Value); N],
    ) -> Self {
        let mut schema = object(members);
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("additionalProperties".into(), false.into());
        }
        Self { name, schema }
    }
}

/// The schema of an object with these members, each of which must be there; others may be.
pub(super) fn object<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    let required: Vec<_> = members.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        members.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

/// The schema of an id.
pub(super) fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

/// The schema of a moment.
pub(super) fn moment() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// The schema of a string.
pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

/// The schema of [`FieldReport`](super::field_report::FieldReport)s, or of words in their place.
pub(super) fn detail() -> Value {
    let report = object([
        ("loc", json!({ "type": "array", "items": { "type": "string" } })),
        ("msg", text()),
        ("type", text()),
    ]);
    object([("detail", json!({ "oneOf": [text(), { "type": "array", "items": report }] }))])
}
