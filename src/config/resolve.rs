//! The second step of configuration, and its only validation: from what was typed to usable
//! objects.
//!
//! Reading goes on after a fault, with a default in its place, to find the others; what comes out
//! is used only if there was none.

mod identity;
mod issuers;
mod listeners;
mod routes;
mod routing;
mod settings;
mod store;

use super::Config;
use super::fault::{Findings, Places};
use super::file::Table;
use super::section::Section;

/// Resolves the whole file. The result counts only if no fault was found.
pub(super) fn resolve(tree: Table, findings: &Findings<'_>) -> Config {
    let mut root = Section::root(findings, tree);
    let listeners = listeners::read_all(&mut root, findings);
    let admin = settings::admin(root.table("admin"), &listeners, findings);
    let keys = settings::keys(root.table("keys"));
    let issuers = issuers::read_all(root.tables("issuer"), &keys, findings);
    let token_apis = routing::token_apis(root.tables("token_api"), &issuers, findings);
    let upstreams = routing::upstreams(root.tables("upstream"), findings);
    let routes =
        routes::read_all(root.tables("route"), &issuers, &token_apis, &upstreams, findings);
    if root.is_silent("route") && root.is_silent("token_api") {
        findings
            .fault(None, "nothing to serve: neither a [[route]] nor a [[token_api]]".to_owned());
    }
    Config {
        server: settings::server(root.table("server")),
        listeners: listeners.into_iter().map(|listener| listener.value).collect(),
        admin,
        store: store::store(root.table("store"), findings),
        keys,
        log: settings::log(root.table("log")),
        limits: settings::limits(root.table("limits")),
        logins: settings::logins(root.table("logins")),
        timeouts: settings::timeouts(root.table("timeouts")),
        identity_headers: identity::headers(root.table("identity_headers")),
        issuers: issuers.objects,
        token_apis: token_apis.objects,
        upstreams: upstreams.objects,
        routes,
        warnings: Vec::new(),
        places: Places::default(),
    }
}
