//! A token of an outside issuer, parsed and not verified.

use serde_json::{Map, Value};

use super::claims::shown;
use super::jwk::MOST_TRIED;
use super::refusal::{OutsideFault, OutsideRefusal};
use crate::domain::{OutsideAlgorithm, json};
use crate::tokens::jwt;

/// The parts of a token.
pub(super) struct Compact<'t> {
    /// For the check of its signature.
    pub(super) signed: jwt::Compact<'t>,
    pub(super) header: Header,
    pub(super) claims: Map<String, Value>,
}

/// The members of a header that count. Those that point at a key (`jku`, `jwk`, `x5u`, `x5c`) do
/// not: keys come from the configuration (RFC 8725, section 3.10).
pub(super) struct Header {
    /// Its `alg`.
    pub(super) algorithm: Option<String>,
    pub(super) kid: Option<String>,
    has_nonce: bool,
    /// Why it is refused, whatever its `alg`.
    fault: Option<OutsideRefusal>,
}

impl Header {
    /// The algorithm, unless the header is refused.
    pub(super) fn check(&self) -> Result<OutsideAlgorithm, OutsideRefusal> {
        match &self.fault {
            Some(refusal) => Err(refusal.clone()),
            None => self
                .algorithm
                .as_deref()
                .and_then(OutsideAlgorithm::named)
                .ok_or(OutsideFault::Algorithm.into()),
        }
    }

    /// Why no key fits. `not_tried`: how many more keys there are than may be tried.
    pub(super) fn signature_fault(&self, not_tried: usize) -> OutsideRefusal {
        if self.has_nonce {
            // Entra ID signs a token for Microsoft Graph over another header than it sends.
            let words = "its header has a \"nonce\", as tokens for Microsoft Graph have, which \
                         only Graph can verify: is the scope of this API asked for?";
            return OutsideFault::Signature.with(words.to_owned());
        }
        if not_tried > 0 {
            return OutsideFault::Signature.with(format!(
                "it is of none of the {MOST_TRIED} keys that were tried, and {not_tried} more \
                 could not be: its issuer should tell its keys apart by \"kid\""
            ));
        }
        OutsideFault::Signature.into()
    }
}

/// Parses a token.
///
/// # Errors
///
/// When it is not in compact form with a JSON object each in the first two parts, no name twice in
/// either.
pub(super) fn read(token: &str) -> Result<Compact<'_>, OutsideFault> {
    let signed =
        jwt::Compact::read(token).map_err(|jwt::NotCompact(why)| OutsideFault::Malformed(why))?;
    let object = |bytes: &[u8]| match json::parse(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(OutsideFault::Malformed("a part of it is no JSON object, or has a name twice")),
    };
    let header = read_header(&object(&signed.header)?);
    Ok(Compact { claims: object(&signed.claims)?, header, signed })
}

fn read_header(members: &Map<String, Value>) -> Header {
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let refused = |why: &'static str| Some(OutsideFault::Header(why).into());
    let fault = if members.get("kid").is_some_and(|kid| !kid.is_string()) {
        refused("its \"kid\" is no string")
    } else if members.contains_key("crit") {
        // No extension is supported, so all that it lists must be refused (RFC 7515, section
        // 4.1.11).
        refused("it has \"crit\"")
    } else if members.get("b64").is_some_and(|encoded| encoded != &Value::Bool(true)) {
        // RFC 7797: the payload would not be what it seems.
        refused("it has \"b64\"")
    } else if members.contains_key("enc") || members.contains_key("zip") {
        refused("it says that it is encrypted or compressed")
    } else if let Some(other) = members.get("typ").filter(|typ| !is_access_token(typ)) {
        let words = format!("it is {}, it must be \"JWT\" or \"at+jwt\"", shown(Some(other)));
        let fault = OutsideFault::Header("its \"typ\" is not that of an access token");
        Some(fault.with(words))
    } else {
        None
    };
    let has_nonce = members.contains_key("nonce");
    Header { algorithm: text("alg"), kid: text("kid"), has_nonce, fault }
}

/// `JWT` (RFC 7519, section 5.1) or `at+jwt` (RFC 9068, section 2.1), as media types: without
/// regard to case, with or without `application/` (RFC 7515, section 4.1.9). Any other is a token
/// for another purpose (RFC 8725, section 3.11).
fn is_access_token(kind: &Value) -> bool {
    let Some(kind) = kind.as_str() else { return false };
    let kind = kind.to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}
