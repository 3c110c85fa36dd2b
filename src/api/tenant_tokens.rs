//! The `tenant-tokens` contract: opaque keys that speak for their owner in one tenant until a
//! stated date (seed 001, "API Tokens").
//!
//! What is wrong with a body is said as FastAPI says it, from which the seed is: always 422, also
//! for what is no JSON or not declared as JSON, with a list of all faults. Unlike there, the input
//! is not repeated. A date may be written in all the ways that [`Timestamp::parse_with_offset`]
//! knows; a number is none. An id that is no UUID is unknown, and so a 404.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::docs;
use super::face::{Answer, Call, Document, Face, is_json};
use super::face_error::FaceError;
use super::field_report::FieldReport;
use super::operation::{Operation, Parameter, RequestBody, Success};
use super::schema::{self, Schema};
use crate::domain::{DateFault, Record, Timestamp, TokenId};
use crate::tokens::command::{Command, CommandOutcome, TENANT_NAME_MAX_CHARS};
use crate::wire::json;

/// The contract.
#[derive(Clone, Copy, Debug, Default)]
pub struct TenantTokens;

const TOKENS: &str = "/{tenant_id}/tokens/";
const TOKEN: &str = "/{tenant_id}/tokens/{token_id}";

impl Face for TenantTokens {
    fn paths(&self) -> &'static [&'static str] {
        &[TOKENS, TOKEN]
    }

    fn allowed(&self, path: &str) -> &'static str {
        if path == TOKENS { "GET, HEAD, POST" } else { "DELETE" }
    }

    fn decode(&self, call: &Call<'_>) -> Result<Command, FaceError> {
        let tenant = call.parameter("tenant_id").unwrap_or_default().to_owned();
        match (call.method, call.path) {
            (&Method::POST, TOKENS) => {
                let (name, expires_at) = key(call)?;
                Ok(Command::IssueInTenant { tenant, name, expires_at })
            }
            (&Method::GET, TOKENS) => Ok(Command::ListInTenant { tenant }),
            (&Method::DELETE, TOKEN) => Ok(Command::RevokeInTenant {
                tenant,
                id: call.parameter("token_id").and_then(TokenId::parse),
            }),
            (_, path) => Err(FaceError::MethodNotAllowed(self.allowed(path))),
        }
    }

    fn encode(&self, outcome: &CommandOutcome) -> Answer {
        match outcome {
            CommandOutcome::Issued { token, record, .. } => {
                let mut body = listed(record);
                body.insert("token".into(), token.expose().into());
                answer(StatusCode::CREATED, &Value::Object(body))
            }
            CommandOutcome::Listed(keys) => {
                let keys = keys.iter().map(|key| Value::Object(listed(&key.record))).collect();
                answer(StatusCode::OK, &Value::Array(keys))
            }
            CommandOutcome::Revoked(_) => Answer {
                status: StatusCode::NO_CONTENT,
                body: None,
                allow: None,
                retry_after: None,
            },
            // No command of this face has these outcomes.
            CommandOutcome::NotFound(_)
            | CommandOutcome::AllRevoked { .. }
            | CommandOutcome::SoleShown(_)
            | CommandOutcome::SoleRenewed { .. }
            | CommandOutcome::SoleEnsured { .. }
            | CommandOutcome::SoleRevoked
            | CommandOutcome::Account(_) => error(&FaceError::Internal),
        }
    }

    fn refuse(&self, _method: &Method, _path: &'static str, fault: &FaceError) -> Answer {
        error(fault)
    }

    fn describe(&self) -> Vec<Operation> {
        let success = |status, description, schema| Success { status, description, schema };
        vec![
            Operation {
                id: "create",
                method: Method::POST,
                path: TOKENS,
                summary: "Create API Token",
                description: "Makes a key that speaks for the caller in this tenant. It is shown \
                              once, in this answer.",
                parameters: vec![tenant()],
                body: Some(RequestBody { is_optional: false, schema: new_key() }),
                success: success(
                    StatusCode::CREATED,
                    "The key and what is known of it",
                    Some(created()),
                ),
                errors: vec![
                    FaceError::ForeignTenant,
                    of_body(MISSING),
                    of_body(NO_OBJECT),
                    FaceError::BadFields(vec![FieldReport::of_body(
                        Some("name"),
                        MISSING.0,
                        MISSING.1,
                    )]),
                ],
            },
            Operation {
                id: "list",
                method: Method::GET,
                path: TOKENS,
                summary: "List API Tokens",
                description: "Names the caller's keys in this tenant, oldest first. The keys \
                              themselves are not shown again.",
                parameters: vec![tenant()],
                body: None,
                success: success(StatusCode::OK, "The caller's keys", Some(list())),
                errors: vec![FaceError::ForeignTenant],
            },
            Operation {
                id: "revoke",
                method: Method::DELETE,
                path: TOKEN,
                summary: "Revoke API Token",
                description: "When this has answered, the key opens nothing any more.",
                parameters: vec![
                    tenant(),
                    Parameter {
                        name: "token_id",
                        description: "The `id` of the key.",
                        schema: schema::uuid(),
                    },
                ],
                body: None,
                success: success(StatusCode::NO_CONTENT, "It is revoked", None),
                errors: vec![FaceError::ForeignTenant, FaceError::NoSuchToken],
            },
        ]
    }

    fn error_schema(&self) -> Schema {
        Schema { name: "TenantTokensError", schema: schema::detail() }
    }

    fn documents(&self, mount: &str, openapi: &Bytes) -> Vec<Document> {
        docs::documents(mount, openapi)
    }
}

fn tenant() -> Parameter {
    Parameter {
        name: "tenant_id",
        description: "A tenant of the caller, or `active`: the one that the caller acts for.",
        schema: json!({ "type": "string", "minLength": 1 }),
    }
}

fn new_key() -> Schema {
    let name = json!({
        "type": "string", "minLength": 1, "maxLength": TENANT_NAME_MAX_CHARS, "examples": ["my-api-token"],
    });
    let expiry_date = json!({
        "type": "string", "format": "date-time", "examples": ["2099-12-31T23:59:59Z"],
        "description": "When the key ends: in the future, with an offset.",
    });
    Schema {
        name: "NewTenantToken",
        schema: schema::object([("name", name), ("expiry_date", expiry_date)]),
    }
}

fn known() -> [(&'static str, Value); 3] {
    [("id", schema::uuid()), ("name", schema::text()), ("expiry_date", schema::moment())]
}

fn created() -> Schema {
    let [id, name, expiry_date] = known();
    Schema::exactly("CreatedTenantToken", [id, name, expiry_date, ("token", schema::text())])
}

fn list() -> Schema {
    let key = Schema::exactly("TenantToken", known());
    Schema { name: "TenantTokens", schema: json!({ "type": "array", "items": key.schema }) }
}

fn listed(record: &Record) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("id".into(), record.id.to_string().into());
    members.insert("name".into(), record.name.as_deref().unwrap_or_default().into());
    members.insert("expiry_date".into(), record.expires_at.map(Timestamp::to_rfc3339_zulu).into());
    members
}

fn error(error: &FaceError) -> Answer {
    let detail: Value = match error {
        FaceError::NoCredential => "Not authenticated".into(),
        FaceError::BadCredential => "Invalid token".into(),
        FaceError::BadFields(reports) => json!(reports),
        _ => error.to_string().into(),
    };
    let mut answer = answer(error.status(), &json!({ "detail": detail }));
    if let FaceError::MethodNotAllowed(methods) = error {
        answer.allow = Some(HeaderValue::from_static(methods));
    }
    answer
}

fn answer(status: StatusCode, body: &Value) -> Answer {
    Answer { status, body: Some(body.to_string().into_bytes()), allow: None, retry_after: None }
}

/// Name and date of a new key. Other members are not ours to read.
fn key(call: &Call<'_>) -> Result<(String, Timestamp), FaceError> {
    if call.body.is_empty() {
        return Err(of_body(MISSING));
    }
    if !call.content_type.is_some_and(is_json) {
        return Err(of_body(NO_OBJECT));
    }
    let members = match json::parse(call.body) {
        Ok(Value::Object(members)) => members,
        Ok(_) => return Err(of_body(NO_OBJECT)),
        Err(_) => return Err(of_body(("json_invalid", "JSON decode error"))),
    };
    let label = name(members.get("name"));
    let date = expiry_date(members.get("expiry_date"), call.now);
    match (label, date) {
        (Ok(label), Ok(date)) => Ok((label, date)),
        (label, date) => {
            let fields = [("name", label.err()), ("expiry_date", date.err())];
            let report = |(name, wrong): (_, Option<Wrong>)| {
                wrong.map(|(kind, message)| FieldReport::of_body(Some(name), kind, message))
            };
            Err(FaceError::BadFields(fields.into_iter().filter_map(report).collect()))
        }
    }
}

/// The kind of a fault, and its words.
type Wrong = (&'static str, &'static str);

const MISSING: Wrong = ("missing", "Field required");
const NO_OBJECT: Wrong = (
    "model_attributes_type",
    "Input should be a valid dictionary or object to extract fields from",
);

fn of_body((kind, message): Wrong) -> FaceError {
    FaceError::BadFields(vec![FieldReport::of_body(None, kind, message)])
}

fn name(value: Option<&Value>) -> Result<String, Wrong> {
    match value {
        None => Err(MISSING),
        Some(Value::String(name)) if name.is_empty() => {
            Err(("string_too_short", "String should have at least 1 character"))
        }
        Some(Value::String(name)) if name.chars().count() > TENANT_NAME_MAX_CHARS => {
            Err(("string_too_long", "String should have at most 100 characters"))
        }
        Some(Value::String(name)) => Ok(name.clone()),
        Some(_) => Err(("string_type", "Input should be a valid string")),
    }
}

/// In whole seconds, as it is repeated: what is answered is what holds.
fn expiry_date(value: Option<&Value>, now: Timestamp) -> Result<Timestamp, Wrong> {
    let text = match value {
        None => return Err(MISSING),
        Some(Value::String(text)) => text,
        Some(_) => return Err(("datetime_type", "Input should be a valid datetime")),
    };
    match Timestamp::parse_with_offset(text).map(Timestamp::truncated_to_seconds) {
        Ok(date) if date > now => Ok(date),
        Ok(_) => Err(("datetime_future", "Input should be in the future")),
        Err(DateFault::NoOffset) => Err(("timezone_aware", "Input should have timezone info")),
        Err(DateFault::OutOfRange) => {
            Err(("datetime_parsing", "Input should be a valid datetime, year is out of range"))
        }
        Err(DateFault::Malformed) => Err(("datetime_parsing", "Input should be a valid datetime")),
    }
}

#[cfg(test)]
mod tests;
