//! The last step of configuration: from the keys as they were typed to what the parts take, with
//! the checks of what keys say together.
//!
//! What is wrong with a single key has been reported when it was read, and has its default. What
//! comes out is used only if there was no fault.

mod conditions;
mod cors;
mod credentials;
mod header_changes;
mod identity_headers;
mod issuers;
mod listeners;
mod names;
mod rate_limits;
mod route_limits;
mod route_targets;
mod routes;
mod store;
mod token_apis;
mod upstreams;

use super::checked::Config;
use super::tables::Root;
use crate::gateway::reserved_names;
use crate::settings::fault::{Findings, Places};
use crate::settings::section::read_file;
use crate::settings::typed::Table;

/// Resolves the whole file. The result counts only if no fault was found.
pub(super) fn resolve(tree: Table, findings: &Findings<'_>) -> Config {
    let root: Root = read_file(&tree, findings);
    let listeners = listeners::resolve(root.listener, findings);
    listeners::check_admin(&root.admin, &listeners, findings);
    let issuers = issuers::resolve(root.issuer, &root.keys.issuer, findings);
    let token_apis = token_apis::resolve(root.token_api, &issuers.names, findings);
    let upstreams = upstreams::resolve(root.upstream, &root.limits, &root.timeouts, findings);
    let grantors: Vec<_> = token_apis.names.iter().chain(&issuers.names).collect();
    let common = route_limits::common(&root.timeouts, &root.limits);
    let identity_headers = identity_headers::resolve(root.identity_headers, findings);
    let around = routes::Around {
        grantors: &grantors,
        upstreams: &upstreams.names,
        limits: &common,
        reserved: &reserved_names(&identity_headers),
    };
    let routes = routes::resolve(root.route, &around, findings);
    if findings.is_silent("route") && findings.is_silent("token_api") {
        findings
            .fault(None, "nothing to serve: neither a [[route]] nor a [[token_api]]".to_owned());
    }
    Config {
        server: root.server,
        listeners: listeners.into_iter().map(|listener| listener.value).collect(),
        admin: root.admin,
        store: store::resolve(root.store, findings),
        keys: root.keys,
        log: root.log,
        limits: root.limits,
        logins: root.logins,
        timeouts: root.timeouts,
        dns: root.dns,
        identity_headers,
        issuers: issuers.objects,
        token_apis: token_apis.objects,
        upstreams: upstreams.objects,
        routes,
        warnings: Vec::new(),
        places: Places::default(),
    }
}
