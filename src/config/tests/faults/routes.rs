//! Routes, patterns and the names of identity headers.

use super::*;

#[test]
fn a_route_says_which_requests_may_pass() {
    expect(
        "[[route]]\npath = '/a'\nupstream = 'app'\n\
         [[route]]\npath = '/b'\nupstream = 'app'\naccept = []\n\
         [[route]]\npath = '/c'\nupstream = 'app'\naccept = ['api']\npublic = true\n\
         require.role = ['admin']\n\
         [[route]]\npath = '/d'\nupstream = 'app'\npublic = 'yes'\n\
         [[route]]\npath = '/e'\nupstream = 'app'\naccept = ['api']\n\
         require = { role = [], email = [''] }\n",
        &[
            "1:1: this [[route]] accepts nothing: name token APIs or issuers in \"accept\", or \
             say \"public = true\"",
            "7:10: \"accept\" must not be empty: list at least one item, each the name of a \
             [[token_api]] or an [[issuer]]",
            "11:10: a public route asks for no credential: leave out either \"public\" \
             or \"accept\"",
            "13:1: a public route asks for no credential: leave out either \"public\" \
             or \"require\"",
            "17:10: \"public\" must be true or false, found \"yes\"",
            "22:20: \"role\" must not be empty: list at least one item, each a value that the \
             identity may have",
            "22:33: each item of \"email\" must be a value that the identity may have, found \"\": \
             it is empty",
        ],
    );
}

#[test]
fn two_routes_must_not_mean_the_same_requests() {
    let route = |more: &str| format!("[[route]]\nupstream = 'app'\naccept = ['api']\n{more}\n");
    let twice = |one: &str, other: &str| faults(&format!("{SMALL}{}{}", route(one), route(other)));
    for (one, other) in [
        ("path = '/a'", "path = '/a'"),
        ("path = '/{a}/x'", "path = '/{b}/x'"),
        ("path = '/a/{*a}'", "path = '/a/{*b}'"),
        ("path = '/a'\nmethods = ['GET', 'PUT']", "path = '/a'\nmethods = ['PUT']"),
        ("path = '/a'\nhost = 'x'", "path = '/a'\nhost = 'x'"),
    ] {
        let found = twice(one, other);
        assert_eq!(found.len(), 1, "{one} {other}: {found:?}");
        assert!(
            found.join("").contains("in common with the one on line 14: only one can answer"),
            "{found:?}"
        );
    }
    for (one, other) in [
        ("path = '/a'", "path = '/a/'"),
        ("path = '/a'\nmethods = ['GET']", "path = '/a'\nmethods = ['PUT']"),
        ("path = '/a'\nmethods = ['GET']", "path = '/a'"),
        ("path = '/a'\nhost = 'x'", "path = '/a'\nhost = '*.x'"),
        ("path = '/a'\nhost = 'x'", "path = '/a'"),
        ("path = '/a/{a}'", "path = '/a/{*a}'"),
    ] {
        assert!(twice(one, other).is_empty(), "{one} {other}");
    }
}

#[test]
fn patterns_and_methods_say_what_is_wrong() {
    expect(
        "[[route]]\npath = 'a//b'\nhost = 'A:1'\nmethods = ['get', 'CONNECT', 'A B']\n\
         upstream = 'app'\naccept = ['api']\n",
        &[
            "2:8: \"path\" must be a path as in \"/api/{name}/{*rest}\", found \"a//b\": it must \
             begin with \"/\"",
            "3:8: \"host\" must be a host name as in \"app.example.com\" or \"*.example.com\" \
             (left out for any), found \"A:1\": a host has no port here: routes do not look at it",
            "4:12: each item of \"methods\" must be an HTTP method as in \"GET\" (left out for \
             any), found \"get\": methods are in upper case: \"GET\"",
            "4:19: each item of \"methods\" must be an HTTP method as in \"GET\" (left out for \
             any), found \"CONNECT\": CONNECT makes a tunnel, which is not forwarded",
            "4:30: each item of \"methods\" must be an HTTP method as in \"GET\" (left out for \
             any), found \"A B\"",
        ],
    );
    for (mount, why) in [
        ("/", "must not end with"),
        ("/a/", "must not end with"),
        ("/{tenant}", "{tenant} is none of its parameters"),
        ("/{*rest}", "{*rest} cannot stand in it"),
        ("a", "must begin with"),
    ] {
        let text = format!(
            "{SMALL}[[token_api]]\nname = 'x'\nstyle = 'allowlist-jwt'\nmount = '{mount}'\n"
        );
        let found = faults(&text);
        assert_eq!(found.len(), 1, "{mount}: {found:?}");
        assert!(found.join("").contains(why), "{mount}: {found:?}");
    }
}

#[test]
fn identity_headers_are_free_and_differ() {
    expect(
        "[identity_headers]\nsubject = 'Host'\nrole = 'X_Keyward_Email'\ncredential = 'X-A'\n\
         token_id = 'x-a'\nusername = 'a b'\n",
        &[
            "2:11: \"subject\" must be the name of a header, or \"\" to leave it out, \
             found \"Host\": that name has a meaning of its own on the way to the upstream",
            "3:8: \"role\" and \"email\" would share the header \"x-keyward-email\": an upstream \
             could not tell them apart",
            "4:14: \"token_id\" and \"credential\" would share the header \"x-a\": an upstream \
             could not tell them apart",
            "6:12: \"username\" must be the name of a header, or \"\" to leave it out, found \"a \
             b\": ' ' cannot stand in a header name",
        ],
    );
}
