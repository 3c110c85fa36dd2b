//! Keys that cannot be fetched or used: what keyward needs to start, to be ready, and to reload.

use rustix::process::Signal;

use crate::support::{Act, Plan, RFC_8037_KEYS, Reply, Upstream, eventually};

use super::{plan, url};

const FETCHES: &str = "keyward_issuer_key_fetches_total";

/// R13: down at the start, keyward starts all the same, says what it lacks, and gets ready by
/// itself.
#[test]
fn an_issuer_that_is_away_at_the_start_keeps_keyward_from_being_ready_and_no_longer() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", Reply::of("500 Internal Server Error", "", "down"));
    let world = plan(&upstream, &url(&id)).launch();
    assert!(eventually(|| world
        .admin_text("/readyz")
        .contains("issuer id has no keys yet: the answer is 500")));
    assert_eq!(world.ready(), Some(503));
    assert_eq!(world.admin_get("/livez").map(|response| response.status), Some(200));
    assert!(world.admin_text("/healthz").contains("issuer id"));
    let fetches =
        |outcome: &str| world.metric(FETCHES, &format!("issuer=\"id\",outcome=\"{outcome}\""));
    assert!(fetches("failed") >= 1.0, "{}", world.admin_text("/metrics"));
    assert_eq!((fetches("done"), world.metric("keyward_issuer_keys", "issuer=\"id\"")), (0.0, 0.0));
    assert!(
        !world.admin_text("/metrics").contains("\nkeyward_issuer_keys_age_seconds{"),
        "keys that never came have no age"
    );
    assert_eq!(world.ask("GET", "/public/x", "", "").status, 200);
    assert_eq!(world.ask("GET", "/outside/x", "", "").status, 401, "no request is let through");
    id.answer("/keys", Reply::of("200 OK", "", RFC_8037_KEYS));
    assert!(eventually(|| world.ready() == Some(200)), "{}", world.admin_text("/readyz"));
    assert!(id.take().heads.len() <= 8, "it is not flooded");
    assert_eq!((fetches("done"), world.metric("keyward_issuer_keys", "issuer=\"id\"")), (1.0, 1.0));
    assert_eq!(world.metric("keyward_issuer_keys_refresh_seconds", "issuer=\"id\""), 300.0);
    let young = world.metric("keyward_issuer_keys_age_seconds", "issuer=\"id\"");
    assert!((0.0..60.0).contains(&young), "{young}");
    assert!(
        eventually(|| world.metric("keyward_issuer_keys_age_seconds", "issuer=\"id\"") > young),
        "they age"
    );
}

#[test]
fn an_issuer_that_goes_away_later_degrades_the_health_and_its_keys_stay() {
    let (upstream, id) = (Upstream::start(), Upstream::start());
    id.answer("/keys", Reply::of("200 OK", "", RFC_8037_KEYS));
    let world = plan(&upstream, &url(&id)).start();
    id.answer("/keys", Reply::acts([Act::Reset]));
    // A reload fetches anew; its keys stay meanwhile.
    world.signal(Signal::HUP);
    assert!(
        eventually(|| world.admin_text("/healthz").contains("\"degraded\"")),
        "{}",
        world.admin_text("/healthz")
    );
    assert_eq!(world.ready(), Some(200));
    assert!(world.metric(FETCHES, "outcome=\"failed\"") >= 1.0, "{}", world.admin_text("/metrics"));
    assert_eq!(world.metric("keyward_issuer_keys", "issuer=\"id\""), 1.0, "the keys stay");
}

/// CVE-2026-54762 and CVE-2026-27586: with a file that cannot be loaded, no request is let through.
#[test]
fn keys_that_cannot_be_used_are_refused_at_the_start_and_by_a_reload() {
    let upstream = Upstream::start();
    let mut world = Plan::usual(&upstream).start();
    let file = |name: &str, text: &str| {
        let path = world.folder().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (empty, short) = (file("empty", ""), file("short", "0123456789abcdef"));
    let public = file(
        "public",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----\n",
    );
    let garbage = file("garbage", "<html>");
    let secrets_only = file("oct", r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}"#);
    let cases = [
        ("secret_file = \"/nowhere/secret\"".to_owned(), "\"/nowhere/secret\" cannot be read"),
        (format!("secret_file = {empty:?}"), "empty\" is empty"),
        (format!("secret_file = {short:?}"), "the secret has 16 bytes"),
        (format!("secret_file = {public:?}"), "may be public"),
        ("jwks_file = \"/nowhere/keys\"".to_owned(), "\"/nowhere/keys\" cannot be read"),
        (format!("jwks_file = {garbage:?}"), "garbage: not valid JSON"),
        (format!("jwks_file = {secrets_only:?}"), "it holds no key that can be used"),
        (
            "jwks_url = \"https://id.example/k\"\nca_file = \"/nowhere/ca\"".to_owned(),
            "\"/nowhere/ca\" cannot be read",
        ),
    ];
    for (keys, why) in &cases {
        world.configure(&plan(&upstream, keys));
        let refused = || world.metric("keyward_config_reloads_total", "outcome=\"refused\"");
        let before = refused();
        world.reload();
        assert!(refused() > before, "{keys}: the reload is refused");
        assert!(world.output().replace('\\', "").contains(why), "{keys}: {why}");
        assert_eq!(
            world.ask("GET", "/public/x", "", "").status,
            200,
            "and the old configuration stays"
        );
    }
    world.kill();
    for (keys, why) in &cases {
        world.configure(&plan(&upstream, keys));
        for command in ["run", "validate"] {
            let output = world.run(&[command]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{command} {keys}: {stderr}");
            assert!(stderr.contains(why), "{command} {keys}: {stderr}");
        }
    }
}
