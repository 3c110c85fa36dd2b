//! The OpenAPI 3.1 document of all mounted token APIs, made from the faces: each says what its
//! calls are, and which of the errors it can answer. How an error looks is asked of the face
//! itself, so the document shows the very bytes.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::face::{CredentialNeed, Face, FaceError};

#[cfg(test)]
mod tests;

/// A token API, as far as the document tells of it.
#[derive(Clone, Copy)]
pub struct Mounted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it is: a pattern, without a slash at its end.
    pub mount: &'a str,
    /// The contract that it speaks.
    pub face: &'a dyn Face,
}

/// One call of a face.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What it is called within the face.
    pub id: &'static str,
    /// The method.
    pub method: Method,
    /// The path below the mount: one of [`Face::paths`].
    pub path: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What else there is to know.
    pub description: &'static str,
    /// The parameters of the path, in order.
    pub parameters: Vec<Parameter>,
    /// What is sent, if anything.
    pub body: Option<RequestBody>,
    /// What is answered when it is done.
    pub success: Success,
    /// The errors that are this call's own, one of each kind. Those that every call of a token API
    /// has are not here.
    pub errors: Vec<FaceError>,
}

/// A parameter of a path.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// As in the path.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// Its JSON Schema.
    pub schema: Value,
}

/// The body of a request, always JSON.
#[derive(Clone, Debug)]
pub struct RequestBody {
    /// Whether it can be left out.
    pub is_optional: bool,
    /// What is in it.
    pub schema: Schema,
}

/// A JSON Schema with a name, which is unique over all faces.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The name.
    pub name: &'static str,
    /// The schema.
    pub schema: Value,
}

/// The answer to a call that was done.
#[derive(Clone, Debug)]
pub struct Success {
    /// The status.
    pub status: StatusCode,
    /// In a few words.
    pub description: &'static str,
    /// What is in it; `None`: nothing.
    pub schema: Option<Schema>,
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

const SCHEME: &str = "HTTPBearer";
const PROBLEM: &str = "Problem";

/// The document.
#[must_use]
pub fn document(token_apis: &[Mounted<'_>]) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    schemas.insert(PROBLEM.into(), problem());
    for api in token_apis {
        let error = api.face.error_schema();
        schemas.insert(error.name.into(), error.schema);
        for operation in api.face.describe() {
            let path = format!("{}{}", api.mount, operation.path);
            let method = operation.method.as_str().to_ascii_lowercase();
            let described = describe(api, error.name, operation, &mut schemas);
            if let Some(path) = paths.entry(path).or_insert_with(|| json!({})).as_object_mut() {
                path.insert(method, described);
            }
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "keyward",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The token APIs: they issue, list and revoke the tokens that open the \
                            routes behind this proxy.",
        },
        "servers": [{ "url": "/" }],
        "tags": token_apis.iter().map(|api| json!({ "name": api.name })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                SCHEME: { "type": "http", "scheme": "bearer", "description": "The token only, \
                 without `Bearer` before it." },
            },
        },
    })
}

/// What keyward says where no token API has been asked yet (RFC 9457).
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["title", "status", "detail", "request_id"],
        "properties": {
            "title": text(), "status": { "type": "integer" }, "detail": text(), "request_id": text(),
        },
    })
}

fn describe(
    api: &Mounted<'_>,
    error: &str,
    operation: Operation,
    schemas: &mut Map<String, Value>,
) -> Value {
    let needs_credential = api.face.credential(operation.path) != CredentialNeed::None;
    let mut described = json!({
        "tags": [api.name],
        "operationId": format!("{}.{}", api.name, operation.id),
        "summary": operation.summary,
        "description": operation.description,
    });
    let Some(members) = described.as_object_mut() else { return described };
    let mount = mount_parameters(api.mount).map(|name| {
        parameter(
            name,
            "As the caller's credential says it: any other is refused.",
            json!({ "type": "string", "minLength": 1 }),
        )
    });
    let own = operation
        .parameters
        .iter()
        .map(|own| parameter(own.name, own.description, own.schema.clone()));
    let parameters: Vec<_> = mount.chain(own).collect();
    if !parameters.is_empty() {
        members.insert("parameters".into(), parameters.into());
    }
    let responses = responses(api, error, &operation, needs_credential, schemas);
    if let Some(body) = operation.body {
        let content = json!({ "application/json": { "schema": reference(body.schema.name) } });
        members.insert(
            "requestBody".into(),
            json!({ "required": !body.is_optional, "content": content }),
        );
        schemas.insert(body.schema.name.into(), body.schema.schema);
    }
    members.insert("responses".into(), responses);
    let security = if needs_credential { json!([{ SCHEME: [] }]) } else { json!([]) };
    members.insert("security".into(), security);
    described
}

/// The names of the parameters in a mount.
fn mount_parameters(mount: &str) -> impl Iterator<Item = &str> {
    mount.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn parameter(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Everything that a call can answer, by status.
fn responses(
    api: &Mounted<'_>,
    error: &str,
    operation: &Operation,
    needs_credential: bool,
    schemas: &mut Map<String, Value>,
) -> Value {
    let mut errors =
        vec![FaceError::BodyBroken, FaceError::BodyTooSlow, FaceError::BodyTooLarge(64 * 1024)];
    if needs_credential {
        errors.extend([
            FaceError::AmbiguousCredential,
            FaceError::NoCredential,
            FaceError::BadCredential,
        ]);
        if mount_parameters(api.mount).next().is_some() {
            errors.push(FaceError::ForeignMount);
        }
    }
    errors.extend(operation.errors.iter().cloned());
    errors.extend([FaceError::Unavailable, FaceError::Internal]);
    // In the order of the statuses.
    let mut refused: BTreeMap<u16, Refused> = BTreeMap::new();
    for fault in &errors {
        let answer = api.face.refuse(&operation.method, operation.path, fault);
        let example = answer
            .body
            .as_deref()
            .and_then(|body| serde_json::from_slice(body).ok())
            .unwrap_or_default();
        let refused = refused.entry(answer.status.as_u16()).or_default();
        refused.is_of_face = true;
        if !refused.examples.contains(&example) {
            refused.examples.push(example);
        }
    }
    // What is wrong with the request line or the head is refused before anybody asks whose call it
    // is.
    for status in [400, 404, 408, 414, 417, 431] {
        refused.entry(status).or_default().is_of_gateway = true;
    }
    let mut responses = Map::new();
    let mut success = json!({ "description": operation.success.description });
    if let (Some(schema), Some(success)) = (&operation.success.schema, success.as_object_mut()) {
        success.insert(
            "content".into(),
            json!({ "application/json": { "schema": reference(schema.name) } }),
        );
        schemas.insert(schema.name.into(), schema.schema.clone());
    }
    responses.insert(operation.success.status.as_str().into(), success);
    for (status, refused) in refused {
        responses.insert(status.to_string(), refused.described(status, error));
    }
    responses.into()
}

/// What is known of one status other than that of success.
#[derive(Default)]
struct Refused {
    examples: Vec<Value>,
    is_of_face: bool,
    is_of_gateway: bool,
}

impl Refused {
    fn described(self, status: u16, error: &str) -> Value {
        let mut content = Map::new();
        if self.is_of_face {
            let examples = self.examples.into_iter().enumerate();
            let examples: Map<_, _> = examples
                .map(|(at, value)| ((at + 1).to_string(), json!({ "value": value })))
                .collect();
            content.insert(
                "application/json".into(),
                json!({ "schema": reference(error), "examples": examples }),
            );
        }
        if self.is_of_gateway {
            content
                .insert("application/problem+json".into(), json!({ "schema": reference(PROBLEM) }));
        }
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let mut described =
            json!({ "description": reason.unwrap_or_default(), "content": content });
        let header = match status {
            401 => Some(("WWW-Authenticate", text())),
            429 | 503 => Some(("Retry-After", json!({ "type": "integer", "minimum": 1 }))),
            _ => None,
        };
        if let (Some((name, schema)), Some(described)) = (header, described.as_object_mut()) {
            described
                .insert("headers".into(), json!({ name: { "required": true, "schema": schema } }));
        }
        described
    }
}
