//! Addresses in responses, as a table.

use super::*;
use crate::gateway::route_limits::tests::limits;
use crate::gateway::{ForwardPath, HostRule, PathChange, PathRules, RouteTarget};
use crate::upstream::{Endpoint, Protocol, ResponseHeadLimits, UpstreamSettings};
use std::time::Duration;

fn upstream(host: &str, port: u16, is_tls: bool) -> UpstreamPlan {
    let address = EndpointAddress::Tcp { host: host.to_owned(), port };
    UpstreamPlan {
        name: "app".into(),
        settings: UpstreamSettings {
            endpoints: vec![Endpoint { address, is_tls, resolved: None }],
            protocol: Protocol::Http1,
            tls: None,
            connect_timeout: Duration::from_secs(1),
            idle_connections: 1,
            idle_timeout: Duration::from_secs(1),
            response_head: ResponseHeadLimits { bytes: 1024, fields: 10 },
            balancing: None,
        },
        preserve_host: true,
        via: true,
        rewrite_location: true,
    }
}

fn route(strip: &str, add: &str) -> RouteSettings {
    let change = PathChange::Prefix { strip: strip.to_owned(), add: add.to_owned() };
    let rules = PathRules { spelling: ForwardPath::Normal, change: Some(change) };
    RouteSettings {
        host: HostRule::Any,
        path: format!("{strip}/{{*rest}}"),
        methods: Vec::new(),
        scheme: None,
        when: None,
        target: RouteTarget::Upstream(0),
        headers: None,
        upgrades: None,
        accept: Vec::new(),
        path_rules: (!strip.is_empty() || !add.is_empty()).then(|| Box::new(rules)),
        forward_credential: false,
        require: Vec::new(),
        tenant: None,
        limits: limits(),
        cors: None,
        rate_limits: None,
        compression: None,
        credentials: None,
        challenge: None,
    }
}

const PUBLIC: PublicAddress<'_> = PublicAddress { scheme: "https", authority: Some("a.example") };

#[test]
fn what_names_the_endpoint_becomes_the_public_address() {
    let (upstream, route) = (upstream("app", 3000, false), route("", ""));
    let rewriting = Rewriting { public: PUBLIC, upstream: &upstream, route: &route, path: "/x" };
    for (own, public) in [
        ("http://app:3000/x?y#z", Some("https://a.example/x?y#z")),
        ("HTTP://APP:3000", Some("https://a.example")),
        ("http://app.:3000/x", Some("https://a.example/x")),
        ("//app:3000/x", Some("https://a.example/x")),
        // As nginx says it, which puts its own port behind the host that it was asked for.
        ("http://a.example:3000/dir/", Some("https://a.example/dir/")),
        // As a server says it that does not know of TLS before it.
        ("http://a.example/x", Some("https://a.example/x")),
        ("http://app/x", None),
        ("https://app:3000/x", None),
        ("http://app:3000@evil.example/x", None),
        ("http://app:3000.evil.example/x", None),
        ("https://a.example/x", None),
        ("https://a.example:9443/x", None),
        ("http://other.example/x", None),
        ("/x", None),
        ("x", None),
        ("", None),
        ("mailto:a@app:3000", None),
        ("x?next=http://app:3000/", None),
    ] {
        assert_eq!(rewriting.address(own).as_deref(), public, "{own}");
    }
}

#[test]
fn a_redirect_from_http_to_https_stays_one() {
    let public = PublicAddress { scheme: "http", authority: Some("a.example") };
    for upstream in [upstream("app", 3000, false), upstream("a.example", 443, true)] {
        let route = route("", "");
        let rewriting = Rewriting { public, upstream: &upstream, route: &route, path: "/" };
        for own in ["https://a.example/x", "https://a.example:443/x"] {
            assert_eq!(rewriting.address(own), None, "{own}");
        }
    }
}

#[test]
fn a_path_that_is_the_upstreams_becomes_the_clients() {
    let upstream = upstream("app", 80, false);
    for (strip, add, own, public) in [
        ("/api", "", "/login?next=/x", Some("/api/login?next=/x")),
        ("/api", "", "/api/login", None),
        ("/api", "", "http://app/login", Some("https://a.example/api/login")),
        ("/api", "", "http://app", Some("https://a.example/api/")),
        ("/api", "", "https://a.example/login", Some("https://a.example/api/login")),
        ("/api", "", "https://a.example/api/login", None),
        ("/api", "", "https://other.example/login", None),
        ("", "/v2", "/v2/login", Some("/login")),
        ("", "/v2", "/login", None),
        ("", "/v2", "http://app/other", Some("https://a.example/other")),
        // A client would go to another host.
        ("", "/v2", "/v2//evil.example/", None),
        ("", "/v2", "/v2/\\evil.example/", None),
    ] {
        let route = route(strip, add);
        let rewriting =
            Rewriting { public: PUBLIC, upstream: &upstream, route: &route, path: "/api/x" };
        assert_eq!(rewriting.address(own).as_deref(), public, "{strip} {add} {own}");
    }
}

#[test]
fn a_client_that_names_no_host_is_given_a_path() {
    let (upstream, route) = (upstream("app", 80, false), route("", ""));
    let public = PublicAddress { scheme: "http", authority: None };
    let rewriting = Rewriting { public, upstream: &upstream, route: &route, path: "/" };
    assert_eq!(rewriting.address("http://app/x?y").as_deref(), Some("/x?y"));
    assert_eq!(rewriting.address("http://app?y").as_deref(), Some("/?y"));
    assert_eq!(rewriting.address("http://app//evil.example"), None);
}

#[test]
fn a_refresh_keeps_its_time_and_its_quotes() {
    let (upstream, route) = (upstream("app", 80, false), route("/api", ""));
    let rewriting = Rewriting { public: PUBLIC, upstream: &upstream, route: &route, path: "/api/" };
    for (own, public) in [
        ("5; url=/x", Some("5; url=/api/x")),
        ("0;URL='http://app/x'", Some("0;URL='https://a.example/api/x'")),
        ("0; url=\"/x\"", Some("0; url=\"/api/x\"")),
        ("5", None),
        ("5; url=", None),
        ("5; url='/x", None),
    ] {
        assert_eq!(rewriting.refresh(own).as_deref(), public, "{own}");
    }
}

#[test]
fn a_cookie_is_for_the_public_path_and_host() {
    let (upstream, route) = (upstream("app.internal", 80, false), route("/api", ""));
    let rewriting = Rewriting { public: PUBLIC, upstream: &upstream, route: &route, path: "/api/" };
    for (own, public) in [
        ("a=b; Path=/; HttpOnly", Some("a=b; Path=/api; HttpOnly")),
        ("a=b;path=/x", Some("a=b; Path=/api/x")),
        ("a=b; Path=/api/x", None),
        ("a=b; Domain=app.internal; Secure", Some("a=b; Secure")),
        ("a=b; domain=.APP.internal", Some("a=b")),
        ("a=b; Domain=internal", None),
        ("a=b; Domain=a.example", None),
        ("a=Path=/; Secure", None),
        ("__Host-a=b; Path=/; Secure", None),
        ("a=b", None),
    ] {
        assert_eq!(rewriting.cookie(own).as_deref(), public, "{own}");
    }
}

#[test]
fn of_several_fields_each_is_rewritten_in_its_place() {
    let (upstream, route) = (upstream("app", 80, false), route("/api", ""));
    let rewriting = Rewriting { public: PUBLIC, upstream: &upstream, route: &route, path: "/api/" };
    let mut headers = HeaderMap::new();
    for cookie in ["a=1; Path=/x", "b=2", "c=\u{e9}; Path=/", "d=4; Path=/"] {
        let cookie = HeaderValue::from_bytes(cookie.as_bytes()).expect("a value");
        headers.append(header::SET_COOKIE, cookie);
    }
    rewriting.apply(&mut headers);
    let cookies: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
    let expected = ["a=1; Path=/api/x", "b=2", "c=\u{e9}; Path=/api", "d=4; Path=/api"];
    let expected: Vec<_> = expected.iter().map(|text| text.as_bytes()).collect();
    assert_eq!(cookies.iter().map(|cookie| cookie.as_bytes()).collect::<Vec<_>>(), expected);
}
