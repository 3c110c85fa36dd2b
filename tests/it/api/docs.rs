//! Swagger UI and the OpenAPI document, as a browser gets them. That a user can make a token there
//! is tested with a browser, in `tests/black_box/walk_through.py`.

use crate::api::worlds::{IssuerWorld, expect_json};
use crate::support::h2::{Connection, Head};
use crate::support::json as body_of;

const DOCS: &str = "/api/v1/docs";

#[test]
fn the_page_needs_no_credential_and_loads_nothing_from_elsewhere() {
    let world = IssuerWorld::start();
    for (path, kind, begins) in [
        ("/api/v1/docs", "text/html; charset=utf-8", "<!DOCTYPE html>"),
        ("/api/v1/docs/", "text/html; charset=utf-8", "<!DOCTYPE html>"),
        ("/api/v1/docs/swagger-ui.css", "text/css; charset=utf-8", ""),
        ("/api/v1/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8", ""),
        (
            "/api/v1/docs/swagger-initializer.js",
            "text/javascript; charset=utf-8",
            "// Starts Swagger UI",
        ),
        ("/api/v1/docs/favicon-32x32.png", "image/png", ""),
        ("/api/v1/docs/NOTICE", "text/plain; charset=utf-8", ""),
        ("/api/v1/openapi.json", "application/json", "{\"openapi\":\"3.1.0\""),
    ] {
        let page = world.keyward.ask("GET", path, "", "");
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.fields.one("content-type").as_deref(), Some(kind), "{path}");
        assert_eq!(page.fields.one("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
        assert_eq!(
            page.fields.one("cache-control").as_deref(),
            Some("public, max-age=300"),
            "{path}"
        );
        assert!(page.body.len() > 30 && page.body.starts_with(begins.as_bytes()), "{path}");
        let policy = page.fields.one("content-security-policy");
        assert_eq!(policy.is_some(), kind.starts_with("text/html"), "{path}");
        if let Some(policy) = policy {
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
                "{policy}"
            );
            assert!(
                !policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'),
                "{policy}"
            );
        }
    }
    for path in [
        "/api/v1/docs/index.html",
        "/api/v1/docs/../openapi.json.x",
        "/api/v1/docs/swagger-ui.css/",
    ] {
        assert_ne!(world.keyward.ask("GET", path, "", "").status, 200, "{path}");
    }
}

#[test]
fn a_page_that_has_not_changed_gets_304_and_only_get_and_head_are_taken() {
    let world = IssuerWorld::start();
    let path = "/api/v1/docs/swagger-ui.css";
    let page = world.keyward.ask("GET", path, "", "");
    let tag = page.fields.one("etag").expect("a tag");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".into()] {
        let same = world.keyward.ask("GET", path, &format!("If-None-Match: {known}\r\n"), "");
        assert_eq!((same.status, same.body.len()), (304, 0), "{known}");
        assert_eq!(same.fields.one("etag"), Some(tag.clone()));
    }
    let other = world.keyward.ask("GET", path, "If-None-Match: \"x\"\r\n", "");
    assert_eq!((other.status, other.body.len()), (200, page.body.len()));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        for path in [DOCS, "/api/v1/docs/", path, "/api/v1/openapi.json"] {
            let refused = world.keyward.ask(method, path, "", "");
            assert_eq!(
                (refused.status, refused.fields.one("allow").as_deref()),
                (405, Some("GET, HEAD")),
                "{path}"
            );
        }
    }
}

/// RFC 9110, section 9.3.2. Over HTTP/2 content would be a breach of the protocol.
#[test]
fn the_answer_to_head_has_the_length_of_the_page_and_no_content_over_http2() {
    let world = IssuerWorld::start();
    for (path, status) in [
        (DOCS, 200),
        ("/api/v1/docs/swagger-ui.css", 200),
        ("/api/v1/openapi.json", 200),
        ("/api/agent-tokens/me", 401),
        ("/api/v1/docs/tokens/", 401),
    ] {
        let length = world.keyward.ask("GET", path, "", "").body.len().to_string();
        let mut connection = Connection::open(world.keyward.address());
        let answer = connection.ask(&Head::new("HEAD", path));
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{path}: {answer}");
        assert_eq!(answer.fields.one("content-length"), Some(length), "{path}: {answer}");
        assert!(connection.state.stream(1).is_head_only, "{path}: {:?}", connection.state);
    }
}

#[test]
fn a_tenant_may_be_called_docs_and_the_document_covers_every_token_api() {
    let world = IssuerWorld::start();
    let odd = world.issuer.access("odd", serde_json::json!({ "tenants": ["docs"] }));
    assert_eq!(
        expect_json(&world.call("GET", "/api/v1/docs/tokens/", &odd, ""), 200),
        serde_json::json!([])
    );
    assert_eq!(world.status("/api/v1/docs/agents/", &odd), 200, "a route beside the page");
    let document = body_of(&world.keyward.ask("GET", "/api/v1/openapi.json", "", ""));
    let paths: Vec<_> =
        document["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
    for path in [
        "/api/v1/{tenant_id}/tokens/",
        "/api/v1/{tenant_id}/tokens/{token_id}",
        "/api/agent-tokens/me",
    ] {
        assert!(paths.contains(&path), "{paths:?}");
    }
    assert!(paths.iter().any(|path| path.ends_with("/auth/issue-token")), "{paths:?}");
}
