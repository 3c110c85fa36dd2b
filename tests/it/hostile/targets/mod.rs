//! Request targets: one normal form decides the route and is what the upstream gets (RFC 9112, 3.2;
//! RFC 3986, 6.2.2).

mod tables;

use super::Want::{Host, Method, Target};
use super::{Case, declined, either, forwarded, get_target, private, refused, replace, run};
use tables::{AMBIGUOUS, BAD_BYTES, EITHER, GUARDED, LONG, NORMALISED, NOT_THERE};

/// The answers of a route that needs a token to a request without one, and of the parser to a path
/// that it refuses.
const NO_WAY_IN: &[u16] = &[400, 401];

/// The answers to a path without a route.
const NOWHERE: &[u16] = &[400, 404];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        forwarded(
            "GET with an absolute target",
            get_target("http://b.example/public/x"),
            [Target("/public/x"), Host("b.example")],
        ),
        forwarded(
            "an absolute target with a port",
            get_target("http://b.example:8080/public/x?a=b"),
            [Target("/public/x?a=b"), Host("b.example:8080")],
        ),
        forwarded(
            "an absolute target with an odd scheme case",
            get_target("HTTP://b.example/public/x"),
            [Target("/public/x"), Host("b.example")],
        ),
        declined(
            "an absolute target that climbs",
            NO_WAY_IN,
            get_target("http://b.example/public/../private/x"),
        ),
        declined("an absolute target without a path", NOWHERE, get_target("http://b.example")),
        declined(
            "an absolute target with only a query",
            NOWHERE,
            get_target("http://b.example?/public/x"),
        ),
        declined(
            "an absolute target to the guarded route",
            NO_WAY_IN,
            get_target("http://b.example/private/x"),
        ),
        refused(
            "an absolute target with user information",
            &[400],
            get_target("http://u:p@b.example/public/x"),
        ),
        refused("an absolute target without a host", &[400], get_target("http:///public/x")),
        refused(
            "an absolute target with a bad port",
            &[400],
            get_target("http://b.example:port/public/x"),
        ),
        refused(
            "an absolute target with a fragment",
            &[400],
            get_target("http://b.example/public/x#y"),
        ),
        declined(
            "an absolute target of another scheme",
            &[400, 404, 421],
            get_target("ftp://b.example/public/x"),
        ),
        either(
            "an absolute https target on a plain port",
            &[400, 421],
            get_target("https://b.example/public/x"),
            [Target("/public/x"), Host("b.example")],
        ),
        declined(
            "OPTIONS *",
            &[400, 404, 405, 501],
            "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ),
        declined("GET *", &[400, 404], get_target("*")),
        refused("GET with an authority", &[400], get_target("a.example:80")),
        refused("GET with a name", &[400], get_target("public")),
        refused("GET with a relative path", &[400], get_target("public/x")),
        refused("GET with a query alone", &[400], get_target("?a=b")),
        refused("GET with no target", &[400], "GET  HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        refused(
            "GET with a target and no version",
            &[400, 505],
            "GET /public/x\r\nHost: a.example\r\n\r\n",
        ),
        refused(
            "two spaces before the target",
            &[400],
            "GET  /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ),
        refused(
            "two spaces behind the target",
            &[400],
            "GET /public/x  HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ),
        refused(
            "a tab before the target",
            &[400],
            "GET\t/public/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ),
        refused(
            "a tab behind the target",
            &[400],
            "GET /public/x\tHTTP/1.1\r\nHost: a.example\r\n\r\n",
        ),
        refused("a space inside the target", &[400], get_target("/public/a b")),
        refused(
            "a space behind the version",
            &[400, 505],
            "GET /public/x HTTP/1.1 \r\nHost: a.example\r\n\r\n",
        ),
        declined(
            "a target of 17 KiB",
            &[414],
            get_target(format!("/public/{}", "a".repeat(17 * 1024))),
        ),
        declined(
            "a query of 17 KiB",
            &[414],
            get_target(format!("/public/x?{}", "a".repeat(17 * 1024))),
        ),
        declined(
            "a target of a mebibyte",
            &[414, 431],
            get_target(format!("/public/{}", "a".repeat(1 << 20))),
        ),
        forwarded("a long target", get_target(LONG), [Target(LONG)]),
        forwarded(
            "POST to a target with a query",
            "POST /public/x?a=b HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [Target("/public/x?a=b"), Method("POST")],
        ),
        forwarded(
            "a path without a token where none is needed",
            get_target("/public/a/b/c"),
            [Target("/public/a/b/c")],
        ),
        forwarded("a guarded path with a token", private(""), [Target("/private/x")]),
        forwarded(
            "a guarded path with dots and a token",
            replace(&private(""), b"/x ", b"/a/../x "),
            [Target("/private/x")],
        ),
        forwarded(
            "a public path that leads to the guarded route, with a token",
            replace(&private(""), b"/private/x ", b"/public/../private/x "),
            [Target("/private/x")],
        ),
    ];
    for (name, target) in NORMALISED {
        cases.push(forwarded(
            &format!("{name}: {target}"),
            get_target(target.0),
            [Target(target.1)],
        ));
    }
    for (name, target) in AMBIGUOUS {
        cases.push(declined(&format!("{name}: {target}"), &[400], get_target(target)));
    }
    for (name, target) in GUARDED {
        cases.push(declined(&format!("{name}: {target}"), NO_WAY_IN, get_target(target)));
    }
    for (name, target) in NOT_THERE {
        cases.push(declined(&format!("{name}: {target}"), NOWHERE, get_target(target)));
    }
    for (name, target, normal) in EITHER {
        cases.push(either(
            &format!("{name}: {target}"),
            &[400],
            get_target(target),
            [Target(normal)],
        ));
    }
    for (name, target) in BAD_BYTES {
        cases.push(refused(name, &[400], get_target(target)));
    }
    cases
}

#[test]
fn one_normal_form_of_a_path_decides_and_is_forwarded() {
    run("targets", &cases());
}

/// A route is chosen by the form that is forwarded, in whichever spelling a path comes.
#[test]
fn a_route_is_found_by_each_spelling_of_its_path_and_the_upstream_sees_one() {
    let upstream = crate::support::Upstream::start();
    let route =
        |path: &str, access: &str| format!("path = \"{path}\"\nupstream = \"app\"\n{access}");
    let world = crate::support::Plan::bare()
        .upstream("app", upstream.address())
        .route(&route("/{*rest}", "accept = [\"jarvispy\"]"))
        .route(&route("/a%7Cb/{*rest}", "public = true"))
        .route(&route("/%7B%22a%22:1%7D", "public = true"))
        .start();
    for (targets, normal) in [
        (
            &["/a|b/x|y", "/a%7Cb/x%7Cy", "/a%7cb/x%7cy", "/%61|b/x|y", "/c|d/../a|b/x|y"][..],
            "/a%7Cb/x%7Cy",
        ),
        (&["/{\"a\":1}", "/%7b%22a%22:1%7d", "/{%22a\":1%7D"][..], "/%7B%22a%22:1%7D"),
    ] {
        for target in targets {
            assert_eq!(world.client().ask(get_target(target)).status, 200, "{target}");
            let request = upstream.take().requests.pop().expect("it was forwarded");
            assert_eq!(request.target, normal, "{target}");
        }
    }
    for target in
        ["/a^b/x", "/a|c/x", "/a|b/../x", "/a%257Cb/x", "/{\"a\":2}", "/{*rest}", "/{\"a\":1}/x"]
    {
        assert_eq!(world.client().ask(get_target(target)).status, 401, "{target}");
    }
    assert_eq!(upstream.take().requests.len(), 0);
}
