//! The `agent-tokens` contract: one opaque key per user, for the user's agents (seed 002, "Token
//! management (user JWT)").
//!
//! No call needs a body. Where one makes a key, `limits` may be in it; any other body is ignored. A
//! page without credential describes the calls to agents.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::face::{Answer, Call, Document, Face, TICKETS};
use super::face_error::FaceError;
use super::key_limits::{self, LIMITS};
use super::operation::{Operation, Success};
use super::schema::{self, Schema};
use super::tickets;
use crate::domain::{KeyLimits, RawToken, Record};
use crate::telemetry::configured::CallKind;
use crate::tokens::command::{Command, CommandOutcome};
use crate::wire::json;

/// The contract.
#[derive(Clone, Copy, Debug, Default)]
pub struct AgentTokens;

const ME: &str = "/me";
const GET_OR_CREATE: &str = "/me/get-or-create";
/// Where the page for agents is: the seed's path, independent of the mount.
const PAGE: &str = "/api/doc/raw/token-management-user-jwt";

impl Face for AgentTokens {
    fn paths(&self) -> &'static [(&'static str, &'static str)] {
        &[(ME, "GET, HEAD, POST, DELETE"), (GET_OR_CREATE, "POST"), (TICKETS, "POST")]
    }

    fn call_kind(&self, method: &Method, path: &str) -> CallKind {
        match (method, path) {
            (&Method::GET, ME) => CallKind::Show,
            (&Method::POST, ME) => CallKind::Rotate,
            (&Method::DELETE, ME) => CallKind::Revoke,
            (&Method::POST, GET_OR_CREATE) => CallKind::Ensure,
            (&Method::POST, TICKETS) => CallKind::Ticket,
            _ => CallKind::Other,
        }
    }

    fn decode(&self, call: &Call<'_>) -> Result<Command, FaceError> {
        match (call.method, call.path) {
            (&Method::GET, ME) => Ok(Command::ShowSole),
            (&Method::POST, ME) => Ok(Command::RenewSole { limits: limits(call)? }),
            (&Method::DELETE, ME) => Ok(Command::RevokeSole),
            (&Method::POST, GET_OR_CREATE) => Ok(Command::EnsureSole { limits: limits(call)? }),
            (&Method::POST, TICKETS) => Ok(Command::IssueTicket),
            (_, path) => Err(FaceError::MethodNotAllowed(self.allowed(path))),
        }
    }

    fn encode(&self, outcome: &CommandOutcome) -> Answer {
        let mut body = match outcome {
            CommandOutcome::SoleShown(record) => json!({
                "has_token": record.is_some(),
                "token_prefix": record.as_deref().and_then(prefix),
            }),
            CommandOutcome::SoleRenewed { token, record } => json!({
                "token": token.expose(),
                "token_prefix": prefix(record),
                "message": "Store this token securely — it will not be shown again.",
            }),
            CommandOutcome::SoleEnsured { token, record } => json!({
                "is_new": token.is_some(),
                "token": token.as_ref().map(RawToken::expose),
                "token_prefix": prefix(record),
                "message": if token.is_some() {
                    "Token created. Store it securely — it will not be shown again."
                } else {
                    "Token already exists. Rotate it from Settings if you need a new one."
                },
            }),
            CommandOutcome::SoleRevoked => return Answer::no_content(),
            CommandOutcome::TicketIssued(ticket) => return tickets::answer(ticket),
            // No command of this face has another outcome.
            _ => return refusal(&FaceError::Internal, "Internal error"),
        };
        let record = match outcome {
            CommandOutcome::SoleShown(record) => record.as_deref(),
            CommandOutcome::SoleRenewed { record, .. }
            | CommandOutcome::SoleEnsured { record, .. } => Some(&**record),
            _ => None,
        };
        key_limits::add(&mut body, record.and_then(|record| record.limits));
        Answer::json(StatusCode::OK, &body)
    }

    fn refuse(&self, method: &Method, path: &'static str, error: &FaceError) -> Answer {
        match error {
            FaceError::NoCredential | FaceError::BadCredential => {
                refusal(error, "Missing or invalid JWT.")
            }
            // The seed knows no 503 but for overload, which is refused before a call is looked at:
            // each call has a message for what fails on the server.
            FaceError::Unavailable | FaceError::Internal => {
                let message = match (method, path) {
                    (_, GET_OR_CREATE) => "Failed to check or store token.",
                    (&Method::POST, _) => "Failed to store agent token.",
                    (&Method::DELETE, _) => "Failed to revoke token.",
                    _ => "Failed to fetch token status.",
                };
                refusal(&FaceError::Internal, message)
            }
            _ => refusal(error, &error.to_string()),
        }
    }

    fn describe(&self) -> Vec<Operation> {
        let prefix = || json!({ "type": "string", "pattern": "^.+[0-9a-f]{8}\\.\\.\\.$" });
        let boolean = || json!({ "type": "boolean" });
        let shown = Schema::exactly(
            "AgentTokenStatus",
            [
                ("has_token", boolean()),
                ("token_prefix", json!({ "anyOf": [prefix(), { "type": "null" }] })),
            ],
        )
        .with_optional(LIMITS, key_limits::shown());
        let renewed = Schema::exactly(
            "RenewedAgentToken",
            [("token", schema::text()), ("token_prefix", prefix()), ("message", schema::text())],
        )
        .with_optional(LIMITS, key_limits::shown());
        let ensured = Schema::exactly(
            "EnsuredAgentToken",
            [
                ("is_new", boolean()),
                ("token", json!({ "type": ["string", "null"] })),
                ("token_prefix", prefix()),
                ("message", schema::text()),
            ],
        )
        .with_optional(LIMITS, key_limits::shown());
        vec![
            Operation {
                id: "show",
                method: Method::GET,
                path: ME,
                summary: "Show Agent Token",
                description: "Says whether the caller has a key, and how it begins.",
                success: Success::ok("Done", shown),
                ..Operation::default()
            },
            Operation {
                id: "renew",
                method: Method::POST,
                path: ME,
                summary: "Create or Rotate Agent Token",
                description: "Makes the caller's one key in the place of any other, which opens \
                              nothing any more. Its limits are never wider than those of the key \
                              that it replaces.",
                body: Some(new_key()),
                is_body_optional: true,
                errors: wrong_limits(),
                success: Success::ok("Done", renewed),
                ..Operation::default()
            },
            Operation {
                id: "ensure",
                method: Method::POST,
                path: GET_OR_CREATE,
                summary: "Get or Create Agent Token",
                description: "Makes the caller's one key, if there is none. Of an old one only its \
                              beginning is said.",
                body: Some(new_key()),
                is_body_optional: true,
                errors: wrong_limits(),
                success: Success::ok("Done", ensured),
                ..Operation::default()
            },
            Operation {
                id: "revoke",
                method: Method::DELETE,
                path: ME,
                summary: "Revoke Agent Token",
                description: "When this has answered, the caller has no key.",
                success: Success::no_content("Done"),
                ..Operation::default()
            },
            tickets::operation(),
        ]
    }

    fn error_schema(&self) -> Schema {
        Schema::exactly("AgentTokensError", [("error", schema::text())])
    }

    fn documents(&self, mount: &str, _openapi: &Bytes) -> Vec<Document> {
        let body = include_str!("agent_tokens.md").replace("{mount}", mount);
        vec![Document::new(PAGE.into(), "text/markdown; charset=utf-8", body)]
    }
}

/// The limits that a body asks for. One that says nothing of them is ignored. One that is declared
/// as JSON or names them, and cannot be read, is refused: its sender may want a limited key.
fn limits(call: &Call<'_>) -> Result<Option<KeyLimits>, FaceError> {
    const NAME: &[u8] = b"\"limits\"";
    let body = call.body.trim_ascii();
    let names_limits = || body.windows(NAME.len()).any(|part| part == NAME);
    match json::parse(body) {
        Ok(Value::Object(members)) => key_limits::first(members.get(LIMITS)),
        Ok(_) => Ok(None),
        Err(fault) if !body.is_empty() && (call.is_json() || names_limits()) => {
            Err(FaceError::BadJson(fault))
        }
        Err(_) => Ok(None),
    }
}

/// What is no object has no limits, and is ignored.
fn new_key() -> Schema {
    let schema = json!({ "properties": { LIMITS: key_limits::asked() } });
    Schema { name: "NewAgentToken", schema }
}

fn wrong_limits() -> Vec<FaceError> {
    vec![FaceError::NO_JSON, key_limits::NO_RATE.error()]
}

/// How the key begins: `sk_agt_1a2b3c4d...`.
fn prefix(record: &Record) -> Option<String> {
    record.hint.as_ref().map(|hint| format!("{hint}..."))
}

fn refusal(error: &FaceError, message: &str) -> Answer {
    Answer::refusal(error, &json!({ "error": message }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Identity, RecordKind, Timestamp, TokenDigest, TokenId};

    const NOW: Timestamp = Timestamp::from_unix_millis(0);

    fn record() -> Box<Record> {
        Box::new(Record {
            digest: TokenDigest::from_bytes([0; 32]),
            id: TokenId::from_uuid(uuid::Uuid::nil()),
            token_api: "agents".into(),
            kind: RecordKind::ApiKey,
            origin: Some("idp".into()),
            identity: Identity {
                subject: "s".into(),
                username: None,
                organization: None,
                role: None,
                email: None,
            },
            name: None,
            hint: Some("sk_agt_1a2b3c4d".into()),
            limits: None,
            issued_at: NOW,
            expires_at: None,
            last_used_at: None,
        })
    }

    fn shown(answer: Answer) -> (u16, String) {
        (answer.status.as_u16(), String::from_utf8(answer.body.unwrap_or_default()).expect("text"))
    }

    #[test]
    fn each_call_is_its_command_whatever_its_body() {
        for (method, path, command) in [
            (Method::GET, ME, Command::ShowSole),
            (Method::POST, ME, Command::RenewSole { limits: None }),
            (Method::DELETE, ME, Command::RevokeSole),
            (Method::POST, GET_OR_CREATE, Command::EnsureSole { limits: None }),
        ] {
            for body in ["", "{", r#"{"subject":"root"}"#, "\0"] {
                let body = body.as_bytes();
                let call = Call {
                    method: &method,
                    path,
                    parameters: &[],
                    content_type: None,
                    body,
                    now: NOW,
                };
                assert_eq!(AgentTokens.decode(&call), Ok(command.clone()), "{method} {path}");
            }
        }
        let put = Call {
            method: &Method::PUT,
            path: ME,
            parameters: &[],
            content_type: None,
            body: b"",
            now: NOW,
        };
        assert_eq!(
            AgentTokens.decode(&put),
            Err(FaceError::MethodNotAllowed("GET, HEAD, POST, DELETE"))
        );
    }

    #[test]
    fn the_answers_are_the_seeds_to_the_letter() {
        let token = || RawToken::new("sk_agt_1a2b3c4d5e".into());
        for (outcome, status, body) in [
            (CommandOutcome::SoleShown(None), 200, r#"{"has_token":false,"token_prefix":null}"#),
            (
                CommandOutcome::SoleShown(Some(record())),
                200,
                r#"{"has_token":true,"token_prefix":"sk_agt_1a2b3c4d..."}"#,
            ),
            (
                CommandOutcome::SoleRenewed { token: token(), record: record() },
                200,
                r#"{"token":"sk_agt_1a2b3c4d5e","token_prefix":"sk_agt_1a2b3c4d...","message":"Store this token securely — it will not be shown again."}"#,
            ),
            (
                CommandOutcome::SoleEnsured { token: Some(token()), record: record() },
                200,
                r#"{"is_new":true,"token":"sk_agt_1a2b3c4d5e","token_prefix":"sk_agt_1a2b3c4d...","message":"Token created. Store it securely — it will not be shown again."}"#,
            ),
            (
                CommandOutcome::SoleEnsured { token: None, record: record() },
                200,
                r#"{"is_new":false,"token":null,"token_prefix":"sk_agt_1a2b3c4d...","message":"Token already exists. Rotate it from Settings if you need a new one."}"#,
            ),
            (CommandOutcome::SoleRevoked, 204, ""),
        ] {
            assert_eq!(shown(AgentTokens.encode(&outcome)), (status, body.to_owned()));
        }
    }

    #[test]
    fn each_failure_has_the_seeds_words_for_its_call() {
        for (method, path, words) in [
            (Method::GET, ME, "Failed to fetch token status."),
            (Method::POST, ME, "Failed to store agent token."),
            (Method::POST, GET_OR_CREATE, "Failed to check or store token."),
            (Method::DELETE, ME, "Failed to revoke token."),
        ] {
            let refused = |fault| shown(AgentTokens.refuse(&method, path, &fault));
            assert_eq!(refused(FaceError::Unavailable), (500, format!(r#"{{"error":"{words}"}}"#)));
            for fault in [FaceError::NoCredential, FaceError::BadCredential] {
                assert_eq!(refused(fault), (401, r#"{"error":"Missing or invalid JWT."}"#.into()));
            }
            assert_eq!(refused(FaceError::AmbiguousCredential).0, 400);
            assert_eq!(refused(FaceError::Overloaded).0, 503);
        }
    }

    #[test]
    fn the_page_for_agents_names_every_call_below_its_mount() {
        let pages = AgentTokens.documents("/x/agent-tokens", &Bytes::new());
        let [page] = pages.as_slice() else { panic!("one page") };
        assert_eq!((page.path.as_str(), page.media_type), (PAGE, "text/markdown; charset=utf-8"));
        let body = std::str::from_utf8(&page.body).expect("text");
        for call in
            ["GET /x/agent-tokens/me", "POST /x/agent-tokens/me", "DELETE /x/agent-tokens/me"]
        {
            assert!(body.contains(call), "{call}");
        }
        assert!(
            body.contains("POST /x/agent-tokens/me/get-or-create") && !body.contains("{mount}")
        );
    }
}
