//! What the keys of `[[token_api]]` say together, and beside the issuers.

use super::cors;
use super::names::{Named, find};
use super::rate_limits;
use crate::config::pattern::Segment;
use crate::config::routing::{Style, TokenApi};
use crate::config::tables::{Name, TokenApiKeys};
use crate::settings::fault::Findings;
use crate::settings::list::Placed;
use crate::settings::section::Row;

const NO_ISSUER: &str =
    "this [[token_api]] has no caller to make tokens for: name an [[issuer]] in \"issuer\"";

/// Token APIs and issuers share their names: `accept` of a route holds both.
pub(super) fn resolve(
    rows: Vec<Row<TokenApiKeys>>,
    issuers: &[Name],
    findings: &Findings<'_>,
) -> Named<TokenApi> {
    let mut named = Named::new();
    let mut mounts: Vec<Placed<String>> = Vec::new();
    let mut prefixes: Vec<Placed<String>> = Vec::new();
    let has_accounts = rows.iter().any(|row| row.keys.style == Some(Style::Accounts));
    for Row { keys, path } in rows {
        let spot = findings.table(&path);
        named.add(keys.name.as_ref(), issuers, findings);
        let cors = cors::resolve(keys.cors, &[], &path, findings);
        if let Some(cors) = &cors {
            cors::check_headers(cors, &path, findings);
        }
        let rate_limits = rate_limits::resolve(
            keys.rate_limits,
            keys.concurrent_requests,
            rate_limits::Of::TokenApi,
            spot,
        );
        let callers = keys.issuer.unwrap_or_default();
        for caller in &callers {
            find(caller, issuers, "issuer", findings);
        }
        if let Some(style) = keys.style {
            let needs_issuer = match style {
                Style::TenantTokens => true,
                Style::AgentTokens => !has_accounts,
                Style::AllowlistJwt | Style::Accounts => false,
            };
            if needs_issuer && !spot.is_given("issuer") {
                spot.miss("issuer", NO_ISSUER);
            }
            let default = style.default_prefix();
            let placed = keys.prefix.clone().or_else(|| {
                let value = Some(default).filter(|default| !default.is_empty())?.to_owned();
                Some(Placed { at: spot.place("prefix")?, value })
            });
            if let Some(prefix) = placed {
                check_prefix(&prefix, &prefixes, findings);
                prefixes.push(prefix);
            }
        }
        if let (Some(mount), Some(at)) = (&keys.mount, spot.place("mount")) {
            let is_literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
            if keys.style == Some(Style::Accounts) && !mount.segments().iter().all(is_literal) {
                spot.fault(
                    "mount",
                    "\"mount\" of \"accounts\" has no parameters: a new user has no claims yet",
                );
            }
            let shape = mount.shape();
            if let Some(other) = mounts.iter().find(|other| other.value == shape) {
                let line = findings.line(other.at);
                let message =
                    format!("\"mount\" {mount} is taken by the [[token_api]] on line {line}");
                spot.fault("mount", message);
            }
            mounts.push(Placed { at, value: shape });
        }
        if let (Some(name), Some(style), Some(mount)) = (keys.name, keys.style, keys.mount) {
            let default = || style.default_prefix().to_owned();
            named.objects.push(TokenApi {
                name: name.value,
                style,
                mount,
                algorithm: keys.algorithm,
                prefix: keys.prefix.map_or_else(default, |prefix| prefix.value),
                issuers: callers.into_iter().map(|caller| caller.value).collect(),
                rate_limits,
                cors,
                session: keys.session,
                registration: keys.registration,
            });
        }
    }
    named
}

/// Reports a prefix by which a token could not be told from those of another token API.
fn check_prefix(prefix: &Placed<String>, others: &[Placed<String>], findings: &Findings<'_>) {
    let is_alike = |other: &&Placed<String>| {
        prefix.value.starts_with(&*other.value) || other.value.starts_with(&*prefix.value)
    };
    let Some(other) = others.iter().find(is_alike) else { return };
    let (line, value, theirs) = (findings.line(other.at), &prefix.value, &other.value);
    let message = if value == theirs {
        format!("\"prefix\" {value:?} is that of the [[token_api]] on line {line}")
    } else {
        format!(
            "\"prefix\" {value:?} cannot be told from {theirs:?} of the [[token_api]] on line \
             {line}: one begins with the other"
        )
    };
    findings.fault(Some(prefix.at), message);
}
