//! Issuers whose key set, secret or authority cannot be used.

use std::fs;

use super::case::{Case, case, issuer, pipe, write};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("no key set", "25:13", &["\"none.json\" cannot be read"], |_| {
            issuer("jwks_file = \"none.json\"")
        }),
        case(
            "a key set that is no JSON",
            "25:13",
            &["[[issuer]] idp: set.json: not valid JSON"],
            |folder| {
                write(folder, "set.json", "garbage");
                issuer("jwks_file = \"set.json\"")
            },
        ),
        case(
            "a key set without a key that can be used",
            "25:13",
            &["it holds no key that can be used"],
            |folder| {
                write(folder, "set.json", r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}"#);
                issuer("jwks_file = \"set.json\"")
            },
        ),
        case("an empty key set", "25:13", &["set.json"], |folder| {
            write(folder, "set.json", r#"{"keys":[]}"#);
            issuer("jwks_file = \"set.json\"")
        }),
        case("an unreadable secret", "25:15", &["\"none\" cannot be read"], |_| {
            issuer("secret_file = \"none\"")
        }),
        case("a pipe for a secret", "25:15", &["it is a named pipe: name a file"], |folder| {
            pipe(folder, "secret");
            issuer("secret_file = \"secret\"")
        }),
        case("a pipe for a key set", "25:13", &["it is a named pipe: name a file"], |folder| {
            pipe(folder, "set.json");
            issuer("jwks_file = \"set.json\"")
        }),
        case("a folder for a secret", "25:15", &["cannot be read"], |folder| {
            fs::create_dir(folder.join("secret")).expect("made");
            issuer("secret_file = \"secret\"")
        }),
        case("an empty secret", "25:15", &["is empty"], |folder| {
            write(folder, "secret", "");
            issuer("secret_file = \"secret\"")
        }),
        case("a short secret", "25:15", &["the secret has 16 bytes"], |folder| {
            write(folder, "secret", "0123456789abcdef\n");
            issuer("secret_file = \"secret\"")
        }),
        case("no authority for a key set", "26:11", &["\"none.pem\" cannot be read"], |_| {
            issuer("jwks_url = \"https://idp.test/keys\"\nca_file = \"none.pem\"")
        }),
        case("a key set in clear", "25:12", &["is not https", "allow_insecure"], |_| {
            issuer("jwks_url = \"http://idp.test/keys\"")
        }),
        case("an unknown algorithm", "26:15", &["RS255", "there are"], |folder| {
            write(folder, "set.json", r#"{"keys":[]}"#);
            issuer("jwks_file = \"set.json\"\nalgorithms = [\"RS255\"]")
        }),
    ]
}
