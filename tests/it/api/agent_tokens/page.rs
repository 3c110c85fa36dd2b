//! The page that tells agents how to get a token.

use crate::api::worlds::IssuerWorld;

#[test]
fn the_page_for_agents_needs_no_credential() {
    let world = IssuerWorld::start();
    let page = world.keyward.ask("GET", "/api/doc/raw/token-management-user-jwt", "", "");
    assert_eq!(page.status, 200, "{page}");
    assert_eq!(page.fields.one("content-type").as_deref(), Some("text/markdown; charset=utf-8"));
    assert!(page.text().contains("POST /api/agent-tokens/me/get-or-create"), "{page}");
    assert_eq!(
        world.keyward.ask("POST", "/api/doc/raw/token-management-user-jwt", "", "").status,
        405
    );
}
