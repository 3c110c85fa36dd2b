//! What the access log says of a request that does not pass.

use serde_json::json;

use crate::outside_jwts::forge::{key_set, token};
use crate::support::{Plan, TestUser, Upstream, now};

use super::{cause, cause_of, claims, keys_of, plan, url, with, world};

/// FIELD.md, F27: revoked, unknown, of another issuer, for another audience, expired, not valid
/// yet.
#[test]
fn the_access_log_says_why_a_token_is_refused() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", keys_of(&key_set()));
    let world = plan(&upstream, &url(&id))
        .route("path = \"/both/{*rest}\"\nupstream = \"app\"\naccept = [\"id\", \"jarvispy\"]")
        .start();
    let api = world.api(TestUser::ALICE);
    let key = world.key(TestUser::ALICE);
    assert_eq!(world.get_with("/both/ours", &key.token).status, 200);
    assert_eq!(api.revoke(&key.token).status, 200);
    let begins = |what: &str, token: &str, expected: &str| {
        let cause = cause(&world, &format!("/both/{what}"), token);
        assert!(cause.starts_with(expected), "{what}: {cause}");
    };
    begins("revoked", &key.token, "it is revoked: it was made with a key of this keyward");
    // A token of another keyward: the same issuer, a key that is not here.
    let other = Plan::usual(&upstream).start();
    begins("unknown", &other.key(TestUser::ALICE).token, "its key is unknown: ");
    begins("no-jwt", "hunter2", "it is not a JWT");
    begins(
        "issuer",
        &with(json!({"iss": "https://other.example"})),
        "its issuer is another: it is \"https://other.example\"",
    );
    begins(
        "audience",
        &with(json!({"aud": "web"})),
        "its audience is another: it is for \"web\", accepted is \"api\"",
    );
    begins(
        "id-token",
        &with(json!({"aud": "web", "nonce": "n"})),
        "its audience is another: it is for \"web\", accepted is \"api\"; it looks like an id \
         token",
    );
    begins("expired", &with(json!({"exp": now() - 500})), "it has expired: 5");
    begins("early", &with(json!({"nbf": now() + 500})), "it is not valid yet: its \"nbf\" is ");
    // Where no issuer is configured, too.
    let alone = Plan::usual(&upstream).start();
    let said = cause(&alone, "/private/outside", &with(json!({})));
    assert_eq!(
        said,
        "its issuer is another: it is \"https://id.example\", which is that of no [[issuer]]"
    );
}

/// FIELD.md, F27: what the route asks for, and what the token has.
#[test]
fn the_access_log_says_why_a_good_token_does_not_pass() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", keys_of(&key_set()));
    let world = plan(&upstream, &url(&id))
        .route(
            "path = \"/editors/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]\n\
             require = { role = [\"editor\", \"admin\"] }",
        )
        .route(
            "path = \"/acme/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]\n\
                require.organization = [\"acme\"]",
        )
        .route(
            "path = \"/plan/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]\n\
             require.claims = { plan = [\"pro\", 2] }",
        )
        .route("path = \"/t/{tenant_id}/x\"\nupstream = \"app\"\naccept = [\"id\"]")
        .start();
    let reader = json!({"realm_access": {"roles": ["reader", "guest"]}, "tenants": ["t1"]});
    for (path, token, status, said) in [
        (
            "/editors/x",
            with(reader.clone()),
            403,
            r#"the route asks for role "editor" or "admin", the token has "reader", "guest""#,
        ),
        (
            "/acme/x",
            with(reader.clone()),
            403,
            r#"the route asks for organization "acme", the token has none"#,
        ),
        (
            "/plan/x",
            with(reader.clone()),
            403,
            r#"the route asks for the claim "plan" with "pro" or 2, the token has none"#,
        ),
        (
            "/t/t2/x",
            with(reader.clone()),
            403,
            r#"the path names the tenant "t2", which is none that the caller acts for"#,
        ),
        (
            "/private/outside",
            with(reader.clone()),
            401,
            r#"it is of "id", and the route accepts "jarvispy""#,
        ),
        (
            "/outside/ours",
            world.key(TestUser::ALICE).token,
            401,
            r#"it is of "jarvispy", and the route accepts "id""#,
        ),
        (
            "/private/bootstrap",
            world.bootstrap(TestUser::ALICE, 1),
            403,
            "it is a login or a bootstrap token, which makes calls of token APIs and opens no \
             route",
        ),
    ] {
        assert_eq!(world.get_with(path, &token).status, status, "{path}");
        assert_eq!(world.access_line(path)["cause"], said, "{path}");
    }
}

#[test]
fn a_refusal_says_what_was_found_and_what_would_be_right() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let subject = "\"claims.subject\" says which claim it is)";
    let world = world(&upstream, &id, &key_set());
    let later = now() + 300;
    for (at, (changed, expected)) in [
        (json!({"aud": {"api": 1}}), "it is {\"api\":1}, it must be a string or a list of strings"),
        (json!({"exp": later.to_string()}), "must be a number of seconds since the start of 1970"),
        (json!({"exp": later * 1000}), "it looks like milliseconds"),
        (json!({"iat": "2026-01-01"}), "it is \"2026-01-01\", it must be a number of seconds"),
        (json!({"exp": null}), "so the token never expires; it must be there"),
        (json!({"sub": null}), "\"sub\" is missing, it must be a string"),
        (json!({"sub": 1.5}), "\"sub\" is 1.5, it must be a string"),
        (json!({"sub": true}), subject),
        (
            json!({"iss": "http://id.example"}),
            "which is that of no [[issuer]]; configured are \"https://id.example\"",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let said = cause(&world, &format!("/outside/claim-{at}"), &with(changed.clone()));
        assert!(said.contains(expected), "{changed}: {said}");
    }
    let typ = token("ES256", &json!({"alg": "ES256", "kid": "p256", "typ": "dpop+jwt"}), &claims());
    assert_eq!(
        cause(&world, "/outside/typ", &typ),
        "its header is refused: its \"typ\" is not that of an access token: it is \"dpop+jwt\", it \
         must be \"JWT\" or \"at+jwt\""
    );
    // As Auth0 gives out where no audience was asked for.
    assert_eq!(
        cause(&world, "/outside/jwe", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA"),
        "it is not a JWT: it has five parts, so it is encrypted (JWE), and only signed ones can be \
         judged"
    );
}

#[test]
fn a_request_without_a_credential_that_counts_says_what_it_has_instead() {
    let upstream = Upstream::start();
    let world = Plan::usual(&upstream)
        .table(
            "token_api",
            "name = \"users\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"\nprefix = \"rst_\"",
        )
        .route("path = \"/keys/{*rest}\"\nupstream = \"app\"\naccept = [\"users\"]")
        .start();
    let key = world.key(TestUser::ALICE).token;
    let scheme = "its Authorization field does not begin with \"Bearer \"";
    for (at, (path, status, fields, expected)) in [
        ("/private", 401, "Authorization: Basic YTpi\r\n".to_owned(), scheme),
        ("/private", 401, format!("Authorization: {key}\r\n"), scheme),
        (
            "/private",
            401,
            "Authorization: Bearer \r\n".to_owned(),
            "it is empty: \"Bearer\" must be followed by a token",
        ),
        (
            "/private",
            401,
            "X-API-Key: rst_x\r\n".to_owned(),
            "it has X-API-Key, which is read only on routes that accept a token API of style \
             \"accounts\"",
        ),
        (
            "/keys",
            401,
            "X-API-Key: hello\r\n".to_owned(),
            "it is unknown: X-API-Key takes the API keys of token APIs of style \"accounts\", and \
             it does not begin with the prefix of one",
        ),
        ("/private", 401, String::new(), "a bearer token is required"),
        (
            "/private",
            401,
            format!("Authorization: Bearer {}\r\n", "e".repeat(9000)),
            "it has 9000 bytes, more than the 8192 that \"token\" in [limits] allows",
        ),
        (
            "/keys",
            400,
            "X-API-Key: a\r\nX-API-Key: b\r\n".to_owned(),
            "it has X-API-Key more than once",
        ),
        (
            "/keys",
            400,
            "X-API-Key: a\r\nAuthorization: Bearer b\r\n".to_owned(),
            "it has both X-API-Key and Authorization: Bearer",
        ),
        (
            "/private",
            400,
            "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n".to_owned(),
            "it has Authorization more than once",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let said = cause_of(&world, &format!("{path}/{at}"), status, &fields);
        assert_eq!(said, expected, "{at}: {path} {status}");
        assert!(!said.contains(&key));
    }
}
