//! A token as it travels, and the two ways to name it: by digest (where it is checked) and by id
//! (where it is managed).

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The token itself. It leaves keyward once, in the answer that issues it, and is never stored or
/// logged: there is no `Display`, `Debug` is redacted, and the memory is wiped on drop.
#[derive(Clone)]
pub struct RawToken(Zeroizing<String>);

impl RawToken {
    /// Wraps the characters.
    #[must_use]
    pub fn new(token: String) -> Self {
        Self(Zeroizing::new(token))
    }

    /// The characters, for the one answer that carries them.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RawToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawToken([secret])")
    }
}

/// The key of a token in the cache and in the store: HMAC-SHA-256 under a pepper that is not in the
/// store, so that it tells nothing of the token and no client can choose it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Wraps the 32 bytes of the MAC.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes as a number. A MAC is uniform, so this is a hash for any table.
    #[must_use]
    pub const fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "TokenDigest({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// The public name of a token (`jti`): a UUID that lists and revokes it, and opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(Uuid);

impl TokenId {
    /// Takes a UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Reads the one accepted spelling, 8-4-4-4-12 hexadecimal digits of either case (RFC 9562,
    /// section 4). Braces, the `urn:` form and the form without hyphens are no token id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != uuid::fmt::Hyphenated::LENGTH {
            return None;
        }
        Uuid::try_parse(text).ok().map(Self)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_token_shows_nothing_in_debug() {
        assert_eq!(format!("{:?}", RawToken::new("canary".into())), "RawToken([secret])");
    }

    #[test]
    fn only_the_hyphenated_spelling_is_a_token_id() {
        let id = TokenId::parse("F1C2A3B4-5d6e-7f80-9a0b-1c2d3e4f5a6b").expect("either case");
        assert_eq!(id.to_string(), "f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b");
        for wrong in [
            "",
            "x",
            "f1c2a3b45d6e7f809a0b1c2d3e4f5a6b",
            "{f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b}",
            "urn:uuid:f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b",
            "f1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6",
            "g1c2a3b4-5d6e-7f80-9a0b-1c2d3e4f5a6b",
        ] {
            assert_eq!(TokenId::parse(wrong), None, "{wrong}");
        }
    }
}
