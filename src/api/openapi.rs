//! The OpenAPI 3.1 document of all mounted token APIs, made from the faces: each says what its
//! calls are, and which of the errors it can answer. How an error looks is asked of the face
//! itself, so the document shows the very bytes.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::face::{CredentialNeed, Face};
use super::face_error::FaceError;
use super::operation::Operation;
use super::schema::text;
use crate::wire::path;

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
    mount.split('/').filter_map(path::parameter_name)
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
    // A faulty request line or head is refused before the caller is authenticated.
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
