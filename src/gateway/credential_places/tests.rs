//! Every pair of places, and what a response says in addition.

use http::Request;

use super::*;
use crate::tokens::opaque::{Alphabet, OpaqueApi, OpaqueFormat};

/// A route that takes credentials from everywhere.
fn everywhere() -> CredentialPlaces {
    CredentialPlaces {
        headers: vec![
            X_API_KEY.clone(),
            HeaderName::from_static("private-token"),
            header::AUTHORIZATION,
        ],
        basic: true,
        websocket_protocol: true,
        cookie: Some("token".to_owned()),
        query: Some("access_token".to_owned()),
        ticket: Some("ticket".to_owned()),
        origins: Vec::new(),
    }
}

fn head(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::get(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

type Outcome = Result<(CredentialField, String), &'static str>;

fn read(places: &CredentialPlaces, target: &str, fields: &[(&str, &str)]) -> Outcome {
    let opaque = OpaqueApis::new(vec![OpaqueApi {
        token_api: "platform".into(),
        format: OpaqueFormat { prefix: "sk-".to_owned(), alphabet: Alphabet::Base62 },
        takes_api_key_field: false,
    }]);
    let head = head(target, fields);
    let reading = Reading {
        opaque: &opaque,
        token_limit: 100,
        takes_account_keys: false,
        is_websocket: true,
    };
    match places.presented(&head, &reading) {
        Ok(presented) => {
            let token = String::from_utf8(presented.token.to_vec()).expect("UTF-8");
            Ok((presented.field, token))
        }
        Err(refusal) => Err(refusal.reason().as_str()),
    }
}

/// A query or a field with a credential, and the place that it is.
type Placed = (&'static str, Option<(&'static str, &'static str)>, CredentialField);

/// One credential in each place.
const EACH: [Placed; 8] = [
    ("", Some(("authorization", "Bearer a")), CredentialField::Authorization),
    // "ann:a"
    ("", Some(("authorization", "Basic YW5uOmE=")), CredentialField::Basic),
    ("", Some(("authorization", "a")), CredentialField::Header),
    ("", Some(("x-api-key", "a")), CredentialField::Header),
    ("", Some(("private-token", " a ")), CredentialField::Header),
    ("", Some(("sec-websocket-protocol", "bearer, a")), CredentialField::WebSocketProtocol),
    ("", Some(("cookie", "x=1; token=a")), CredentialField::Cookie),
    ("access_token=a", None, CredentialField::Query),
];

#[test]
fn one_credential_is_read_in_each_place_and_any_two_are_ambiguous() {
    for (at, (query, field, place)) in EACH.iter().enumerate() {
        let fields: Vec<_> = field.iter().copied().collect();
        let found = read(&everywhere(), &format!("/?{query}"), &fields);
        assert_eq!(found, Ok((*place, "a".to_owned())), "{place:?}");
        for (other_query, other, other_place) in &EACH[at..] {
            let fields: Vec<_> = field.iter().chain(other).copied().collect();
            let found = read(&everywhere(), &format!("/?{query}&{other_query}"), &fields);
            assert_eq!(found, Err("ambiguous_credential"), "{place:?} and {other_place:?}");
        }
    }
}

#[test]
fn a_malformed_credential_beside_another_one_is_ambiguous_too() {
    for field in [
        ("authorization", "Bearer"),
        ("authorization", "Basic !"),
        ("private-token", ""),
        ("sec-websocket-protocol", "bearer"),
        ("cookie", "token="),
    ] {
        let found = read(&everywhere(), "/", &[field]);
        assert_eq!(found, Err("bad_credential"), "{field:?}");
        let found = read(&everywhere(), "/?access_token=a", &[field]);
        assert_eq!(found, Err("ambiguous_credential"), "{field:?}");
    }
    assert_eq!(read(&everywhere(), "/?access_token", &[]), Err("bad_credential"));
    assert_eq!(read(&everywhere(), "/?a;access_token=b", &[]), Err("ambiguous_credential"));
}

#[test]
fn no_place_is_read_that_the_route_does_not_name() {
    for (query, field, place) in EACH {
        let fields: Vec<_> = field.into_iter().collect();
        let found = read(&CredentialPlaces::default(), &format!("/?{query}"), &fields);
        let expected = match place {
            CredentialField::Authorization => Ok((place, "a".to_owned())),
            _ => Err("no_credential"),
        };
        assert_eq!(found, expected, "{place:?}");
    }
}

#[test]
fn the_keys_of_accounts_stay_where_they_were() {
    let places = CredentialPlaces { basic: true, ..CredentialPlaces::default() };
    let opaque = OpaqueApis::default();
    let read = |takes_account_keys, fields: &[(&str, &str)]| {
        let head = head("/", fields);
        let reading =
            Reading { opaque: &opaque, token_limit: 100, takes_account_keys, is_websocket: false };
        let found = places.presented(&head, &reading);
        found.map(|found| found.field).map_err(|refusal| refusal.reason().as_str())
    };
    let (key, basic) = (("x-api-key", "a"), ("authorization", "Basic YW5uOmE="));
    assert_eq!(read(true, &[key]), Ok(CredentialField::ApiKey));
    assert_eq!(read(false, &[key]), Err("no_credential"));
    assert_eq!(read(true, &[key, basic]), Err("ambiguous_credential"));
    // Where it is not read, it is the upstream's.
    assert_eq!(read(false, &[key, basic]), Ok(CredentialField::Basic));
}

#[test]
fn every_credential_is_removed_and_nothing_else() {
    let fields = [
        ("private-token", "a"),
        ("x-api-key", "a"),
        ("cookie", "a=1; token=a"),
        ("sec-websocket-protocol", "chat, bearer, a"),
        ("x-other", "1"),
    ];
    let mut head = head("/x?a=1&access_token=a", &fields);
    everywhere().remove(&mut head.headers, &mut head.uri);
    let left = [("cookie", "a=1"), ("sec-websocket-protocol", "chat"), ("x-other", "1")];
    let expected = self::head("/x?a=1", &left);
    assert_eq!((head.uri, head.headers), (expected.uri, expected.headers));
}

#[test]
fn a_response_to_a_credential_that_caches_do_not_see_is_private() {
    for (lines, expected) in [
        (&[][..], "private"),
        (&["max-age=60"], "max-age=60, private"),
        (&["public, max-age=60"], "max-age=60, private"),
        (&["Public", "S-MaxAge=5, must-revalidate"], "must-revalidate, private"),
        (&["private=\"set-cookie\""], "private=\"set-cookie\", private"),
        (&["Private, max-age=1"], "Private, max-age=1"),
        (&["no-store"], "no-store"),
    ] {
        for field in [CredentialField::Cookie, CredentialField::Query] {
            let value = |line: &&str| HeaderValue::try_from(*line).expect("a value");
            let mut headers: HeaderMap =
                lines.iter().map(|line| (header::CACHE_CONTROL, value(line))).collect();
            complete(field, false, &mut headers);
            let found: Vec<_> = headers.get_all(header::CACHE_CONTROL).iter().collect();
            assert_eq!(found, [expected], "{lines:?}");
            let is_query = field == CredentialField::Query;
            assert_eq!(headers.contains_key(header::REFERRER_POLICY), is_query);
        }
    }
}
