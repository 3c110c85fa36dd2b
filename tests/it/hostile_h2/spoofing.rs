//! Identity and forwarding fields of the client's own making: not one byte of them reaches the
//! upstream, in fields or in trailers, in any spelling that HTTP/2 lets a client write.

use super::Want::{Body, Field, Method};
use super::{Case, answered, forwarded, private, public, run};
use crate::support::h2::{Head, data, flag};

pub(super) fn cases(token: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in SPOOFED {
        let on = |head: Head| head.with(name, "evil").whole(1);
        cases.push(forwarded(&format!("{name} on a public route"), on(public()), []));
        cases.push(forwarded(&format!("{name} with a token"), on(private(token)), []));
        let trailers = Head::empty().with(name, "evil").frame(1, flag::WHOLE);
        let post = private(token).set(":method", "POST").frame(1, flag::END_HEADERS);
        let send = [post, data(1, 0, "hello"), trailers].concat();
        cases.push(forwarded(
            &format!("{name} in a trailer"),
            send,
            [Body(b"hello"), Method("POST")],
        ));
    }
    let guarded = || Head::get("/private/x");
    cases.extend([
        forwarded(
            "a field of another name stays",
            public().with("x-keywards", "2").whole(1),
            [Field("x-keywards", "2")],
        ),
        forwarded(
            "a subject twice and its alias",
            private(token)
                .with("x-keyward-subject", "evil")
                .with("x_keyward_subject", "evil")
                .with("x-keyward-subject", "evil2")
                .whole(1),
            [],
        ),
        forwarded("an empty subject", private(token).with("x-keyward-subject", "").whole(1), []),
        forwarded(
            "a chain of addresses",
            public()
                .with("x-forwarded-for", "6.6.6.6, 7.7.7.7")
                .with("forwarded", "for=evil")
                .whole(1),
            [],
        ),
        forwarded(
            "a method override changes nothing",
            public().with("x-http-method-override", "DELETE").whole(1),
            [Method("GET")],
        ),
        answered("an identity does not open a route", &[401], {
            guarded()
                .with("x-keyward-subject", "auth0|alice")
                .with("x-keyward-credential", "jarvispy")
                .whole(1)
        }),
        answered("an original path does not open a route", &[401], {
            guarded()
                .with("x-original-url", "/public/x")
                .with("x-rewrite-url", "/public/x")
                .whole(1)
        }),
        answered("a loopback address does not open a route", &[401], {
            guarded().with("x-forwarded-for", "127.0.0.1").with("x-real-ip", "127.0.0.1").whole(1)
        }),
        answered("a credential in a trailer does not open a route", &[401], {
            let head = Head::post("/private/x").frame(1, flag::END_HEADERS);
            let trailers = Head::empty().with("authorization", format!("Bearer {token}"));
            [head, data(1, 0, "hello"), trailers.frame(1, flag::WHOLE)].concat()
        }),
    ]);
    cases
}

/// Names that are ours, that fold to ours, or that tell the way a request came. HTTP/2 has no
/// upper case in names: those spellings are malformed, see `fields`.
const SPOOFED: [&str; 20] = [
    "x-keyward-subject",
    "x_keyward_subject",
    "x.keyward.subject",
    "x-keyward_subject",
    "x~keyward~subject",
    "x!keyward!subject",
    "x-keyward|subject",
    "x'keyward'subject",
    "x-keyward-username",
    "x_keyward_organization",
    "x.keyward.role",
    "x-keyward-email",
    "x-keyward-token-id",
    "x-keyward-credential",
    "x-keyward-assertion",
    "x-keyward-anything-else",
    "x-request-id",
    "x-forwarded-for",
    "x_forwarded_proto",
    "forwarded",
];

#[test]
fn nothing_about_identity_or_origin_comes_from_a_client_of_http2() {
    run("spoofing", cases);
}
