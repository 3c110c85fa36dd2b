//! The `accounts` contract: register, log in, and manage API keys (seed 003, "Authentication
//! Endpoints").
//!
//! One file, as a call, its answer and its description in the OpenAPI document change together.

use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::face::{Answer, Call, CredentialNeed, Face, is_json};
use super::face_error::FaceError;
use super::field_report::{FieldReport, Fields};
use super::operation::{Operation, Parameter, RequestBody, Success};
use super::schema::{self, Schema};
use crate::domain::{
    Email, FieldFault, FullName, NewPassword, Password, Record, TokenId, Username,
};
use crate::tokens::accounts::command::KEY_NAME_MAX_CHARS;
use crate::tokens::accounts::{
    AccountCommand, AccountError, AccountOutcome, KeyCommand, Registration,
};
use crate::tokens::command::{Command, CommandOutcome};
use crate::wire::json;

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
    fn paths(&self) -> &'static [&'static str] {
        &[REGISTER, LOGIN, KEYS, KEY]
    }

    fn allowed(&self, path: &str) -> &'static str {
        match path {
            KEYS => "GET, HEAD, POST",
            KEY => "DELETE",
            _ => "POST",
        }
    }

    fn credential(&self, path: &str) -> CredentialNeed {
        match path {
            REGISTER | LOGIN => CredentialNeed::None,
            _ => CredentialNeed::Session,
        }
    }

    fn decode(&self, call: &Call<'_>) -> Result<Command, FaceError> {
        let command = match (call.method, call.path) {
            (&Method::POST, REGISTER) => register(call)?,
            (&Method::POST, LOGIN) => login(call)?,
            (&Method::POST, KEYS) => {
                AccountCommand::Keys(KeyCommand::Issue { name: key_name(call)? })
            }
            (&Method::GET, KEYS) => AccountCommand::Keys(KeyCommand::List),
            (&Method::DELETE, KEY) => {
                let id = call.parameter("key_id").and_then(TokenId::parse);
                let id = id
                    .ok_or_else(|| FaceError::BadFields(vec![FieldReport::not_a_uuid("key_id")]))?;
                AccountCommand::Keys(KeyCommand::Revoke(id))
            }
            (_, path) => return Err(FaceError::MethodNotAllowed(self.allowed(path))),
        };
        Ok(Command::Account(command))
    }

    fn encode(&self, outcome: &CommandOutcome) -> Answer {
        // This face asks for nothing else.
        let CommandOutcome::Account(outcome) = outcome else { return error(&FaceError::Internal) };
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
            AccountOutcome::KeyIssued { key, record } => json!({
                "id": record.id.to_string(),
                "name": record.name,
                "raw_key": key.expose(),
                "prefix": record.hint,
                "is_active": true,
                "created_at": record.issued_at.to_rfc3339_zulu(),
            }),
            AccountOutcome::Keys(keys) => {
                keys.iter().map(|key| listed(&key.record, key.retired_at.is_none())).collect()
            }
            AccountOutcome::KeyRevoked => {
                return Answer {
                    status: StatusCode::NO_CONTENT,
                    body: None,
                    allow: None,
                    retry_after: None,
                };
            }
        };
        answer(StatusCode::OK, &body)
    }

    fn refuse(&self, _method: &Method, _path: &'static str, fault: &FaceError) -> Answer {
        error(fault)
    }

    fn describe(&self) -> Vec<Operation> {
        calls()
    }

    fn error_schema(&self) -> Schema {
        Schema { name: "AccountsError", schema: schema::detail() }
    }
}

/// What the calls are.
fn calls() -> Vec<Operation> {
    let success = |status, description, schema| Success { status, description, schema };
    let body = |schema| Some(RequestBody { is_optional: false, schema });
    let missing = |field| {
        FaceError::BadFields(vec![FieldReport::of_body(Some(field), "missing", "Field required")])
    };
    let no_json = || FaceError::BadJson(json::NotJson { line: 1, column: 2 });
    let too_many = || FaceError::TooMany { retry_after_seconds: 60 };
    vec![
        Operation {
            id: "register",
            method: Method::POST,
            path: REGISTER,
            summary: "Register",
            description: "Adds an account. Usernames and email addresses are unique without regard \
                          to case.",
            parameters: Vec::new(),
            body: body(registration()),
            success: success(StatusCode::OK, "The account", Some(account())),
            errors: vec![
                no_json(),
                FaceError::RegistrationClosed,
                FaceError::UsernameTaken,
                FaceError::EmailTaken,
                FaceError::NotDeclaredJson,
                missing("username"),
                too_many(),
            ],
        },
        Operation {
            id: "login",
            method: Method::POST,
            path: LOGIN,
            summary: "Log In",
            description: "Answers with a token for the calls below. It opens no route.",
            parameters: Vec::new(),
            body: body(Schema {
                name: "Login",
                schema: schema::object([
                    ("username", schema::text()),
                    ("password", schema::text()),
                ]),
            }),
            success: success(
                StatusCode::OK,
                "The session",
                Some(Schema::exactly(
                    "Session",
                    [
                        ("access_token", schema::text()),
                        ("token_type", json!({ "const": "bearer" })),
                    ],
                )),
            ),
            errors: vec![
                no_json(),
                FaceError::WrongLogin,
                FaceError::NotDeclaredJson,
                missing("username"),
                too_many(),
            ],
        },
        Operation {
            id: "create_key",
            method: Method::POST,
            path: KEYS,
            summary: "Create API Key",
            description: "Makes a key. It is shown once, in this answer, and travels in \
                          `X-API-Key`.",
            parameters: Vec::new(),
            body: body(Schema {
                name: "NewApiKey",
                schema: schema::object([(
                    "name",
                    json!({ "type": "string", "minLength": 1, "maxLength": KEY_NAME_MAX_CHARS }),
                )]),
            }),
            success: success(
                StatusCode::OK,
                "The key and what is known of it",
                Some(created_key()),
            ),
            errors: vec![no_json(), FaceError::NotDeclaredJson, missing("name")],
        },
        Operation {
            id: "list_keys",
            method: Method::GET,
            path: KEYS,
            summary: "List API Keys",
            description: "Names the caller's keys, oldest first. Revoked ones stay listed.",
            parameters: Vec::new(),
            body: None,
            success: success(StatusCode::OK, "The caller's keys", Some(keys())),
            errors: Vec::new(),
        },
        Operation {
            id: "revoke_key",
            method: Method::DELETE,
            path: KEY,
            summary: "Revoke API Key",
            description: "When this has answered, the key opens nothing any more. It can be \
                          repeated.",
            parameters: vec![Parameter {
                name: "key_id",
                description: "The `id` of the key.",
                schema: schema::uuid(),
            }],
            body: None,
            success: success(StatusCode::NO_CONTENT, "It is revoked", None),
            errors: vec![
                FaceError::NoSuchKey,
                FaceError::BadFields(vec![FieldReport::not_a_uuid("key_id")]),
            ],
        },
    ]
}

fn registration() -> Schema {
    let bounded = |least: usize, most: usize| json!({ "type": "string", "minLength": least, "maxLength": most });
    let mut username = bounded(Username::LEAST, Username::MOST);
    let mut full_name = bounded(1, FullName::MOST);
    for (schema, pattern) in [(&mut username, "^[A-Za-z0-9]+$"), (&mut full_name, FULL_NAME)] {
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("pattern".into(), pattern.into());
        }
    }
    let email = json!({ "type": "string", "format": "email", "maxLength": Email::MOST });
    let mut password = bounded(NewPassword::LEAST, NewPassword::MOST);
    if let Some(schema) = password.as_object_mut() {
        schema.insert("format".into(), "password".into());
        schema.insert("pattern".into(), NO_CONTROLS.into());
        schema.insert("description".into(), "Counted in Unicode's normal form C.".into());
    }
    Schema {
        name: "Registration",
        schema: schema::object([
            ("username", username),
            ("email", email),
            ("password", password),
            ("full_name", full_name),
        ]),
    }
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
}

fn keys() -> Schema {
    let key = Schema::exactly("ApiKey", known_of_key());
    Schema { name: "ApiKeys", schema: json!({ "type": "array", "items": key.schema }) }
}

fn error(error: &FaceError) -> Answer {
    let detail = match error {
        FaceError::BadFields(reports) => json!(reports),
        FaceError::BadField { field, expected } => {
            json!([{ "loc": ["body", field], "msg": expected, "type": "value_error" }])
        }
        other => json!(other.to_string()),
    };
    let mut answer = answer(error.status(), &json!({ "detail": detail }));
    match error {
        FaceError::MethodNotAllowed(methods) => {
            answer.allow = Some(HeaderValue::from_static(methods))
        }
        FaceError::TooMany { retry_after_seconds } => {
            answer.retry_after = Some(HeaderValue::from(*retry_after_seconds));
        }
        _ => {}
    }
    answer
}

/// What an error is in the words of this face. The gateway asks for the others itself: a session
/// that is not good is a credential that is not good, and the store's errors and ours are logged.
#[must_use]
pub fn refusal_of(error: &AccountError) -> FaceError {
    match error {
        AccountError::RegistrationClosed => FaceError::RegistrationClosed,
        AccountError::UsernameTaken => FaceError::UsernameTaken,
        AccountError::EmailTaken => FaceError::EmailTaken,
        AccountError::WrongLogin => FaceError::WrongLogin,
        AccountError::TooMany { retry_after } => {
            // Up to the next whole second: an attempt after that time is let in.
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            FaceError::TooMany { retry_after_seconds: seconds.max(1) }
        }
        AccountError::NoSession => FaceError::BadCredential,
        AccountError::NoSuchKey => FaceError::NoSuchKey,
        AccountError::Busy | AccountError::Store(_) => FaceError::Unavailable,
        AccountError::Signing(_) | AccountError::Randomness(_) => FaceError::Internal,
    }
}

fn answer(status: StatusCode, body: &Value) -> Answer {
    Answer { status, body: Some(body.to_string().into_bytes()), allow: None, retry_after: None }
}

fn listed(record: &Record, is_active: bool) -> Value {
    json!({
        "id": record.id.to_string(),
        "name": record.name,
        "prefix": record.hint,
        "is_active": is_active,
        "created_at": record.issued_at.to_rfc3339_zulu(),
    })
}

/// The fields of the body; what else is in it is not ours to read.
fn fields(call: &Call<'_>) -> Result<Fields, FaceError> {
    let body = call.body.trim_ascii();
    if body.is_empty() {
        return Err(FaceError::BadFields(vec![FieldReport::of_body(
            None,
            "missing",
            "Field required",
        )]));
    }
    if !call.content_type.is_some_and(is_json) {
        return Err(FaceError::NotDeclaredJson);
    }
    Fields::of(json::parse(body).map_err(FaceError::BadJson)?)
        .map_err(|report| FaceError::BadFields(vec![report]))
}

fn register(call: &Call<'_>) -> Result<AccountCommand, FaceError> {
    let mut fields = fields(call)?;
    let username = fields.take("username", |text| Username::new(&text));
    let email = fields.take("email", |text| Email::new(&text));
    let password = fields.take("password", |text| NewPassword::new(Password::presented(text)));
    let full_name = fields.take("full_name", |text| FullName::new(&text));
    match (username, email, password, full_name) {
        (Some(username), Some(email), Some(password), Some(full_name)) => {
            Ok(AccountCommand::Register(Registration { username, email, password, full_name }))
        }
        _ => Err(FaceError::BadFields(fields.into_reports())),
    }
}

/// Any two strings: what cannot be right is wrong, in the same words and the same time as what
/// could be.
fn login(call: &Call<'_>) -> Result<AccountCommand, FaceError> {
    let mut fields = fields(call)?;
    let username = fields.take("username", Ok);
    let password = fields.take("password", |text| Ok(Password::presented(text)));
    match (username, password) {
        (Some(username), Some(password)) => Ok(AccountCommand::Login { username, password }),
        _ => Err(FaceError::BadFields(fields.into_reports())),
    }
}

fn key_name(call: &Call<'_>) -> Result<String, FaceError> {
    let mut fields = fields(call)?;
    let name = fields.take("name", |text| match text.chars().count() {
        0 => Err(FieldFault::TooShort(1)),
        1..=KEY_NAME_MAX_CHARS => Ok(text),
        _ => Err(FieldFault::TooLong(KEY_NAME_MAX_CHARS)),
    });
    name.ok_or_else(|| FaceError::BadFields(fields.into_reports()))
}
