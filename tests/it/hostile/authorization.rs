//! Authorization (RFC 6750; RFC 9110, 11.6.2): one Bearer credential in one form, else no.

use super::Want::{Target, Without};
use super::{Case, HostileWorld, declined, either, forwarded, private, run};

/// `GET /private/x` with these lines and no others.
fn bare(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET /private/x HTTP/1.1\r\nHost: a.example\r\n", lines.as_ref(), b"\r\n"].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        forwarded(
            "a good token",
            bare("Authorization: Bearer @TOKEN@\r\n"),
            [Target("/private/x")],
        ),
        forwarded(
            "the scheme in lower case",
            bare("Authorization: bearer @TOKEN@\r\n"),
            [Target("/private/x")],
        ),
        forwarded(
            "the scheme in upper case",
            bare("Authorization: BEARER @TOKEN@\r\n"),
            [Target("/private/x")],
        ),
        forwarded(
            "the field's name in upper case",
            bare("AUTHORIZATION: Bearer @TOKEN@\r\n"),
            [Target("/private/x")],
        ),
        forwarded("the credential goes no further", private(""), [Without("authorization")]),
        forwarded(
            "white space around the value",
            bare("Authorization: \t Bearer @TOKEN@ \t\r\n"),
            [Target("/private/x")],
        ),
        either(
            "two spaces between",
            &[400, 401],
            bare("Authorization: Bearer  @TOKEN@\r\n"),
            [Target("/private/x")],
        ),
        forwarded(
            "a good token on a public route",
            "GET /public/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer @TOKEN@\r\n\r\n",
            [Target("/public/x")],
        ),
        either(
            "a bad token on a public route",
            &[400, 401],
            "GET /public/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer nonsense\r\n\r\n",
            [Target("/public/x")],
        ),
        either(
            "Basic on a public route",
            &[400, 401],
            "GET /public/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic eDp5\r\n\r\n",
            [Target("/public/x")],
        ),
        declined("two credentials, both good", &[400], {
            bare("Authorization: Bearer @TOKEN@\r\nAuthorization: Bearer @TOKEN@\r\n")
        }),
        declined("two credentials, the first bad", &[400], {
            bare("Authorization: Bearer nonsense\r\nAuthorization: Bearer @TOKEN@\r\n")
        }),
        declined("two credentials, the second bad", &[400], {
            bare("Authorization: Bearer @TOKEN@\r\nAuthorization: Bearer nonsense\r\n")
        }),
        declined("two credentials of two schemes", &[400], {
            bare("Authorization: Basic eDp5\r\nAuthorization: Bearer @TOKEN@\r\n")
        }),
        declined("an empty credential and a good one", &[400, 401], {
            bare("Authorization:\r\nAuthorization: Bearer @TOKEN@\r\n")
        }),
        declined("two credentials by POST with a body", &[400], {
            "POST /private/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer @TOKEN@\r\n\
             Authorization: Bearer @TOKEN@\r\nContent-Length: 5\r\n\r\nhello"
        }),
        declined(
            "a token of 9 KiB",
            &[400, 401, 431],
            bare(format!("Authorization: Bearer {}\r\n", "a".repeat(9 * 1024))),
        ),
        declined("a token of 9 KiB of dots (CVE-2025-30204)", &[400, 401, 431], {
            bare(format!("Authorization: Bearer {}\r\n", ".".repeat(9 * 1024)))
        }),
        declined(
            "a token of 8000 dots",
            &[400, 401],
            bare(format!("Authorization: Bearer {}\r\n", ".".repeat(8000))),
        ),
        declined(
            "a token of 8-bit bytes",
            &[400, 401],
            bare(b"Authorization: Bearer \xff\xfe\xfd\r\n"),
        ),
        declined("a token and an 8-bit byte", &[400, 401], {
            super::replace(&bare("Authorization: Bearer @TOKEN@!\r\n"), b"!", b"\xff")
        }),
    ];
    for (name, line) in BAD {
        cases.push(declined(name, &[400, 401], bare(format!("{line}\r\n"))));
    }
    cases
}

const BAD: [(&str, &str); 37] = [
    ("no credential", "Accept: */*"),
    ("Basic", "Authorization: Basic dXNlcjpwYXNz"),
    ("Digest", "Authorization: Digest username=\"x\""),
    ("the token under Basic", "Authorization: Basic @TOKEN@"),
    ("the token without a scheme", "Authorization: @TOKEN@"),
    ("the token under another scheme", "Authorization: Token @TOKEN@"),
    ("a scheme that starts like Bearer", "Authorization: Bearers @TOKEN@"),
    ("a scheme that ends like Bearer", "Authorization: XBearer @TOKEN@"),
    ("the scheme twice", "Authorization: Bearer Bearer @TOKEN@"),
    ("the scheme alone", "Authorization: Bearer"),
    ("the scheme and spaces", "Authorization: Bearer    "),
    ("an empty field", "Authorization:"),
    ("no space between", "Authorization: Bearer@TOKEN@"),
    ("a tab between", "Authorization: Bearer\t@TOKEN@"),
    ("a colon between", "Authorization: Bearer:@TOKEN@"),
    ("an equals sign between", "Authorization: Bearer=@TOKEN@"),
    ("a no-break space between", "Authorization: Bearer\u{a0}@TOKEN@"),
    ("two credentials in a list", "Authorization: Bearer @TOKEN@, Bearer @TOKEN@"),
    ("two tokens in a list", "Authorization: Bearer @TOKEN@,@TOKEN@"),
    ("two tokens", "Authorization: Bearer @TOKEN@ @TOKEN@"),
    ("Basic and Bearer in a list", "Authorization: Basic eDp5, Bearer @TOKEN@"),
    ("a comma behind", "Authorization: Bearer @TOKEN@,"),
    ("a semicolon behind", "Authorization: Bearer @TOKEN@;"),
    ("a full stop behind", "Authorization: Bearer @TOKEN@."),
    ("an equals sign behind", "Authorization: Bearer @TOKEN@="),
    ("a letter behind", "Authorization: Bearer @TOKEN@A"),
    ("a letter before", "Authorization: Bearer A@TOKEN@"),
    ("a percent sign behind", "Authorization: Bearer @TOKEN@%20"),
    ("the token in quotes", "Authorization: Bearer \"@TOKEN@\""),
    ("the token in brackets", "Authorization: Bearer <@TOKEN@>"),
    ("a parameter", "Authorization: Bearer token=@TOKEN@"),
    ("nonsense", "Authorization: Bearer nonsense"),
    ("two dots", "Authorization: Bearer .."),
    ("the token in a cookie", "Cookie: token=@TOKEN@; access_token=@TOKEN@"),
    ("the token in X-API-Key", "X-API-Key: @TOKEN@"),
    ("the token in Proxy-Authorization", "Proxy-Authorization: Bearer @TOKEN@"),
    ("the token in an alias", "X-Authorization: Bearer @TOKEN@"),
];

#[test]
fn one_bearer_credential_in_one_form_opens_a_route() {
    run("authorization", &cases());
}

/// RFC 6750, 3.1: no code where nothing was presented, `invalid_token` where something was.
#[test]
fn a_challenge_says_whether_a_token_was_presented() {
    let world = HostileWorld::start();
    let response = world.client().ask(bare(""));
    let challenge = response.fields.one("www-authenticate").expect("one challenge");
    assert_eq!(response.status, 401, "{response}");
    assert!(challenge.starts_with("Bearer") && !challenge.contains("error"), "{challenge}");
    let response = world.client().ask(bare("Authorization: Bearer nonsense\r\n"));
    let challenge = response.fields.one("www-authenticate").expect("one challenge");
    assert_eq!(response.status, 401, "{response}");
    assert!(
        challenge.starts_with("Bearer") && challenge.contains("error=\"invalid_token\""),
        "{challenge}"
    );
    assert!(!response.text().contains("nonsense"), "{response}");
}
