//! The contract to the letter.

use std::time::Duration;

use super::*;
use crate::domain::{
    Account, AccountId, Identity, RawToken, RecordKind, Timestamp, TokenDigest, TokenId,
};
use crate::tokens::store::Listed;

const NOW: Timestamp = Timestamp::from_unix_millis(0);
const GOOD: &str = r#"{"username":"hershel","email":"h@example.com","password":"secureP@ss123","full_name":"Hershel M"}"#;

fn decode(
    method: &Method,
    path: &'static str,
    parameter: Option<&str>,
    body: &str,
) -> Result<Command, FaceError> {
    let parameters: Vec<_> =
        parameter.map(|value| ("key_id".to_owned(), value.to_owned())).into_iter().collect();
    let body = body.as_bytes();
    let call = Call {
        method,
        path,
        parameters: &parameters,
        content_type: Some("application/json"),
        body,
        now: NOW,
    };
    Accounts.decode(&call)
}

fn post(path: &'static str, body: &str) -> Result<Command, FaceError> {
    decode(&Method::POST, path, None, body)
}

/// Status and body of the answer to what cannot be decoded.
fn refused(path: &'static str, body: &str) -> (u16, String) {
    let answer = refusal(&post(path, body).unwrap_err());
    (answer.status.as_u16(), String::from_utf8(answer.body.unwrap()).unwrap())
}

/// `loc` and `type` of each report.
fn reports(path: &'static str, body: &str) -> Vec<(String, &'static str)> {
    match post(path, body).unwrap_err() {
        FaceError::BadFields(reports) => {
            reports.into_iter().map(|report| (report.loc.join("."), report.kind)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn body(outcome: AccountOutcome) -> String {
    let answer = Accounts.encode(&CommandOutcome::Account(outcome));
    assert_eq!(answer.status, StatusCode::OK);
    String::from_utf8(answer.body.unwrap()).unwrap()
}

#[test]
fn registration_and_login_need_no_credential() {
    for (path, _) in Accounts.paths() {
        let need = match *path {
            "/register" | "/login" => CredentialNeed::None,
            "/tickets" => CredentialNeed::Key,
            _ => CredentialNeed::Session,
        };
        assert_eq!(Accounts.credential(path), need, "{path}");
    }
    assert!(post("/register", GOOD).is_ok());
    let wrong = decode(&Method::PUT, "/api-keys", None, "").unwrap_err();
    assert_eq!(wrong, FaceError::MethodNotAllowed("GET, HEAD, POST"));
}

#[test]
fn a_registration_is_read_and_other_members_are_not() {
    let with_more = GOOD.replace('{', r#"{"role":"admin","id":1,"#);
    for body in [GOOD, &with_more] {
        let Ok(Command::Account(AccountCommand::Register(registration))) = post("/register", body)
        else {
            panic!("{body}")
        };
        assert_eq!(registration.username.as_str(), "hershel");
        assert_eq!(registration.email.as_str(), "h@example.com");
        assert_eq!(registration.full_name.as_str(), "Hershel M");
        assert_eq!(registration.password.password().expose(), b"secureP@ss123");
    }
}

#[test]
fn what_is_wrong_is_said_of_all_fields_in_order_and_never_repeated() {
    let all = |kind| {
        ["username", "email", "password", "full_name"]
            .map(|field| (format!("body.{field}"), kind))
            .to_vec()
    };
    assert_eq!(reports("/register", "{}"), all("missing"));
    let nulls = r#"{"full_name":null,"password":null,"email":null,"username":null}"#;
    assert_eq!(reports("/register", nulls), all("string_type"));
    assert_eq!(
        reports("/register", r#"{"username":1,"email":[],"password":{},"full_name":true}"#),
        all("string_type")
    );
    let one = |from: &str, to: &str| reports("/register", &GOOD.replace(from, to));
    let said = |field: &str, kind| vec![(format!("body.{field}"), kind)];
    assert_eq!(one("\"hershel\"", "\"he\""), said("username", "string_too_short"));
    assert_eq!(
        one("\"hershel\"", &format!("\"{}\"", "h".repeat(51))),
        said("username", "string_too_long")
    );
    assert_eq!(one("\"hershel\"", "\"her shel\""), said("username", "string_pattern_mismatch"));
    assert_eq!(one("h@example.com", "h@example"), said("email", "value_error"));
    assert_eq!(one("secureP@ss123", "secureP"), said("password", "string_too_short"));
    assert_eq!(one("secureP@ss123", &"x".repeat(129)), said("password", "string_too_long"));
    assert_eq!(one("Hershel M", ""), said("full_name", "string_too_short"));
    assert_eq!(one("Hershel M", " "), said("full_name", "value_error"));
    assert_eq!(one("Hershel M", &"x".repeat(201)), said("full_name", "string_too_long"));
    let answer = refused("/register", &GOOD.replace("secureP@ss123", "canary"));
    let detail = r#"{"detail":[{"loc":["body","password"],"msg":"String should have at least 8 characters","type":"string_too_short"}]}"#;
    assert_eq!(answer, (422, detail.to_owned()));
}

#[test]
fn what_is_no_object_of_json_is_said_as_such() {
    for path in ["/register", "/login", "/api-keys"] {
        assert_eq!(reports(path, ""), [("body".to_owned(), "missing")]);
        for body in ["[]", "null", "\"x\"", "1"] {
            assert_eq!(reports(path, body), [("body".to_owned(), "model_attributes_type")]);
        }
        assert_eq!(refused(path, "{").0, 400);
        assert_eq!(refused(path, r#"{"name":"a","name":"b"}"#).0, 400);
        let method = &Method::POST;
        let call = Call {
            method,
            path,
            parameters: &[],
            content_type: Some("text/plain"),
            body: b"{}",
            now: NOW,
        };
        assert_eq!(Accounts.decode(&call), Err(FaceError::NotDeclaredJson));
    }
}

#[test]
fn a_login_takes_any_two_strings() {
    let long = "x".repeat(60_000);
    for (username, password) in
        [("hershel", "secureP@ss123"), ("", ""), ("a b\\n", "short"), (&long, &long)]
    {
        let body = format!(r#"{{"username":"{username}","password":"{password}"}}"#);
        let command = AccountCommand::Login {
            username: username.replace("\\n", "\n"),
            password: Password::presented(password.to_owned()),
        };
        assert_eq!(post("/login", &body), Ok(Command::Account(command)));
    }
    let missing =
        [("body.username".to_owned(), "missing"), ("body.password".to_owned(), "string_type")];
    assert_eq!(reports("/login", r#"{"password":null}"#), missing);
}

#[test]
fn a_key_has_a_name_of_one_to_a_hundred_characters_and_an_id() {
    let issue = |name: &str| post("/api-keys", &json!({ "name": name }).to_string());
    for name in ["x", &"\u{1f600}".repeat(100)] {
        let command =
            AccountCommand::Keys(KeyCommand::Issue { name: name.to_owned(), limits: None });
        assert_eq!(issue(name), Ok(Command::Account(command)));
    }
    for (body, kind) in [
        ("{}".to_owned(), "missing"),
        (json!({ "name": null }).to_string(), "string_type"),
        (json!({ "name": "" }).to_string(), "string_too_short"),
        (json!({ "name": "\u{1f600}".repeat(101) }).to_string(), "string_too_long"),
    ] {
        assert_eq!(reports("/api-keys", &body), [("body.name".to_owned(), kind)]);
    }
    let id = "b2c3d4e5-6789-abcd-ef01-23456789abcd";
    let revoke = AccountCommand::Keys(KeyCommand::Revoke(TokenId::parse(id).unwrap()));
    assert_eq!(
        decode(&Method::DELETE, "/api-keys/{key_id}", Some(id), ""),
        Ok(Command::Account(revoke))
    );
    let wrong = decode(&Method::DELETE, "/api-keys/{key_id}", Some("7"), "").unwrap_err();
    let answer = refusal(&wrong);
    let detail = r#"{"detail":[{"loc":["path","key_id"],"msg":"Input should be a valid UUID","type":"uuid_parsing"}]}"#;
    assert_eq!((answer.status.as_u16(), answer.body.unwrap()), (422, detail.as_bytes().to_vec()));
    assert_eq!(
        decode(&Method::GET, "/api-keys", None, ""),
        Ok(Command::Account(AccountCommand::Keys(KeyCommand::List)))
    );
}

#[test]
fn the_answers_are_those_of_the_seed() {
    let account = Account {
        id: AccountId::parse("a1b2c3d4-5678-9abc-def0-123456789abc").unwrap(),
        token_api: "accounts".into(),
        username: Username::new("hershel").unwrap(),
        email: Email::new("hershel@example.com").unwrap(),
        full_name: FullName::new("Hershel Moshkovitz").unwrap(),
        created_at: Timestamp::from_unix_millis(0),
        is_disabled: false,
        revision: 0,
    };
    assert_eq!(
        body(AccountOutcome::Registered(account.clone())),
        r#"{"id":"a1b2c3d4-5678-9abc-def0-123456789abc","username":"hershel","email":"hershel@example.com","full_name":"Hershel Moshkovitz"}"#
    );
    let token = RawToken::new("eyJ.x.y".into());
    assert_eq!(
        body(AccountOutcome::LoggedIn { token }),
        r#"{"access_token":"eyJ.x.y","token_type":"bearer"}"#
    );
    let record = Record {
        digest: TokenDigest::from_bytes([0; 32]),
        id: TokenId::parse("b2c3d4e5-6789-abcd-ef01-23456789abcd").unwrap(),
        token_api: "accounts".into(),
        kind: RecordKind::ApiKey,
        origin: None,
        identity: Identity { ..account.identity() },
        name: Some("my-app-key".into()),
        hint: Some("rst_a1b2".into()),
        limits: None,
        issued_at: Timestamp::from_unix_millis(1_771_237_800_000),
        expires_at: None,
        last_used_at: None,
    };
    let key = RawToken::new("rst_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5".into());
    assert_eq!(
        body(AccountOutcome::KeyIssued { key, record: Box::new(record.clone()) }),
        r#"{"id":"b2c3d4e5-6789-abcd-ef01-23456789abcd","name":"my-app-key","raw_key":"rst_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5","prefix":"rst_a1b2","is_active":true,"created_at":"2026-02-16T10:30:00Z"}"#
    );
    let listed = r#"{"id":"b2c3d4e5-6789-abcd-ef01-23456789abcd","name":"my-app-key","prefix":"rst_a1b2","is_active":true,"created_at":"2026-02-16T10:30:00Z"}"#;
    let keys = [None, Some(Timestamp::from_unix_millis(0))]
        .map(|retired_at| Listed { record: record.clone(), retired_at });
    let expected = format!("[{listed},{}]", listed.replace("true", "false"));
    assert_eq!(body(AccountOutcome::Keys(keys.into())), expected);
    assert_eq!(body(AccountOutcome::Keys(Vec::new())), "[]");
    let answer = Accounts.encode(&CommandOutcome::Account(AccountOutcome::KeyRevoked));
    assert_eq!((answer.status, answer.body), (StatusCode::NO_CONTENT, None));
}

#[test]
fn errors_have_their_status_and_their_words() {
    let too_many = |millis| AccountError::TooMany { retry_after: Duration::from_millis(millis) };
    for (error, status, detail, retry_after) in [
        (AccountError::UsernameTaken, 409, "Username already registered", None),
        (AccountError::EmailTaken, 409, "Email already registered", None),
        (AccountError::WrongLogin, 401, "Invalid username or password", None),
        (AccountError::RegistrationClosed, 403, "Registration is closed", None),
        (AccountError::NoSuchKey, 404, "API key not found", None),
        (AccountError::NoSession, 401, "Invalid or revoked token", None),
        (AccountError::Busy, 503, "The service is temporarily unavailable; please retry", None),
        (too_many(899_001), 429, "Too many attempts; please try again later", Some("900")),
        (too_many(0), 429, "Too many attempts; please try again later", Some("1")),
    ] {
        let answer = refusal(&refusal_of(&error));
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.body.unwrap(), json!({ "detail": detail }).to_string().into_bytes());
        assert_eq!(answer.retry_after.as_ref().map(|value| value.to_str().unwrap()), retry_after);
    }
}
