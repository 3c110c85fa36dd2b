//! What the keys of `cors` say together, and beside the route that they are of.

use std::sync::Arc;

use http::Method;
use http::header::{AUTHORIZATION, HeaderName};

use crate::config::tables::CorsKeys;
use crate::gateway::{AllowedOrigin, CorsSettings, CredentialPlaces, X_API_KEY};
use crate::settings::fault::Findings;

/// The policy of a route or a token API at this path; `None`: it has none. `credential_headers`:
/// what it takes credentials from besides the usual ones.
pub(super) fn resolve(
    keys: CorsKeys,
    credential_headers: &[HeaderName],
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
    if origins.len() > 1 && origins.contains(&AllowedOrigin::Any) {
        spot.warn("origins", "\"origins\": \"*\" lets every page in, whatever is listed beside it");
    }
    let mut headers = keys.headers;
    if !spot.is_given("headers") {
        let is_missing = |name: &&HeaderName| {
            !headers.iter().any(|usual| usual.eq_ignore_ascii_case(name.as_str()))
        };
        let missing: Vec<_> = credential_headers.iter().filter(is_missing).collect();
        headers.extend(missing.into_iter().map(ToString::to_string));
    }
    Some(Arc::new(CorsSettings {
        origins,
        methods: keys.methods,
        headers,
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
        let fields = ["*", AUTHORIZATION.as_str(), X_API_KEY.as_str()];
        fields.iter().any(|field| name.eq_ignore_ascii_case(field))
    };
    // With cookies, another field may be the credential.
    if !cors.credentials && spot.is_given("headers") && !cors.headers.iter().any(is_credential) {
        let message = "\"headers\" takes the place of the usual ones, and has no \
                       \"Authorization\": no page can send a token";
        spot.warn("headers", message);
    }
}

/// Warns of pages that get a visitor's cookie along with their requests, and may change nothing.
pub(super) fn check_origins(
    cors: &CorsSettings,
    places: &CredentialPlaces,
    of: &str,
    findings: &Findings<'_>,
) {
    let is_unlisted = |origin: &&AllowedOrigin| !places.origins.contains(origin);
    if cors.credentials
        && places.cookie.is_some()
        && let Some(origin) = cors.origins.iter().find(is_unlisted)
    {
        let message = format!(
            "\"cors\" lets pages of {origin} send the cookie, and \"origins\" of \"credentials\" \
             does not list them: they can read, and change nothing"
        );
        findings.table(of).warn("credentials", message);
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
