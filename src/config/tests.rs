//! What the configuration promises as a whole: every fault at once, each with its place.

pub(super) mod example;
mod faults;
mod files;
mod store;
mod upstreams;
mod wrong_types;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::gateway::{HostRule, Preset, Requirement, RequirementField, UpstreamPlan};
use crate::server::ProxyProtocol;
use crate::telemetry::access_log::AccessLogTarget;
use crate::telemetry::log::{LogFormat, LogLevel};
use crate::tls::Trust;
use crate::tokens::accounts::Enrolment;
use crate::tokens::signed::SigningAlgorithm;
use crate::upstream::{Protocol, ResponseHeadLimits, UpstreamSettings};

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
    assert_eq!(config.server, ProcessSettings::default());
    assert_eq!(config.admin, AdminSettings::default());
    assert_eq!(config.store, Store::default());
    assert_eq!(config.keys, KeySettings::default());
    assert_eq!(config.log, LogSettings::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.logins, Logins::default());
    assert_eq!(config.identity_headers, IdentityNames::preset(Preset::Keyward));
    let listener = Listener {
        address: "127.0.0.1:8080".parse::<std::net::SocketAddr>().unwrap().into(),
        mode: 0o660,
        tls: None,
        trusted_proxies: Vec::new(),
        proxy_protocol: ProxyProtocol::Off,
    };
    assert_eq!(config.listeners, [listener]);
    let token_api = TokenApi {
        name: "api".into(),
        style: Style::AllowlistJwt,
        mount: "/api".parse().unwrap(),
        algorithm: SigningAlgorithm::Hs256,
        prefix: String::new(),
        issuers: Vec::new(),
        session: Duration::from_secs(3600),
        registration: Enrolment::Open,
    };
    assert_eq!(config.token_apis, [token_api]);
    let settings = UpstreamSettings {
        endpoints: vec![endpoint::endpoint("http://127.0.0.1:3000").unwrap()],
        protocol: Protocol::Http1,
        tls: None,
        connect_timeout: Duration::from_secs(2),
        idle_connections: 256,
        idle_timeout: Duration::from_secs(4),
        response_head: ResponseHeadLimits { bytes: 64 * 1024, fields: 256 },
    };
    let plan = UpstreamPlan { name: "app".into(), settings, preserve_host: true };
    let tls = UpstreamTls { trust: Trust::System, server_name: None, identity: None };
    assert_eq!(config.upstreams, [Upstream { plan, tls }]);
    let route = RouteSettings {
        host: HostRule::Any,
        path: "/{*rest}".to_owned(),
        methods: Vec::new(),
        upstream: 0,
        accept: vec!["api".into()],
        forward_credential: false,
        require: Vec::new(),
        tenant: None,
    };
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
    assert_eq!(config.log.access, Some(AccessLogTarget::File("./access.log".into())));
    assert_eq!((config.limits.head, config.limits.cached_tokens), (1 << 20, 100_000_000));
    assert_eq!(config.identity_headers.subject.as_deref(), Some("x-consumer-custom-id"));
    assert_eq!(config.identity_headers.email.as_deref(), Some("x-mail"));
    assert_eq!(config.identity_headers.username, None);
    let route = config.routes.first().unwrap();
    assert_eq!(route.host.to_string(), "*.example.com");
    assert_eq!(route.methods, ["GET", "PURGE"]);
    assert!(route.forward_credential);
    let field = |field, value: &str| Requirement::Field { field, one_of: vec![value.to_owned()] };
    let expected = [field(RequirementField::Role, "admin"), field(RequirementField::Email, "a@b")];
    assert_eq!(route.require, expected);
}

#[test]
fn a_token_api_needs_no_route() {
    let text = "listener = [{ address = '[::1]:0' }]\n\
                token_api = [{ name = 'a', style = 'allowlist-jwt', mount = '/{username}', \
                algorithm = 'ES256' }]";
    let config = read(text).unwrap();
    assert_eq!(config.token_apis.first().unwrap().algorithm, SigningAlgorithm::Es256);
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
        "{text}[[issuer]]\nname = 'id'\nissuer = 'https://id.example.com'\n\
         jwks_url = 'https://id.example.com/k'\naudience = ['a']\n\
         [[issuer]]\nname = 'login'\nissuer = 'login'\nsecret_file = {secret:?}\n\
         audience = ['a', 'b']\nleeway = '5s'\n\
         claims = {{ role = 'https://example.com/role', email = '' }}\n\
         required_claims = {{ typ = 'Bearer', a.b = [1, true], 'realm_access.roles' = \
         'x', \"'c.d'\" = 'y' }}\n"
    ))
    .unwrap_or_else(|faults| panic!("{faults}"));
    let [id, login] = config.issuers.as_slice() else { panic!("{:?}", config.issuers) };
    let IssuerKeys::Url { urls, fetching } = &id.keys else { panic!("{:?}", id.keys) };
    assert!(matches!(urls.as_slice(), [url] if url.is_https && url.port == 443));
    assert_eq!(*fetching, Fetching::default());
    assert_eq!(
        (&id.settings.algorithms[..], &login.settings.algorithms[..]),
        (&OutsideAlgorithm::PUBLIC[..], &[OutsideAlgorithm::Hs256][..])
    );
    assert_eq!(
        (id.settings.leeway, id.rhythm.refresh),
        (Duration::from_secs(30), Duration::from_secs(300))
    );
    assert_eq!(id.rhythm.stale_if_error, Duration::from_secs(24 * 3600));
    assert_eq!(
        (&id.settings.claims, &id.settings.required_claims[..]),
        (&ClaimNames::default(), &[][..])
    );
    assert_eq!(login.keys, IssuerKeys::Secret(secret));
    assert_eq!(login.settings.leeway, Duration::from_secs(5));
    assert_eq!(
        login.settings.claims.role.as_ref().map(ToString::to_string).as_deref(),
        Some("'https://example.com/role'")
    );
    assert_eq!(login.settings.claims.email, None);
    let rule = |path: &str, one_of| ClaimRule { path: path.parse().unwrap(), one_of };
    let text = |text: &str| ClaimValue::Text(text.to_owned());
    let expected = [
        rule("typ", vec![text("Bearer")]),
        rule("a.b", vec![ClaimValue::Integer(1), ClaimValue::Boolean(true)]),
        rule("realm_access.roles", vec![text("x")]),
        rule("'c.d'", vec![text("y")]),
    ];
    assert_eq!(login.settings.required_claims, expected);
    assert_eq!(config.routes[0].accept, [Arc::from("api"), Arc::from("id")]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let insecure = read(&format!(
        "{SMALL}[[issuer]]\nname = 'id'\nissuer = 'i'\njwks_url = 'http://id/k'\n\
         audience = ['a']\nallow_insecure = true\n"
    ));
    let warnings = insecure.unwrap().warnings;
    assert!(
        warnings.len() == 1 && warnings[0].contains("is fetched in clear from id"),
        "{warnings:?}"
    );
}

#[test]
fn an_issuer_without_an_address_of_keys_is_asked_for_it_and_a_template_is_one_issuer_for_each_tenant()
 {
    let read = |lines: &str| {
        let config = read(&format!("{SMALL}[[issuer]]\nname = 'id'\naudience = ['a']\n{lines}\n"));
        config.unwrap_or_else(|faults| panic!("{faults}")).issuers.remove(0)
    };
    for (issuer, host, target) in [
        ("https://accounts.google.com", "accounts.google.com", "/.well-known/openid-configuration"),
        ("https://a.auth0.com/", "a.auth0.com", "/.well-known/openid-configuration"),
        (
            "https://id.example/realms/main",
            "id.example",
            "/realms/main/.well-known/openid-configuration",
        ),
        ("http://localhost/login/", "localhost", "/login/.well-known/openid-configuration"),
    ] {
        let id = read(&format!("issuer = {issuer:?}"));
        let IssuerKeys::Discovery { urls, .. } = &id.keys else { panic!("{:?}", id.keys) };
        assert!(
            matches!(urls.as_slice(), [url] if url.host == host && url.target == target),
            "{urls:?}"
        );
        assert_eq!(id.each().collect::<Vec<_>>(), [(None, issuer.to_owned())]);
    }
    let template = "issuer = 'https://login.example/{tenant}/v2.0'\ntenants = ['one', '2.t-w_o']\n";
    let by_template = read(template);
    let expected = [
        (Some("one"), "https://login.example/one/v2.0".to_owned()),
        (Some("2.t-w_o"), "https://login.example/2.t-w_o/v2.0".to_owned()),
    ];
    assert_eq!(by_template.each().collect::<Vec<_>>(), expected);
    let names = &by_template.settings.claims;
    assert_eq!((&names.organization, &names.tenants, &names.active_tenant), (&None, &None, &None));
    let targets = |issuer: &Issuer| match &issuer.keys {
        IssuerKeys::Url { urls, .. } | IssuerKeys::Discovery { urls, .. } => {
            urls.iter().map(|url| format!("{}{}", url.host, url.target)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        targets(&by_template),
        [
            "login.example/one/v2.0/.well-known/openid-configuration",
            "login.example/2.t-w_o/v2.0/.well-known/openid-configuration"
        ]
    );
    let own_keys =
        read(&format!("{template}jwks_url = 'https://{{tenant}}.keys.example/{{tenant}}'"));
    assert_eq!(targets(&own_keys), ["one.keys.example/one", "2.t-w_o.keys.example/2.t-w_o"]);
    assert_eq!(
        targets(&read(&format!("{template}jwks_url = 'https://keys.example/all'"))),
        ["keys.example/all"]
    );
    // Who asks for the organization by a claim gets it.
    let named = read(&format!("{template}claims.organization = 'org'"));
    assert_eq!(
        named.settings.claims.organization.map(|path| path.to_string()).as_deref(),
        Some("org")
    );
}

#[test]
fn without_an_audience_validate_says_what_that_means() {
    let config = read(&format!(
        "{SMALL}[[issuer]]\nname = 'id'\nissuer = 'https://i'\n\
         required_claims = {{ token_use = 'access' }}\n"
    ));
    let config = config.unwrap_or_else(|faults| panic!("{faults}"));
    assert!(config.issuers[0].settings.audience.is_empty());
    let [warning] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
    assert!(
        warning.starts_with(
            "k.toml:14:1: without \"audience\", every token of this [[issuer]] passes"
        ),
        "{warning}"
    );
}

#[test]
fn a_proxy_is_named_or_that_of_the_environment() {
    let read = |proxy: &str| {
        let text = format!(
            "{SMALL}[[issuer]]\nname = 'id'\nissuer = 'https://i'\naudience = ['a']\n\
             proxy = {proxy}\n"
        );
        parse(&text, "k.toml", &|name| (name == "SECRET").then(|| "hunter2".to_owned()))
    };
    let proxy_of = |config: Config| match &config.issuers[0].keys {
        IssuerKeys::Discovery { fetching, .. } => fetching.proxy.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(proxy_of(read("'environment'").unwrap()), Proxy::Environment);
    let config = read("'http://me:${SECRET}@proxy.example:3128'").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let Proxy::Address(proxy) = proxy_of(config) else { panic!("an address") };
    assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 3128));
    for (proxy, why) in [
        ("'http://me:hunter2@p'", "holds a password in clear"),
        ("'https://me:hunter2@p'", "its only scheme is http"),
        ("'p:3128'", "must begin with"),
        ("7", "found the integer 7"),
        ("['http://a', 'http://b']", "found an array"),
        ("[]", "found an array"),
    ] {
        let faults = read(proxy).expect_err(proxy).to_string();
        assert!(
            faults.contains(why) && faults.contains("\"proxy\"") && !faults.contains("hunter2"),
            "{faults}"
        );
    }
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
        "k.toml:16:11: [admin] address 0.0.0.0:9090 is not loopback: whoever reaches it reads \
         health and metrics",
        "k.toml:18:8: no [[route]] leads to the [[upstream]] \"unused\"",
        "k.toml:21:11: [[listener]] [::]:8443 is not loopback and has no \"tls\": tokens cross the \
         network in clear",
        "k.toml:22:20: \"trusted_proxies\" holds ::/0: any client can say whom it speaks for",
    ];
    assert_eq!(config.warnings, expected);
}

#[test]
fn a_byte_order_mark_moves_no_column() {
    assert_eq!(
        faults(&format!("\u{feff}sever = 1\n{SMALL}")),
        faults(&format!("sever = 1\n{SMALL}"))
    );
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
    let route = |index| {
        format!("[[route]]\npath = '/{index}/{{id}}'\nupstream = 'app'\naccept = ['api']\n")
    };
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
