//! Metadata of issuers: where the keys are, issuers of several tenants, and the way through a
//! proxy.

use serde_json::json;

use crate::outside_jwts::forge::{KEYS, ec_jwk, key_set, rsa_jwk, token};
use crate::support::{Plan, Reply, Upstream, eventually, now};

use super::{ROUTE, keys_of, readiness, with};

/// OpenID Connect Discovery 1.0, section 4.3.
#[test]
fn metadata_say_where_the_keys_are_and_those_of_another_issuer_are_not_believed() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let issuer = format!("http://{}/login", id.address());
    let metadata = |issuer: &str, keys: &str| {
        Reply::of("200 OK", "", json!({"issuer": issuer, "jwks_uri": keys}).to_string())
    };
    let path = "/login/.well-known/openid-configuration";
    let of_oauth = "/.well-known/oauth-authorization-server/login";
    id.answer(of_oauth, Reply::of("404 Not Found", "", ""));
    let keys = format!("http://{}/keys", id.address());
    id.answer("/keys", keys_of(&key_set()));
    let plan = Plan::usual(&upstream)
        .table("issuer", &format!("name = \"id\"\nissuer = {issuer:?}\naudience = [\"api\"]"))
        .route(ROUTE);
    for (reply, why) in [
        (
            Reply::of("404 Not Found", "", ""),
            "the metadata of the issuer: the answer is 404 Not Found",
        ),
        (metadata(&format!("{issuer}/"), &keys), "\"issuer\" must be written exactly so in both"),
        (metadata("https://evil.example", &keys), "they are of issuer"),
        (metadata(&issuer, "https://169.254.169.254/keys"), "it has another scheme than"),
        (
            metadata(&issuer, "http://169.254.169.254/keys"),
            "it would be fetched in clear from another host",
        ),
        (metadata(&issuer, "file:///etc/passwd"), "the only schemes are https and http"),
        (Reply::of("200 OK", "", "<html>"), "they are no JSON object"),
        (Reply::of("200 OK", "", json!({"issuer": issuer}).to_string()), "they have no"),
    ] {
        id.answer(path, reply);
        let world = plan.clone().launch();
        assert!(eventually(|| readiness(&world).contains(why)), "{why}: {}", readiness(&world));
        assert_eq!(
            world.get_with("/outside/x", &with(json!({"iss": issuer}))).status,
            401,
            "{why}"
        );
    }
    id.answer(path, metadata(&issuer, &keys));
    let world = plan.clone().start();
    assert_eq!(world.get_with("/outside/x", &with(json!({"iss": issuer}))).status, 200);
    assert_eq!(
        world.get_with("/outside/x", &with(json!({"iss": format!("{issuer}/")}))).status,
        401
    );
    // A server of OAuth 2.0 that is none of OpenID Connect: RFC 8414, section 3.1.
    id.answer(path, Reply::of("404 Not Found", "", ""));
    id.answer(of_oauth, metadata(&issuer, &keys));
    let world = plan.start();
    assert_eq!(world.get_with("/outside/x", &with(json!({"iss": issuer}))).status, 200);
}

/// Each tenant has keys of its own, and a subject of one tenant is another user than the subject of
/// the same name in another tenant.
#[test]
fn an_issuer_by_template_lets_its_tenants_in_each_by_its_own_keys_and_keeps_them_apart() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let iss = |tenant: &str| format!("http://{}/{tenant}/v2.0", id.address());
    for (tenant, keys) in
        [("one", vec![rsa_jwk("k", &KEYS.rsa)]), ("two", vec![ec_jwk("k", "P-256", &KEYS.p256)])]
    {
        let keys_path = format!("/{tenant}/keys");
        let uri = format!("http://{}{keys_path}", id.address());
        let metadata = json!({"issuer": iss(tenant), "jwks_uri": uri}).to_string();
        id.answer(
            &format!("/{tenant}/v2.0/.well-known/openid-configuration"),
            Reply::of("200 OK", "", metadata),
        );
        id.answer(&keys_path, keys_of(&keys));
    }
    let issuer = |tenants: &str| {
        format!(
            "name = \"id\"\nissuer = {:?}\ntenants = {tenants}\naudience = [\"api\"]",
            iss("{tenant}")
        )
    };
    let plan = |tenants: &str| {
        Plan::usual(&upstream)
            .table("issuer", &issuer(tenants))
            .table(
                "token_api",
                "name = \"agents\"\nstyle = \"agent-tokens\"\nmount = \"/agents\"\nissuer = \"id\"",
            )
            .route(ROUTE)
            .route("path = \"/tenant/{tenant_id}/{*rest}\"\nupstream = \"app\"\naccept = [\"id\"]")
    };
    let world = plan("[\"one\", \"two\"]").start();
    let by = |algorithm: &str, tenant: &str| {
        let claims = json!({
            "iss": iss(tenant), "aud": "api", "sub": "ann", "exp": now() + 300,
            "tenants": ["two"], "active_tenant": "two",
        });
        token(algorithm, &json!({"alg": algorithm, "kid": "k"}), &claims)
    };
    let (one, two) = (by("RS256", "one"), by("ES256", "two"));
    for (tenant, token) in [("one", &one), ("two", &two)] {
        let response = world.get_with("/outside/x", token);
        assert_eq!(response.status, 200, "{response}");
        let told = format!("[\"x-keyward-organization\",\"{tenant}\"]");
        assert!(response.text().to_ascii_lowercase().contains(&told), "{response}");
    }
    assert_eq!(
        world.get_with("/outside/x", &by("ES256", "one")).status,
        401,
        "another tenant's key"
    );
    assert_eq!(world.get_with("/tenant/one/x", &one).status, 200);
    assert_eq!(world.get_with("/tenant/two/x", &one).status, 403, "whatever the token says");
    // The same subject in two tenants is two users.
    let made = world.ask("POST", "/agents/me", &format!("Authorization: Bearer {one}\r\n"), "");
    assert_eq!(made.status, 200, "{made}");
    assert!(world.get_with("/agents/me", &one).text().contains("\"has_token\":true"));
    assert!(world.get_with("/agents/me", &two).text().contains("\"has_token\":false"));
    for ring in ["id/one", "id/two"] {
        assert_eq!(
            world.metric("keyward_issuer_keys", &format!("issuer=\"{ring}\"")),
            1.0,
            "{ring}"
        );
    }
    // A reload takes a tenant out at once, and the other keeps its keys.
    id.take();
    world.configure(&plan("[\"one\"]"));
    world.reload();
    assert_eq!(
        (world.get_with("/outside/x", &one).status, world.get_with("/outside/y", &two).status),
        (200, 401)
    );
    let line = world.access_line("/outside/y");
    assert!(
        line["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("whose tenant is not in \"tenants\"")),
        "{line}"
    );
}

/// The connection goes through the proxy that is named, and through that of the environment where
/// the configuration says so.
#[test]
fn keys_are_fetched_through_the_proxy_that_the_configuration_or_as_it_says_the_environment_names() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let authorities = folder.path().join("ca.pem");
    let made =
        rcgen::generate_simple_self_signed(["id.invalid".to_owned()]).expect("a certificate");
    std::fs::write(&authorities, made.cert.pem()).expect("a file");
    let issuer = |proxy: &str| {
        let lines = format!("audience = [\"api\"]\nca_file = {authorities:?}\n{proxy}");
        Plan::usual(&upstream)
            .table("issuer", &format!("name = \"id\"\nissuer = \"https://id.invalid\"\n{lines}"))
    };
    // A proxy that refuses every request, and notes it.
    let proxy = Upstream::start();
    proxy.answer("id.invalid:443", Reply::of("403 Forbidden", "", ""));
    let address = format!("http://{}", proxy.address());
    for line in ["proxy = \"environment\"".to_owned(), format!("proxy = {address:?}")] {
        proxy.take();
        let world =
            issuer(&line).launch_with(&[("HTTPS_PROXY", &address), ("NO_PROXY", "other.invalid")]);
        assert!(
            eventually(|| world.admin_text("/readyz").contains("it answers 403 Forbidden")),
            "{}",
            world.admin_text("/readyz")
        );
        assert!(proxy.take().heads.contains(&"id.invalid:443".to_owned()), "{line}");
    }
    let world = issuer("proxy = \"environment\"").prepare();
    let output = world.run_with(&["validate"], &[("HTTPS_PROXY", "socks5://proxy.invalid")]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && stderr.contains("HTTPS_PROXY of the environment: "),
        "{stderr}"
    );
}

#[test]
fn metadata_may_have_a_byte_order_mark_and_a_redirect_says_where_it_leads() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    let issuer = format!("http://{}/login", id.address());
    let keys = format!("http://{}/keys", id.address());
    id.answer("/keys", keys_of(&key_set()));
    let path = "/login/.well-known/openid-configuration";
    let metadata = json!({"issuer": issuer, "jwks_uri": keys});
    id.answer(path, Reply::of("200 OK", "", format!("\u{feff}{metadata}")));
    let plan = Plan::usual(&upstream)
        .table("issuer", &format!("name = \"id\"\nissuer = {issuer:?}\naudience = [\"api\"]"))
        .route(ROUTE);
    let world = plan.clone().start();
    assert_eq!(world.get_with("/outside/x", &with(json!({ "iss": issuer }))).status, 200);
    id.answer(
        path,
        Reply::of(
            "308 Permanent Redirect",
            "Location: https://b.example/login?state=canary\r\n",
            "",
        ),
    );
    let world = plan.launch();
    let expected = "the answer is 308 Permanent Redirect, a redirect to \
                    \"https://b.example/login\": redirects are not followed";
    assert!(eventually(|| readiness(&world).contains(expected)), "{}", readiness(&world));
    assert!(!readiness(&world).contains("canary") && !world.output().contains("canary"));
}
