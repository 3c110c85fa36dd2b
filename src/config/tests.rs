//! What the configuration promises as a whole: every fault at once, each with its place.

mod cors;
pub(super) mod example;
mod faults;
mod files;
mod issuers;
mod paths;
mod rate_limits;
mod route_limits;
mod route_rules;
mod store;
mod upstreams;
mod wrong_types;

use std::time::Duration;

use super::*;
use crate::admin::AdminSettings;
use crate::gateway::{
    HostRule, IdentityNames, Limit, LimitKey, Preset, Requirement, RequirementField, RouteLimits,
    RouteSettings, RouteTarget, UpstreamPlan,
};
use crate::server::{ProcessSettings, ProxyProtocol};
use crate::store::KeySettings;
use crate::telemetry::LogSettings;
use crate::telemetry::access_log::AccessLogTarget;
use crate::telemetry::log::{LogFormat, LogLevel};
use crate::tls::Trust;
use crate::tokens::accounts::{Enrolment, Logins};
use crate::tokens::signed::SigningAlgorithm;
use crate::upstream::{Protocol, ResponseHeadLimits, UpstreamSettings};
use crate::wire::limits::{Limits, Timeouts};

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
        cors: None,
        rate_limits: None,
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
        balancing: None,
    };
    let plan = UpstreamPlan {
        name: "app".into(),
        settings,
        preserve_host: true,
        via: true,
        rewrite_location: true,
    };
    let tls = UpstreamTls { trust: Trust::System, server_name: None, identity: None };
    assert_eq!(config.upstreams, [Upstream { plan, tls }]);
    let body =
        Limit { most: Some(Duration::from_secs(30)), key: LimitKey::Common("timeouts", "body") };
    let route = RouteSettings {
        host: HostRule::Any,
        path: "/{*rest}".to_owned(),
        methods: Vec::new(),
        scheme: None,
        when: None,
        target: RouteTarget::Upstream(0),
        headers: None,
        upgrades: None,
        cors: None,
        rate_limits: None,
        compression: None,
        accept: vec!["api".into()],
        path_rules: None,
        credentials: None,
        challenge: None,
        forward_credential: false,
        limits: RouteLimits {
            response_head: Limit {
                most: Some(Duration::from_secs(60)),
                key: LimitKey::Common("timeouts", "response_head"),
            },
            request_body: body,
            response_body: body,
            request: Limit { most: None, key: LimitKey::Common("timeouts", "request") },
            max_body: Limit { most: None, key: LimitKey::Common("limits", "body") },
        },
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
