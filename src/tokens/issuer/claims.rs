//! What the claims of a signed token must say, and what is taken from them.

use serde_json::{Map, Value};

use super::{IssuerSettings, OutsideFault};
use crate::domain::{ClaimNames, ClaimPath, Identity, Timestamp};

/// The last second of the year 9999: a date beyond it is a mistake, or an attack on who multiplies it.
const LAST_SECOND: f64 = 253_402_300_799.0;
/// In bytes; a `jti` of more names nothing.
const LONGEST_ID: usize = 255;

/// What a token says, all of it checked.
#[derive(Debug, PartialEq)]
pub(super) struct Checked {
    pub(super) identity: Identity,
    pub(super) roles: Vec<Box<str>>,
    pub(super) tenants: Vec<Box<str>>,
    pub(super) active_tenant: Option<Box<str>>,
    pub(super) token_id: Option<Box<str>>,
    pub(super) kept: Box<[Option<Value>]>,
    pub(super) expires_at: Timestamp,
}

/// Judges claims, their signature checked, at `now`.
///
/// # Errors
///
/// The first thing that is wrong.
pub(super) fn check(
    claims: &Map<String, Value>,
    settings: &IssuerSettings,
    now: Timestamp,
) -> Result<Checked, OutsideFault> {
    if claims.get("iss").and_then(Value::as_str) != Some(settings.issuer.as_str()) {
        return Err(OutsideFault::Claim("iss"));
    }
    check_audience(claims, &settings.audience)?;
    let leeway = settings.leeway;
    let expiry = date(claims, "exp")?.ok_or(OutsideFault::Claim("exp"))?;
    // Rounded so that a fraction of a millisecond never makes a token live longer.
    #[expect(clippy::cast_possible_truncation, reason = "within the range of `date`")]
    let expires_at = Timestamp::from_unix_millis((expiry * 1000.0).floor() as i64).after(leeway);
    if now >= expires_at {
        return Err(OutsideFault::Expired);
    }
    if let Some(start) = date(claims, "nbf")? {
        #[expect(clippy::cast_possible_truncation, reason = "within the range of `date`")]
        let start = Timestamp::from_unix_millis((start * 1000.0).ceil() as i64);
        if now.after(leeway) < start {
            return Err(OutsideFault::NotYet);
        }
    }
    // Its form only: a clock that is a little ahead is no crime, and nothing here depends on it.
    date(claims, "iat")?;
    if !settings.required_claims.iter().all(|rule| rule.is_met_by(claims)) {
        return Err(OutsideFault::RequiredClaim);
    }
    let token_id = match claims.get("jti") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if is_clean(id) && id.len() <= LONGEST_ID => Some(id.as_str().into()),
        Some(_) => return Err(OutsideFault::Claim("jti")),
    };
    let names = &settings.claims;
    let (tenants, active_tenant) = (many(claims, names.tenants.as_ref(), "tenants")?, active_tenant(claims, names)?);
    let roles = many(claims, names.role.as_ref(), "role")?;
    let subject = one(claims, Some(&names.subject), "subject")?.filter(|subject| !subject.is_empty());
    let organization = many(claims, names.organization.as_ref(), "organization")?.into_iter().next();
    Ok(Checked {
        identity: Identity {
            subject: subject.ok_or(OutsideFault::Claim("subject"))?,
            username: one(claims, names.username.as_ref(), "username")?,
            // The tenant is the organization, where that is the word.
            organization: organization.or_else(|| active_tenant.clone()).map(String::from),
            role: roles.first().map(|role| String::from(role.clone())),
            email: one(claims, names.email.as_ref(), "email")?,
        },
        roles,
        tenants,
        active_tenant,
        token_id,
        kept: settings.kept_claims.iter().map(|path| path.find(claims).cloned()).collect(),
        expires_at,
    })
}

fn active_tenant(claims: &Map<String, Value>, names: &ClaimNames) -> Result<Option<Box<str>>, OutsideFault> {
    Ok(one(claims, names.active_tenant.as_ref(), "active_tenant")?.map(Into::into))
}

/// RFC 7519, section 4.1.3: a string or a list of strings; one of them must be ours, to the letter.
fn check_audience(claims: &Map<String, Value>, ours: &[String]) -> Result<(), OutsideFault> {
    let is_ours = |audience: &str| ours.iter().any(|our| our == audience);
    let found = match claims.get("aud") {
        Some(Value::String(audience)) => is_ours(audience),
        Some(Value::Array(audiences)) => {
            let mut found = false;
            for audience in audiences {
                found |= is_ours(audience.as_str().ok_or(OutsideFault::Claim("aud"))?);
            }
            found
        }
        _ => return Err(OutsideFault::Claim("aud")),
    };
    if found { Ok(()) } else { Err(OutsideFault::Audience) }
}

/// A NumericDate (RFC 7519, section 2): a number of seconds, which may have a fraction. Anything else is malformed, not absent
/// (cf. CVE-2026-25537).
fn date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, OutsideFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(seconds) if (0.0..=LAST_SECOND).contains(&seconds) => Ok(Some(seconds)),
            _ => Err(OutsideFault::Claim(name)),
        },
        Some(_) => Err(OutsideFault::Claim(name)),
    }
}

/// One string, where there is one. `what` says for the log which it would be.
fn one(
    claims: &Map<String, Value>,
    path: Option<&ClaimPath>,
    what: &'static str,
) -> Result<Option<String>, OutsideFault> {
    match path.and_then(|path| path.find(claims)) {
        None => Ok(None),
        Some(Value::String(text)) if is_clean(text) => Ok(Some(text.clone())),
        Some(_) => Err(OutsideFault::Claim(what)),
    }
}

/// Strings: one, a list of them, or the names of an object's members (the form in which Keycloak has organizations with
/// attributes).
fn many(
    claims: &Map<String, Value>,
    path: Option<&ClaimPath>,
    what: &'static str,
) -> Result<Vec<Box<str>>, OutsideFault> {
    let clean = |text: &str| if is_clean(text) { Ok(text.into()) } else { Err(OutsideFault::Claim(what)) };
    match path.and_then(|path| path.find(claims)) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![clean(text)?]),
        Some(Value::Array(items)) => {
            items.iter().map(|item| clean(item.as_str().ok_or(OutsideFault::Claim(what))?)).collect()
        }
        Some(Value::Object(members)) if what == "organization" => members.keys().map(|name| clean(name)).collect(),
        Some(_) => Err(OutsideFault::Claim(what)),
    }
}

/// What goes into headers and logs holds no control character.
fn is_clean(text: &str) -> bool {
    !text.chars().any(char::is_control)
}
