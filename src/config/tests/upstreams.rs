//! Upstreams: their endpoints, the protocol, TLS, and the limits of their responses.

use std::path::Path;
use std::time::Duration;

use super::files::certificate;
use super::{SMALL, faults, small_with};
use crate::config::{Config, UpstreamTls};
use crate::tls::{CertificateFiles, Trust};
use crate::upstream::{EndpointAddress, HashBy, Policy, Protocol};

fn with_upstream(more: &str) -> String {
    format!("[[upstream]]\nname = 'b'\n{more}\n")
}

/// The faults of an upstream; its keys begin on line 16.
fn of_upstream(more: &str) -> Vec<String> {
    faults(&format!("{SMALL}{}", with_upstream(more)))
}

fn tls_of(config: &Config) -> &UpstreamTls {
    &config.upstreams.last().unwrap().tls
}

#[test]
fn endpoints_and_protocol_arrive() {
    let config = small_with(&with_upstream(
        "endpoints = ['http://a:1', 'https://b', 'https://a:1', 'unix:/run/c.sock']\n\
         protocol = 'auto'",
    ));
    let upstream = &config.upstreams.last().unwrap().plan.settings;
    assert_eq!(upstream.protocol, Protocol::Auto);
    assert_eq!(config.upstreams.first().unwrap().plan.settings.protocol, Protocol::Http1);
    let secure: Vec<_> = upstream.endpoints.iter().map(|endpoint| endpoint.is_tls).collect();
    assert_eq!(secure, [false, true, true, false]);
    assert_eq!(upstream.endpoints[3].address, EndpointAddress::Unix("/run/c.sock".into()));
    let expected = UpstreamTls { trust: Trust::System, server_name: None, identity: None };
    assert_eq!(*tls_of(&config), expected);
}

#[test]
fn tls_towards_an_upstream_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let (pem, key) = certificate(folder.path());
    let config = small_with(&with_upstream(&format!(
        "endpoints = ['https://10.0.0.1', 'http://b']\n\
         tls = {{ ca_file = {pem:?}, server_name = 'app.internal', certificate = {pem:?}, key = \
         {key:?} }}"
    )));
    let tls = tls_of(&config);
    assert_eq!(tls.trust, Trust::File(pem.clone()));
    assert_eq!(
        tls.server_name.as_ref().map(|name| name.to_str().into_owned()).as_deref(),
        Some("app.internal")
    );
    assert_eq!(tls.identity, Some(CertificateFiles { certificate: pem, key }));
}

#[test]
fn the_files_of_tls_are_looked_into_and_go_in_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let (pem, key) = certificate(folder.path());
    let tls = |keys: &str| of_upstream(&format!("endpoints = ['https://b']\ntls = {{ {keys} }}"));
    let file = |key: &str, path: &Path| format!("{key} = {path:?}");
    assert_eq!(tls(&file("certificate", &pem)), ["k.toml:17:23: \"certificate\" needs \"key\""]);
    assert_eq!(tls(&file("key", &key)), ["k.toml:17:15: \"key\" needs \"certificate\""]);
    let swapped =
        tls(&[file("ca_file", &key), file("certificate", &key), file("key", &pem)].join(", "));
    assert_eq!(swapped.len(), 3, "{swapped:?}");
    assert!(
        swapped[0].contains("\"ca_file\": ") && swapped[0].contains("holds no certificate"),
        "{swapped:?}"
    );
    assert!(
        swapped[1].contains("\"certificate\": ") && swapped[2].contains("holds no private key"),
        "{swapped:?}"
    );
    let missing = tls(&file("ca_file", &folder.path().join("none.pem")));
    assert!(missing[0].contains("none.pem\" cannot be read: No such file"), "{missing:?}");
    assert_eq!(
        tls("server_name = 'a b'"),
        ["k.toml:17:23: \"server_name\" must be a host name or an IP address, found \"a b\""]
    );
    assert_eq!(
        tls("ca_fiel = 'x'"),
        ["k.toml:17:9: unknown key \"ca_fiel\"; did you mean \"ca_file\"?"]
    );
}

#[test]
fn tls_without_an_endpoint_that_has_it_is_a_fault() {
    assert_eq!(
        of_upstream("endpoints = ['http://b', 'unix:/run/b.sock']\ntls = { server_name = 'b' }"),
        ["k.toml:17:7: \"tls\" is of no use: no endpoint begins with \"https://\""]
    );
}

#[test]
fn wrong_endpoints_and_protocols_are_faults_with_their_place() {
    assert_eq!(
        of_upstream(
            "endpoints = ['http://b', 'unix:b.sock', 'http://unix:/b.sock', 'unix:///b.sock']\n\
             protocol = 'htp2'"
        ),
        [
            "k.toml:16:26: each item of \"endpoints\" must be a server as \
             in \"http://127.0.0.1:3000\", found \"unix:b.sock\": \
             the path of a Unix socket is absolute, as in \"unix:/run/app.sock\"",
            "k.toml:16:64: \"endpoints\" lists \"unix:/b.sock\" twice",
            "k.toml:17:12: \"protocol\" must be \"http1\", \"http2\" or \"auto\", \
             found \"htp2\": did you mean \"http2\"?",
        ]
    );
}

#[test]
fn what_is_said_of_several_endpoints_arrives() {
    let config = small_with(&with_upstream(
        "endpoints = ['http://a', { url = 'http://b', weight = 3, draining = true }]\n\
         balance = 'hash'\nhash_by = 'header:X-Session'\n\
         ejection = { for = '2s', statuses = [503] }\nretries.budget = 7\n\
         health_check = { path = '/up?full', host = 'app.example.com:8443' }\nmax_requests = 9\nqueue = 4",
    ));
    let settings = &config.upstreams.last().unwrap().plan.settings;
    assert_eq!(settings.endpoints[1].to_string(), "b:80");
    let balancing = settings.balancing.as_ref().unwrap();
    let shares: Vec<_> =
        balancing.shares.iter().map(|share| (share.weight, share.is_draining)).collect();
    assert_eq!(shares, [(1, false), (3, true)]);
    assert_eq!(
        balancing.policy,
        Policy::Hash(HashBy::Header(http::HeaderName::from_static("x-session")))
    );
    assert_eq!(balancing.ejection.span, Duration::from_secs(2));
    assert_eq!((&*balancing.ejection.statuses, balancing.ejection.failures), (&[503][..], 5));
    assert_eq!((balancing.retries.budget_percent, balancing.retries.floor), (7, 10));
    let check = balancing.health_check.as_ref().unwrap();
    assert_eq!(check.path, "/up?full");
    assert_eq!(check.host.as_ref().unwrap(), "app.example.com:8443");
    assert_eq!((balancing.limits.most, balancing.limits.queue), (9, 4));
}

#[test]
fn one_endpoint_has_nothing_to_decide_unless_it_is_checked_limited_or_a_name() {
    for (more, is_balanced) in [
        ("endpoints = ['http://10.0.0.1']", false),
        ("endpoints = ['http://localhost']", false),
        ("endpoints = ['unix:/run/b.sock']", false),
        ("endpoints = ['http://10.0.0.1']\nejection.failures = 1\nretries.budget = 1", false),
        ("endpoints = ['http://10.0.0.1']\nmax_requests = 1", true),
        ("endpoints = ['http://10.0.0.1']\nmax_connections = 1", true),
        ("endpoints = ['http://10.0.0.1']\ncircuit = true", true),
        ("endpoints = ['http://10.0.0.1']\nhealth_check.path = '/'", true),
        // It may have several addresses.
        ("endpoints = ['http://b']", true),
    ] {
        let config = small_with(&with_upstream(more));
        let settings = &config.upstreams.last().unwrap().plan.settings;
        assert_eq!(settings.balancing.is_some(), is_balanced, "{more}");
    }
}

#[test]
fn what_cannot_be_meant_of_several_endpoints_is_a_fault_that_says_why() {
    for (keys, why) in [
        ("endpoints = ['http://a', { weight = 2 }]", "missing key \"url\" in an item of"),
        ("endpoints = [{ url = 'a' }]", "as in \"http://127.0.0.1:3000\""),
        ("endpoints = [{ url = 'http://a', weigth = 2 }]", "did you mean \"weight\"?"),
        ("endpoints = [{ url = 'http://a', weight = 0 }]", "an integer from 1 to 1000"),
        (
            "endpoints = ['http://a', { url = 'http://a', weight = 2 }]",
            "lists \"http://a:80\" twice",
        ),
        ("endpoints = [{ url = 'http://a', draining = true }]", "all are \"draining\""),
        ("endpoints = [5]", "as in \"http://127.0.0.1:3000\""),
        ("endpoints = ['http://a']\nbalance = 'hash'", "missing key \"hash_by\""),
        ("endpoints = ['http://a']\nhash_by = 'subject'", "\"hash_by\" is for \"balance\""),
        (
            "endpoints = ['http://a']\nbalance = 'hash'\nhash_by = 'header:a b'",
            "\"a b\" is no name of a header",
        ),
        ("endpoints = ['http://a']\nbalance = 'hash'\nhash_by = 'tenant'", "\"subject\" or a"),
        (
            "endpoints = ['http://a']\nejection = { for = '10m' }",
            "must not be longer than \"longest\"",
        ),
        ("endpoints = ['http://a']\nejection = { statuses = [404] }", "from 500 to 599"),
        ("endpoints = ['http://a']\nhealth_check = {}", "missing key \"path\""),
        ("endpoints = ['http://a']\nhealth_check.path = 'up'", "a path as in \"/healthz\""),
        (
            "endpoints = ['http://a']\nhealth_check = { path = '/', host = 'a b' }",
            "cannot stand in a host name",
        ),
        ("endpoints = ['http://a']\nhealth_check = { path = '/', host = 'a:0' }", "1 to 65535"),
        ("endpoints = ['http://a']\nhealth_check.host = 'a'", "missing key \"path\""),
        (
            "endpoints = ['http://a']\nqueue = 5",
            "is of no use without \"max_requests\" or \"max_connections\"",
        ),
        (
            "endpoints = ['http://a']\nbalance = 'hash'\nhash_by = 'header:TE'",
            "\"te\" is about a connection, not about a caller",
        ),
        (
            "endpoints = ['http://a']\nbalance = 'hash'\nhash_by = 'header:Authorization'",
            "write \"subject\"",
        ),
        (
            "endpoints = ['http://a']\nbalance = 'hash'\nhash_by = 'header:Host'",
            "\"host\" chooses the route",
        ),
        (
            "endpoints = ['http://a']\nbalance = 'hash'\nhash_by = 'header:cookie'",
            "\"cookie\" has all cookies together",
        ),
        (
            "endpoints = ['http://a']\ncircuit = true\nejection.failures = 0",
            "\"circuit\" is of no use",
        ),
        (
            "endpoints = ['http://a']\ncircuit = true\nejection.share = 40",
            "\"share\" is of no use with \"circuit\"",
        ),
    ] {
        let found = of_upstream(keys);
        assert!(found.len() == 1 && found[0].contains(why), "{keys}: {found:?}");
    }
}

#[test]
fn limits_of_responses_and_streams_have_their_ranges() {
    let config = small_with(
        "[limits]\ntarget = '65534B'\nresponse_head = '1MiB'\nresponse_headers = 1000\n\
         streams = 1\n",
    );
    assert_eq!((config.limits.target, config.limits.response_head), (65_534, 1 << 20));
    assert_eq!((config.limits.response_headers, config.limits.streams), (1000, 1));
    let found = faults(&format!(
        "{SMALL}[limits]\ntarget = '64KiB'\nresponse_head = '1023B'\nresponse_headers = 1001\n\
         streams = 0\n\
         [server]\ntunnel_grace = '2h'\n"
    ));
    assert_eq!(
        found,
        [
            "k.toml:15:10: \"target\" must be a size from \"256B\" to \"65534B\" (no longer URI \
             can be read), found \"64KiB\"",
            "k.toml:16:17: \"response_head\" must be a size from \"1KiB\" to \"1MiB\", \
             found \"1023B\"",
            "k.toml:17:20: \"response_headers\" must be an integer from 1 to 1000, found the \
             integer 1001",
            "k.toml:18:11: \"streams\" must be an integer from 1 to 1000, found the integer 0",
            "k.toml:20:16: \"tunnel_grace\" must be a duration from \"0s\" to \"1h\", found \"2h\"",
        ]
    );
}

#[test]
fn the_longest_target_that_can_be_configured_is_what_a_uri_holds() {
    let longest = small_with("[limits]\ntarget = '65534B'\n").limits.target;
    let target = |length: usize| format!("/{}", "a".repeat(length - 1)).parse::<http::Uri>();
    assert!(target(longest).is_ok());
    assert!(target(longest + 1).is_err());
}

#[test]
fn what_is_said_of_the_resolution_of_names_arrives_and_has_its_bounds() {
    let config = small_with("[dns]\nservers = ['10.0.0.2', '[::1]:5353']\nmin_ttl = '2s'\n");
    let servers: Vec<_> = config.dns.servers.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.2:53", "[::1]:5353"]);
    assert_eq!(config.dns.min_ttl, Duration::from_secs(2));
    assert_eq!(small_with("").dns.servers, None);
    for (keys, why) in [
        ("servers = []", "\"servers\""),
        ("servers = ['dns.example']", "as in \"10.0.0.2\""),
        ("servers = ['10.0.0.2:0']", "1 to 65535"),
        ("servers = ['10.0.0.2', '10.0.0.2:53']", "lists \"10.0.0.2:53\" twice"),
        ("min_ttl = '10s'\nmax_ttl = '5s'", "\"min_ttl\" must not be longer than \"max_ttl\""),
        ("min_ttl = '0s'", "from \"100ms\""),
        ("timeout = '1ms'", "from \"10ms\""),
        ("hodl = '1s'", "did you mean \"hold\"?"),
    ] {
        let found = faults(&format!("{SMALL}[dns]\n{keys}\n"));
        assert!(!found.is_empty() && found[0].contains(why), "{keys}: {found:?}");
    }
}
