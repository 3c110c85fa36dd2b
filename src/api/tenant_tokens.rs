//! The `tenant-tokens` contract: opaque keys that speak for their owner in one tenant until a
//! stated date (seed 001, "API Tokens").
//!
//! A faulty body is answered as FastAPI does, which the seed uses: always 422, also for what is no
//! JSON or not declared as JSON, with a list of all faults; but the input is not repeated. A date
//! is a string in any form of [`Timestamp::parse_with_offset`]. An id that is no UUID is unknown:
//! 404.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::docs;
use super::face::{Answer, Call, Document, Face, TICKETS};
use super::face_error::FaceError;
use super::field_report::{Fault, FieldReport, Fields};
use super::key_limits::{self, LIMITS};
use super::operation::{Operation, Parameter, Success};
use super::schema::{self, Schema};
use super::tickets;
use crate::domain::{DateFault, KeyLimits, Record, Timestamp};
use crate::telemetry::configured::CallKind;
use crate::tokens::command::{Command, CommandOutcome, TENANT_NAME_MAX_CHARS};
use crate::wire::json;

/// The contract.
#[derive(Clone, Copy, Debug, Default)]
pub struct TenantTokens;

const TOKENS: &str = "/{tenant_id}/tokens/";
const TOKEN: &str = "/{tenant_id}/tokens/{token_id}";

impl Face for TenantTokens {
    fn paths(&self) -> &'static [(&'static str, &'static str)] {
        &[(TOKENS, "GET, HEAD, POST"), (TOKEN, "DELETE"), (TICKETS, "POST")]
    }

    fn call_kind(&self, method: &Method, path: &str) -> CallKind {
        match (method, path) {
            (&Method::POST, TOKENS) => CallKind::Issue,
            (&Method::GET, TOKENS) => CallKind::List,
            (&Method::DELETE, TOKEN) => CallKind::Revoke,
            (&Method::POST, TICKETS) => CallKind::Ticket,
            _ => CallKind::Other,
        }
    }

    fn decode(&self, call: &Call<'_>) -> Result<Command, FaceError> {
        let tenant = call.parameter("tenant_id").unwrap_or_default().to_owned();
        match (call.method, call.path) {
            (&Method::POST, TOKENS) => {
                let (name, expires_at, limits) = key(call)?;
                Ok(Command::IssueInTenant { tenant, name, expires_at, limits })
            }
            (&Method::GET, TOKENS) => Ok(Command::ListInTenant { tenant }),
            (&Method::DELETE, TOKEN) => {
                Ok(Command::RevokeInTenant { tenant, id: call.token_id("token_id") })
            }
            (&Method::POST, TICKETS) => Ok(Command::IssueTicket),
            (_, path) => Err(FaceError::MethodNotAllowed(self.allowed(path))),
        }
    }

    fn encode(&self, outcome: &CommandOutcome) -> Answer {
        match outcome {
            CommandOutcome::Issued { token, record, .. } => {
                let mut body = listed(record);
                if let Some(members) = body.as_object_mut() {
                    members.insert("token".into(), token.expose().into());
                }
                Answer::json(StatusCode::CREATED, &body)
            }
            CommandOutcome::Listed(keys) => {
                Answer::json(StatusCode::OK, &keys.iter().map(|key| listed(&key.record)).collect())
            }
            CommandOutcome::Revoked(_) => Answer::no_content(),
            CommandOutcome::TicketIssued(ticket) => tickets::answer(ticket),
            // No command of this face has another outcome.
            _ => refusal(&FaceError::Internal),
        }
    }

    fn refuse(&self, _method: &Method, _path: &'static str, error: &FaceError) -> Answer {
        refusal(error)
    }

    fn describe(&self) -> Vec<Operation> {
        vec![
            Operation {
                id: "create",
                method: Method::POST,
                path: TOKENS,
                summary: "Create API Token",
                description: "Makes a key that speaks for the caller in this tenant. It is shown \
                              once, in this answer.",
                parameters: vec![tenant()],
                body: Some(new_key()),
                success: Success {
                    status: StatusCode::CREATED,
                    ..Success::ok("The key and what is known of it", created())
                },
                errors: vec![
                    FaceError::ForeignTenant,
                    FieldReport::no_body().into(),
                    FieldReport::no_object().into(),
                    FieldReport::missing("name").into(),
                    key_limits::NO_RATE.report().into(),
                ],
                ..Operation::default()
            },
            Operation {
                id: "list",
                method: Method::GET,
                path: TOKENS,
                summary: "List API Tokens",
                description: "Names the caller's keys in this tenant, oldest first. The keys \
                              themselves are not shown again.",
                parameters: vec![tenant()],
                success: Success::ok(
                    "The caller's keys",
                    Schema::exactly("TenantToken", known())
                        .with_optional(LIMITS, key_limits::shown())
                        .list("TenantTokens"),
                ),
                errors: vec![FaceError::ForeignTenant],
                ..Operation::default()
            },
            Operation {
                id: "revoke",
                method: Method::DELETE,
                path: TOKEN,
                summary: "Revoke API Token",
                description: "When this has answered, the key opens nothing any more.",
                parameters: vec![tenant(), Parameter::id("token_id", "The `id` of the key.")],
                success: Success::no_content("It is revoked"),
                errors: vec![FaceError::ForeignTenant, FaceError::NoSuchToken],
                ..Operation::default()
            },
            tickets::operation(),
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
        schema: schema::with_optional(
            schema::object([("name", name), ("expiry_date", expiry_date)]),
            LIMITS,
            key_limits::asked(),
        ),
    }
}

fn known() -> [(&'static str, Value); 3] {
    [("id", schema::uuid()), ("name", schema::text()), ("expiry_date", schema::moment())]
}

fn created() -> Schema {
    let [id, name, expiry_date] = known();
    Schema::exactly("CreatedTenantToken", [id, name, expiry_date, ("token", schema::text())])
        .with_optional(LIMITS, key_limits::shown())
}

fn listed(record: &Record) -> Value {
    let mut listed = json!({
        "id": record.id.to_string(),
        "name": record.name.as_deref().unwrap_or_default(),
        "expiry_date": record.expires_at.map(Timestamp::to_rfc3339_zulu),
    });
    key_limits::add(&mut listed, record.limits);
    listed
}

fn refusal(error: &FaceError) -> Answer {
    let detail = match error {
        FaceError::NoCredential => json!("Not authenticated"),
        FaceError::BadCredential => json!("Invalid token"),
        _ => error.detail(),
    };
    Answer::refusal(error, &json!({ "detail": detail }))
}

/// Name, date and limits of a new key. Fields that the call does not know are ignored.
fn key(call: &Call<'_>) -> Result<(String, Timestamp, Option<KeyLimits>), FaceError> {
    if call.body.is_empty() {
        return Err(FieldReport::no_body().into());
    }
    if !call.is_json() {
        return Err(FieldReport::no_object().into());
    }
    let body = json::parse(call.body)
        .map_err(|_| FieldReport::of_body("json_invalid", "JSON decode error"))?;
    let mut fields = Fields::of(body)?;
    let name = fields.name("name", TENANT_NAME_MAX_CHARS);
    let expires_at = fields.take("expiry_date", |value| expiry_date(&value, call.now));
    match (name, expires_at, key_limits::take(&mut fields)) {
        (Some(name), Some(expires_at), Some(limits)) => Ok((name, expires_at, limits)),
        _ => Err(FaceError::BadFields(fields.into_reports())),
    }
}

/// In whole seconds, as the answer shows it.
fn expiry_date(value: &Value, now: Timestamp) -> Result<Timestamp, Fault> {
    let Value::String(text) = value else {
        return Err(("datetime_type", "Input should be a valid datetime".to_owned()));
    };
    let (kind, msg) = match Timestamp::parse_with_offset(text) {
        Ok(date) if date.truncated_to_seconds() > now => return Ok(date.truncated_to_seconds()),
        Ok(_) => ("datetime_future", "Input should be in the future"),
        Err(DateFault::NoOffset) => ("timezone_aware", "Input should have timezone info"),
        Err(DateFault::OutOfRange) => {
            ("datetime_parsing", "Input should be a valid datetime, year is out of range")
        }
        Err(DateFault::Malformed) => ("datetime_parsing", "Input should be a valid datetime"),
    };
    Err((kind, msg.to_owned()))
}

#[cfg(test)]
mod tests;
