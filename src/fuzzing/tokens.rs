//! A token is one that keyward made, in the one spelling in which keyward wrote it, or it is none.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::domain::{Timestamp, TokenId, json};
use crate::tokens::keyring::SecretBytes;
use crate::tokens::opaque::{
    Alphabet, CredentialForm, OpaqueApi, OpaqueApis, OpaqueFormat, OpaqueTokens,
};
use crate::tokens::signed::{KeyMaterial, SignedClaims, SignedTokens, SigningAlgorithm};

/// The key of all tokens in the corpora.
const KEY: [u8; 32] = [7; 32];

const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);

/// How the opaque tokens of each style look, and one that was made under [`KEY`].
const MADE: [(&str, Alphabet, &str); 3] = [
    ("sk-", Alphabet::Base62, "sk-ovmRpAiQ3mFEUc6bPPylHmKq94MEGiOXP"),
    (
        "sk_agt_",
        Alphabet::Hex,
        "sk_agt_ee52812ab4e07afbad4f723a05da5169ee52812ab4e07afb3c048361cc2f123c",
    ),
    ("rst_", Alphabet::Base36, "rst_iim3x170t8e2ie94f25ta7iqgl1ia6udh6g0d3q"),
];

pub(super) fn opaque(input: &[u8]) -> bool {
    let formats = MADE
        .map(|(prefix, alphabet, made)| (OpaqueFormat { prefix: prefix.into(), alphabet }, made));
    let api = |format: &OpaqueFormat| OpaqueApi {
        token_api: Arc::from(format.prefix.as_str()),
        format: format.clone(),
        takes_api_key_field: true,
    };
    let apis = OpaqueApis::new(formats.iter().map(|(format, _)| api(format)).collect());
    let tokens = OpaqueTokens::new([&SecretBytes::new(KEY)]);
    let claimed = match apis.form_of(input) {
        CredentialForm::Signed => None,
        CredentialForm::Opaque(api) => Some(api.format.prefix.as_str()),
    };
    let begins = formats.iter().map(|(format, _)| format.prefix.as_str());
    let begins: Vec<&str> = begins.filter(|prefix| input.starts_with(prefix.as_bytes())).collect();
    assert_eq!(
        begins,
        claimed.into_iter().collect::<Vec<_>>(),
        "a token claims to be what it does not begin with"
    );
    let mut passes = false;
    for (format, made) in &formats {
        assert!(tokens.verify(format, made.as_bytes()), "{made:?} is keyward's");
        // Nothing else can be: what passes would be a forgery.
        let is_known = tokens.verify(format, input);
        assert_eq!(
            is_known,
            input == made.as_bytes(),
            "{} passes for a {}",
            input.escape_ascii(),
            format.prefix
        );
        assert!(
            !is_known || claimed == Some(format.prefix.as_str()),
            "it passes and is never asked about"
        );
        passes |= is_known;
    }
    passes
}

pub(super) fn signed(input: &[u8]) -> bool {
    let key = ("k1".to_owned(), SigningAlgorithm::Hs256, KeyMaterial::new(KEY.to_vec()));
    let other = ("k1".to_owned(), SigningAlgorithm::Hs256, KeyMaterial::new([8; 32].to_vec()));
    let issuer = || "keyward".to_owned();
    let (Ok(tokens), Ok(others)) =
        (SignedTokens::new(issuer(), [key]), SignedTokens::new(issuer(), [other]))
    else {
        return false;
    };
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let token = match text.split_once('\n') {
        Some((header, claims)) => sign(header, claims),
        None => text.to_owned(),
    };
    let verified = tokens.verify(&token, NOW);
    assert!(
        verified.is_err() || others.verify(&token, NOW).is_err(),
        "a token passes under two keys"
    );
    let passes = verified.is_ok();
    if let Ok(claims) = verified {
        is_as_keyward_writes_it(&token, &claims);
        for spelling in spellings(&token) {
            assert!(
                tokens.verify(&spelling, NOW).is_err(),
                "{spelling:?} is another spelling of {token:?}"
            );
        }
        let ended = claims.expires_at.map(|end| tokens.verify(&token, end));
        assert!(ended.is_none_or(|verified| verified.is_err()), "it outlives its end");
    }
    passes
}

fn sign(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &KEY), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The header has three members, the claims no other than keyward's, none of them twice; and what
/// was read is what they say.
fn is_as_keyward_writes_it(token: &str, read: &SignedClaims) {
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "{token:?} has not three parts");
    let value = |part: usize| {
        let bytes =
            parts.get(part).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
        json::parse(&bytes)
    };
    // serde reads arrays as structs as well, and UUIDs in other forms: keyward writes neither, and
    // nothing but its key can sign them.
    let (Ok(Value::Object(header)), Ok(claims)) = (value(0), value(1)) else {
        assert!(value(0).is_ok_and(|header| header.is_array()), "a name stands twice in {token:?}");
        return;
    };
    let Value::Object(claims) = claims else { return };
    let expected = [("alg", "HS256"), ("kid", "k1"), ("typ", "JWT")];
    assert_eq!(header.len(), expected.len(), "the header is {header:?}");
    for (name, value) in expected {
        assert_eq!(
            header.get(name).and_then(Value::as_str),
            Some(value),
            "the header is {header:?}"
        );
    }
    let known = ["jti", "iss", "sub", "username", "organization", "role", "email", "iat", "exp"];
    assert!(claims.keys().all(|name| known.contains(&name.as_str())), "the claims are {claims:?}");
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    assert_eq!(text("iss"), Some("keyward"));
    let jti = text("jti").and_then(|text| uuid::Uuid::try_parse(text).ok());
    assert_eq!(jti.map(TokenId::from_uuid), Some(read.id), "the id is {:?}", text("jti"));
    assert_eq!(text("sub"), Some(read.identity.subject.as_str()));
    assert_eq!(text("username"), read.identity.username.as_deref());
    assert_eq!(text("organization"), read.identity.organization.as_deref());
    assert_eq!(text("role"), read.identity.role.as_deref());
    assert_eq!(text("email"), read.identity.email.as_deref());
    let end = claims.get("exp").and_then(Value::as_i64);
    assert_eq!(end, read.expires_at.map(Timestamp::unix_seconds));
    assert!(read.expires_at.is_none_or(|end| end > NOW), "it has expired");
}

/// What a decoder that is less strict would take for the same token.
fn spellings(token: &str) -> Vec<String> {
    let mut all = vec![
        format!("{token}="),
        format!("{token}."),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\0"),
        token.replace('.', "=."),
        token.replace('.', ".."),
        token.replacen('e', "E", 1),
    ];
    // Bits behind the last whole byte of a part, which its value does not show.
    let mut stray = token.to_owned();
    if let Some(last) = stray.pop() {
        let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let next = digits.find(last).and_then(|at| digits.chars().nth(at ^ 1));
        stray.extend(next);
        all.push(stray);
    }
    all
}
