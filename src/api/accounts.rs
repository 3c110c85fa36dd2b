//! The `accounts` contract: register, log in, and manage API keys (seed 003, "Authentication
//! Endpoints").

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::face::{Answer, Call, CredentialNeed, Face, TICKETS};
use super::face_error::FaceError;
use super::field_report::{FieldReport, Fields};
use super::key_limits::{self, LIMITS};
use super::operation::{Operation, Parameter, Success};
use super::schema::{self, Schema};
use super::tickets;
use crate::domain::{Email, FullName, NewPassword, Password, Record, Username};
use crate::telemetry::configured::CallKind;
use crate::tokens::accounts::command::KEY_NAME_MAX_CHARS;
use crate::tokens::accounts::{
    AccountCommand, AccountError, AccountOutcome, KeyCommand, Registration,
};
use crate::tokens::command::{Command, CommandOutcome};

#[cfg(test)]
mod tests;

/// The contract.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accounts;

const REGISTER: &str = "/register";
const LOGIN: &str = "/login";
const KEYS: &str = "/api-keys";
const KEY: &str = "/api-keys/{key_id}";

impl Face for Accounts {
    fn paths(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (REGISTER, "POST"),
            (LOGIN, "POST"),
            (KEYS, "GET, HEAD, POST"),
            (KEY, "DELETE"),
            (TICKETS, "POST"),
        ]
    }

    fn credential(&self, path: &str) -> CredentialNeed {
        match path {
            REGISTER | LOGIN => CredentialNeed::None,
            TICKETS => CredentialNeed::Key,
            _ => CredentialNeed::Session,
        }
    }

    fn call_kind(&self, method: &Method, path: &str) -> CallKind {
        match (method, path) {
            (&Method::POST, REGISTER) => CallKind::Register,
            (&Method::POST, LOGIN) => CallKind::Login,
            (&Method::POST, KEYS) => CallKind::Issue,
            (&Method::GET, KEYS) => CallKind::List,
            (&Method::DELETE, KEY) => CallKind::Revoke,
            (&Method::POST, TICKETS) => CallKind::Ticket,
            _ => CallKind::Other,
        }
    }

    fn decode(&self, call: &Call<'_>) -> Result<Command, FaceError> {
        let command = match (call.method, call.path) {
            (&Method::POST, REGISTER) => register(call)?,
            (&Method::POST, LOGIN) => login(call)?,
            (&Method::POST, KEYS) => AccountCommand::Keys(key(call)?),
            (&Method::GET, KEYS) => AccountCommand::Keys(KeyCommand::List),
            (&Method::DELETE, KEY) => {
                let id = call.token_id("key_id").ok_or(FieldReport::not_a_uuid("key_id"))?;
                AccountCommand::Keys(KeyCommand::Revoke(id))
            }
            (&Method::POST, TICKETS) => return Ok(Command::IssueTicket),
            (_, path) => return Err(FaceError::MethodNotAllowed(self.allowed(path))),
        };
        Ok(Command::Account(command))
    }

    fn encode(&self, outcome: &CommandOutcome) -> Answer {
        let outcome = match outcome {
            CommandOutcome::Account(outcome) => outcome,
            CommandOutcome::TicketIssued(ticket) => return tickets::answer(ticket),
            // No command of this face has another outcome.
            _ => return refusal(&FaceError::Internal),
        };
        let body = match outcome {
            AccountOutcome::Registered(account) => json!({
                "id": account.id.to_string(),
                "username": account.username.as_str(),
                "email": account.email.as_str(),
                "full_name": account.full_name.as_str(),
            }),
            AccountOutcome::LoggedIn { token } => {
                json!({ "access_token": token.expose(), "token_type": "bearer" })
            }
            AccountOutcome::KeyIssued { key, record } => {
                let mut issued = json!({
                    "id": record.id.to_string(),
                    "name": record.name,
                    "raw_key": key.expose(),
                    "prefix": record.hint,
                    "is_active": true,
                    "created_at": record.issued_at.to_rfc3339_zulu(),
                });
                key_limits::add(&mut issued, record.limits);
                issued
            }
            AccountOutcome::Keys(keys) => {
                keys.iter().map(|key| listed(&key.record, key.retired_at.is_none())).collect()
            }
            AccountOutcome::KeyRevoked => return Answer::no_content(),
        };
        Answer::json(StatusCode::OK, &body)
    }

    fn refuse(&self, _method: &Method, _path: &'static str, error: &FaceError) -> Answer {
        refusal(error)
    }

    fn describe(&self) -> Vec<Operation> {
        vec![
            Operation {
                id: "register",
                method: Method::POST,
                path: REGISTER,
                summary: "Register",
                description: "Adds an account. Usernames and email addresses are unique without \
                              regard to case.",
                body: Some(registration()),
                success: Success::ok("The account", account()),
                errors: vec![
                    FaceError::NO_JSON,
                    FaceError::RegistrationClosed,
                    FaceError::UsernameTaken,
                    FaceError::EmailTaken,
                    FaceError::NotDeclaredJson,
                    FieldReport::missing("username").into(),
                    FaceError::TooMany { retry_after_seconds: 60 },
                ],
                ..Operation::default()
            },
            Operation {
                id: "login",
                method: Method::POST,
                path: LOGIN,
                summary: "Log In",
                description: "Answers with a token for the calls below. It opens no route.",
                body: Some(login_fields()),
                success: Success::ok("The session", session()),
                errors: vec![
                    FaceError::NO_JSON,
                    FaceError::WrongLogin,
                    FaceError::NotDeclaredJson,
                    FieldReport::missing("username").into(),
                    FaceError::TooMany { retry_after_seconds: 60 },
                ],
                ..Operation::default()
            },
            Operation {
                id: "create_key",
                method: Method::POST,
                path: KEYS,
                summary: "Create API Key",
                description: "Makes a key. It is shown once, in this answer, and travels in \
                              `X-API-Key`.",
                body: Some(new_key()),
                success: Success::ok("The key and what is known of it", created_key()),
                errors: vec![
                    FaceError::NO_JSON,
                    FaceError::NotDeclaredJson,
                    FieldReport::missing("name").into(),
                    key_limits::NO_RATE.report().into(),
                ],
                ..Operation::default()
            },
            Operation {
                id: "list_keys",
                method: Method::GET,
                path: KEYS,
                summary: "List API Keys",
                description: "Names the caller's keys, oldest first. Revoked ones stay listed.",
                success: Success::ok(
                    "The caller's keys",
                    Schema::exactly("ApiKey", known_of_key())
                        .with_optional(LIMITS, key_limits::shown())
                        .list("ApiKeys"),
                ),
                ..Operation::default()
            },
            Operation {
                id: "revoke_key",
                method: Method::DELETE,
                path: KEY,
                summary: "Revoke API Key",
                description: "When this has answered, the key opens nothing any more. It can be \
                              repeated.",
                parameters: vec![Parameter::id("key_id", "The `id` of the key.")],
                success: Success::no_content("It is revoked"),
                errors: vec![FaceError::NoSuchKey, FieldReport::not_a_uuid("key_id").into()],
                ..Operation::default()
            },
            tickets::operation(),
        ]
    }

    fn error_schema(&self) -> Schema {
        Schema { name: "AccountsError", schema: schema::detail() }
    }
}

fn registration() -> Schema {
    let matching = |least: usize, most: usize, pattern: &str| {
        json!({
            "type": "string", "minLength": least, "maxLength": most, "pattern": pattern,
        })
    };
    let email = json!({ "type": "string", "format": "email", "maxLength": Email::MOST });
    let password = json!({
        "type": "string", "minLength": NewPassword::LEAST, "maxLength": NewPassword::MOST,
        "format": "password", "pattern": NO_CONTROLS,
        "description": "Counted in Unicode's normal form C.",
    });
    let members = [
        ("username", matching(Username::LEAST, Username::MOST, "^[A-Za-z0-9]+$")),
        ("email", email),
        ("password", password),
        ("full_name", matching(1, FullName::MOST, FULL_NAME)),
    ];
    Schema { name: "Registration", schema: schema::object(members) }
}

/// No control characters and no separators of lines: [`Password::prepared`], as a pattern.
const NO_CONTROLS: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$";

/// No control characters, and one character at least that is no white space: [`FullName::new`], as
/// a pattern.
const FULL_NAME: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000][^\\u0000-\\u001f\\u007f-\\u009f]*$";

fn account() -> Schema {
    Schema::exactly(
        "Account",
        [
            ("id", schema::uuid()),
            ("username", schema::text()),
            ("email", schema::text()),
            ("full_name", schema::text()),
        ],
    )
}

fn login_fields() -> Schema {
    let members = [("username", schema::text()), ("password", schema::text())];
    Schema { name: "Login", schema: schema::object(members) }
}

fn session() -> Schema {
    let token_type = json!({ "const": "bearer" });
    Schema::exactly("Session", [("access_token", schema::text()), ("token_type", token_type)])
}

fn new_key() -> Schema {
    let name = json!({ "type": "string", "minLength": 1, "maxLength": KEY_NAME_MAX_CHARS });
    let schema = schema::object([("name", name)]);
    Schema { name: "NewApiKey", schema }.with_optional(LIMITS, key_limits::asked())
}

fn known_of_key() -> [(&'static str, Value); 5] {
    [
        ("id", schema::uuid()),
        ("name", schema::text()),
        ("prefix", schema::text()),
        ("is_active", json!({ "type": "boolean" })),
        ("created_at", schema::moment()),
    ]
}

fn created_key() -> Schema {
    let [id, name, prefix, is_active, created_at] = known_of_key();
    Schema::exactly(
        "CreatedApiKey",
        [id, name, ("raw_key", schema::text()), prefix, is_active, created_at],
    )
    .with_optional(LIMITS, key_limits::shown())
}

fn refusal(error: &FaceError) -> Answer {
    Answer::refusal(error, &json!({ "detail": error.detail() }))
}

/// The error that this face answers for an [`AccountError`].
#[must_use]
pub fn refusal_of(error: &AccountError) -> FaceError {
    match error {
        AccountError::RegistrationClosed => FaceError::RegistrationClosed,
        AccountError::UsernameTaken => FaceError::UsernameTaken,
        AccountError::EmailTaken => FaceError::EmailTaken,
        AccountError::WrongLogin => FaceError::WrongLogin,
        AccountError::TooMany { retry_after } => FaceError::too_many(*retry_after),
        AccountError::NoSession => FaceError::BadCredential,
        AccountError::NoSuchKey => FaceError::NoSuchKey,
        AccountError::Busy | AccountError::Store(_) => FaceError::Unavailable,
        AccountError::Signing(_) | AccountError::Randomness(_) => FaceError::Internal,
    }
}

fn listed(record: &Record, is_active: bool) -> Value {
    let mut listed = json!({
        "id": record.id.to_string(),
        "name": record.name,
        "prefix": record.hint,
        "is_active": is_active,
        "created_at": record.issued_at.to_rfc3339_zulu(),
    });
    key_limits::add(&mut listed, record.limits);
    listed
}

/// The fields of the body. Fields that the call does not know are ignored.
fn fields(call: &Call<'_>) -> Result<Fields, FaceError> {
    let value = call.json()?.ok_or(FieldReport::no_body())?;
    Ok(Fields::of(value)?)
}

fn register(call: &Call<'_>) -> Result<AccountCommand, FaceError> {
    let mut fields = fields(call)?;
    let username = fields.text("username", |text| Username::new(&text));
    let email = fields.text("email", |text| Email::new(&text));
    let password = fields.text("password", |text| NewPassword::new(Password::presented(text)));
    let full_name = fields.text("full_name", |text| FullName::new(&text));
    match (username, email, password, full_name) {
        (Some(username), Some(email), Some(password), Some(full_name)) => {
            Ok(AccountCommand::Register(Registration { username, email, password, full_name }))
        }
        _ => Err(FaceError::BadFields(fields.into_reports())),
    }
}

/// Takes any two strings: those that no account can have are answered as wrong ones are, after the
/// same time.
fn login(call: &Call<'_>) -> Result<AccountCommand, FaceError> {
    let mut fields = fields(call)?;
    let username = fields.text("username", Ok);
    let password = fields.text("password", |text| Ok(Password::presented(text)));
    match (username, password) {
        (Some(username), Some(password)) => Ok(AccountCommand::Login { username, password }),
        _ => Err(FaceError::BadFields(fields.into_reports())),
    }
}

/// The key that is to be made.
fn key(call: &Call<'_>) -> Result<KeyCommand, FaceError> {
    let mut fields = fields(call)?;
    match (fields.name("name", KEY_NAME_MAX_CHARS), key_limits::take(&mut fields)) {
        (Some(name), Some(limits)) => Ok(KeyCommand::Issue { name, limits }),
        _ => Err(FaceError::BadFields(fields.into_reports())),
    }
}
