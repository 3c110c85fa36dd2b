use super::*;

fn key() -> RecordKey {
    RecordKey::new(&[7; 32])
}

fn record(kind: RecordKind) -> Record {
    Record {
        digest: TokenDigest::from_bytes([3; 32]),
        id: TokenId::from_uuid(uuid::Uuid::from_u128(0xf1c2_a3b4)),
        token_api: "platform".into(),
        kind,
        origin: Some("https://idp.example".into()),
        identity: Identity {
            subject: "ann \u{1F511} \"quoted\"\u{0}".into(),
            username: Some("ann".into()),
            organization: Some("acme".into()),
            role: Some("admin".into()),
            email: Some("ann@example.com".into()),
        },
        name: Some("ci".into()),
        hint: Some("sk-1234".into()),
        limits: None,
        issued_at: Timestamp::from_unix_millis(1_700_000_000_000),
        expires_at: Some(Timestamp::from_unix_millis(1_800_000_000_000)),
        last_used_at: None,
    }
}

const ALTERED: BodyFault = BodyFault::Seal(SealFault::Altered);

fn decode(body: &[u8], record: &Record) -> Result<Record, BodyFault> {
    key().decode(record.digest, body, RecordState::of(record))
}

#[test]
fn what_is_encoded_is_decoded() {
    let full = record(RecordKind::ApiKey);
    let bare = Record {
        identity: Identity {
            username: None,
            organization: None,
            role: None,
            email: None,
            ..full.identity.clone()
        },
        name: None,
        hint: None,
        origin: None,
        expires_at: None,
        last_used_at: Some(Timestamp::from_unix_millis(i64::MIN)),
        ..record(RecordKind::Bootstrap { mints_left: u32::MAX })
    };
    let session = record(RecordKind::Session);
    for record in [full, bare, session] {
        assert_eq!(decode(&key().encode(&record).unwrap(), &record), Ok(record));
    }
}

#[test]
fn the_form_on_disk_is_the_documented_one() {
    let bare = Record {
        identity: Identity {
            subject: "ann".into(),
            username: None,
            organization: None,
            role: None,
            email: Some("ann@example.com".into()),
        },
        name: None,
        hint: None,
        origin: None,
        expires_at: None,
        ..record(RecordKind::Bootstrap { mints_left: 2 })
    };
    let body = key().encode(&bare).unwrap();
    let json = r#"{"id":"00000000-0000-0000-0000-0000f1c2a3b4","api":"platform","sub":"ann","mail":"ann@example.com","iat":1700000000000,"mints":2}"#;
    assert_eq!(std::str::from_utf8(&body[17..]), Ok(json));
    let mut message = b"keyward record\0\x01".to_vec();
    message.extend_from_slice(&[3; 32]);
    message.extend_from_slice(json.as_bytes());
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), &message);
    assert_eq!((body[0], &body[1..17]), (1, &mac.as_ref()[..16]));
}

#[test]
fn a_session_and_an_origin_are_named_at_the_end_and_read_as_nothing_else() {
    let session = Record {
        identity: Identity {
            username: None,
            organization: None,
            role: None,
            email: None,
            subject: "ann".into(),
        },
        name: None,
        hint: None,
        expires_at: None,
        ..record(RecordKind::Session)
    };
    let body = key().encode(&session).unwrap();
    let json = r#"{"id":"00000000-0000-0000-0000-0000f1c2a3b4","api":"platform","sub":"ann","iat":1700000000000,"origin":"https://idp.example","kind":"session"}"#;
    assert_eq!(std::str::from_utf8(&body[17..]), Ok(json));
    let state = RecordState { mints_left: Some(1), last_used_at: None };
    assert_eq!(key().decode(session.digest, &body, state), Err(BodyFault::ImpossibleState));
    for wrong in [r#""kind":"api_key""#, r#""kind":"session","mints":1"#] {
        let json = json.replace(r#""kind":"session""#, wrong);
        let tag = key().tag(PURPOSE, session.digest.as_bytes(), json.as_bytes());
        let body = [&[1][..], &tag, json.as_bytes()].concat();
        assert!(key().decode(session.digest, &body, RecordState::default()).is_err(), "{wrong}");
    }
}

#[test]
fn limits_are_at_the_end_and_a_record_without_them_is_what_it_was() {
    let limits = |text| serde_json::from_str(text).unwrap();
    let limited = Record {
        limits: limits(r#"{"rate":"10/s","burst":20,"concurrent_requests":2}"#),
        ..record(RecordKind::ApiKey)
    };
    let body = key().encode(&limited).unwrap();
    let end = br#","limits":{"rate":"10/s","burst":20,"concurrent_requests":2}}"#;
    assert!(body.ends_with(end), "{}", String::from_utf8_lossy(&body));
    assert_eq!(decode(&body, &limited), Ok(limited.clone()));
    let without = key().encode(&Record { limits: None, ..limited.clone() }).unwrap();
    assert_eq!(without.len(), body.len() - end.len() + 1);
    assert!(!String::from_utf8_lossy(&without).contains("limits"));
    // Limits that this version cannot read are no reason to serve the key without them.
    for wrong in [r#""limits":{"rate":"10/w"}"#, r#""limits":{}"#, r#""limits":{"quota":1}"#] {
        let json = String::from_utf8_lossy(&body[17..])
            .replace(r#""limits":{"rate":"10/s","burst":20,"concurrent_requests":2}"#, wrong);
        let tag = key().tag(PURPOSE, limited.digest.as_bytes(), json.as_bytes());
        let body = [&[1][..], &tag, json.as_bytes()].concat();
        assert_eq!(decode(&body, &limited), Err(BodyFault::Seal(SealFault::Unreadable)), "{wrong}");
    }
}

#[test]
fn every_flipped_byte_is_noticed() {
    let record = record(RecordKind::Bootstrap { mints_left: 3 });
    let body = key().encode(&record).unwrap();
    for at in 0..body.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut altered = body.clone();
            altered[at] ^= flip;
            let expected =
                if at == 0 { BodyFault::Seal(SealFault::UnknownForm(1 ^ flip)) } else { ALTERED };
            assert_eq!(decode(&altered, &record), Err(expected), "byte {at}");
        }
    }
}

#[test]
fn every_shorter_and_longer_body_is_noticed() {
    let record = record(RecordKind::ApiKey);
    let mut body = key().encode(&record).unwrap();
    for length in 0..body.len() {
        assert!(decode(&body[..length], &record).is_err(), "{length} bytes");
    }
    body.push(b' ');
    assert_eq!(decode(&body, &record), Err(ALTERED));
}

#[test]
fn a_body_belongs_to_one_digest_and_one_key() {
    let record = record(RecordKind::ApiKey);
    let body = key().encode(&record).unwrap();
    let elsewhere = TokenDigest::from_bytes([4; 32]);
    assert_eq!(key().decode(elsewhere, &body, RecordState::default()), Err(ALTERED));
    let other = RecordKey::new(&[8; 32]);
    assert_eq!(other.decode(record.digest, &body, RecordState::default()), Err(ALTERED));
    assert_ne!(other.seal(), key().seal());
}

#[test]
fn the_state_beside_a_body_cannot_make_more_of_it() {
    let bootstrap = record(RecordKind::Bootstrap { mints_left: 3 });
    let body = key().encode(&bootstrap).unwrap();
    let with = |mints_left| {
        key().decode(bootstrap.digest, &body, RecordState { mints_left, last_used_at: None })
    };
    assert_eq!(
        with(Some(0)).map(|record| record.kind),
        Ok(RecordKind::Bootstrap { mints_left: 0 })
    );
    assert_eq!(with(Some(4)), Err(BodyFault::ImpossibleState));
    assert_eq!(with(None), Err(BodyFault::ImpossibleState));
    let api_key = key().encode(&record(RecordKind::ApiKey)).unwrap();
    let state = RecordState { mints_left: Some(1), last_used_at: None };
    assert_eq!(key().decode(bootstrap.digest, &api_key, state), Err(BodyFault::ImpossibleState));
}

#[test]
fn a_key_shows_nothing_in_debug() {
    assert_eq!(format!("{:?}", key()), "RecordKey([secret])");
}
