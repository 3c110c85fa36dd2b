//! The OpenAPI 3.1 document of all mounted token APIs. The faces describe their calls, and make the
//! examples of errors with the code that answers them.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::face::{CredentialNeed, Face};
use super::face_error::FaceError;
use super::operation::Operation;
use super::schema::{Schema, text};
use crate::wire::path;

#[cfg(test)]
mod tests;

/// A token API to describe.
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
                SCHEME: {
                    "type": "http", "scheme": "bearer",
                    "description": "The token only, without `Bearer` before it.",
                },
            },
        },
    })
}

/// The body of an error that the gateway answers before a token API is asked (RFC 9457).
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["title", "status", "detail", "request_id"],
        "properties": {
            "title": text(), "status": { "type": "integer" }, "detail": text(), "request_id": text(),
        },
    })
}

/// The description of one call. The schemas that it refers to are added to `schemas`.
fn describe(
    api: &Mounted<'_>,
    error: &str,
    operation: Operation,
    schemas: &mut Map<String, Value>,
) -> Value {
    let needs_credential = api.face.credential(operation.path) != CredentialNeed::None;
    let mut refer = |schema: Schema| {
        schemas.insert(schema.name.into(), schema.schema);
        json!({ "application/json": { "schema": reference(schema.name) } })
    };
    let mount = mount_parameters(api.mount).map(|name| {
        parameter(
            name,
            "As the caller's credential says it: any other is refused.",
            &json!({ "type": "string", "minLength": 1 }),
        )
    });
    let own = operation.parameters.iter();
    let own = own.map(|own| parameter(own.name, own.description, &own.schema));
    let parameters: Vec<_> = mount.chain(own).collect();
    let errors = errors(api, error, &operation, needs_credential);
    let success = without_nulls(json!({
        "description": operation.success.description,
        "content": operation.success.body.map(&mut refer),
    }));
    let mut responses = Map::new();
    responses.insert(operation.success.status.as_str().into(), success);
    responses.extend(errors);
    let body = operation
        .body
        .map(|body| json!({ "required": !operation.is_body_optional, "content": refer(body) }));
    without_nulls(json!({
        "tags": [api.name],
        "operationId": format!("{}.{}", api.name, operation.id),
        "summary": operation.summary,
        "description": operation.description,
        "parameters": (!parameters.is_empty()).then_some(parameters),
        "requestBody": body,
        "responses": responses,
        "security": if needs_credential { json!([{ SCHEME: [] }]) } else { json!([]) },
    }))
}

/// An object without the members that are null.
fn without_nulls(mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    object
}

/// The names of the parameters in a mount.
fn mount_parameters(mount: &str) -> impl Iterator<Item = &str> {
    mount.split('/').filter_map(path::parameter_name)
}

fn parameter(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The answers of one status other than that of success.
#[derive(Default)]
struct Refused {
    /// The bodies of the face; empty: only the gateway answers this status.
    examples: Vec<Value>,
    is_of_gateway: bool,
}

/// Every error that a call can answer, by status in ascending order.
fn errors(
    api: &Mounted<'_>,
    error: &str,
    operation: &Operation,
    needs_credential: bool,
) -> Vec<(String, Value)> {
    let mut errors =
        vec![FaceError::BodyBroken, FaceError::BodyTooSlow, FaceError::BodyTooLarge(64 * 1024)];
    if needs_credential {
        errors.extend([
            FaceError::AmbiguousCredential,
            FaceError::NoCredential,
            FaceError::BadCredential,
            FaceError::RateLimited { retry_after_seconds: 60 },
        ]);
        if mount_parameters(api.mount).next().is_some() {
            errors.push(FaceError::ForeignMount);
        }
    }
    errors.extend(operation.errors.iter().cloned());
    errors.extend([FaceError::Unavailable, FaceError::Overloaded, FaceError::Internal]);
    let mut refused: BTreeMap<u16, Refused> = BTreeMap::new();
    for fault in &errors {
        let answer = api.face.refuse(&operation.method, operation.path, fault);
        let body = answer.body.unwrap_or_default();
        let example = serde_json::from_slice(&body).unwrap_or_default();
        let examples = &mut refused.entry(answer.status.as_u16()).or_default().examples;
        if !examples.contains(&example) {
            examples.push(example);
        }
    }
    // A faulty request line or head is refused before the caller is authenticated.
    for status in [400, 404, 408, 414, 417, 431] {
        refused.entry(status).or_default().is_of_gateway = true;
    }
    refused
        .into_iter()
        .map(|(status, refused)| (status.to_string(), refused.described(status, error)))
        .collect()
}

impl Refused {
    fn described(self, status: u16, error: &str) -> Value {
        let examples: Map<_, _> = (1..)
            .zip(self.examples)
            .map(|(number, value)| (number.to_string(), json!({ "value": value })))
            .collect();
        let of_face = (!examples.is_empty())
            .then(|| json!({ "schema": reference(error), "examples": examples }));
        let of_gateway = self.is_of_gateway.then(|| json!({ "schema": reference(PROBLEM) }));
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let header = match status {
            401 => Some(("WWW-Authenticate", text())),
            429 | 503 => Some(("Retry-After", json!({ "type": "integer", "minimum": 1 }))),
            _ => None,
        };
        without_nulls(json!({
            "description": reason.unwrap_or_default(),
            "content": without_nulls(json!({
                "application/json": of_face,
                "application/problem+json": of_gateway,
            })),
            "headers": header.map(|(name, schema)| {
                json!({ name: { "required": true, "schema": schema } })
            }),
        }))
    }
}
