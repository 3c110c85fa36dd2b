//! What a route says of its conditions, its own answer, its headers and its upgrades: what is wrong
//! in it, in words.

use super::{SMALL, faults};

/// The faults of one further route.
fn of(lines: &str) -> Vec<String> {
    faults(&format!("{SMALL}[[route]]\n{lines}\n"))
}

#[track_caller]
fn expect(begin: &str, cases: &[(&str, &str)]) {
    for (lines, words) in cases {
        let found = of(&format!("{begin}\n{lines}"));
        if words.is_empty() {
            assert_eq!(found, Vec::<String>::new(), "{lines}");
        } else {
            assert_eq!(found.len(), 1, "{lines}: {found:?}");
            assert!(found.join("").contains(words), "{lines}: {found:?}");
        }
    }
}

const TO_APP: &str = "path = '/a/{x}/{*r}'\nupstream = 'app'\naccept = ['api']";
const OPEN: &str = "path = '/a/{x}/{*r}'\npublic = true";

#[test]
fn no_route_is_chosen_by_what_says_nothing_of_a_request_or_by_a_credential() {
    expect(
        TO_APP,
        &[
            ("when = { headers = { X-Version = '2' }, query = { beta = true, old = false } }", ""),
            ("when.headers = { X-A = ['1', '2'] }", ""),
            ("when.query = { 'a b' = '' }", ""),
            ("when = {}", ""),
            ("when.headers = { X-Keyward-Role = 'admin' }", "is what keyward tells upstreams"),
            ("when.headers = { X_Keyward_Role = 'admin' }", "is what keyward tells upstreams"),
            ("when.headers = { X-Forwarded-User = 'a' }", "is what keyward tells upstreams"),
            ("when.headers = { X-Request-Id = true }", "is what keyward tells upstreams"),
            ("when.headers = { X-Forwarded-Proto = 'http' }", "a meaning of its own"),
            ("when.headers = { Authorization = true }", "no route is chosen by those"),
            ("when.headers = { Cookie = true }", "no route is chosen by those"),
            ("when.headers = { X-API-Key = true }", "no route is chosen by those"),
            (
                "when.headers = { Private-Token = true }\ncredentials.headers = ['Private-Token']",
                "no route is chosen by those",
            ),
            ("when.query = { t = true }\ncredentials.query = 't'", "no route is chosen by those"),
            ("when.headers = { Host = 'a' }", "see \"host\" of the route"),
            ("when.headers = { Upgrade = 'a' }", "a meaning of its own"),
            ("when.headers = { 'a b' = '1' }", "cannot stand in a header name"),
            ("when.headers = { '' = '1' }", "it is empty"),
            ("when.headers = { X-A = '1', x-a = '2' }", "\"x-a\" stands in it twice"),
            ("when.headers = { X-A = 2 }", "\"X-A\" of \"headers\" must be a value"),
            ("when.headers = { X-A = [] }", "must be a value"),
            ("when.headers = { X-A = ['1', 2] }", "each item of \"X-A\" of \"headers\" must be"),
            ("when.headers = { X-A = ' 1' }", "must be a value without spaces around it"),
            ("when.query = { '' = '1' }", "it is empty"),
            ("when = { header = {} }", "did you mean \"headers\"?"),
            ("scheme = 'ftp'", "must be \"http\" or \"https\""),
            ("scheme = 'https'", ""),
        ],
    );
}

#[test]
fn no_route_is_chosen_by_where_another_one_takes_credentials_from() {
    for (places, when) in [
        ("headers = ['X-K']", "headers = { x-k = true }"),
        ("query = 'at'", "query = { b = '1', at = true }"),
        ("ticket = 'ticket'", "query = { ticket = true }"),
    ] {
        let text = format!(
            "{SMALL}[[route]]\npath = '/a'\nupstream = 'app'\npublic = true\nwhen.{when}\n\
             [[route]]\npath = '/a'\nupstream = 'app'\naccept = ['api']\ncredentials.{places}\n"
        );
        let found = faults(&text);
        assert!(
            matches!(&found[..], [one] if one.contains("no route is chosen by those")),
            "{when}: {found:?}"
        );
    }
}

#[test]
fn two_routes_that_one_request_could_mean_are_told_apart_by_the_number_of_their_conditions() {
    let twice = |one: &str, other: &str| {
        let route = |lines: &str| {
            format!("[[route]]\npath = '/a'\nupstream = 'app'\naccept = ['api']\n{lines}\n")
        };
        faults(&format!("{SMALL}{}{}", route(one), route(other)))
    };
    for (one, other) in [
        ("", "when.headers = { X-A = '1' }"),
        ("when.headers = { X-A = '1' }", "when.headers = { X-A = '2' }"),
        ("when.headers = { X-A = true }", "when.headers = { X-A = false }"),
        ("when.headers = { X-A = ['1', '2'] }", "when.headers = { X-A = '3' }"),
        ("when.headers = { X-A = '1' }", "when.headers = { X-A = '1', X-B = '1' }"),
        ("when.query = { a = '1' }", "when.query = { a = '1' }\nmethods = ['GET']"),
        ("when.query = { a = '1' }", "when.query = { A = '1', a = '2' }"),
        ("scheme = 'http'", ""),
        ("scheme = 'http'", "scheme = 'https'"),
    ] {
        assert_eq!(twice(one, other), Vec::<String>::new(), "{one} {other}");
    }
    for (one, other) in [
        ("when.headers = { X-A = '1' }", "when.headers = { x-a = ['1', '2'] }"),
        ("when.headers = { X-A = '1' }", "when.headers = { X-A = true }"),
        ("when.headers = { X-A = '1' }", "when.headers = { X-B = '1' }"),
        ("when.headers = { X-A = '1' }", "when.query = { a = '1' }"),
    ] {
        let found = twice(one, other);
        assert_eq!(found.len(), 1, "{one} {other}: {found:?}");
        let words = "the one on line 14, the conditions in \"when\" of both can hold";
        assert!(found.join("").contains(words), "{found:?}");
    }
    for (one, other) in [("scheme = 'http'", "scheme = 'http'"), ("", "when = {}")] {
        let found = twice(one, other);
        assert!(found.join("").contains("only one can answer"), "{one} {other}: {found:?}");
    }
}

#[test]
fn a_route_has_one_answer_and_a_redirect_names_its_server_itself() {
    let no_upstream = "is of no use here: the route leads to no upstream";
    expect(
        OPEN,
        &[
            ("redirect.to = 'https://www.example.com/{x}/{r}?a=b'", ""),
            ("redirect = { to = '/b/{*r}', status = 301, keep_query = false }", ""),
            ("redirect.to = 'https://{host}:8443{path}'", ""),
            ("scheme = 'http'\nredirect.to = 'https://{host}{path}'", ""),
            ("respond = {}", ""),
            ("respond = { status = 599, body = 'x', content_type = 'a/b; c=d' }", ""),
            ("", "or there must be \"redirect\" or \"respond\""),
            ("respond = {}\nredirect.to = '/x'", "either \"redirect\" or \"respond\", not both"),
            ("upstream = 'app'\nrespond = {}", "either \"upstream\" or \"respond\", not both"),
            ("redirect = {}", "missing key \"to\""),
            ("redirect.to = 'https://{host}{path}'", "say scheme = \"http\""),
            (
                "scheme = 'https'\nredirect.to = 'https://{host}{path}'",
                "would lead requests over https to where they came from",
            ),
            ("redirect.to = 'https://{x}.example.com/'", "only {host} can be the host"),
            ("redirect.to = 'https://www.example.com/{y}'", "\"to\": {y} is no parameter"),
            ("redirect.to = '/{r}/x'", "\"to\": {r} can only be the last segment"),
            ("redirect.to = '{path}'", "it would lead to itself"),
            ("redirect.to = '//evil.example'", "say \"https:\" before"),
            ("redirect = { to = '/x', status = 304 }", "must be 301, 302, 303, 307 or 308"),
            ("redirect = { to = '/x', status = 200 }", "an integer from 301 to 308"),
            ("respond.status = 101", "an integer from 200 to 599"),
            ("respond.status = 304", "must not be 304"),
            ("respond = { status = 204, body = 'x' }", "an answer with the status 204 has none"),
            ("respond.content_type = 'text'", "must be a media type"),
            ("respond.content_type = \"text/plain\\r\\nX: y\"", "must be a media type"),
            ("respond.body = \"\\u0001\"", "must be a text"),
            ("respond = {}\nforward_path = 'raw'", no_upstream),
            ("respond = {}\nrewrite = '/x'", no_upstream),
            ("respond = {}\nupgrades = []", no_upstream),
            ("respond = {}\nrequest_headers.remove = ['X-A']", no_upstream),
            ("respond = {}\ntimeouts.request = '1m'", no_upstream),
        ],
    );
    let long = format!("respond.body = '{}'", "x".repeat(64 * 1024 + 1));
    assert!(of(&format!("{OPEN}\n{long}")).join("").contains("at most 64 KiB"));
}

#[test]
fn changes_of_headers_leave_keywards_own_and_what_frames_messages() {
    let own = "is keyward's own, and cannot be changed here";
    let meaning = "a meaning of its own on the way to the upstream";
    let message = "both ends read from it what the message is";
    expect(
        TO_APP,
        &[
            (
                "request_headers = { set = { Authorization = 'Basic x', X-A = '' }, \
                 add = { X-B = ['1', '2'], X-C = '3' }, remove = ['Accept-Encoding'] }",
                "",
            ),
            (
                "response_headers = { set = { Strict-Transport-Security = 'max-age=1' }, \
                 add = { Set-Cookie = 'a=b; Secure' }, remove = ['Server', 'Via-Me'] }",
                "",
            ),
            ("response_headers.set = { Access-Control-Allow-Origin = '*' }", ""),
            ("request_headers.set = { X-Keyward-Role = 'admin' }", own),
            ("request_headers.remove = ['X_Keyward_Subject']", own),
            ("request_headers.add = { X-Request-Id = '1' }", own),
            ("response_headers.remove = ['X-Request-Id']", own),
            ("request_headers.set = { X-Forwarded-Prefix = '/' }", own),
            ("request_headers.set = { X-Forwarded-For = '1' }", meaning),
            ("request_headers.set = { Forwarded = 'for=a' }", meaning),
            ("request_headers.set = { Connection = 'x' }", meaning),
            ("request_headers.set = { Transfer_Encoding = 'chunked' }", meaning),
            ("request_headers.set = { Content-Length = '1' }", meaning),
            ("response_headers.remove = ['Content-Length']", meaning),
            ("response_headers.set = { Upgrade = 'x' }", meaning),
            ("request_headers.set = { TE = 'trailers' }", meaning),
            ("request_headers.set = { Host = 'a' }", "see \"preserve_host\""),
            ("request_headers.remove = ['Via']", "see \"via\""),
            ("request_headers.remove = ['Sec-WebSocket-Key']", message),
            ("request_headers.set = { Destination = '/x' }", message),
            ("response_headers.set = { grpc-status = '0' }", message),
            ("response_headers.set = { Content-Encoding = 'gzip' }", message),
            (
                "forward_credential = true\nrequest_headers.set = { Authorization = 'x' }",
                "holds the credential that this route forwards",
            ),
            (
                "cors.origins = ['*']\nresponse_headers.set = { Access-Control-Allow-Origin = '*' }",
                "\"cors\" of this route says",
            ),
            ("request_headers.set = { X-A = 'a', x-a = 'b' }", "\"x-a\" stands in it twice"),
            ("request_headers.remove = ['X-A', 'x-a']", "twice"),
            ("request_headers.remove = []", "must not be empty"),
            ("request_headers.set = { X-A = ['a'] }", "\"X-A\" of \"set\" must be a value"),
            ("request_headers = { sets = {} }", "did you mean \"set\"?"),
        ],
    );
}

#[test]
fn no_fault_repeats_a_value_of_a_header() {
    for value in ["\"canary\\r\\nX: y\"", "\"canary \"", "\"canary\\u00e9\"", "['canary', 1]", "1"]
    {
        for key in ["set", "add"] {
            let found = of(&format!("{TO_APP}\nrequest_headers.{key} = {{ X-A = {value} }}"));
            assert!(!found.is_empty(), "{key} {value}");
            assert!(!found.join("").contains("canary"), "{found:?}");
        }
    }
    let found = of(&format!("{TO_APP}\nrequest_headers.set = 'canary'"));
    assert!(!found.is_empty() && !found.join("").contains("canary"), "{found:?}");
    let text = format!("{SMALL}request_headers.set = {{ Authorization = 'Basic canary' }}\n");
    let config = super::read(&text).unwrap();
    let shown = format!("{:?}", config.routes);
    assert!(shown.contains("authorization") && !shown.contains("canary"), "{shown}");
}

#[test]
fn no_protocol_in_which_requests_pass_unseen_is_switched_to() {
    let unseen = "would pass keyward unseen";
    expect(
        TO_APP,
        &[
            ("upgrades = ['websocket', 'tcp', 'SPDY/3.1']", ""),
            ("upgrades = ['WebSocket']", ""),
            ("upgrades = []", ""),
            ("upgrades = ['h2c']", unseen),
            ("upgrades = ['H2C']", unseen),
            ("upgrades = ['h2']", unseen),
            ("upgrades = ['HTTP/2.0']", unseen),
            ("upgrades = ['TLS/1.2']", unseen),
            ("upgrades = ['tcp, h2c']", "must be the name of a protocol"),
            ("upgrades = ['tcp/']", "must be the name of a protocol"),
            ("upgrades = ['a/b/c']", "must be the name of a protocol"),
            ("upgrades = ['*x y']", "must be the name of a protocol"),
            ("upgrades = ['']", "it is empty"),
            ("upgrades = ['tcp', 'tcp']", "twice"),
            (
                "upgrades = ['tcp']\ncredentials.websocket_protocol = true",
                "\"upgrades\" have no \"websocket\"",
            ),
        ],
    );
}
