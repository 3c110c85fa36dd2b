//! What the configuration promises as a whole: every fault at once, each with its place.

mod example;
mod faults;
mod files;
mod store;
mod upstreams;
mod wrong_types;

use std::sync::Arc;
use std::time::Duration;

use super::*;

/// The smallest configuration; further tables go below it.
const SMALL: &str = r#"[[listener]]
address = "127.0.0.1:8080"
[[token_api]]
name = "api"
style = "allowlist-jwt"
mount = "/api"
[[upstream]]
name = "app"
endpoints = ["http://127.0.0.1:3000"]
[[route]]
path = "/{*rest}"
upstream = "app"
accept = ["api"]
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "LEVEL" => Some("debug".to_owned()),
        "BAD" => Some("loud".to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Config, Faults> {
    parse(text, "k.toml", &env)
}

/// The faults of a text, one per line.
fn faults(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.to_string().lines().map(str::to_owned).collect(),
    }
}

#[track_caller]
fn small_with(more: &str) -> Config {
    read(&format!("{SMALL}{more}")).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn what_is_absent_has_its_default() {
    let config = small_with("");
    assert_eq!(config.server, Server::default());
    assert_eq!(config.admin, Admin::default());
    assert_eq!(config.store, Store::default());
    assert_eq!(config.keys, Keys::default());
    assert_eq!(config.log, Log::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.identity_headers, IdentityHeaders::default());
    assert_eq!(config.listeners, [Listener::new("127.0.0.1:8080".parse::<std::net::SocketAddr>().unwrap())]);
    assert_eq!(config.token_apis, [TokenApi::new("api", Style::AllowlistJwt, "/api".parse().unwrap())]);
    let endpoint = endpoint::endpoint("http://127.0.0.1:3000").unwrap();
    assert_eq!(config.upstreams, [Upstream::new("app", vec![endpoint])]);
    let mut route = Route::new("/{*rest}".parse().unwrap(), "app");
    route.accept = vec!["api".into()];
    assert_eq!(config.routes, [route]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn what_is_typed_arrives() {
    let config = small_with(
        r#"
host = "*.example.com"
methods = ["GET", "PURGE"]
forward_credential = true
require = { role = ["admin"], email = ["a@b"] }
[server]
workers = 4
pin = false
shutdown_delay = "1m30s"
[admin]
address = "off"
[store]
timeout = "50ms"
[log]
level = "${LEVEL}"
format = "human"
access = "./access.log"
[limits]
head = "1MiB"
cached_tokens = 100_000_000
[identity_headers]
preset = "kong"
email = "X-Mail"
username = ""
"#,
    );
    assert_eq!((config.server.workers, config.server.pin), (4, false));
    assert_eq!(config.server.shutdown_delay, Duration::from_secs(90));
    assert_eq!(config.admin.address, None);
    assert_eq!(config.store.timeout, Duration::from_millis(50));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Human));
    assert_eq!(config.log.access, AccessLog::File("./access.log".into()));
    assert_eq!((config.limits.head, config.limits.cached_tokens), (1 << 20, 100_000_000));
    assert_eq!(config.identity_headers.subject.as_deref(), Some("x-consumer-custom-id"));
    assert_eq!(config.identity_headers.email.as_deref(), Some("x-mail"));
    assert_eq!(config.identity_headers.username, None);
    let route = config.routes.first().unwrap();
    assert_eq!(route.host.to_string(), "*.example.com");
    assert_eq!(route.methods, ["GET", "PURGE"]);
    assert!(route.forward_credential && !route.require.is_empty());
    assert_eq!(route.require.email, ["a@b"]);
}

#[test]
fn a_token_api_needs_no_route() {
    let text = "listener = [{ address = '[::1]:0' }]\n\
                token_api = [{ name = 'a', style = 'allowlist-jwt', mount = '/{username}', algorithm = 'ES256' }]";
    let config = read(text).unwrap();
    assert_eq!(config.token_apis.first().unwrap().algorithm, Algorithm::Es256);
    assert!(config.routes.is_empty());
}

#[test]
fn an_issuer_is_read_with_its_defaults_and_a_route_may_accept_it() {
    use crate::domain::{ClaimNames, ClaimRule, ClaimValue, OutsideAlgorithm};
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, [b'x'; 32]).unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = SMALL.replace("accept = [\"api\"]", "accept = [\"api\", \"id\"]");
    let config = read(&format!(
        "{text}[[issuer]]\nname = 'id'\nissuer = 'https://id.example.com'\njwks_url = 'https://id.example.com/k'\naudience = ['a']\n\
         [[issuer]]\nname = 'login'\nissuer = 'login'\nsecret_file = {secret:?}\naudience = ['a', 'b']\nleeway = '30s'\n\
         claims = {{ role = 'https://example.com/role', email = '' }}\n\
         required_claims = {{ typ = 'Bearer', a.b = [1, true], 'realm_access.roles' = 'x', \"'c.d'\" = 'y' }}\n"
    ))
    .unwrap_or_else(|faults| panic!("{faults}"));
    let [id, login] = config.issuers.as_slice() else { panic!("{:?}", config.issuers) };
    assert!(matches!(&id.keys, IssuerKeys::Url { url, ca_file: None } if url.is_https && url.port == 443));
    assert_eq!(
        (&id.algorithms[..], &login.algorithms[..]),
        (&OutsideAlgorithm::PUBLIC[..], &OutsideAlgorithm::SECRET[..])
    );
    assert_eq!((id.leeway, id.refresh), (Duration::ZERO, Duration::from_secs(300)));
    assert_eq!(id.stale_if_error, Duration::from_secs(24 * 3600));
    assert_eq!((&id.claims, &id.required_claims[..]), (&ClaimNames::default(), &[][..]));
    assert_eq!(login.keys, IssuerKeys::Secret(secret));
    assert_eq!(login.leeway, Duration::from_secs(30));
    assert_eq!(login.claims.role.as_ref().map(ToString::to_string).as_deref(), Some("'https://example.com/role'"));
    assert_eq!(login.claims.email, None);
    let rule = |path: &str, one_of| ClaimRule { path: path.parse().unwrap(), one_of };
    let text = |text: &str| ClaimValue::Text(text.to_owned());
    let expected = [
        rule("typ", vec![text("Bearer")]),
        rule("a.b", vec![ClaimValue::Integer(1), ClaimValue::Boolean(true)]),
        rule("realm_access.roles", vec![text("x")]),
        rule("'c.d'", vec![text("y")]),
    ];
    assert_eq!(login.required_claims, expected);
    assert_eq!(config.routes[0].accept, [Arc::from("api"), Arc::from("id")]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let insecure = read(&format!(
        "{SMALL}[[issuer]]\nname = 'id'\nissuer = 'i'\njwks_url = 'http://id/k'\naudience = ['a']\nallow_insecure = true\n"
    ));
    let warnings = insecure.unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("is fetched in clear from id"), "{warnings:?}");
}

#[test]
fn what_is_allowed_but_odd_is_a_warning_with_its_place() {
    let config = small_with(
        r#"
[admin]
address = "0.0.0.0:9090"
[[upstream]]
name = "unused"
endpoints = ["http://app"]
[[listener]]
address = "[::]:8443"
trusted_proxies = ["::/0"]
"#,
    );
    let expected = [
        "k.toml:16:11: [admin] address 0.0.0.0:9090 is not loopback: whoever reaches it reads health and metrics",
        "k.toml:18:8: no [[route]] leads to the [[upstream]] \"unused\"",
        "k.toml:21:11: [[listener]] [::]:8443 is not loopback and has no \"tls\": tokens cross the network in clear",
        "k.toml:22:20: \"trusted_proxies\" holds ::/0: any client can say whom it speaks for",
    ];
    assert_eq!(config.warnings, expected);
}

#[test]
fn a_byte_order_mark_moves_no_column() {
    assert_eq!(faults(&format!("\u{feff}sever = 1\n{SMALL}")), faults(&format!("sever = 1\n{SMALL}")));
}

#[test]
fn windows_line_ends_are_read() {
    assert!(read(&SMALL.replace('\n', "\r\n")).is_ok());
}

#[test]
fn deep_nesting_ends_in_a_fault() {
    assert_eq!(faults(&format!("a = {}", "[".repeat(100_000))).len(), 1);
    assert_eq!(faults(&format!("a = {}", "{ a = ".repeat(100_000))).len(), 1);
}

#[test]
fn thousands_of_routes_are_read() {
    let route = |index| format!("[[route]]\npath = '/{index}/{{id}}'\nupstream = 'app'\naccept = ['api']\n");
    let config = small_with(&(0..5000).map(route).collect::<String>());
    assert_eq!(config.routes.len(), 5001);
}

#[test]
fn a_torn_file_ends_in_faults_not_in_a_crash() {
    let text = example::uncommented();
    for (cut, _) in text.char_indices().step_by(11) {
        let (head, tail) = text.split_at(cut);
        let _ = faults(head);
        let _ = faults(tail);
        let _ = faults(&format!("{head}{}", tail.chars().skip(7).collect::<String>()));
    }
}
