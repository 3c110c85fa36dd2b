//! A credential in whatever place is one, is refused beside another one, and is gone before the
//! upstream.

use http::Request;
use http::header::{self, HeaderName};

use super::field_lines::field_lines;
use crate::gateway::fuzzing::Gateway;
use crate::wire::fields::are_alike;

/// The fields that may change when credentials are removed.
const PLACES: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::SEC_WEBSOCKET_PROTOCOL,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("private-token"),
];

pub(super) fn run(input: &[u8]) -> bool {
    let (Ok(gateway), Some(end)) = (Gateway::new(), input.iter().position(|&byte| byte == b'\n'))
    else {
        return false;
    };
    let (query, lines) = input.split_at(end);
    let Ok(query) = std::str::from_utf8(query) else { return false };
    let Ok(request) = Request::get(format!("/x?{query}")).body(()) else { return false };
    let mut head = request.into_parts().0;
    head.headers = field_lines(lines);

    let read = gateway.credential(&head);
    let mut clean = head.clone();
    gateway.remove_credentials(&mut clean);
    let left = gateway.credential(&clean);
    // Only some readers see what is behind a semicolon, so it is not removed but refused.
    let is_refused = read == Err("ambiguous_credential") && left == read;
    assert!(is_refused || left == Err("no_credential"), "{left:?} is left in {clean:?}");
    let mut again = clean.clone();
    gateway.remove_credentials(&mut again);
    assert_eq!((&again.uri, &again.headers), (&clean.uri, &clean.headers), "removed at once");
    // Some servers take `x_api_key` for the same field.
    let is_place =
        |name: &HeaderName| PLACES.iter().any(|place| are_alike(place.as_str(), name.as_str()));
    for name in head.headers.keys().filter(|name| !is_place(name)) {
        let values = |of: &http::request::Parts| -> Vec<_> {
            of.headers.get_all(name).iter().cloned().collect()
        };
        assert_eq!(values(&clean), values(&head), "{name} is no place");
    }
    assert_eq!(clean.uri.path(), head.uri.path());
    if let Ok(token) = &read {
        assert!(!token.is_empty(), "an empty token is none");
        // The same credential twice is ambiguous, wherever the other one is.
        let mut twice = head;
        let another = if twice.headers.contains_key("private-token") {
            HeaderName::from_static("x-api-key")
        } else {
            HeaderName::from_static("private-token")
        };
        twice.headers.append(another, header::HeaderValue::from_static("another"));
        assert_eq!(gateway.credential(&twice), Err("ambiguous_credential"), "beside another one");
    }
    read.is_ok()
}
