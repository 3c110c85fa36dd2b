//! Every field, every fault, every answer of the face.

use super::*;
use crate::domain::{Identity, RawToken, RecordKind, TokenDigest, TokenId};
use crate::tokens::store::Listed;

/// 2026-06-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_unix_millis(1_780_272_000_000);

fn decode_as(content_type: Option<&str>, body: &[u8]) -> Result<Command, FaceError> {
    let parameters = [("tenant_id".to_owned(), "active".to_owned())];
    let call = Call {
        method: &Method::POST,
        path: TOKENS,
        parameters: &parameters,
        content_type,
        body,
        now: NOW,
    };
    TenantTokens.decode(&call)
}

fn decode(body: &str) -> Result<Command, FaceError> {
    decode_as(Some("application/json"), body.as_bytes())
}

/// The faults of a body, as they are answered.
fn faults(body: &str) -> String {
    let refused = decode(body).expect_err(body);
    assert_eq!(refused.status().as_u16(), 422, "{body}");
    String::from_utf8(refusal(&refused).body.expect("a body")).expect("text")
}

fn record() -> Record {
    Record {
        digest: TokenDigest::from_bytes([0; 32]),
        id: TokenId::from_uuid(uuid::Uuid::nil()),
        token_api: "platform".into(),
        kind: RecordKind::ApiKey,
        origin: None,
        identity: Identity {
            subject: "s".into(),
            username: None,
            organization: None,
            role: None,
            email: None,
        },
        name: Some("my-api-token".into()),
        hint: None,
        limits: None,
        issued_at: NOW,
        expires_at: Timestamp::parse_with_offset("2026-12-31T23:59:59Z").ok(),
        last_used_at: None,
    }
}

#[test]
fn the_seeds_body_is_understood() {
    let expires_at = Timestamp::parse_with_offset("2026-12-31T23:59:59Z").expect("a moment");
    let expected = Command::IssueInTenant {
        tenant: "active".into(),
        name: "my-api-token".into(),
        expires_at,
        limits: None,
    };
    for date in ["2026-12-31T23:59:59Z", "2027-01-01T00:59:59.75+01:00", "2026-12-31 23:59:59z"] {
        let body =
            format!(r#"{{ "name": "my-api-token", "expiry_date": "{date}", "scope": "ignored" }}"#);
        assert_eq!(decode(&body), Ok(expected.clone()), "{date}");
    }
}

#[test]
fn a_name_has_one_to_a_hundred_characters() {
    for name in ["a".repeat(100), "😀".repeat(100), " ".into()] {
        let body = format!(r#"{{"name":"{name}","expiry_date":"2026-12-31T23:59:59Z"}}"#);
        assert!(decode(&body).is_ok(), "{name}");
    }
    for (name, message, kind) in [
        (r#""""#.to_owned(), "String should have at least 1 character", "string_too_short"),
        (
            format!(r#""{}""#, "😀".repeat(101)),
            "String should have at most 100 characters",
            "string_too_long",
        ),
        ("1".to_owned(), "Input should be a valid string", "string_type"),
        ("null".to_owned(), "Input should be a valid string", "string_type"),
    ] {
        let body = format!(r#"{{"name":{name},"expiry_date":"2026-12-31T23:59:59Z"}}"#);
        let expected = format!(
            r#"{{"detail":[{{"loc":["body","name"],"msg":"{message}","type":"{kind}"}}]}}"#
        );
        assert_eq!(faults(&body), expected);
    }
}

#[test]
fn a_date_is_a_moment_with_an_offset_in_the_future() {
    for (date, message, kind) in [
        (r#""2026-05-31T23:59:59Z""#, "Input should be in the future", "datetime_future"),
        (r#""2026-06-01T00:00:00Z""#, "Input should be in the future", "datetime_future"),
        (r#""2026-06-01T00:00:00.9Z""#, "Input should be in the future", "datetime_future"),
        (r#""2026-06-01T01:00:00+01:00""#, "Input should be in the future", "datetime_future"),
        (r#""2026-12-31T23:59:59""#, "Input should have timezone info", "timezone_aware"),
        (r#""2026-12-31""#, "Input should be a valid datetime", "datetime_parsing"),
        (r#""tomorrow""#, "Input should be a valid datetime", "datetime_parsing"),
        (r#""""#, "Input should be a valid datetime", "datetime_parsing"),
        (
            r#""9999-12-31T23:59:59-12:00""#,
            "Input should be a valid datetime, year is out of range",
            "datetime_parsing",
        ),
        ("1798761599", "Input should be a valid datetime", "datetime_type"),
        ("null", "Input should be a valid datetime", "datetime_type"),
    ] {
        let body = format!(r#"{{"name":"a","expiry_date":{date}}}"#);
        let expected = format!(
            r#"{{"detail":[{{"loc":["body","expiry_date"],"msg":"{message}","type":"{kind}"}}]}}"#
        );
        assert_eq!(faults(&body), expected);
    }
    assert!(decode(r#"{"name":"a","expiry_date":"2026-06-01T00:00:01Z"}"#).is_ok());
    assert!(decode(r#"{"name":"a","expiry_date":"9999-12-31T23:59:59Z"}"#).is_ok());
}

#[test]
fn all_faults_come_at_once_and_a_body_that_is_none_is_one_fault() {
    assert_eq!(
        faults("{}"),
        r#"{"detail":[{"loc":["body","name"],"msg":"Field required","type":"missing"},{"loc":["body","expiry_date"],"msg":"Field required","type":"missing"}]}"#
    );
    assert_eq!(
        faults(""),
        r#"{"detail":[{"loc":["body"],"msg":"Field required","type":"missing"}]}"#
    );
    let no_object = r#"{"detail":[{"loc":["body"],"msg":"Input should be a valid dictionary or object to extract fields from","type":"model_attributes_type"}]}"#;
    for body in ["[]", "null", "1", r#""x""#] {
        assert_eq!(faults(body), no_object, "{body}");
    }
    for body in ["{", r#"{"name":"a","name":"b"}"#, "nul", "é"] {
        assert!(
            faults(body).contains(r#""msg":"JSON decode error","type":"json_invalid""#),
            "{body}"
        );
    }
    assert_eq!(
        faults("{\n\"a\":x}"),
        r#"{"detail":[{"loc":["body"],"msg":"JSON decode error","type":"json_invalid"}]}"#
    );
    let body = br#"{"name":"a","expiry_date":"2026-12-31T23:59:59Z"}"#;
    for content_type in
        [None, Some(""), Some("application/x-www-form-urlencoded"), Some("text/plain")]
    {
        assert!(
            matches!(decode_as(content_type, body), Err(FaceError::BadFields(_))),
            "{content_type:?}"
        );
    }
}

#[test]
fn a_call_is_known_by_its_path_and_method() {
    let id = "f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b";
    let call = |method: &Method, path, token_id: &str| {
        let parameters = [
            ("tenant_id".to_owned(), "t".to_owned()),
            ("token_id".to_owned(), token_id.to_owned()),
        ];
        TenantTokens.decode(&Call {
            method,
            path,
            parameters: &parameters,
            content_type: None,
            body: b"",
            now: NOW,
        })
    };
    assert_eq!(call(&Method::GET, TOKENS, ""), Ok(Command::ListInTenant { tenant: "t".into() }));
    assert_eq!(call(&Method::PUT, TOKENS, ""), Err(FaceError::MethodNotAllowed("GET, HEAD, POST")));
    let revoke = |id| Ok(Command::RevokeInTenant { tenant: "t".into(), id });
    assert_eq!(call(&Method::DELETE, TOKEN, id), revoke(TokenId::parse(id)));
    assert_eq!(call(&Method::DELETE, TOKEN, "7"), revoke(None));
    assert_eq!(call(&Method::GET, TOKEN, id), Err(FaceError::MethodNotAllowed("DELETE")));
}

#[test]
fn the_answers_are_the_seeds_to_the_letter() {
    let shown = |outcome| {
        let answer = TenantTokens.encode(&outcome);
        (answer.status.as_u16(), String::from_utf8(answer.body.unwrap_or_default()).expect("text"))
    };
    let id = "00000000-0000-0000-0000-000000000000";
    let token = RawToken::new("sk-abc".into());
    let issued =
        CommandOutcome::Issued { token, record: Box::new(record()), lifetime_minutes: None };
    let members =
        format!(r#""id":"{id}","name":"my-api-token","expiry_date":"2026-12-31T23:59:59Z""#);
    assert_eq!(shown(issued), (201, format!(r#"{{{members},"token":"sk-abc"}}"#)));
    let listed = CommandOutcome::Listed(vec![Listed { record: record(), retired_at: None }]);
    assert_eq!(shown(listed), (200, format!("[{{{members}}}]")));
    assert_eq!(shown(CommandOutcome::Listed(Vec::new())), (200, "[]".into()));
    assert_eq!(shown(CommandOutcome::Revoked(record().id)), (204, String::new()));
    for (fault, status, detail) in [
        (FaceError::BadCredential, 401, "Invalid token"),
        (FaceError::NoCredential, 401, "Not authenticated"),
        (FaceError::ForeignTenant, 403, "Not a tenant of the caller"),
        (FaceError::NoSuchToken, 404, "Token not found"),
    ] {
        let answer = TenantTokens.refuse(&Method::GET, TOKENS, &fault);
        let body = String::from_utf8(answer.body.expect("a body")).expect("text");
        assert_eq!((answer.status.as_u16(), body), (status, format!(r#"{{"detail":"{detail}"}}"#)));
    }
}
