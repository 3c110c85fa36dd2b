//! The style `tenant-tokens`: keys of a user for one tenant, until a stated date. One file for each
//! operation, and one for each guarantee that concerns all of them.

mod create;
mod credentials;
mod lifecycle;
mod list;
mod revoke;
mod routes;
mod tenants;

use crate::api::worlds::{IssuerWorld, NEW_TENANT_KEY, expect_json, text};
use crate::support::Response;

/// The keys of the caller for the active tenant.
const TOKENS: &str = "/api/v1/active/tokens/";

/// A key of this caller for a tenant, and its id.
fn key(world: &IssuerWorld, token: &str, tenant: &str) -> (String, String) {
    let made = expect_json(
        &world.call("POST", &format!("/api/v1/{tenant}/tokens/"), token, NEW_TENANT_KEY),
        201,
    );
    (text(&made, "token"), text(&made, "id"))
}

/// The ids in a list, in its order.
fn ids(response: &Response) -> Vec<String> {
    let list = expect_json(response, 200);
    list.as_array()
        .expect("an array")
        .iter()
        .map(|key| key["id"].as_str().expect("an id").to_owned())
        .collect()
}
