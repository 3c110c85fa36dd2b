//! The example file is held against the reader, so that neither can grow without the other.

use std::collections::BTreeSet;

use crate::config::tables::Root;
use crate::config::{Config, file, parse, resolve};
use crate::settings::Settings as _;
use crate::settings::describe::{Description, Shape};
use crate::settings::fault::Findings;
use crate::settings::typed::{Entry, Node, Table, Value};

/// The example as it stands.
pub(in crate::config) const EXAMPLE: &str = include_str!("../../../config.example.toml");

/// Keys that are absent by default and change something when they are there.
const ABSENT_BY_DEFAULT: [&str; 87] = [
    "dns",
    "dns.servers",
    "issuer.ca_file",
    // Without these three, the issuer's metadata say where its keys are.
    "issuer.jwks_file",
    "issuer.jwks_url",
    "issuer.proxy",
    "issuer.required_claims",
    "issuer.required_claims.typ",
    "issuer.secret_file",
    "limits",
    // Without it, it is as the control group of the process allows.
    "limits.memory",
    "listener.client_certificates",
    "listener.trusted_proxies",
    "route.add_prefix",
    "route.compression",
    "route.compression.types",
    "route.concurrent_requests",
    "route.cors",
    "route.cors.expose",
    "route.cors.headers",
    "route.cors.methods",
    "route.credentials",
    "route.credentials.cookie",
    "route.credentials.headers",
    "route.credentials.origins",
    "route.credentials.query",
    "route.credentials.ticket",
    "route.host",
    "route.max_body",
    "route.methods",
    "route.rate_limits",
    "route.rate_limits.burst",
    "route.request_headers",
    "route.request_headers.add",
    "route.request_headers.add.X-Tag",
    "route.request_headers.remove",
    "route.request_headers.set",
    "route.request_headers.set.Authorization",
    "route.require",
    "route.require.claims",
    "route.require.claims.plan",
    "route.require.email",
    "route.require.organization",
    "route.require.role",
    "route.require.scope",
    "route.require.subject",
    "route.require.tenant",
    "route.require.username",
    "route.respond.body",
    "route.response_headers",
    "route.response_headers.add",
    "route.response_headers.add.Link",
    "route.response_headers.remove",
    "route.response_headers.set",
    "route.response_headers.set.Strict-Transport-Security",
    "route.rewrite",
    "route.strip_prefix",
    "route.timeouts",
    "route.timeouts.request",
    "route.timeouts.request_body",
    "route.timeouts.response_body",
    "route.timeouts.response_head",
    "route.when",
    "route.when.headers",
    "route.when.headers.X-Version",
    "route.when.query",
    "route.when.query.beta",
    "store",
    "store.ca_file",
    "store.sentinel_username",
    "store.username",
    "timeouts",
    // Without these two, they are as `timeouts.body`.
    "timeouts.request_body",
    "timeouts.response_body",
    "token_api.concurrent_requests",
    "token_api.cors",
    "token_api.cors.expose",
    "token_api.cors.headers",
    "token_api.cors.methods",
    "token_api.rate_limits",
    "token_api.rate_limits.burst",
    "upstream.health_check",
    "upstream.health_check.host",
    "upstream.health_check.statuses",
    "upstream.tls",
    "upstream.tls.ca_file",
    "upstream.tls.server_name",
];

/// Keys that exclude others which are in [`whole`].
const EXCLUDED: [&str; 3] = ["store.password", "store.path", "store.sentinel_password"];

/// The example with every key: prose has a space after its "#", a commented-out key has none.
pub(super) fn uncommented() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(in crate::config) fn tree(text: &str) -> Table {
    let findings = Findings::new(text);
    let tree = file::read(text, &|name| Some(name.to_owned()), &findings);
    findings.conclude("example").unwrap();
    tree.unwrap()
}

/// Resolves a tree; the faults as text.
pub(super) fn resolved(tree: Table, text: &str) -> Result<Config, String> {
    let findings = Findings::new(text);
    let config = resolve::resolve(tree, &findings);
    findings.conclude("example").map(|_| config).map_err(|faults| faults.to_string())
}

/// The paths of all keys, such as `route.require.role`.
pub(super) fn paths(table: &Table) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    collect(table, "", &mut paths);
    paths
}

fn collect(table: &Table, prefix: &str, paths: &mut BTreeSet<String>) {
    for entry in &table.entries {
        let path = format!("{prefix}{}", entry.key);
        for table in tables(&entry.node) {
            collect(table, &format!("{path}."), paths);
        }
        paths.insert(path);
    }
}

fn tables(node: &Node) -> Vec<&Table> {
    match &node.value {
        Value::Table(table) => vec![table],
        Value::Array(items) => items.iter().flat_map(tables).collect(),
        _ => Vec::new(),
    }
}

/// Applies a change to the entries with this path; `false` removes the entry.
pub(super) fn change(table: &mut Table, path: &str, with: &mut dyn FnMut(&mut Entry) -> bool) {
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    table.entries.retain_mut(|entry| match rest {
        _ if entry.key != key => true,
        None => with(entry),
        Some(rest) => {
            descend(&mut entry.node, rest, with);
            true
        }
    });
}

fn descend(node: &mut Node, path: &str, with: &mut dyn FnMut(&mut Entry) -> bool) {
    match &mut node.value {
        Value::Table(table) => change(table, path, with),
        Value::Array(items) => items.iter_mut().for_each(|item| descend(item, path, with)),
        _ => {}
    }
}

/// The tree of the whole example with a Redis store, with files that are there.
pub(in crate::config) fn whole(folder: &std::path::Path) -> Table {
    let (certificate, key) = super::files::certificate(folder);
    let mut tree = tree(&uncommented());
    let password = folder.join("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    let (set, secret) = (folder.join("keys.json"), folder.join("secret"));
    std::fs::write(&set, "{}").unwrap();
    std::fs::write(&secret, "secret").unwrap();
    let files = [
        ("issuer.ca_file", &certificate),
        ("issuer.jwks_file", &set),
        ("issuer.secret_file", &secret),
        ("listener.client_certificates.ca_file", &certificate),
        ("listener.tls.certificate", &certificate),
        ("listener.tls.key", &key),
        ("store.ca_file", &certificate),
        ("store.client_certificate_file", &certificate),
        ("store.client_key_file", &key),
        ("store.password_file", &password),
        ("store.sentinel_password_file", &password),
        ("store.kind", &"redis".into()),
        ("upstream.tls.ca_file", &certificate),
        ("upstream.tls.certificate", &certificate),
        ("upstream.tls.key", &key),
    ];
    for path in EXCLUDED {
        change(&mut tree, path, &mut |_| false);
    }
    for (path, file) in files {
        let value = file.to_str().unwrap().to_owned();
        change(&mut tree, path, &mut |entry| {
            entry.node.value = Value::Text { value: value.clone(), typed: None };
            true
        });
    }
    tree
}

#[test]
fn the_example_is_a_configuration_without_warnings() {
    let config = parse(EXAMPLE, "config.example.toml", &|_| None)
        .unwrap_or_else(|faults| panic!("{faults}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

/// The paths of all keys that are declared, as `route.require.role`; of claims and
/// of names of the operator's own, those of the example.
fn declared(table: &Description, prefix: &str, written: &BTreeSet<String>) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for key in &table.keys {
        let path = format!("{prefix}{}", key.name);
        if let Some(table) = key.shape.table() {
            paths.extend(declared(table, &format!("{path}."), written));
        }
        if let Shape::Claims | Shape::Named(..) = key.shape {
            let below = format!("{path}.");
            paths.extend(written.iter().filter(|path| path.starts_with(&below)).cloned());
        }
        paths.insert(path);
    }
    paths
}

#[test]
fn lines_of_the_example_have_at_most_100_columns() {
    let long: Vec<_> = EXAMPLE.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_example_names_every_key_that_is_declared() {
    let written = paths(&tree(&uncommented()));
    assert_eq!(declared(&Root::description(), "", &written), written);
}

#[test]
fn the_whole_example_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    resolved(whole(folder.path()), &uncommented()).unwrap();
}

#[test]
fn the_values_in_the_example_are_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let text = uncommented();
    let whole = whole(folder.path());
    let config = resolved(whole.clone(), &text).unwrap();
    let mut changed = Vec::new();
    let mut required = Vec::new();
    for path in paths(&whole) {
        let mut without = whole.clone();
        change(&mut without, &path, &mut |_| false);
        let key = path.rsplit('.').next().unwrap();
        match resolved(without, &text) {
            Ok(other) if other == config => {}
            Ok(_) => changed.push(path),
            // The fault must be about this key: nothing else was touched.
            Err(faults) if faults.contains(key) => required.push(path),
            Err(faults) => panic!("{path}: {faults}"),
        }
    }
    // Only the empty list of routes, whose upstream is then unused, is neither default nor
    // required.
    changed.retain(|path| path != "route");
    assert_eq!(changed, ABSENT_BY_DEFAULT);
    assert_eq!(
        required,
        [
            "issuer",
            "issuer.audience",
            "issuer.issuer",
            "issuer.name",
            "issuer.tenants",
            "listener",
            "listener.address",
            "listener.client_certificates.ca_file",
            // Without it, certificates of clients are a fault.
            "listener.tls",
            "listener.tls.certificate",
            "listener.tls.key",
            "route.accept",
            "route.cors.origins",
            "route.path",
            "route.public",
            "route.rate_limits.per",
            "route.rate_limits.rate",
            "route.redirect",
            "route.redirect.to",
            "route.respond",
            "route.scheme",
            "route.upstream",
            "store.client_certificate_file",
            "store.client_key_file",
            "store.kind",
            "store.on_outage",
            "store.password_file",
            "store.revoke_acks",
            "store.sentinel_master",
            "store.sentinel_password_file",
            "store.topology",
            "store.url",
            "token_api",
            "token_api.cors.origins",
            "token_api.issuer",
            "token_api.mount",
            "token_api.name",
            "token_api.rate_limits.per",
            "token_api.rate_limits.rate",
            "token_api.style",
            "upstream",
            "upstream.balance",
            "upstream.endpoints",
            "upstream.endpoints.url",
            "upstream.hash_by",
            "upstream.health_check.path",
            "upstream.max_requests",
            "upstream.name",
            "upstream.tls.certificate",
            "upstream.tls.key",
        ]
    );
}
