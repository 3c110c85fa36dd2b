//! What the keys of `cors` say together, and beside the route that they are of.

use std::sync::Arc;

use http::Method;

use crate::config::tables::CorsKeys;
use crate::gateway::{AllowedOrigin, CorsSettings};
use crate::settings::fault::Findings;

/// The policy of a route or a token API at this path; `None`: it has none.
pub(super) fn resolve(
    keys: CorsKeys,
    of: &str,
    findings: &Findings<'_>,
) -> Option<Arc<CorsSettings>> {
    let path = format!("{of}.cors");
    let spot = findings.table(&path);
    let origins = keys.origins?;
    if keys.credentials && origins.contains(&AllowedOrigin::Any) {
        let message = "\"credentials\" with the origin \"*\" would let every page act with the \
                       cookies of its visitors: name the origins. A token in \"Authorization\" \
                       needs no \"credentials\"";
        spot.fault("credentials", message);
    }
    if keys.credentials && has_all(&keys.expose) {
        let message = "\"expose\": with \"credentials\" browsers take \"*\" for a name: list the \
                       headers";
        spot.fault("expose", message);
    }
    Some(Arc::new(CorsSettings {
        origins,
        methods: keys.methods,
        headers: keys.headers,
        expose: keys.expose,
        credentials: keys.credentials,
        max_age: keys.max_age,
    }))
}

/// Warns of headers with which no page can send a token, where one is asked for.
pub(super) fn check_headers(cors: &CorsSettings, of: &str, findings: &Findings<'_>) {
    let path = format!("{of}.cors");
    let spot = findings.table(&path);
    let is_credential = |name: &String| {
        let fields = ["*", "authorization", "x-api-key"];
        fields.iter().any(|field| name.eq_ignore_ascii_case(field))
    };
    // With cookies, another field may be the credential.
    if !cors.credentials && spot.is_given("headers") && !cors.headers.iter().any(is_credential) {
        let message = "\"headers\" takes the place of the usual ones, and has no \
                       \"Authorization\": no page can send a token";
        spot.warn("headers", message);
    }
}

/// Reports methods that pages could ask for in vain.
pub(super) fn check_methods(
    cors: &CorsSettings,
    of_route: &[Method],
    of: &str,
    findings: &Findings<'_>,
) {
    let path = format!("{of}.cors");
    let is_known = |method: &Method| {
        of_route.is_empty() || method.as_str() == "*" || of_route.contains(method)
    };
    if let Some(unknown) = cors.methods.iter().flatten().find(|method| !is_known(method)) {
        let message = format!(
            "\"methods\": {:?} is none of the \"methods\" of this [[route]]",
            unknown.as_str()
        );
        findings.table(&path).fault("methods", message);
    }
}

fn has_all(names: &[String]) -> bool {
    names.iter().any(|name| name == "*")
}
