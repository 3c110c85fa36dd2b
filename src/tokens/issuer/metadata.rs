//! The metadata of an issuer (OpenID Connect Discovery 1.0, section 4.3; RFC 8414, section 3.3), as
//! far as they count: where its keys are.

use serde_json::Value;

use crate::domain::json;

/// Metadata that cannot be used, in words that quote nothing of them but issuers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    /// No JSON object.
    #[error("they are no JSON object")]
    NoObject,
    /// They are of another issuer, which could then speak for this one.
    #[error(
        "they are of issuer {found:?}, not of {expected:?}: \"issuer\" must be written exactly so \
         in both"
    )]
    OtherIssuer {
        /// Whose.
        found: String,
        /// As configured.
        expected: String,
    },
    /// They do not say where the keys are.
    #[error("they have no \"jwks_uri\"")]
    NoKeys,
}

/// Where the keys of `issuer` are by its metadata: the text of an address, not looked into.
///
/// # Errors
///
/// When `document` is no metadata, or those of another issuer: the two must be the same to the
/// letter.
pub fn jwks_uri(document: &[u8], issuer: &str) -> Result<String, MetadataFault> {
    let Ok(Value::Object(members)) = json::parse(document) else {
        return Err(MetadataFault::NoObject);
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let found = text("issuer").unwrap_or_default();
    if found != issuer {
        return Err(MetadataFault::OtherIssuer {
            found: found.to_owned(),
            expected: issuer.to_owned(),
        });
    }
    text("jwks_uri").map(str::to_owned).ok_or(MetadataFault::NoKeys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_say_where_the_keys_are_and_of_whom_they_are() {
        let issuer = "https://id.example.com/realms/main";
        let read =
            |text: &str| jwks_uri(text.as_bytes(), issuer).map_err(|fault| fault.to_string());
        let good = format!(
            r#"{{"issuer":"{issuer}","jwks_uri":"https://id.example.com/k","scopes_supported":[]}}"#
        );
        assert_eq!(read(&good).as_deref(), Ok("https://id.example.com/k"));
        for (text, why) in [
            (good.replace("main\"", "main/\""), "not of \"https://id.example.com/realms/main\""),
            (good.replace("main\"", "MAIN\""), "they are of issuer"),
            (good.replace("\"issuer\"", "\"issuers\""), "they are of issuer \"\""),
            (good.replace(&format!("\"{issuer}\""), "null"), "they are of issuer \"\""),
            (good.replace("jwks_uri", "jwks_url"), "they have no \"jwks_uri\""),
            (good.replace("\"https://id.example.com/k\"", "[1]"), "they have no \"jwks_uri\""),
            (
                format!(r#"{{"issuer":"{issuer}","issuer":"{issuer}","jwks_uri":"https://k"}}"#),
                "no JSON object",
            ),
            (format!("[{good}]"), "no JSON object"),
            ("<html>".to_owned(), "no JSON object"),
            (String::new(), "no JSON object"),
        ] {
            let fault = read(&text).expect_err(&text);
            assert!(fault.contains(why), "{text}: {fault}");
        }
    }
}
