//! The address of an issuer's keys in its metadata (OpenID Connect Discovery 1.0, section 4.3; RFC
//! 8414, section 3.3).

use serde_json::Value;

use crate::domain::json;

/// The address of the keys of `issuer` in its metadata, not parsed.
///
/// # Errors
///
/// Why `document` is no metadata of this issuer, whose `issuer` must be the same to the letter. The
/// text quotes nothing of it but the issuer.
pub fn jwks_uri(document: &[u8], issuer: &str) -> Result<String, String> {
    let Ok(Value::Object(members)) = json::parse(document) else {
        return Err("they are no JSON object".to_owned());
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let found = text("issuer").unwrap_or_default();
    // Another issuer could otherwise speak for this one.
    if found != issuer {
        return Err(format!(
            "they are of issuer {found:?}, not of {issuer:?}: \"issuer\" must be written exactly \
             so in both"
        ));
    }
    text("jwks_uri").map(str::to_owned).ok_or_else(|| "they have no \"jwks_uri\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_say_where_the_keys_are_and_of_whom_they_are() {
        let issuer = "https://id.example.com/realms/main";
        let read = |text: &str| jwks_uri(text.as_bytes(), issuer);
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
