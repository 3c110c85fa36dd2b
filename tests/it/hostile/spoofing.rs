//! Identity and forwarding fields of the client's own making: not one byte of them reaches the
//! upstream, on public routes neither (RELIABILITY, 3.1).

use super::Want::{Field, Without};
use super::{BROKEN, Case, HostileWorld, forwarded, get, private, run};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in SPOOFED {
        let lines = format!("{name}: evil\r\n");
        cases.push(forwarded(&format!("{name} on a public route"), get(&lines), []));
        cases.push(forwarded(&format!("{name} with a token"), private(&lines), []));
    }
    for (name, lines) in LINES {
        cases.push(forwarded(&format!("{name}, on a public route"), get(lines), []));
        cases.push(forwarded(&format!("{name}, with a token"), private(lines), []));
    }
    cases.extend([
        forwarded(
            "a field of another name stays",
            get("X-Other: 1\r\nX-Keywards: 2\r\nX-Key: 3\r\n"),
            [Field("x-other", "1"), Field("x-keywards", "2"), Field("x-key", "3")],
        ),
        forwarded(
            "an identity in a trailer, with a token",
            {
                "POST /private/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer @TOKEN@\r\n\
                 Transfer-Encoding: chunked\r\n\r\n0\r\nX-Keyward-Subject: evil\r\n\
                 X-Keyward-Email: evil\r\n\r\n"
            },
            [Without("trailer")],
        ),
        forwarded(
            "an original path (CVE-2023-27487)",
            get("X-Envoy-Original-Path: /private/x\r\n"),
            [Without("x-envoy-original-path")],
        ),
        forwarded(
            "a method override changes nothing",
            get("X-HTTP-Method-Override: DELETE\r\n"),
            [super::Want::Method("GET")],
        ),
        super::declined("an original path does not open a route", &[401], {
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nX-Original-URL: /public/x\r\n\
             X-Rewrite-URL: /public/x\r\n\r\n"
        }),
        super::declined("a forwarded path does not open a route (CVE-2026-40575)", &[401], {
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Uri: /public/x\r\n\
             X-Forwarded-Prefix: /public\r\n\r\n"
        }),
        super::declined("a probe's user agent does not open a route (CVE-2026-34457)", &[401], {
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nUser-Agent: GoogleHC/1.0\r\n\r\n"
        }),
        super::declined("an identity does not open a route", &[401], {
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nX-Keyward-Subject: auth0|alice\r\n\
             X-Keyward-Role: admin\r\nX-Keyward-Credential: jarvispy\r\n\r\n"
        }),
        super::declined("a loopback address in a field does not open a route", &[401], {
            "GET /private/x HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 127.0.0.1\r\n\
             X-Real-IP: 127.0.0.1\r\n\r\n"
        }),
    ]);
    cases
}

/// Names that are ours, that fold to ours, or that speak of the way a request came.
const SPOOFED: [&str; 40] = [
    "X-Keyward-Subject",
    "x-keyward-subject",
    "X-KEYWARD-SUBJECT",
    "X_Keyward_Subject",
    "X_KEYWARD_SUBJECT",
    "x.keyward.subject",
    "X.Keyward-Subject",
    "X-Keyward_Subject",
    "X_Keyward-Subject",
    "X~Keyward~Subject",
    "X!Keyward!Subject",
    "X-Keyward|Subject",
    "X'Keyward'Subject",
    "X-Keyward-Username",
    "X_Keyward_Username",
    "X-Keyward-Organization",
    "X.Keyward.Organization",
    "X-Keyward-Role",
    "x_keyward_role",
    "X-Keyward-Email",
    "X_Keyward_Email",
    "X-Keyward-Token-Id",
    "X-Keyward-Token_Id",
    "X-Keyward-Credential",
    "X-Keyward-Assertion",
    "X-Keyward-Anything-Else",
    "X-KEYWARD-",
    "x_keyward_",
    "X-Request-Id",
    "x_request_id",
    "X.Request.Id",
    "X-Forwarded-For",
    "X_Forwarded_For",
    "x.forwarded.for",
    "X-Forwarded-Proto",
    "X_Forwarded_Proto",
    "X-Forwarded-Host",
    "X_Forwarded_Host",
    "Forwarded",
    "X-FORWARDED-FOR",
];

const LINES: [(&str, &str); 16] = [
    ("a subject twice", "X-Keyward-Subject: evil\r\nX-Keyward-Subject: evil2\r\n"),
    ("a subject and its alias", "X-Keyward-Subject: evil\r\nX_Keyward_Subject: evil\r\n"),
    ("an empty subject", "X-Keyward-Subject:\r\n"),
    ("an empty alias", "X_Keyward_Subject:\r\n"),
    (
        "a subject behind a listed one",
        "Connection: X-Keyward-Subject\r\nX-Keyward-Subject: evil\r\n",
    ),
    (
        "a subject listed by its alias",
        "Connection: X_Keyward_Subject\r\nX_Keyward_Subject: evil\r\n",
    ),
    (
        "two lines of Connection and a role",
        "Connection:\r\nConnection: x-keyward-role\r\nX-Keyward-Role: evil\r\n",
    ),
    ("a chain of addresses", "X-Forwarded-For: 6.6.6.6, 7.7.7.7\r\nX-Forwarded-For: 8.8.8.8\r\n"),
    ("a quoted Forwarded", "Forwarded: for=\"1.1.1.1, 2.2.2.2\";host=evil.example;proto=https\r\n"),
    ("two Forwarded", "Forwarded: for=evil\r\nForwarded: for=\"[::1]\"\r\n"),
    ("an address that is none", "X-Forwarded-For: evil\r\nX-Forwarded-For:\r\n"),
    ("a listed address", "Connection: X-Forwarded-For\r\nX-Forwarded-For: 6.6.6.6\r\n"),
    ("https that it is not", "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n"),
    (
        "a request id of 4 KiB",
        concat!("X-Request-Id: ", "evilevilevilevilevilevilevilevilevilevilevilevil", "\r\n"),
    ),
    ("two request ids", "X-Request-Id: evil\r\nX-Request-Id: evil\r\n"),
    ("an identity with 8-bit bytes", "X-Keyward-Subject: \u{e4}vil-evil\r\n"),
];

#[test]
fn nothing_about_identity_or_origin_comes_from_the_client() {
    run("spoofing", &cases());
}

/// What the client writes into `Forwarded` and its kin is not in any field of the upstream's
/// request.
#[test]
fn forwarding_fields_from_a_stranger_are_replaced_not_appended() {
    let world = HostileWorld::start();
    let mut client = world.client();
    let response = client.ask(get(
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n\
         Forwarded: for=6.6.6.6;host=evil.example;proto=https\r\nX-Request-Id: evil-id\r\n",
    ));
    assert_eq!(response.status, 200, "{response}");
    assert!(
        !response.text().contains("6.6.6.6") && !response.text().contains("evil"),
        "{response}"
    );
    let received = world.at_upstream().expect("nothing broken");
    let forwarded =
        received[0].fields.one("forwarded").expect("one Forwarded").to_ascii_lowercase();
    for part in ["for=", "127.0.0.1", "proto=http", "host=", "a.example"] {
        assert!(forwarded.contains(part), "{part} is missing in {forwarded}");
    }
    assert_ne!(received[0].target, BROKEN);
}

/// The id that the upstream gets is new for each request and the same that the client is told, if
/// it is told one.
#[test]
fn each_request_has_a_request_id_of_its_own() {
    let world = HostileWorld::start();
    let mut ids = Vec::new();
    for _ in 0..20 {
        let response = world.client().ask(get("Connection: close\r\n"));
        let id = world.at_upstream().expect("nothing broken")[0]
            .fields
            .one("x-request-id")
            .expect("an id");
        if let Some(told) = response.fields.one("x-request-id") {
            assert_eq!(told, id);
        }
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20, "{ids:?}");
}

/// A balancer that sends a PROXY header passes the bytes of the client on as they are: forwarding
/// fields in them are the client's and not the balancer's.
#[test]
fn a_proxy_header_does_not_vouch_for_the_fields_behind_it() {
    let upstream = crate::support::Upstream::start();
    let world = crate::support::Plan::usual(&upstream)
        .listener("trusted_proxies = [\"127.0.0.1\"]")
        .listener("proxy_protocol = \"required\"")
        .start();
    let mut client = world.client();
    let response = client.ask(
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nGET /public/x HTTP/1.1\r\nHost: a.example\r\n\
         X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil.example\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    let request = upstream.take().requests.pop().expect("it was forwarded");
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.7"),
        ("forwarded", "for=192.0.2.7;host=a.example;proto=http"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.example"),
    ] {
        assert_eq!(request.fields.all(name), [value], "{name}");
    }
}
