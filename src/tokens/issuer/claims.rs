//! Checks the claims of a token whose signature is right, and extracts the identity.
//!
//! Claims that decide (`iss`, `aud`, the dates, the subject) are checked strictly. An optional
//! claim that cannot be used is left out, and the token passes without it (FIELD.md, F19).

use std::time::Duration;

use serde_json::{Map, Value};

use super::refusal::{OutsideFault, OutsideRefusal, cut};
use super::settings::IssuerSettings;
use crate::domain::{ClaimPath, ClaimRule, Identity, Timestamp};

/// The last second of the year 9999: a later date is a mistake, or aims at an overflow.
const LAST_SECOND: f64 = 253_402_300_799.0;
/// In bytes: a longer `jti` is left out.
const LONGEST_ID: usize = 255;

/// The checked claims of a token.
#[derive(Debug, PartialEq)]
pub(in crate::tokens) struct CheckedClaims {
    /// Without a claim for it, the organization is the active tenant; the role is the first of
    /// `roles`.
    pub(in crate::tokens) identity: Identity,
    /// In the order of the claim, as are the tenants.
    pub(super) roles: Vec<Box<str>>,
    pub(super) scopes: Vec<Box<str>>,
    pub(in crate::tokens) tenants: Vec<Box<str>>,
    /// The tenant that the holder acts for, which need not be among `tenants`.
    pub(in crate::tokens) active_tenant: Option<Box<str>>,
    /// The `jti`, if there is one of at most 255 bytes without control characters; unique only
    /// within its issuer.
    pub(in crate::tokens) token_id: Option<Box<str>>,
    /// In the order of [`IssuerSettings::kept_claims`].
    pub(super) kept: Box<[Option<Value>]>,
    /// The first moment at which the token is no longer accepted, leeway included.
    pub(in crate::tokens) expires_at: Timestamp,
}

/// Checks claims at `now`.
///
/// # Errors
///
/// The first thing that is wrong.
pub(super) fn check(
    claims: &Map<String, Value>,
    settings: &IssuerSettings,
    now: Timestamp,
) -> Result<CheckedClaims, OutsideRefusal> {
    if claims.get("iss").and_then(Value::as_str) != Some(settings.issuer.as_str()) {
        return Err(OutsideFault::Claim("iss").into());
    }
    if !settings.audience.is_empty() {
        check_audience(claims, &settings.audience)?;
    }
    let expires_at = check_dates(claims, settings.leeway, now)?;
    if let Some(rule) = settings.required_claims.iter().find(|rule| !rule.is_met_by(claims)) {
        return Err(OutsideFault::RequiredClaim.with(unmet(rule, claims)));
    }
    let names = &settings.claims;
    let (tenants, active_tenant): (Vec<_>, Option<Box<str>>) = match &settings.tenancy {
        // The `iss` says which tenant the token is of, whatever its other claims say.
        Some(tenancy) => (vec![tenancy.tenant.clone()], Some(tenancy.tenant.clone())),
        None => (
            many(claims, names.tenants.as_ref()),
            one(claims, names.active_tenant.as_ref()).map(Into::into),
        ),
    };
    let roles = many(claims, names.role.as_ref());
    let organization = many(claims, names.organization.as_ref()).into_iter().next();
    Ok(CheckedClaims {
        identity: Identity {
            subject: subject(claims, &names.subject)?,
            username: one(claims, names.username.as_ref()),
            // Without a claim for it, the tenant is the organization.
            organization: organization.or_else(|| active_tenant.clone()).map(String::from),
            role: roles.first().map(|role| String::from(role.clone())),
            email: one(claims, names.email.as_ref()),
        },
        roles,
        scopes: scopes(claims),
        tenants,
        active_tenant,
        token_id: one(claims, Some(&ClaimPath::name("jti")))
            .filter(|id| id.len() <= LONGEST_ID)
            .map(Into::into),
        kept: settings.kept_claims.iter().map(|path| path.find(claims).cloned()).collect(),
        expires_at,
    })
}

/// RFC 7519, section 4.1.3: a string or a list of strings, of which one must be configured.
fn check_audience(claims: &Map<String, Value>, ours: &[String]) -> Result<(), OutsideRefusal> {
    let is_ours = |audience: &str| ours.iter().any(|our| our == audience);
    let malformed = || {
        let words =
            format!("it is {}, it must be a string or a list of strings", shown(claims.get("aud")));
        OutsideFault::Claim("aud").with(words)
    };
    let found = match claims.get("aud") {
        None | Some(Value::Null) => {
            let why = "it has no audience; an issuer that gives none needs \"required_claims\" \
                       instead of \"audience\"";
            return Err(OutsideFault::Claim("aud").with(with_hint(why.to_owned(), claims)));
        }
        Some(Value::String(audience)) => is_ours(audience),
        Some(Value::Array(audiences)) => {
            let audiences: Option<Vec<_>> = audiences.iter().map(Value::as_str).collect();
            audiences.ok_or_else(malformed)?.into_iter().any(is_ours)
        }
        Some(_) => return Err(malformed()),
    };
    if found {
        return Ok(());
    }
    let accepted: Vec<_> = ours.iter().map(|our| format!("{our:?}")).collect();
    let words =
        format!("it is for {}, accepted is {}", shown(claims.get("aud")), accepted.join(" or "));
    Err(OutsideFault::Audience.with(with_hint(words, claims)))
}

/// Checks `exp`, which is required, and `nbf`; returns the moment of expiry, leeway included.
fn check_dates(
    claims: &Map<String, Value>,
    leeway: Duration,
    now: Timestamp,
) -> Result<Timestamp, OutsideRefusal> {
    let expiry = date(claims, "exp")?.ok_or_else(|| {
        let words = "it is missing, so the token never expires; it must be there";
        OutsideFault::Claim("exp").with(words.to_owned())
    })?;
    // Rounded so that a fraction of a millisecond does not extend the life of a token.
    #[expect(clippy::cast_possible_truncation, reason = "within the range of `date`")]
    let expires_at = Timestamp::from_unix_millis((expiry * 1000.0).floor() as i64).after(leeway);
    if now >= expires_at {
        let since = seconds(expires_at, now).saturating_add_unsigned(leeway.as_secs());
        return Err(OutsideFault::Expired.with(format!("{since} seconds ago")));
    }
    if let Some(start) = date(claims, "nbf")? {
        #[expect(clippy::cast_possible_truncation, reason = "within the range of `date`")]
        let start = Timestamp::from_unix_millis((start * 1000.0).ceil() as i64);
        if now.after(leeway) < start {
            let ahead = seconds(now, start);
            return Err(OutsideFault::NotYet.with(format!(
                "its \"nbf\" is {ahead} seconds ahead of the clock of this machine, and \"leeway\" \
                 is {} seconds: is the issuer's clock ahead, or this one behind?",
                leeway.as_secs()
            )));
        }
    }
    // Only its form: an issuer's clock may be ahead, and no decision depends on it.
    date(claims, "iat")?;
    Ok(expires_at)
}

/// Whole seconds from one moment to a later one.
fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.unix_millis().saturating_sub(from.unix_millis()) / 1000
}

/// A NumericDate (RFC 7519, section 2): a number of seconds, which may have a fraction. Null is
/// absent; any other value is malformed, not absent (cf. CVE-2026-25537).
fn date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, OutsideRefusal> {
    let Some(value) = claims.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let seconds = value.as_number().and_then(serde_json::Number::as_f64);
    if let Some(seconds) = seconds.filter(|seconds| (0.0..=LAST_SECOND).contains(seconds)) {
        return Ok(Some(seconds));
    }
    let hint = if seconds.is_some_and(|seconds| (0.0..=LAST_SECOND * 1000.0).contains(&seconds)) {
        "; it looks like milliseconds"
    } else {
        ""
    };
    let found = shown(Some(value));
    let words =
        format!("it is {found}, it must be a number of seconds since the start of 1970{hint}");
    Err(OutsideFault::Claim(name).with(words))
}

/// A claim of which one value is wanted: a list of one counts as that value.
fn single<'c>(claims: &'c Map<String, Value>, path: Option<&ClaimPath>) -> Option<&'c Value> {
    match path?.find(claims)? {
        Value::Array(items) if items.len() == 1 => items.first(),
        Value::Array(_) => None,
        value => Some(value),
    }
}

/// A claim that is one usable string.
fn one(claims: &Map<String, Value>, path: Option<&ClaimPath>) -> Option<String> {
    single(claims, path)?.as_str().filter(|text| is_clean(text)).map(str::to_owned)
}

/// The subject, which is required: a string that is not empty, or an integer, which becomes its
/// decimal digits.
fn subject(claims: &Map<String, Value>, path: &ClaimPath) -> Result<String, OutsideRefusal> {
    match single(claims, Some(path)) {
        Some(Value::String(text)) if is_clean(text) && !text.is_empty() => Ok(text.clone()),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        _ => {
            let found = found(path, claims);
            Err(OutsideFault::Claim("subject").with(format!(
                "\"{path}\" is {found}, it must be a string without control characters or an \
                 integer of at most 64 bits (\"claims.subject\" says which claim it is)"
            )))
        }
    }
}

/// The usable strings of a claim: one, a list of them, or the names of the members of an object of
/// objects, as Keycloak writes organizations with attributes, and Zitadel roles.
fn many(claims: &Map<String, Value>, path: Option<&ClaimPath>) -> Vec<Box<str>> {
    let clean = |text: &str| is_clean(text).then(|| Box::<str>::from(text));
    match path.and_then(|path| path.find(claims)) {
        Some(Value::String(text)) => clean(text).into_iter().collect(),
        Some(Value::Array(items)) => {
            items.iter().filter_map(|item| clean(item.as_str()?)).collect()
        }
        // Not an object such as {"admin": false}.
        Some(Value::Object(members)) if members.values().all(Value::is_object) => {
            members.keys().filter_map(|name| clean(name)).collect()
        }
        _ => Vec::new(),
    }
}

/// The scopes, each once: of `scope` (RFC 8693, section 4.2) and `scp` (Okta, Entra ID), each a
/// string with spaces between the scopes, or a list.
fn scopes(claims: &Map<String, Value>) -> Vec<Box<str>> {
    let mut scopes: Vec<Box<str>> = Vec::new();
    for value in ["scope", "scp"].iter().filter_map(|name| claims.get(*name)) {
        let texts = match value {
            Value::Array(items) => items.as_slice(),
            value => std::slice::from_ref(value),
        };
        let words = texts.iter().filter_map(Value::as_str).flat_map(|text| text.split(' '));
        for scope in words.filter(|scope| !scope.is_empty()) {
            if !scopes.iter().any(|known| **known == *scope) {
                scopes.push(scope.into());
            }
        }
    }
    scopes
}

/// Whether a text may go into headers and logs: it has no control character.
fn is_clean(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// For the log: a required claim that is not as it must be.
fn unmet(rule: &ClaimRule, claims: &Map<String, Value>) -> String {
    let allowed: Vec<_> = rule.one_of.iter().map(ToString::to_string).collect();
    let found = found(&rule.path, claims);
    with_hint(format!("\"{}\" is {found}, it must be {}", rule.path, allowed.join(" or ")), claims)
}

/// Adds the commonest reason why a token has another audience or use: it is the id token of a
/// login.
fn with_hint(words: String, claims: &Map<String, Value>) -> String {
    let is = |name: &str, value: &str| claims.get(name).and_then(Value::as_str) == Some(value);
    // OpenID Connect Core, section 3.1.3.6; "typ" is Keycloak's, "token_use" Cognito's.
    let is_id_token = is("typ", "ID")
        || is("token_use", "id")
        || ["at_hash", "c_hash", "nonce"].iter().any(|name| claims.contains_key(*name));
    let hint = if is_id_token { "; it looks like an id token, not an access token" } else { "" };
    format!("{words}{hint}")
}

/// A claim as the log shows it.
fn found(path: &ClaimPath, claims: &Map<String, Value>) -> String {
    let found = path.find(claims);
    if found.is_none() { "missing".to_owned() } else { shown(found) }
}

/// A value as the log shows it: cut at 100 characters.
pub(super) fn shown(value: Option<&Value>) -> String {
    let text = value.map(ToString::to_string).unwrap_or_default();
    let (text, dots) = cut(&text);
    format!("{text}{dots}")
}
