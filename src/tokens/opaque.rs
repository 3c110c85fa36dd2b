//! Opaque tokens: `prefix`, random characters, and a MAC over both.
//!
//! | style | prefix | alphabet | random | MAC | for secret scanners |
//! |---|---|---|---|---|---|
//! | `tenant-tokens` | `sk-` | base 62 | 22 characters, 131 bits | 11 characters | `sk-[0-9A-Za-z]{33}` |
//! | `agent-tokens` | `sk_agt_` | hexadecimal | 48 characters, 192 bits | 16 characters | `sk_agt_[0-9a-f]{64}` |
//! | `accounts` | `rst_` | base 36 | 26 characters, 134 bits | 13 characters | `rst_[0-9a-z]{39}` |
//!
//! The MAC is the first 64 bits of HMAC-SHA-256 under a key of its own, over purpose, prefix and
//! random characters, written as a number of fixed width, most significant digit first. A token is
//! good because of its record, not because of its MAC: the MAC only lets a made-up token be refused
//! without asking the store. A guess of one in 2^64 costs one read.
//!
//! The prefixes are those of the configuration; the table has the usual ones.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::{hmac, rand};
use subtle::ConstantTimeEq;

use super::keyring::{CredentialSort, SecretBytes};
use crate::domain::RawToken;

/// The characters of a token's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// `0-9a-f`.
    Hex,
    /// `0-9a-z`.
    Base36,
    /// `0-9A-Za-z`.
    Base62,
}

/// How the tokens of one token API look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueFormat {
    /// What they begin with: printable ASCII.
    pub prefix: String,
    /// What follows.
    pub alphabet: Alphabet,
}

/// A token API whose keys are opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueApi {
    /// Its name.
    pub token_api: Arc<str>,
    /// How its keys look.
    pub format: OpaqueFormat,
    /// Whether its keys may also come in a field of their own (`X-API-Key`).
    pub takes_api_key_field: bool,
}

/// All token APIs of a configuration whose keys are opaque. No prefix begins with another, or with
/// how a JWT begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpaqueApis(Vec<OpaqueApi>);

/// What a credential claims to be, by its first characters alone: decided once, before anything
/// else is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialForm<'a> {
    /// A JWT, of whomever.
    Signed,
    /// A key of this token API.
    Opaque(&'a OpaqueApi),
}

/// How every JWT begins: `{"` in base64url.
pub const JWT_BEGINS: &str = "ey";

/// Makes opaque tokens, and tells made-up ones.
pub struct OpaqueTokens {
    /// The first one makes; each of them verifies. Replaced as a whole: they are read at every
    /// check and change once a year.
    keys: ArcSwap<Vec<hmac::Key>>,
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

impl Alphabet {
    const fn digits(self) -> &'static [u8] {
        match self {
            Self::Hex => b"0123456789abcdef",
            Self::Base36 => b"0123456789abcdefghijklmnopqrstuvwxyz",
            Self::Base62 => b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        }
    }

    /// How many random characters: at least 128 bits.
    const fn random_length(self) -> usize {
        match self {
            Self::Hex => 48,
            Self::Base36 => 26,
            Self::Base62 => 22,
        }
    }

    /// How many characters hold 64 bits.
    const fn mac_length(self) -> usize {
        match self {
            Self::Hex => 16,
            Self::Base36 => 13,
            Self::Base62 => 11,
        }
    }

    fn has(self, byte: u8) -> bool {
        match self {
            Self::Hex => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            Self::Base36 => byte.is_ascii_digit() || byte.is_ascii_lowercase(),
            Self::Base62 => byte.is_ascii_alphanumeric(),
        }
    }

    fn digit(self, value: u64) -> u8 {
        let at = usize::try_from(value % self.digits().len() as u64).unwrap_or_default();
        self.digits().get(at).copied().unwrap_or(b'0')
    }
}

impl OpaqueFormat {
    /// The length of a token in characters.
    #[must_use]
    pub fn token_length(&self) -> usize {
        self.prefix.len() + self.alphabet.random_length() + self.alphabet.mac_length()
    }

    /// The first `shown` characters behind the prefix, with it: what names a token in a list
    /// without giving it away.
    #[must_use]
    pub fn hint(&self, token: &RawToken, shown: usize) -> String {
        token.expose().chars().take(self.prefix.len() + shown).collect()
    }

    /// The two parts of what may be a token.
    fn parts<'a>(&self, token: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let body = token.strip_prefix(self.prefix.as_bytes())?;
        let is_whole =
            token.len() == self.token_length() && body.iter().all(|&byte| self.alphabet.has(byte));
        if is_whole { body.split_at_checked(self.alphabet.random_length()) } else { None }
    }
}

impl OpaqueApis {
    /// Takes them.
    #[must_use]
    pub fn new(apis: Vec<OpaqueApi>) -> Self {
        Self(apis)
    }

    /// What a credential claims to be. What has no prefix of ours is to be judged as a JWT, and is
    /// most likely none.
    #[must_use]
    pub fn form_of(&self, token: &[u8]) -> CredentialForm<'_> {
        if token.starts_with(JWT_BEGINS.as_bytes()) {
            return CredentialForm::Signed;
        }
        self.0
            .iter()
            .find(|api| token.starts_with(api.format.prefix.as_bytes()))
            .map_or(CredentialForm::Signed, CredentialForm::Opaque)
    }
}

impl CredentialForm<'_> {
    /// What sort of string it is digested as.
    #[must_use]
    pub const fn sort(self) -> CredentialSort {
        match self {
            Self::Signed => CredentialSort::SignedToken,
            Self::Opaque(_) => CredentialSort::OpaqueToken,
        }
    }
}

impl OpaqueTokens {
    /// The present key first, then those that are retired: their tokens are still known.
    #[must_use]
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a SecretBytes>) -> Self {
        let keys =
            keys.into_iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.expose())).collect();
        Self { keys: ArcSwap::from_pointee(keys) }
    }

    /// Takes the keys of `other` in the place of its own: tokens of a key that is gone are made-up
    /// ones from now on.
    pub fn replace(&self, other: Self) {
        self.keys.store(other.keys.into_inner());
    }

    /// Makes a token.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn mint(&self, format: &OpaqueFormat) -> Result<RawToken, NoRandomness> {
        let keys = self.keys.load();
        let key = keys.first().ok_or(NoRandomness)?;
        let mut token = Vec::with_capacity(format.token_length());
        token.extend_from_slice(format.prefix.as_bytes());
        let base = u8::try_from(format.alphabet.digits().len()).unwrap_or(u8::MAX);
        // The largest multiple of the base: what is above would make some characters likelier than
        // others.
        let fair = u8::MAX - u8::MAX % base;
        let random_end = format.prefix.len() + format.alphabet.random_length();
        let mut bytes = zeroize::Zeroizing::new([0; 64]);
        while token.len() < random_end {
            rand::fill(&mut *bytes).map_err(|_| NoRandomness)?;
            let digits = bytes
                .iter()
                .filter(|&&byte| byte < fair)
                .map(|&byte| format.alphabet.digit(u64::from(byte)));
            token.extend(digits.take(random_end - token.len()));
        }
        let random = token.get(format.prefix.len()..).unwrap_or_default();
        let mac = mac(key, format, random);
        token.extend_from_slice(&mac);
        // Of ASCII alone.
        String::from_utf8(token).map(RawToken::new).map_err(|_| NoRandomness)
    }

    /// Whether we made it: its form, and its MAC under one of our keys. In constant time for each
    /// token of the right form.
    #[must_use]
    pub fn verify(&self, format: &OpaqueFormat, token: &[u8]) -> bool {
        let Some((random, claimed)) = format.parts(token) else { return false };
        self.keys
            .load()
            .iter()
            .fold(subtle::Choice::from(0), |found, key| {
                found | mac(key, format, random).ct_eq(claimed)
            })
            .into()
    }
}

/// The MAC, in characters.
fn mac(key: &hmac::Key, format: &OpaqueFormat, random: &[u8]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    context.update(b"keyward opaque token\0");
    // Its length keeps a prefix apart from what follows.
    context.update(&(format.prefix.len() as u64).to_le_bytes());
    context.update(format.prefix.as_bytes());
    context.update(random);
    let tag = context.sign();
    let mut number = tag.as_ref().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let base = format.alphabet.digits().len() as u64;
    let mut digits: Vec<u8> = std::iter::repeat_with(|| {
        let digit = format.alphabet.digit(number);
        number /= base;
        digit
    })
    .take(format.alphabet.mac_length())
    .collect();
    digits.reverse();
    digits
}

impl std::fmt::Debug for OpaqueTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpaqueTokens([secret])")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn format(prefix: &str, alphabet: Alphabet) -> OpaqueFormat {
        OpaqueFormat { prefix: prefix.into(), alphabet }
    }

    fn formats() -> [(OpaqueFormat, usize); 3] {
        [
            (format("sk-", Alphabet::Base62), 33),
            (format("sk_agt_", Alphabet::Hex), 64),
            (format("rst_", Alphabet::Base36), 39),
        ]
    }

    #[test]
    fn the_first_characters_say_what_a_credential_claims_to_be() {
        let api = |prefix: &str, alphabet| OpaqueApi {
            token_api: prefix.into(),
            format: format(prefix, alphabet),
            takes_api_key_field: false,
        };
        let apis =
            OpaqueApis::new(vec![api("sk-", Alphabet::Base62), api("sk_agt_", Alphabet::Hex)]);
        let claimed = |token: &str| match apis.form_of(token.as_bytes()) {
            CredentialForm::Signed => None,
            CredentialForm::Opaque(api) => Some(api.token_api.to_string()),
        };
        for (token, expected) in [
            ("sk-", Some("sk-")),
            ("sk-abc", Some("sk-")),
            ("sk_agt_abc", Some("sk_agt_")),
            ("sk_agt", None),
            ("SK-abc", None),
            ("eyJhbGciOiJub25lIn0", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(claimed(token).as_deref(), expected, "{token}");
        }
    }

    #[test]
    fn a_token_has_the_form_of_its_table_and_is_known_as_ours() {
        let tokens = OpaqueTokens::new([&SecretBytes::new([7; 32])]);
        for (format, body) in formats() {
            let token = tokens.mint(&format).expect("random bytes");
            assert_eq!(token.expose().len(), format.prefix.len() + body);
            assert!(token.expose().starts_with(&format.prefix) && token.expose().is_ascii());
            assert!(tokens.verify(&format, token.expose().as_bytes()));
            assert_eq!(format.hint(&token, 4), token.expose()[..format.prefix.len() + 4]);
            assert_ne!(tokens.mint(&format).expect("random bytes").expose(), token.expose());
        }
    }

    #[test]
    fn whatever_is_changed_it_is_no_longer_ours() {
        let tokens = OpaqueTokens::new([&SecretBytes::new([7; 32])]);
        let others = OpaqueTokens::new([&SecretBytes::new([8; 32])]);
        for (format, _) in formats() {
            let token = tokens.mint(&format).expect("random bytes");
            let bytes = token.expose().as_bytes();
            for at in 0..bytes.len() {
                for byte in 0..=u8::MAX {
                    let mut changed = bytes.to_vec();
                    changed[at] = byte;
                    assert!(changed == bytes || !tokens.verify(&format, &changed), "{at} {byte}");
                }
                assert!(
                    !tokens.verify(&format, &bytes[..at]) && !tokens.verify(&format, &bytes[at..])
                        || at == 0
                );
            }
            let longer = [bytes, b"0"].concat();
            assert!(!tokens.verify(&format, &longer) && !others.verify(&format, bytes));
        }
        // The same characters under another prefix are another token.
        let (one, two) = (format("a-", Alphabet::Hex), format("b-", Alphabet::Hex));
        let token = tokens.mint(&one).expect("random bytes");
        assert!(!tokens.verify(&two, token.expose().replace("a-", "b-").as_bytes()));
    }

    #[test]
    fn a_retired_key_verifies_and_makes_nothing() {
        let (old, new) = (SecretBytes::new([1; 32]), SecretBytes::new([2; 32]));
        let format = format("sk-", Alphabet::Base62);
        let before = OpaqueTokens::new([&old]).mint(&format).expect("random bytes");
        let rotated = OpaqueTokens::new([&new, &old]);
        assert!(rotated.verify(&format, before.expose().as_bytes()));
        let after = rotated.mint(&format).expect("random bytes");
        assert!(!OpaqueTokens::new([&old]).verify(&format, after.expose().as_bytes()));
        rotated.replace(OpaqueTokens::new([&new]));
        assert!(!rotated.verify(&format, before.expose().as_bytes()), "its key is gone");
        assert!(rotated.verify(&format, after.expose().as_bytes()));
    }

    #[test]
    fn every_character_is_as_likely_as_the_others() {
        let tokens = OpaqueTokens::new([&SecretBytes::new([7; 32])]);
        for (format, _) in formats() {
            let mut counts = BTreeMap::new();
            for _ in 0..2000 {
                let token = tokens.mint(&format).expect("random bytes");
                let (random, _) = format.parts(token.expose().as_bytes()).expect("ours");
                random.iter().for_each(|&byte| *counts.entry(byte).or_insert(0_u32) += 1);
            }
            let kinds = format.alphabet.digits().len();
            let expected = 2000.0 * format.alphabet.random_length() as f64 / kinds as f64;
            assert_eq!(counts.len(), kinds);
            // Six standard deviations: chance alone will not do that in the life of the project.
            let slack = 6.0 * expected.sqrt();
            assert!(
                counts.values().all(|&count| (f64::from(count) - expected).abs() < slack),
                "{counts:?}"
            );
        }
    }
}
