//! A signed JWT in its compact form (RFC 7515, section 7.1), taken apart. Nothing in it is to be believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::OutsideFault;
use crate::domain::{OutsideAlgorithm, json};

/// A token's parts, decoded.
pub(super) struct Compact<'t> {
    /// What the signature is over.
    pub(super) signed: &'t str,
    pub(super) header: Header,
    pub(super) claims: Map<String, Value>,
    pub(super) signature: Vec<u8>,
}

/// What counts of a header. Whatever points at a key (`jku`, `jwk`, `x5u`, `x5c`) does not: keys come from the configuration
/// (RFC 8725, section 3.10).
pub(super) struct Header {
    pub(super) algorithm: Result<OutsideAlgorithm, OutsideFault>,
    pub(super) kid: Option<String>,
    /// What else is wrong with it.
    fault: Option<OutsideFault>,
}

impl Header {
    /// Refuses what asks for something that is not understood.
    pub(super) fn check(&self) -> Result<OutsideAlgorithm, OutsideFault> {
        match self.fault {
            Some(fault) => Err(fault),
            None => self.algorithm,
        }
    }
}

/// Takes a token apart.
///
/// # Errors
///
/// When it is not three parts of canonical base64url with a JSON object each in the first two, no name twice in either.
pub(super) fn read(token: &str) -> Result<Compact<'_>, OutsideFault> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(OutsideFault::Malformed("it has not three parts"));
    };
    // Canonical only: no padding, no stray bits in the last character, or one token would have several spellings.
    let decode =
        |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| OutsideFault::Malformed("it is not canonical base64url"));
    let object = |bytes: &[u8]| match json::parse(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(OutsideFault::Malformed("a part of it is no JSON object, or has a name twice")),
    };
    let signed = token.get(..header.len() + 1 + claims.len()).unwrap_or_default();
    let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
    Ok(Compact { signed, header: read_header(&object(&header)?), claims: object(&claims)?, signature })
}

fn read_header(members: &Map<String, Value>) -> Header {
    let (kid, bad_kid) = match members.get("kid") {
        None => (None, false),
        Some(Value::String(kid)) => (Some(kid.clone()), false),
        Some(_) => (None, true),
    };
    let fault = if bad_kid {
        Some(OutsideFault::Header("its \"kid\" is no string"))
    } else if members.contains_key("crit") {
        // None is understood, so whatever it lists must be refused (RFC 7515, section 4.1.11).
        Some(OutsideFault::Header("it has \"crit\""))
    } else if members.get("b64").is_some_and(|encoded| encoded != &Value::Bool(true)) {
        // RFC 7797: the payload would not be what it seems.
        Some(OutsideFault::Header("it has \"b64\""))
    } else if members.contains_key("enc") || members.contains_key("zip") {
        Some(OutsideFault::Header("it says that it is encrypted or compressed"))
    } else if !members.get("typ").is_none_or(is_access_token) {
        Some(OutsideFault::Header("its \"typ\" is not that of an access token"))
    } else {
        None
    };
    let algorithm = match members.get("alg") {
        Some(Value::String(name)) => OutsideAlgorithm::named(name).ok_or(OutsideFault::Algorithm),
        _ => Err(OutsideFault::Algorithm),
    };
    Header { algorithm, kid, fault }
}

/// `JWT` (RFC 7519, section 5.1) or `at+jwt` (RFC 9068, section 2.1), as media types: without regard to case, with or without
/// `application/` (RFC 7515, section 4.1.9). Any other is a token for another purpose (RFC 8725, section 3.11).
fn is_access_token(kind: &Value) -> bool {
    let Some(kind) = kind.as_str() else { return false };
    let kind = kind.to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}
