//! The `Authorization` field, the mount compared with the claims, and the calls that exist.

use super::{AllowlistJwtWorld, error};
use crate::support::TestUser;

#[test]
fn an_authorization_that_is_none_gets_401_in_the_faces_own_shape() {
    let world = AllowlistJwtWorld::start();
    let token = &world.alice.token;
    let path = world.api().path("/auth/tokens");
    for fields in [
        String::new(),
        "Authorization:\r\n".into(),
        "Authorization: Bearer\r\n".into(),
        "Authorization: Bearer \r\n".into(),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Token {token}\r\n"),
        format!("X-API-Key: {token}\r\n"),
        format!("Cookie: token={token}\r\n"),
    ] {
        let response = world.keyward.ask("GET", &path, &fields, "");
        error(&response, 401);
        assert!(
            response
                .fields
                .one("www-authenticate")
                .is_some_and(|value| value.starts_with("Bearer")),
            "{response}"
        );
    }
    let twice = format!("Authorization: Bearer {token}\r\n").repeat(2);
    error(&world.keyward.ask("GET", &path, &twice, ""), 400);
    let lower = format!("authorization: bearer {token}\r\n");
    assert_eq!(world.keyward.ask("GET", &path, &lower, "").status, 200);
    let query = format!("{path}?access_token={token}");
    error(&world.keyward.ask("GET", &query, "", ""), 401);
}

#[test]
fn a_mount_that_is_not_the_callers_gets_403() {
    let world = AllowlistJwtWorld::start();
    let token = &world.alice.token;
    for mount in [
        "/jarvispy/my-org/bob",
        "/jarvispy/other/alice",
        "/jarvispy/MY-ORG/alice",
        "/jarvispy/my-org/Alice",
        "/jarvispy/alice/my-org",
        "/jarvispy/my-org/alice%20",
        "/jarvispy/my-org/auth0%7Calice",
        "/jarvispy/my-org/*",
    ] {
        for (method, call) in [
            ("POST", "issue-token"),
            ("GET", "tokens"),
            ("POST", "revoke"),
            ("POST", "revoke-all"),
            ("POST", "revoke/f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b"),
        ] {
            let fields = format!("Authorization: Bearer {token}\r\n");
            let response =
                world.keyward.ask(method, &format!("{mount}/api/v1/auth/{call}"), &fields, "");
            assert_eq!(response.status, 403, "{mount} {call}: {response}");
            error(&response, 403);
        }
    }
    assert_eq!(world.api().jtis(token), [world.alice.jti.as_str()], "nothing came of it");
    let bob = world.keyward.key(TestUser::BOB);
    error(&world.api().list(&bob.token), 403);
}

#[test]
fn a_mount_that_is_not_the_callers_tells_a_caller_without_a_token_nothing() {
    let world = AllowlistJwtWorld::start();
    let bodies: Vec<_> = ["my-org/alice", "my-org/bob", "nowhere/unknown"]
        .iter()
        .map(|user| {
            let response =
                world.keyward.ask("GET", &format!("/jarvispy/{user}/api/v1/auth/tokens"), "", "");
            error(&response, 401)
        })
        .collect();
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
}

#[test]
fn a_mount_in_another_spelling_is_the_same_mount() {
    let world = AllowlistJwtWorld::start();
    let fields = format!("Authorization: Bearer {}\r\n", world.alice.token);
    for path in [
        "/jarvispy/my-org/%61lice/api/v1/auth/tokens",
        "/jarvispy/my%2Dorg/alice/api/v1/auth/tokens",
        "/jarvispy/x/../my-org/alice/api/v1/auth/tokens",
        "/jarvispy//my-org/alice/api/v1/auth/tokens",
    ] {
        assert_eq!(world.keyward.ask("GET", path, &fields, "").status, 200, "{path}");
    }
    for path in [
        "/jarvispy/my-org%2Falice/x/api/v1/auth/tokens",
        "/jarvispy/my-org/alice%00/api/v1/auth/tokens",
    ] {
        assert_eq!(world.keyward.ask("GET", path, &fields, "").status, 400, "{path}");
    }
}

#[test]
fn another_method_gets_405_and_says_which_is_allowed() {
    let world = AllowlistJwtWorld::start();
    let jti = &world.alice.jti;
    let calls = [
        ("/auth/issue-token".to_owned(), "POST"),
        ("/auth/tokens".to_owned(), "GET"),
        ("/auth/revoke".to_owned(), "POST"),
        (format!("/auth/revoke/{jti}"), "POST"),
        ("/auth/revoke-all".to_owned(), "POST"),
    ];
    for (call, allowed) in &calls {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            if method == *allowed {
                continue;
            }
            let response = world.api().call(method, call, &world.alice.token, "");
            assert_eq!(response.status, 405, "{method} {call}: {response}");
            assert!(
                response.fields.one("allow").is_some_and(|value| value.contains(allowed)),
                "{method} {call}: {response}"
            );
            error(&response, 405);
        }
    }
    assert_eq!(world.keyward.status_with(&world.alice.token), 200, "nothing was revoked");
}

#[test]
fn a_call_that_is_none_gets_404() {
    let world = AllowlistJwtWorld::start();
    for call in [
        "",
        "/",
        "/auth",
        "/auth/",
        "/auth/nothing",
        "/auth/tokens/x",
        "/auth/issue-token/x",
        "/AUTH/TOKENS",
    ] {
        let response = world.api().call("GET", call, &world.alice.token, "");
        assert_eq!(response.status, 404, "{call}: {response}");
    }
}

/// A token API answers its calls itself, also where a route has the same path.
#[test]
fn the_calls_of_a_token_api_are_never_forwarded() {
    let upstream = crate::support::Upstream::start();
    let world = crate::support::Plan::usual(&upstream)
        .route("path = \"/{*rest}\"\nupstream = \"app\"\npublic = true")
        .start();
    let alice = world.key(TestUser::ALICE);
    for call in ["/auth/tokens", "/auth/issue-token", "/auth/revoke-all"] {
        let path = world.api(TestUser::ALICE).path(call);
        let response = world.ask("GET", &path, "", "");
        assert!([401, 405].contains(&response.status), "{call}: {response}");
    }
    assert_eq!(world.status_with(&alice.token), 200);
    let heads = upstream.take().heads;
    assert!(heads.iter().all(|target| !target.contains("jarvispy")), "{heads:?}");
}
