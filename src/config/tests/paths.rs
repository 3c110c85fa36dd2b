//! What a route says of the path that its upstream gets: what is wrong in it, in words.

use super::{SMALL, faults};

#[test]
fn a_path_changes_only_by_what_the_route_has() {
    let route = |lines: &str| format!("{SMALL}[[route]]\nupstream = 'app'\npublic = true\n{lines}");
    let of = |lines: &str| faults(&route(lines)).join("\n");
    for (lines, words) in [
        ("path = '/a/{x}'\nforward_path = 'raw'", "this route's path does not end in one"),
        ("path = '/a/{*r}'\nforward_path = 'Raw'", "must be \"normal\" or \"raw\""),
        ("path = '/a/{*r}'\nstrip_prefix = '/b'", "this route's path does not begin with /b"),
        ("path = '/ab/{*r}'\nstrip_prefix = '/a'", "this route's path does not begin with /a"),
        ("path = '/{a}/{*r}'\nstrip_prefix = '/{a}'", "a prefix has no parameters"),
        ("path = '/a/{*r}'\nstrip_prefix = '/a/'", "a prefix has no slash at its end"),
        ("path = '/a/{*r}'\nadd_prefix = '/'", "a prefix has no slash at its end"),
        ("path = '/a/{*r}'\nadd_prefix = 'v2'", "it must begin with \"/\""),
        ("path = '/a/{*r}'\nadd_prefix = '/../x'", "dot segments are not in normal form"),
        ("path = '/a/{*r}'\nadd_prefix = '/x%2fy'", "no request with \"%2f\" is let in"),
        ("path = '/a/{*r}'\nrewrite = '/{x}/{r}'", "{x} is no parameter of this route's path"),
        ("path = '/a/{x}'\nrewrite = '/{*x}'", "{*x} is no parameter of this route's path"),
        ("path = '/a/{*r}'\nrewrite = '/{r}/x'", "{r} can only be the last segment"),
        ("path = '/a/{*r}'\nrewrite = '/x-{r}'", "a parameter is a whole segment"),
        ("path = '/a/{*r}'\nrewrite = '/{r}?x'", "a parameter is a whole segment"),
        ("path = '/a/{*r}'\nrewrite = '/x?y'", "no part of a path"),
        ("path = '/a/{*r}'\nrewrite = '/{r}'\nstrip_prefix = '/a'", "leave out \"strip_prefix\""),
        ("path = '/a/{*r}'\nrewrite = '/{r}'\nadd_prefix = '/a'", "leave out \"add_prefix\""),
    ] {
        let found = of(lines);
        assert!(found.contains(words), "{lines}: {found}");
        assert_eq!(found.lines().count(), 1, "{lines}: {found}");
    }
    for lines in [
        "path = '/a/{*r}'\nforward_path = 'raw'\nstrip_prefix = '/a'\nadd_prefix = '/b/c'",
        "path = '/a'\nstrip_prefix = '/a'",
        "path = '/a/{x}/{y}/{*r}'\nrewrite = '/{y}/{x}/{*r}'",
        "path = '/a/{*r}'\nrewrite = '/{r}'",
    ] {
        assert_eq!(of(lines), "", "{lines}");
    }
}
