//! The `allowlist-jwt` contract: signed keys that inherit their maker's identity (seed 000, "Every
//! request to the Prometheux platform API must carry a bearer token").
//!
//! One file, as a call, its answer and its description in the OpenAPI document change together.

use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};

use super::face::{Answer, Call, Face, is_json};
use super::face_error::FaceError;
use super::operation::{Operation, Parameter, RequestBody, Success};
use super::schema::{self, Schema};
use crate::domain::{Record, TokenId};
use crate::tokens::command::{Command, CommandOutcome, LIFETIME_MAX_MINUTES, NAME_MAX_CHARS};
use crate::wire::json;

/// The contract.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowlistJwt;

const ISSUE: &str = "/auth/issue-token";
const TOKENS: &str = "/auth/tokens";
const REVOKE: &str = "/auth/revoke";
const REVOKE_ONE: &str = "/auth/revoke/{jti}";
const REVOKE_ALL: &str = "/auth/revoke-all";

impl Face for AllowlistJwt {
    fn paths(&self) -> &'static [&'static str] {
        &[ISSUE, TOKENS, REVOKE, REVOKE_ONE, REVOKE_ALL]
    }

    fn allowed(&self, path: &str) -> &'static str {
        if path == TOKENS { "GET, HEAD" } else { "POST" }
    }

    fn decode(&self, call: &Call<'_>) -> Result<Command, FaceError> {
        match (call.method, call.path) {
            (&Method::POST, ISSUE) => issue(call),
            (&Method::GET, TOKENS) => Ok(Command::List),
            (&Method::POST, REVOKE) => Ok(Command::RevokeCurrent),
            (&Method::POST, REVOKE_ONE) => call
                .parameter("jti")
                .and_then(TokenId::parse)
                .map(Command::Revoke)
                .ok_or(FaceError::BadField { field: "jti", expected: "must be a UUID" }),
            (&Method::POST, REVOKE_ALL) => Ok(Command::RevokeAll),
            (_, path) => Err(FaceError::MethodNotAllowed(self.allowed(path))),
        }
    }

    fn encode(&self, outcome: &CommandOutcome) -> Answer {
        let (message, data) = match outcome {
            CommandOutcome::Issued { token, record, lifetime_minutes } => (
                "Token issued successfully",
                json!({
                    "token": token.expose(),
                    "jti": record.id.to_string(),
                    "name": record.name,
                    "expires_at": record.expires_at.map(crate::domain::Timestamp::to_rfc3339_offset),
                    "expires_in_minutes": lifetime_minutes,
                }),
            ),
            CommandOutcome::Listed(keys) => {
                // In this contract a revoked key is gone.
                let live = keys.iter().filter(|key| key.retired_at.is_none());
                let tokens: Vec<_> = live.map(|key| listed(&key.record)).collect();
                ("Tokens listed successfully", json!({ "tokens": tokens }))
            }
            CommandOutcome::Revoked(id) => (
                "Token revoked successfully",
                json!({ "jti": id.to_string(), "status": "revoked" }),
            ),
            CommandOutcome::NotFound(id) => (
                "Token not found or already revoked",
                json!({ "jti": id.to_string(), "status": "not_found" }),
            ),
            // This face asks for none.
            CommandOutcome::AllRevoked { subject } => (
                "All tokens for this user have been revoked",
                json!({ "sub": subject, "status": "all_revoked" }),
            ),
            // No command of this face has these outcomes.
            CommandOutcome::SoleShown(_)
            | CommandOutcome::SoleRenewed { .. }
            | CommandOutcome::SoleEnsured { .. }
            | CommandOutcome::SoleRevoked
            | CommandOutcome::Account(_) => return error(&FaceError::Internal),
        };
        envelope(http::StatusCode::OK, "success", message, data)
    }

    fn refuse(&self, _method: &Method, _path: &'static str, fault: &FaceError) -> Answer {
        error(fault)
    }

    fn describe(&self) -> Vec<Operation> {
        calls()
    }

    fn error_schema(&self) -> Schema {
        let members = [
            ("status", json!({ "const": "error" })),
            ("message", schema::text()),
            ("data", json!({ "type": "null" })),
        ];
        Schema::exactly("AllowlistJwtError", members)
    }
}

/// What the calls are.
fn calls() -> Vec<Operation> {
    let call = |id, method, path, summary, description, schema, errors| Operation {
        id,
        method,
        path,
        summary,
        description,
        parameters: Vec::new(),
        body: None,
        success: Success {
            status: http::StatusCode::OK,
            description: "Done",
            schema: Some(schema),
        },
        errors,
    };
    let states = |words: &[&str]| {
        schema::object([("jti", schema::uuid()), ("status", json!({ "enum": words }))])
    };
    let bad_field = |field, expected| FaceError::BadField { field, expected };
    vec![
        Operation {
            body: Some(RequestBody { is_optional: true, schema: new_key() }),
            ..call(
                "issue",
                Method::POST,
                ISSUE,
                "Issue Token",
                "Makes a key with exactly the caller's identity. It is shown once, in this answer.",
                enveloped("IssuedToken", issued()),
                vec![
                    FaceError::BadJson(json::NotJson { line: 1, column: 2 }),
                    FaceError::NotDeclaredJson,
                    bad_field("expires_in_minutes", "must be an integer from 0 to 525600, or null"),
                ],
            )
        },
        call(
            "list",
            Method::GET,
            TOKENS,
            "List Tokens",
            "Names the caller's keys that are live, oldest first.",
            enveloped(
                "ListedTokens",
                schema::object([("tokens", json!({ "type": "array", "items": listed_schema() }))]),
            ),
            Vec::new(),
        ),
        call(
            "revoke_current",
            Method::POST,
            REVOKE,
            "Revoke This Token",
            "Revokes the key that makes the call.",
            enveloped("RevokedToken", states(&["revoked"])),
            vec![FaceError::Protected],
        ),
        Operation {
            parameters: vec![Parameter {
                name: "jti",
                description: "The id of a key.",
                schema: schema::uuid(),
            }],
            ..call(
                "revoke",
                Method::POST,
                REVOKE_ONE,
                "Revoke Token",
                "Revokes one of the caller's keys, or anybody's if the caller's role is `admin`.",
                enveloped("RevokedOrUnknownToken", states(&["revoked", "not_found"])),
                vec![FaceError::NotOwner, FaceError::Protected, bad_field("jti", "must be a UUID")],
            )
        },
        call(
            "revoke_all",
            Method::POST,
            REVOKE_ALL,
            "Revoke All Tokens",
            "Revokes all keys of the caller's subject.",
            enveloped(
                "RevokedTokens",
                schema::object([
                    ("sub", schema::text()),
                    ("status", json!({ "const": "all_revoked" })),
                ]),
            ),
            Vec::new(),
        ),
    ]
}

/// The schema of an answer that holds this.
fn enveloped(name: &'static str, data: Value) -> Schema {
    Schema::exactly(
        name,
        [("status", json!({ "const": "success" })), ("message", schema::text()), ("data", data)],
    )
}

fn new_key() -> Schema {
    let properties = json!({
        "name": { "type": ["string", "null"], "maxLength": NAME_MAX_CHARS },
        "expires_in_minutes": {
            "type": ["integer", "null"], "minimum": 0, "maximum": LIFETIME_MAX_MINUTES,
            "description": "0 and null: it does not expire.",
        },
    });
    Schema {
        name: "NewToken",
        schema: json!({ "type": ["object", "null"], "properties": properties }),
    }
}

fn named() -> Value {
    json!({ "type": ["string", "null"], "maxLength": NAME_MAX_CHARS })
}

fn moment_or_null() -> Value {
    json!({ "type": ["string", "null"], "format": "date-time" })
}

fn issued() -> Value {
    schema::object([
        ("token", schema::text()),
        ("jti", schema::uuid()),
        ("name", named()),
        ("expires_at", moment_or_null()),
        (
            "expires_in_minutes",
            json!({ "type": ["integer", "null"], "minimum": 1, "maximum": LIFETIME_MAX_MINUTES }),
        ),
    ])
}

fn listed_schema() -> Value {
    schema::object([
        ("jti", schema::uuid()),
        ("name", named()),
        ("issued_at", schema::moment()),
        ("expires_at", moment_or_null()),
    ])
}

fn error(error: &FaceError) -> Answer {
    let mut answer = envelope(error.status(), "error", &error.to_string(), Value::Null);
    if let FaceError::MethodNotAllowed(methods) = error {
        answer.allow = Some(HeaderValue::from_static(methods));
    }
    answer
}

fn envelope(status: http::StatusCode, word: &str, message: &str, data: Value) -> Answer {
    let body = json!({ "status": word, "message": message, "data": data });
    Answer { status, body: Some(body.to_string().into_bytes()), allow: None, retry_after: None }
}

fn listed(record: &Record) -> Value {
    json!({
        "jti": record.id.to_string(),
        "name": record.name,
        "issued_at": record.issued_at.to_rfc3339_offset(),
        "expires_at": record.expires_at.map(crate::domain::Timestamp::to_rfc3339_offset),
    })
}

/// The body is optional, and so is each of its fields; what else is in it is not ours to read.
fn issue(call: &Call<'_>) -> Result<Command, FaceError> {
    let fields = match call.body.trim_ascii() {
        b"" => Map::new(),
        body => {
            if !call.content_type.is_some_and(is_json) {
                return Err(FaceError::NotDeclaredJson);
            }
            match json::parse(body).map_err(FaceError::BadJson)? {
                Value::Object(fields) => fields,
                Value::Null => Map::new(),
                _ => {
                    return Err(FaceError::BadField {
                        field: "body",
                        expected: "must be a JSON object",
                    });
                }
            }
        }
    };
    Ok(Command::Issue {
        name: name(fields.get("name"))?,
        lifetime_minutes: lifetime_minutes(fields.get("expires_in_minutes"))?,
    })
}

fn name(value: Option<&Value>) -> Result<Option<String>, FaceError> {
    let wrong = || FaceError::BadField {
        field: "name",
        expected: "must be a string of at most 120 characters, or null",
    };
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if name.chars().count() <= NAME_MAX_CHARS => {
            Ok(Some(name.clone()))
        }
        Some(_) => Err(wrong()),
    }
}

/// An integer as JSON writes one: `1.0`, `"1"` and `true` are none. 0 says the same as null: never.
fn lifetime_minutes(value: Option<&Value>) -> Result<Option<u32>, FaceError> {
    let wrong = || FaceError::BadField {
        field: "expires_in_minutes",
        expected: "must be an integer from 0 to 525600, or null",
    };
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|minutes| u32::try_from(minutes).ok()) {
            Some(0) => Ok(None),
            Some(minutes) if minutes <= LIFETIME_MAX_MINUTES => Ok(Some(minutes)),
            Some(_) | None => Err(wrong()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str) -> Result<Command, FaceError> {
        AllowlistJwt.decode(&Call {
            method: &Method::POST,
            path: ISSUE,
            parameters: &[],
            content_type: Some("application/json"),
            body: body.as_bytes(),
            now: crate::domain::Timestamp::from_unix_millis(0),
        })
    }

    fn issue(name: Option<&str>, lifetime_minutes: Option<u32>) -> Result<Command, FaceError> {
        Ok(Command::Issue { name: name.map(str::to_owned), lifetime_minutes })
    }

    #[test]
    fn every_field_is_optional_and_bounded_in_characters() {
        assert_eq!(decode(""), issue(None, None));
        assert_eq!(decode(" \r\n"), issue(None, None));
        assert_eq!(decode("{}"), issue(None, None));
        assert_eq!(decode(r#"{"name":null,"expires_in_minutes":null}"#), issue(None, None));
        assert_eq!(decode(r#"{"expires_in_minutes":0}"#), issue(None, None));
        assert_eq!(
            decode(r#"{"expires_in_minutes":525600,"role":"admin"}"#),
            issue(None, Some(525_600))
        );
        for character in ["a", "é", "\u{1f600}"] {
            let longest = character.repeat(120);
            assert_eq!(decode(&format!(r#"{{"name":"{longest}"}}"#)), issue(Some(&longest), None));
            let longer = format!(r#"{{"name":"{longest}{character}"}}"#);
            assert!(matches!(decode(&longer), Err(FaceError::BadField { field: "name", .. })));
        }
    }

    #[test]
    fn wrong_types_name_their_field() {
        for value in [
            "1.0",
            "-1",
            "525601",
            "\"60\"",
            "true",
            "false",
            "[]",
            "{}",
            "1e3",
            "99999999999999999999",
            "4294967296",
        ] {
            let body = format!(r#"{{"expires_in_minutes":{value}}}"#);
            assert!(
                matches!(
                    decode(&body),
                    Err(FaceError::BadField { field: "expires_in_minutes", .. })
                ),
                "{body}"
            );
        }
        for value in ["1", "true", "[]", "{}"] {
            let body = format!(r#"{{"name":{value}}}"#);
            assert!(
                matches!(decode(&body), Err(FaceError::BadField { field: "name", .. })),
                "{body}"
            );
        }
        for body in ["[]", "\"x\"", "1", "true"] {
            assert!(
                matches!(decode(body), Err(FaceError::BadField { field: "body", .. })),
                "{body}"
            );
        }
        for body in ["{", "{\"name\":\"a\",\"name\":\"b\"}", "nul"] {
            assert!(matches!(decode(body), Err(FaceError::BadJson(_))), "{body}");
        }
    }
}
