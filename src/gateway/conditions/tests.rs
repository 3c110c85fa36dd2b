//! What holds for which request, and which routes could be meant by one request.

use super::*;

fn is(value: &str) -> Expected {
    Expected::OneOf(vec![value.to_owned()])
}

fn header(expected: Expected) -> Conditions {
    Conditions { headers: vec![(HeaderName::from_static("x-v"), expected)], query: Vec::new() }
}

fn query(expected: Expected) -> Conditions {
    Conditions { headers: Vec::new(), query: vec![("beta".to_owned(), expected)] }
}

fn fields(values: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("x-v", http::HeaderValue::from_static(value));
    }
    headers
}

/// `None`: it is refused.
fn holds(conditions: &Conditions, values: &[&'static str], query: &str) -> Option<bool> {
    conditions.hold(&fields(values), Some(query)).ok()
}

#[test]
fn a_field_is_compared_whole_and_one_that_comes_twice_has_no_value() {
    for (expected, values, holding) in [
        (is("2"), &["2"][..], Some(true)),
        (is("2"), &["2, 2"], Some(false)),
        (is("2"), &["02"], Some(false)),
        (is("2"), &[], Some(false)),
        (is("2"), &["2", "2"], None),
        (is("2"), &["1", "2"], None),
        (is(""), &[""], Some(true)),
        (is("a"), &["A"], Some(false)),
        (Expected::OneOf(vec!["1".into(), "2".into()]), &["2"], Some(true)),
        (Expected::Present, &["x"], Some(true)),
        (Expected::Present, &["x", "y"], Some(true)),
        (Expected::Present, &[], Some(false)),
        (Expected::Absent, &[], Some(true)),
        (Expected::Absent, &["x", "y"], Some(false)),
    ] {
        assert_eq!(holds(&header(expected.clone()), values, ""), holding, "{expected} {values:?}");
    }
}

#[test]
fn bytes_that_are_no_utf8_equal_no_value() {
    let mut headers = HeaderMap::new();
    headers.insert("x-v", http::HeaderValue::from_bytes(b"2\xff").expect("a value"));
    assert!(matches!(header(is("2")).hold(&headers, None), Ok(false)));
    assert!(matches!(header(is("2\u{ff}")).hold(&headers, None), Ok(false)));
}

#[test]
fn a_parameter_is_decoded_once_and_one_with_two_readings_has_no_value() {
    for (expected, text, holding) in [
        (is("true"), "beta=true", Some(true)),
        (is("true"), "a=1&beta=true&b", Some(true)),
        (is("true"), "%62eta=%74rue", Some(true)),
        (is("a b"), "beta=a+b", Some(true)),
        (is("a b"), "beta=a%20b", Some(true)),
        (is("a+b"), "beta=a%2Bb", Some(true)),
        (is("%20"), "beta=%2520", Some(true)),
        (is("true"), "beta=True", Some(false)),
        (is("true"), "Beta=true", Some(false)),
        (is("true"), "beta=", Some(false)),
        (is(""), "beta", Some(true)),
        (is("true"), "", Some(false)),
        (is("true"), "beta=true&beta=true", None),
        (is("true"), "beta=false&%62eta=true", None),
        (is("true"), "a=1;beta=true", None),
        (is("true"), "beta=true;a=1", None),
        (is("true"), "a=1;b=2", Some(false)),
        (Expected::Absent, "a=1;beta=true", None),
        (Expected::Present, "a=1;beta", None),
        (Expected::Present, "beta&beta", Some(true)),
        (Expected::Absent, "a=beta", Some(true)),
        (Expected::Absent, "beta=1&beta=2", Some(false)),
    ] {
        assert_eq!(holds(&query(expected.clone()), &[], text), holding, "{expected} {text}");
    }
    assert!(matches!(query(Expected::Absent).hold(&HeaderMap::new(), None), Ok(true)));
}

#[test]
fn what_fails_for_certain_asks_for_no_other_answer() {
    let mut both = header(is("2"));
    both.query = query(is("true")).query;
    assert_eq!(holds(&both, &["1"], "beta=1&beta=2"), Some(false));
    assert_eq!(holds(&both, &["1", "2"], "beta=false"), Some(false));
    assert_eq!(holds(&both, &["2"], "beta=1&beta=2"), None);
    assert_eq!(holds(&both, &["2"], "beta=true"), Some(true));
}

#[test]
fn two_routes_can_be_meant_by_one_request_unless_a_condition_tells_them_apart() {
    let both = |one: Expected, other: Expected| header(one).can_hold_with(&header(other));
    for (one, other, can) in [
        (is("1"), is("1"), true),
        (is("1"), is("2"), false),
        (is("1"), Expected::Present, true),
        (Expected::Absent, Expected::Present, false),
        (Expected::Absent, Expected::Absent, true),
        (is("1"), Expected::Absent, false),
        (Expected::OneOf(vec!["1".into(), "2".into()]), is("2"), true),
    ] {
        assert_eq!(both(one.clone(), other.clone()), can, "{one} {other}");
        assert_eq!(both(other, one), can);
    }
    assert!(header(is("1")).can_hold_with(&query(is("1"))));
}

#[test]
fn a_preflight_names_the_fields_that_a_script_will_send() {
    let mut preflight = HeaderMap::new();
    let names = http::HeaderValue::from_static("content-type,x-v");
    preflight.insert(http::header::ACCESS_CONTROL_REQUEST_HEADERS, names);
    let nothing = HeaderMap::new();
    for (conditions, asked, may) in [
        (header(is("2")), &preflight, true),
        (header(is("2")), &nothing, false),
        (header(Expected::Absent), &preflight, false),
        (header(Expected::Absent), &nothing, true),
        (query(is("true")), &nothing, true),
        (query(is("false")), &nothing, false),
    ] {
        assert_eq!(conditions.may_hold_behind(asked, Some("beta=true")), may, "{conditions:?}");
    }
    let accept =
        Conditions { headers: vec![(http::header::ACCEPT, is("text/html"))], query: Vec::new() };
    assert!(accept.may_hold_behind(&nothing, None), "a browser sends it unasked");
}

#[test]
fn a_field_that_an_upstream_may_see_otherwise_has_no_value() {
    let held = |lines: &[(&'static str, &'static str)]| {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        let headers: HeaderMap = lines.iter().map(field).collect();
        [is("2"), Expected::Present, Expected::Absent]
            .map(|expected| header(expected).hold(&headers, None).ok())
    };
    // Another spelling, which some read as the same name.
    assert_eq!(held(&[("x_v", "2")]), [None; 3]);
    assert_eq!(held(&[("x-v", "2"), ("x_v", "3")]), [None; 3]);
    // It ends at this hop.
    assert_eq!(held(&[("x-v", "2"), ("connection", "close, X-V")]), [None; 3]);
    assert_eq!(
        held(&[("x-v", "2"), ("connection", "close")]),
        [Some(true), Some(true), Some(false)]
    );
}
