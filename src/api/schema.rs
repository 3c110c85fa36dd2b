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

    /// With a member that is not always there.
    pub(super) fn with_optional(self, name: &str, member: Value) -> Self {
        Self { schema: with_optional(self.schema, name, member), ..self }
    }

    /// A list of these.
    pub(super) fn list(self, name: &'static str) -> Self {
        Self { name, schema: array(self.schema) }
    }
}

/// The schema of an object with these members, each of which must be there; others may be.
pub(super) fn object<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    let required = members.each_ref().map(|(name, _)| *name);
    let properties = Map::from_iter(members.map(|(name, schema)| (name.to_owned(), schema)));
    json!({ "type": "object", "required": required.as_slice(), "properties": properties })
}

/// The schema of an object, with a member that is not always there.
pub(super) fn with_optional(mut object: Value, name: &str, member: Value) -> Value {
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(name.to_owned(), member);
    }
    object
}

/// The schema of an array.
pub(super) fn array(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// The schema of an id.
pub(super) fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

/// The schema of a time.
pub(super) fn moment() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// The schema of a string.
pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

/// The schema of `{"detail": …}` with what [`FaceError::detail`](super::FaceError::detail) makes.
pub(super) fn detail() -> Value {
    let report = object([("loc", array(text())), ("msg", text()), ("type", text())]);
    object([("detail", json!({ "oneOf": [text(), array(report)] }))])
}
