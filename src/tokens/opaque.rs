//! Opaque tokens: `prefix`, random characters, and a MAC over both.
//!
//! | style | prefix | alphabet | random | MAC | for secret scanners |
//! |---|---|---|---|---|---|
//! | `tenant-tokens` | `sk-` | base 62 | 22 characters, 131 bits | 11 characters | `sk-[0-9A-Za-z]{33}` |
//! | `agent-tokens` | `sk_agt_` | hexadecimal | 48 characters, 192 bits | 16 characters | `sk_agt_[0-9a-f]{64}` |
//! | `accounts` | `rst_` | base 36 | 26 characters, 134 bits | 13 characters | `rst_[0-9a-z]{39}` |
//!
//! The MAC is the first 64 bits of HMAC-SHA-256 under a key of its own, over purpose, prefix and
//! random characters, written as a number of fixed width, most significant digit first. It only
//! lets a made-up token be refused without asking the store: a token is good because of its record.
//!
//! The prefixes are those of the configuration; the table has the usual ones.

use std::ops::BitOr as _;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::{hmac, rand};
use subtle::{Choice, ConstantTimeEq};

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

/// The form of the tokens of one token API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueFormat {
    /// Their first characters: printable ASCII.
    pub prefix: String,
    /// The characters that follow.
    pub alphabet: Alphabet,
}

/// A token API whose keys are opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueApi {
    /// Its name.
    pub token_api: Arc<str>,
    /// The form of its keys.
    pub format: OpaqueFormat,
    /// Whether its keys may also come in a field of their own (`X-API-Key`).
    pub takes_api_key_field: bool,
}

/// All token APIs of a configuration whose keys are opaque. No prefix begins with another one, or
/// with [`JWT_BEGINS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpaqueApis(Vec<OpaqueApi>);

/// What a credential claims to be, by its first characters alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialForm<'a> {
    /// A JWT, of keyward or of an outside issuer.
    Signed,
    /// A key of this token API.
    Opaque(&'a OpaqueApi),
}

impl CredentialForm<'_> {
    /// Whether it may come in a field of its own (`X-API-Key`), where that field is read.
    #[must_use]
    pub const fn may_come_in_api_key_field(self) -> bool {
        matches!(self, Self::Opaque(api) if api.takes_api_key_field)
    }
}

/// The first characters of every JWT: `{"` in base64url.
pub const JWT_BEGINS: &str = "ey";

/// Makes opaque tokens, and recognizes them.
pub struct OpaqueTokens {
    /// The first one makes tokens, each of them verifies. Replaced as a whole: read at every check,
    /// changed once a year.
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

    /// How many random characters there are, at least 128 bits, and how many hold the 64 bits of
    /// the MAC.
    const fn lengths(self) -> (usize, usize) {
        match self {
            Self::Hex => (48, 16),
            Self::Base36 => (26, 13),
            Self::Base62 => (22, 11),
        }
    }

    fn digit(self, value: u64) -> u8 {
        let at = usize::try_from(value % self.digits().len() as u64).unwrap_or_default();
        self.digits().get(at).copied().unwrap_or(b'0')
    }
}

impl OpaqueFormat {
    /// The prefix and the first `shown` characters behind it: shown in lists instead of the token.
    #[must_use]
    pub fn hint(&self, token: &RawToken, shown: usize) -> String {
        token.expose().chars().take(self.prefix.len() + shown).collect()
    }

    /// Whether a text has the prefix of these tokens and their length.
    #[must_use]
    pub fn has_form_of(&self, text: &[u8]) -> bool {
        self.parts(text).is_some()
    }

    /// The random characters and the MAC, if the length is that of a token.
    fn parts<'a>(&self, token: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let body = token.strip_prefix(self.prefix.as_bytes())?;
        let (random, mac) = self.alphabet.lengths();
        if body.len() == random + mac { body.split_at_checked(random) } else { None }
    }
}

impl OpaqueApis {
    /// Of these token APIs.
    #[must_use]
    pub fn new(apis: Vec<OpaqueApi>) -> Self {
        Self(apis)
    }

    /// Whether a text has the form of a token: a prefix and the length that belongs to it, or the
    /// parts of a JWT. Says nothing of whether it is good.
    #[must_use]
    pub fn is_like_token(&self, text: &[u8]) -> bool {
        match self.form_of(text) {
            CredentialForm::Opaque(api) => api.format.has_form_of(text),
            CredentialForm::Signed => {
                let dots = text.iter().filter(|&&byte| byte == b'.').count();
                text.starts_with(JWT_BEGINS.as_bytes()) && dots == 2
            }
        }
    }

    /// The form of a credential. Without a known prefix it is to be checked as a JWT.
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
    /// The sort for its digest.
    #[must_use]
    pub const fn sort(self) -> CredentialSort {
        match self {
            Self::Signed => CredentialSort::SignedToken,
            Self::Opaque(_) => CredentialSort::OpaqueToken,
        }
    }
}

impl OpaqueTokens {
    /// The present key first, then those that are retired, whose tokens are still good.
    #[must_use]
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a SecretBytes>) -> Self {
        let keys =
            keys.into_iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.expose())).collect();
        Self { keys: ArcSwap::from_pointee(keys) }
    }

    /// Replaces the keys by those of `other`: tokens of a key that is gone are refused from now on.
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
        let random_end = format.prefix.len() + format.alphabet.lengths().0;
        let mut token = Vec::with_capacity(random_end + format.alphabet.lengths().1);
        token.extend_from_slice(format.prefix.as_bytes());
        let base = u8::try_from(format.alphabet.digits().len()).unwrap_or(u8::MAX);
        // The largest multiple of the base: bytes above it would make some characters likelier.
        let fair = u8::MAX - u8::MAX % base;
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
        token.extend(mac(key, format, random));
        // All of it is ASCII.
        String::from_utf8(token).map(RawToken::new).map_err(|_| NoRandomness)
    }

    /// Whether keyward made the token: its length, and its MAC under one of the keys. In constant
    /// time for each token of the right length.
    #[must_use]
    pub fn verify(&self, format: &OpaqueFormat, token: &[u8]) -> bool {
        let Some((random, claimed)) = format.parts(token) else { return false };
        let is_by = |key: &hmac::Key| mac(key, format, random).ct_eq(claimed);
        self.keys.load().iter().map(is_by).fold(Choice::from(0), Choice::bitor).into()
    }
}

/// Seals, for what is kept in a store beside the records and must not be altered there.
impl OpaqueTokens {
    /// A MAC over `content`, which says what it is for, under the present key; `None`: there is
    /// none.
    #[must_use]
    pub fn seal(&self, content: &[u8]) -> Option<[u8; 16]> {
        self.keys.load().first().map(|key| seal(key, content))
    }

    /// Whether one of the keys has made the seal of `content`.
    #[must_use]
    pub fn is_seal(&self, content: &[u8], claimed: &[u8; 16]) -> bool {
        let is_by = |key: &hmac::Key| seal(key, content).ct_eq(claimed);
        self.keys.load().iter().map(is_by).fold(Choice::from(0), Choice::bitor).into()
    }
}

/// The first half of HMAC-SHA-256: 2^128 guesses are needed (RFC 2104, section 5).
fn seal(key: &hmac::Key, content: &[u8]) -> [u8; 16] {
    let mut context = hmac::Context::with_key(key);
    context.update(b"keyward seal\0");
    context.update(content);
    context.sign().as_ref().first_chunk().copied().unwrap_or_default()
}

/// The MAC, in characters.
fn mac(key: &hmac::Key, format: &OpaqueFormat, random: &[u8]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    context.update(b"keyward opaque token\0");
    // The length separates the prefix from what follows.
    context.update(&(format.prefix.len() as u64).to_le_bytes());
    context.update(format.prefix.as_bytes());
    context.update(random);
    let tag = context.sign();
    let mut number = tag.as_ref().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let base = format.alphabet.digits().len() as u64;
    let mut digits = vec![0; format.alphabet.lengths().1];
    for digit in digits.iter_mut().rev() {
        *digit = format.alphabet.digit(number);
        number /= base;
    }
    digits
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
            let expected = 2000.0 * format.alphabet.lengths().0 as f64 / kinds as f64;
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
