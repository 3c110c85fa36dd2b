//! Each call and each route refuses the credentials of the others.

use super::{credentials, over_both_stores};
use crate::api::worlds::{
    AGENT_KEY, AGENT_KEY_ONCE, AllStylesWorld, NEW_TENANT_KEY, api_key_field, bearer,
};
use crate::support::TestUser;

over_both_stores! {
    the_wrong_kind_of_credential_is_refused_by_every_call_and_route;
    a_token_of_one_tenant_is_refused_at_another;
    sessions_and_keys_of_accounts_are_refused_by_every_other_style;
}

fn the_wrong_kind_of_credential_is_refused_by_every_call_and_route(world: &AllStylesWorld) {
    let keys = world.keyward.api(TestUser::ALICE).path("/auth/tokens");
    //                                          allowlist bootstrap tenant agent access ID
    let calls = [
        (("GET", keys.as_str(), ""), [200, 200, 401, 401, 401, 401]),
        (("GET", "/api/v1/active/tokens/", ""), [401, 401, 200, 401, 200, 401]),
        (("POST", "/api/v1/acme/tokens/", NEW_TENANT_KEY), [401, 401, 201, 401, 201, 401]),
        (("GET", AGENT_KEY, ""), [401, 401, 401, 401, 200, 401]),
        (("POST", AGENT_KEY_ONCE, ""), [401, 401, 401, 401, 200, 401]),
        (
            ("DELETE", "/api/v1/acme/tokens/00000000-0000-4000-8000-000000000000", ""),
            [401, 401, 404, 401, 404, 401],
        ),
        (("GET", "/private/x", ""), [200, 403, 401, 401, 401, 401]),
        (("GET", "/api/v1/acme/x", ""), [401, 403, 200, 401, 200, 401]),
        (("GET", "/agents/x", ""), [401, 403, 401, 200, 401, 401]),
        (("GET", "/people/x", ""), [401, 403, 401, 401, 200, 401]),
        // These are last, because the access token renews and revokes the agent's key.
        (("POST", AGENT_KEY, ""), [401, 401, 401, 401, 200, 401]),
        (("DELETE", AGENT_KEY, ""), [401, 401, 401, 401, 204, 401]),
    ];
    let credentials = credentials(world);
    let mut wrong = Vec::new();
    for ((method, target, body), expected) in calls {
        for ((kind, token), expected) in credentials.iter().zip(expected) {
            let found = world.call(method, target, token, body).status;
            if found != expected {
                wrong.push(format!("{kind} at {method} {target}: {found}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn a_token_of_one_tenant_is_refused_at_another(world: &AllStylesWorld) {
    let (acme, _) = world.tenant_key("acme");
    let (globex, id) = world.tenant_key("globex");
    for tenant in ["globex", "initech", "ACME"] {
        assert_eq!(world.status(&format!("/api/v1/{tenant}/x"), &acme), 403, "{tenant}");
        assert_eq!(world.status(&format!("/api/v1/{tenant}/tokens/"), &acme), 403, "{tenant}");
    }
    assert_eq!(world.call("DELETE", &format!("/api/v1/globex/tokens/{id}"), &acme, "").status, 403);
    assert_eq!(world.status("/api/v1/globex/x", &globex), 200);
    assert_eq!(world.status("/api/v1/acme/x", &world.bob()), 403);
}

fn sessions_and_keys_of_accounts_are_refused_by_every_other_style(world: &AllStylesWorld) {
    let session = world.session("hershel");
    let (key, id) = world.api_key(&session);
    let keys = world.keyward.api(TestUser::ALICE).path("/auth/tokens");
    for target in [
        keys.as_str(),
        "/api/v1/active/tokens/",
        "/private/x",
        "/api/v1/acme/x",
        "/agents/x",
        "/people/x",
    ] {
        // A session is known on every route, and opens none.
        let is_call = target.contains("tokens");
        assert_eq!(
            world.status_with(target, &bearer(&session)),
            if is_call { 401 } else { 403 },
            "a login at {target}"
        );
        assert_eq!(world.status_with(target, &bearer(&key)), 401, "a key at {target}");
        assert_eq!(
            world.status_with(target, &api_key_field(&key)),
            401,
            "a key in its field at {target}"
        );
    }
    assert_eq!(world.status_with("/v1/me/x", &bearer(&session)), 403, "a login opens no route");
    assert_eq!(
        (
            world.status_with(AGENT_KEY, &bearer(&session)),
            world.status_with(AGENT_KEY, &bearer(&key))
        ),
        (200, 401)
    );
    for fields in [bearer(&key), api_key_field(&key), api_key_field(&session)] {
        assert_eq!(world.status_with("/v1/auth/api-keys", &fields), 401, "{fields}");
        assert_eq!(
            world.post("/v1/auth/api-keys", &fields, r#"{"name":"a"}"#).status,
            401,
            "{fields}"
        );
        let target = format!("/v1/auth/api-keys/{id}");
        assert_eq!(world.keyward.ask("DELETE", &target, &fields, "").status, 401, "{fields}");
    }
    assert_eq!(
        world.status_with("/v1/me/x", &api_key_field(&key)),
        200,
        "nothing has happened to it"
    );
    for (kind, token) in credentials(world) {
        let on_a_route = if kind == "a bootstrap token" { 403 } else { 401 };
        assert_eq!(world.status_with("/v1/auth/api-keys", &bearer(&token)), 401, "{kind}");
        assert_eq!(world.status_with("/v1/me/x", &bearer(&token)), on_a_route, "{kind}");
        assert_eq!(world.status_with("/v1/me/x", &api_key_field(&token)), 401, "{kind}");
    }
}
