//! The `allowlist-jwt` contract: signed keys that inherit their maker's identity (seed 000, "Every
//! request to the Prometheux platform API must carry a bearer token").

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::face::{Answer, Call, Face, TICKETS};
use super::face_error::FaceError;
use super::key_limits::{self, LIMITS};
use super::operation::{Operation, Parameter, Success};
use super::schema::{self, Schema};
use super::tickets;
use crate::domain::{Record, Timestamp};
use crate::telemetry::configured::CallKind;
use crate::tokens::command::{Command, CommandOutcome, LIFETIME_MAX_MINUTES, NAME_MAX_CHARS};

/// The contract.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowlistJwt;

const ISSUE: &str = "/auth/issue-token";
const TOKENS: &str = "/auth/tokens";
const REVOKE: &str = "/auth/revoke";
const REVOKE_ONE: &str = "/auth/revoke/{jti}";
const REVOKE_ALL: &str = "/auth/revoke-all";

const BAD_JTI: FaceError = FaceError::BadField { field: "jti", expected: "must be a UUID" };
const BAD_BODY: FaceError =
    FaceError::BadField { field: "body", expected: "must be a JSON object" };
const BAD_NAME: FaceError = FaceError::BadField {
    field: "name",
    expected: "must be a string of at most 120 characters, or null",
};
const BAD_LIFETIME: FaceError = FaceError::BadField {
    field: "expires_in_minutes",
    expected: "must be an integer from 0 to 525600, or null",
};

impl Face for AllowlistJwt {
    fn paths(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (ISSUE, "POST"),
            (TOKENS, "GET, HEAD"),
            (REVOKE, "POST"),
            (REVOKE_ONE, "POST"),
            (REVOKE_ALL, "POST"),
            (TICKETS, "POST"),
        ]
    }

    fn call_kind(&self, method: &Method, path: &str) -> CallKind {
        match (method, path) {
            (&Method::POST, ISSUE) => CallKind::Issue,
            (&Method::GET, TOKENS) => CallKind::List,
            (&Method::POST, REVOKE | REVOKE_ONE) => CallKind::Revoke,
            (&Method::POST, REVOKE_ALL) => CallKind::RevokeAll,
            (&Method::POST, TICKETS) => CallKind::Ticket,
            _ => CallKind::Other,
        }
    }

    fn decode(&self, call: &Call<'_>) -> Result<Command, FaceError> {
        match (call.method, call.path) {
            (&Method::POST, ISSUE) => issue(call),
            (&Method::GET, TOKENS) => Ok(Command::List),
            (&Method::POST, REVOKE) => Ok(Command::RevokeCurrent),
            (&Method::POST, REVOKE_ONE) => call.token_id("jti").map(Command::Revoke).ok_or(BAD_JTI),
            (&Method::POST, REVOKE_ALL) => Ok(Command::RevokeAll),
            (&Method::POST, TICKETS) => Ok(Command::IssueTicket),
            (_, path) => Err(FaceError::MethodNotAllowed(self.allowed(path))),
        }
    }

    fn encode(&self, outcome: &CommandOutcome) -> Answer {
        let (message, data) = match outcome {
            CommandOutcome::Issued { token, record, lifetime_minutes } => {
                let mut issued = json!({
                    "token": token.expose(),
                    "jti": record.id.to_string(),
                    "name": record.name,
                    "expires_at": record.expires_at.map(Timestamp::to_rfc3339_offset),
                    "expires_in_minutes": lifetime_minutes,
                });
                key_limits::add(&mut issued, record.limits);
                ("Token issued successfully", issued)
            }
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
            CommandOutcome::AllRevoked { subject } => (
                "All tokens for this user have been revoked",
                json!({ "sub": subject, "status": "all_revoked" }),
            ),
            CommandOutcome::TicketIssued(ticket) => return tickets::answer(ticket),
            // No command of this face has another outcome.
            _ => return refusal(&FaceError::Internal),
        };
        let body = json!({ "status": "success", "message": message, "data": data });
        Answer::json(StatusCode::OK, &body)
    }

    fn refuse(&self, _method: &Method, _path: &'static str, error: &FaceError) -> Answer {
        refusal(error)
    }

    fn describe(&self) -> Vec<Operation> {
        let status = |of: &[&str]| {
            schema::object([("jti", schema::uuid()), ("status", json!({ "enum": of }))])
        };
        let all_revoked = [("sub", schema::text()), ("status", json!({ "const": "all_revoked" }))];
        vec![
            Operation {
                id: "issue",
                method: Method::POST,
                path: ISSUE,
                summary: "Issue Token",
                description: "Makes a key with exactly the caller's identity. It is shown once, in \
                              this answer.",
                body: Some(new_key()),
                is_body_optional: true,
                success: success("IssuedToken", issued()),
                errors: vec![
                    FaceError::NO_JSON,
                    FaceError::NotDeclaredJson,
                    BAD_LIFETIME,
                    key_limits::NO_RATE.error(),
                ],
                ..Operation::default()
            },
            Operation {
                id: "list",
                method: Method::GET,
                path: TOKENS,
                summary: "List Tokens",
                description: "Names the caller's keys that are live, oldest first.",
                success: success(
                    "ListedTokens",
                    schema::object([("tokens", schema::array(listed_schema()))]),
                ),
                ..Operation::default()
            },
            Operation {
                id: "revoke_current",
                method: Method::POST,
                path: REVOKE,
                summary: "Revoke This Token",
                description: "Revokes the key that makes the call.",
                success: success("RevokedToken", status(&["revoked"])),
                errors: vec![FaceError::Protected],
                ..Operation::default()
            },
            Operation {
                id: "revoke",
                method: Method::POST,
                path: REVOKE_ONE,
                summary: "Revoke Token",
                description: "Revokes one of the caller's keys, or anybody's if the caller's role \
                              is `admin`.",
                parameters: vec![Parameter::id("jti", "The id of a key.")],
                success: success("RevokedOrUnknownToken", status(&["revoked", "not_found"])),
                errors: vec![FaceError::NotOwner, FaceError::Protected, BAD_JTI],
                ..Operation::default()
            },
            Operation {
                id: "revoke_all",
                method: Method::POST,
                path: REVOKE_ALL,
                summary: "Revoke All Tokens",
                description: "Revokes all keys of the caller's subject.",
                success: success("RevokedTokens", schema::object(all_revoked)),
                ..Operation::default()
            },
            tickets::operation(),
        ]
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

fn success(name: &'static str, data: Value) -> Success {
    let members =
        [("status", json!({ "const": "success" })), ("message", schema::text()), ("data", data)];
    Success::ok("Done", Schema::exactly(name, members))
}

fn new_key() -> Schema {
    let lifetime = json!({
        "type": ["integer", "null"], "minimum": 0, "maximum": LIFETIME_MAX_MINUTES,
        "description": "0 and null: it does not expire.",
    });
    let properties = json!({
        "name": named(), "expires_in_minutes": lifetime, LIMITS: key_limits::asked(),
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
    let lifetime =
        json!({ "type": ["integer", "null"], "minimum": 1, "maximum": LIFETIME_MAX_MINUTES });
    let members = [
        ("token", schema::text()),
        ("jti", schema::uuid()),
        ("name", named()),
        ("expires_at", moment_or_null()),
        ("expires_in_minutes", lifetime),
    ];
    schema::with_optional(schema::object(members), LIMITS, key_limits::shown())
}

fn listed_schema() -> Value {
    let members = [
        ("jti", schema::uuid()),
        ("name", named()),
        ("issued_at", schema::moment()),
        ("expires_at", moment_or_null()),
    ];
    schema::with_optional(schema::object(members), LIMITS, key_limits::shown())
}

fn refusal(error: &FaceError) -> Answer {
    let body = json!({ "status": "error", "message": error.to_string(), "data": null });
    Answer::refusal(error, &body)
}

fn listed(record: &Record) -> Value {
    let mut listed = json!({
        "jti": record.id.to_string(),
        "name": record.name,
        "issued_at": record.issued_at.to_rfc3339_offset(),
        "expires_at": record.expires_at.map(Timestamp::to_rfc3339_offset),
    });
    key_limits::add(&mut listed, record.limits);
    listed
}

/// The body is optional, and so is each of its fields. Fields that the call does not know are
/// ignored.
fn issue(call: &Call<'_>) -> Result<Command, FaceError> {
    let fields = match call.json()? {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(BAD_BODY),
    };
    Ok(Command::Issue {
        name: name(fields.get("name"))?,
        lifetime_minutes: lifetime_minutes(fields.get("expires_in_minutes"))?,
        limits: key_limits::first(fields.get(LIMITS))?,
    })
}

fn name(value: Option<&Value>) -> Result<Option<String>, FaceError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if name.chars().count() <= NAME_MAX_CHARS => {
            Ok(Some(name.clone()))
        }
        Some(_) => Err(BAD_NAME),
    }
}

/// An integer as JSON writes it: not `1.0`, `"1"` or `true`. 0 and null: it does not expire.
fn lifetime_minutes(value: Option<&Value>) -> Result<Option<u32>, FaceError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|minutes| u32::try_from(minutes).ok()) {
            Some(0) => Ok(None),
            Some(minutes) if minutes <= LIFETIME_MAX_MINUTES => Ok(Some(minutes)),
            _ => Err(BAD_LIFETIME),
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
        Ok(Command::Issue { name: name.map(str::to_owned), lifetime_minutes, limits: None })
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
