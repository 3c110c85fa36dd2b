//! What is wrong, and what is odd, in `cors`.

use super::{SMALL, faults, small_with};

/// The faults in a policy of the one route, without the place.
fn of_route(lines: &str) -> Vec<String> {
    faults(&format!("{SMALL}{lines}\n"))
}

#[track_caller]
fn expect(lines: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|fault| format!("k.toml:{fault}")).collect();
    assert_eq!(of_route(lines), expected);
}

#[test]
fn every_page_is_let_in_only_without_its_visitors_cookies() {
    expect(
        "cors = { origins = ['https://a.example', '*'], credentials = true }",
        &["14:62: \"credentials\" with the origin \"*\" would let every page act with the \
             cookies of its visitors: name the origins. A token in \"Authorization\" needs no \
             \"credentials\""],
    );
    expect(
        "cors = { origins = ['https://a.example'], credentials = true, expose = ['*'] }",
        &["14:72: \"expose\": with \"credentials\" browsers take \"*\" for a name: list the \
           headers"],
    );
    expect("cors = { origins = ['https://a.example'], credentials = true }", &[]);
    expect("cors = { origins = ['*'], expose = ['*'], headers = ['*'], methods = ['*'] }", &[]);
}

#[test]
fn a_policy_needs_origins_that_a_page_can_have() {
    let origin = "must be an origin as in \"https://app.example.com\" or \
                  \"https://*.example.com\", or \"*\"";
    expect(
        "cors = { methods = ['GET'] }",
        &[&format!(
            "14:8: missing key \"origins\" in cors of [[route]]: it must be an array, each \
                    item {}",
            origin.trim_start_matches("must be ")
        )],
    );
    expect(
        "cors.origins = []",
        &[&format!(
            "14:16: \"origins\" must not be empty: list at least one item, each {}",
            origin.trim_start_matches("must be ")
        )],
    );
    for (typed, reason) in [
        ("app.example.com", "it begins with a scheme, as in \"https://app.example.com\""),
        ("https://a/b", "an origin has no path: leave out what stands behind the host"),
        ("null", "files and sandboxed frames have the origin null, so any page can have it"),
        (
            "https://a*.b",
            "\"*\" stands alone, or for the first part of a name, as in \
                          \"https://*.example.com\"",
        ),
    ] {
        expect(
            &format!("cors.origins = ['{typed}']"),
            &[&format!("14:17: each item of \"origins\" {origin}, found {typed:?}: {reason}")],
        );
    }
    expect(
        "cors.origins = ['https://a.example', 'HTTPS://A.example:443']",
        &["14:38: \"origins\" lists \"https://a.example\" twice"],
    );
}

#[test]
fn what_browsers_would_ask_for_in_vain_is_named() {
    expect(
        "methods = ['GET']\ncors = { origins = ['*'], methods = ['GET', 'PUT'] }",
        &["15:37: \"methods\": \"PUT\" is none of the \"methods\" of this [[route]]"],
    );
    expect(
        "cors = { origins = ['*'], headers = ['X A'], max_age = '2d' }",
        &[
            "14:38: each item of \"headers\" must be the name of a header, or \"*\", found \"X A\"",
            "14:56: \"max_age\" must be a duration from \"0s\" to \"1d\", found \"2d\"",
        ],
    );
    let config = small_with("cors = { origins = ['*'], headers = ['X-A'] }");
    assert_eq!(
        config.warnings,
        ["k.toml:14:37: \"headers\" takes the place of the usual ones, and has no \
          \"Authorization\": no page can send a token"]
    );
}

#[test]
fn a_public_route_needs_no_header_for_a_token() {
    let text = SMALL.replace("accept = [\"api\"]", "public = true");
    let text = format!("{text}cors = {{ origins = ['*'], headers = ['X-A'] }}\n");
    let config = super::read(&text).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_token_api_has_a_policy_of_its_own() {
    let text = SMALL.replace("mount = \"/api\"\n", "mount = \"/api\"\ncors.origins = ['null']\n");
    assert_eq!(faults(&text).len(), 1);
    let text = text.replace("['null']", "['http://Localhost:80']");
    let config = super::read(&text).unwrap_or_else(|faults| panic!("{faults}"));
    let cors = config.token_apis.first().and_then(|api| api.cors.clone()).expect("a policy");
    assert_eq!(cors.origins.first().map(ToString::to_string).as_deref(), Some("http://localhost"));
    assert!(config.routes.iter().all(|route| route.cors.is_none()));
}

#[test]
fn a_header_that_credentials_come_in_is_allowed_unless_headers_are_listed() {
    let headers = |cors: &str| {
        let config = small_with(&format!(
            "credentials.headers = ['Private-Token', 'authorization']\ncors = {{ origins = ['*']{cors} }}"
        ));
        let cors = config.routes[0].cors.clone().expect("a policy");
        let of =
            |name: &str| cors.headers.iter().filter(|own| own.eq_ignore_ascii_case(name)).count();
        (of("private-token"), of("authorization"))
    };
    assert_eq!(headers(""), (1, 1));
    assert_eq!(headers(", headers = ['Authorization']"), (0, 1));
}

#[test]
fn pages_that_may_send_a_cookie_and_change_nothing_are_warned_of() {
    let warnings = |cors: &str, listed: &str| {
        small_with(&format!(
            "credentials = {{ cookie = 'token', origins = ['{listed}'] }}\ncors = {{ {cors} }}"
        ))
        .warnings
    };
    let cors = "origins = ['https://a.example', 'https://b.example'], credentials = true";
    assert_eq!(
        warnings(cors, "https://a.example"),
        [
            "k.toml:14:15: \"cors\" lets pages of https://b.example send the cookie, and \"origins\" of \
          \"credentials\" does not list them: they can read, and change nothing"
        ]
    );
    assert!(warnings("origins = ['https://b.example']", "https://a.example").is_empty());
    assert!(
        warnings("origins = ['https://*.b.example'], credentials = true", "https://*.b.example")
            .is_empty()
    );
}

#[test]
fn no_page_acts_with_a_cookie_because_all_pages_may() {
    expect(
        "credentials = { cookie = 'token', origins = ['*'] }",
        &[
            "14:46: each item of \"origins\" must be an origin as in \"https://app.example.com\" or \
           \"https://*.example.com\", found \"*\": every page could then act with the cookie of its \
           visitors: name the origins",
        ],
    );
    let config = small_with("cors = { origins = ['*', 'https://a.example'] }");
    assert_eq!(
        config.warnings,
        ["k.toml:14:20: \"origins\": \"*\" lets every page in, whatever is listed beside it"]
    );
}
