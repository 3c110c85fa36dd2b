//! Pages of other origins and the token APIs, of every style: preflights, answers and refusals.

use serde_json::json;

use super::worlds::{AGENT_KEY, AccountsWorld, NEW_TENANT_KEY, bearer};
use crate::support::{Plan, Response, TestUser, Upstream};

const PAGE: &str = "https://app.example.com";
const FROM_PAGE: &str = "Origin: https://app.example.com\r\n";
const FROM_ELSEWHERE: &str = "Origin: https://evil.example\r\n";

fn start() -> AccountsWorld {
    let line = format!("cors.origins = [{PAGE:?}]");
    AccountsWorld::start_with(|plan| plan.in_every("token_api", &line))
}

/// A browser gives this answer to the page.
#[track_caller]
fn is_given_to_the_page(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response}");
    let origin = response.fields.one("access-control-allow-origin");
    assert_eq!(origin.as_deref(), Some(PAGE), "{response}");
    assert_eq!(response.fields.one("vary").as_deref(), Some("origin"), "{response}");
    let exposed = response.fields.one("access-control-expose-headers").unwrap_or_default();
    assert!(exposed.contains("WWW-Authenticate") && exposed.contains("Retry-After"), "{response}");
    assert!(!response.fields.has("access-control-allow-credentials"), "{response}");
}

/// Of each style, a path and the methods that it takes, as `Allow` has them.
const CALLS: [(&str, &str); 7] = [
    ("/jarvispy/my-org/alice/api/v1/auth/tokens", "GET"),
    ("/jarvispy/my-org/alice/api/v1/auth/issue-token", "POST"),
    ("/api/v1/acme/tokens/", "GET, POST"),
    (AGENT_KEY, "GET, POST, DELETE"),
    ("/v1/auth/login", "POST"),
    ("/v1/auth/api-keys", "GET, POST"),
    ("/api/v1/openapi.json", "GET, HEAD"),
];

#[test]
fn preflights_of_every_style_are_answered_without_a_credential() {
    let world = start();
    for (path, methods) in CALLS {
        for asked in methods.split(", ").chain(["PATCH"]) {
            let ask = |origin: &str| {
                let fields = format!(
                    "{origin}Access-Control-Request-Method: {asked}\r\n\
                     Access-Control-Request-Headers: authorization,content-type\r\n"
                );
                world.keyward.ask("OPTIONS", path, &fields, "")
            };
            let response = ask(FROM_PAGE);
            assert_eq!(response.status, 204, "{path}: {response}");
            let field = |name: &str| response.fields.one(name).unwrap_or_default();
            assert_eq!(field("access-control-allow-origin"), PAGE);
            let listed = field("access-control-allow-methods");
            let mut listed: Vec<_> = listed.split(", ").filter(|name| *name != "HEAD").collect();
            let mut known: Vec<_> = methods.split(", ").filter(|name| *name != "HEAD").collect();
            listed.sort_unstable();
            known.sort_unstable();
            assert_eq!(listed, known, "{path}: {response}");
            for header in ["Authorization", "Content-Type", "X-API-Key"] {
                assert!(field("access-control-allow-headers").contains(header), "{response}");
            }
            let refused = ask(FROM_ELSEWHERE);
            assert_eq!(refused.status, 403, "{path}: {refused}");
            assert!(!refused.fields.has("access-control-allow-origin"), "{refused}");
        }
    }
}

#[test]
fn a_page_reads_every_answer_of_every_style() {
    let world = start();
    let (alice, key) = (bearer(&world.alice()), bearer(&world.keyward.key(TestUser::ALICE).token));
    let session = bearer(&world.session("hershel"));
    let none = "";
    let wrong = "Authorization: Bearer nonsense\r\n";
    let list = "/jarvispy/my-org/alice/api/v1/auth/tokens";
    let unknown = "/api/v1/acme/tokens/00000000-0000-4000-8000-000000000000";
    let large = "x".repeat(70 * 1024);
    let ask = |origin: &str, method: &str, path: &str, fields: &str, body: &str| {
        let fields = format!("{origin}{fields}Content-Type: application/json\r\n");
        world.keyward.ask(method, path, &fields, body)
    };
    for (method, path, fields, body, status) in [
        ("GET", list, &*key, "", 200),
        ("GET", list, none, "", 401),
        ("GET", list, wrong, "", 401),
        ("PUT", list, &*key, "", 405),
        ("GET", "/jarvispy/my-org/bob/api/v1/auth/tokens", &*key, "", 403),
        ("GET", "/api/v1/acme/tokens/", &*alice, "", 200),
        ("POST", "/api/v1/acme/tokens/", &*alice, NEW_TENANT_KEY, 201),
        ("POST", "/api/v1/acme/tokens/", &*alice, "{", 422),
        ("GET", "/api/v1/acme/tokens/", wrong, "", 401),
        ("DELETE", unknown, &*alice, "", 404),
        ("POST", "/api/v1/acme/tokens/", &*alice, &*large, 413),
        ("POST", AGENT_KEY, &*alice, "", 200),
        ("POST", AGENT_KEY, none, "", 401),
        ("GET", "/v1/auth/api-keys", &*session, "", 200),
        ("GET", "/v1/auth/api-keys", none, "", 401),
        ("POST", "/v1/auth/login", none, r#"{"username":"no","password":"no"}"#, 401),
        ("GET", "/api/v1/openapi.json", none, "", 200),
        ("POST", "/api/v1/openapi.json", none, "", 405),
    ] {
        let response = ask(FROM_PAGE, method, path, fields, body);
        is_given_to_the_page(&response, status);
        // From elsewhere the same answer comes, which the browser keeps from the page.
        if method == "GET" {
            let response = ask(FROM_ELSEWHERE, method, path, fields, body);
            assert_eq!(response.status, status, "{response}");
            assert!(!response.fields.has("access-control-allow-origin"), "{response}");
            assert_eq!(response.fields.one("vary").as_deref(), Some("origin"), "{response}");
        }
    }
}

#[test]
fn a_page_reads_that_there_were_too_many_logins() {
    let upstream = Upstream::start();
    let accounts = format!(
        "name = \"users\"\nstyle = \"accounts\"\nmount = \"/v1/auth\"\ncors.origins = [{PAGE:?}]"
    );
    let world = Plan::usual(&upstream)
        .table("token_api", &accounts)
        .set("logins", "registrations_per_address", "1")
        .start();
    let register = |username: &str| {
        let body = json!({
            "username": username,
            "password": "correct horse",
            "full_name": "A Person",
            "email": format!("{username}@example.com"),
        });
        let fields = format!("{FROM_PAGE}Content-Type: application/json\r\n");
        world.ask("POST", "/v1/auth/register", &fields, body.to_string())
    };
    is_given_to_the_page(&register("hershel"), 200);
    let response = register("ishmael");
    is_given_to_the_page(&response, 429);
    assert!(response.fields.has("retry-after"), "{response}");
}

#[test]
fn without_a_policy_a_token_api_says_nothing_to_browsers() {
    let world = AccountsWorld::start();
    for (path, _) in CALLS {
        let fields = format!("{FROM_PAGE}Access-Control-Request-Method: GET\r\n");
        for method in ["OPTIONS", "GET"] {
            let response = world.keyward.ask(method, path, &fields, "");
            assert!(method == "GET" || response.status == 405, "{path}: {response}");
            assert!(!response.fields.has("access-control-allow-origin"), "{path}: {response}");
            assert!(!response.fields.has("vary"), "{path}: {response}");
        }
    }
}
