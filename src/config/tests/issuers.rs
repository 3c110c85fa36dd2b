//! Issuers: their defaults, where their keys are, templates, and proxies.

use std::sync::Arc;
use std::time::Duration;

use super::{SMALL, read};
use crate::config::{Config, Fetching, Issuer, IssuerKeys, Proxy, parse};

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
