//! Passwords: as they are presented, and in the form in which they are counted and hashed.
//!
//! Keyboards and systems type one password as different bytes: `é` is one character or two. So what
//! is hashed is the OpaqueString of RFC 8265, section 4.2: spaces of any kind become U+0020, and
//! the whole is put into the normal form C. Case, width and white space at the ends count.
//!
//! Control characters and the separators of lines and paragraphs are refused. The other characters
//! that the profile does not allow (joiners and variation selectors of emoji, characters newer than
//! its tables) are what keyboards type, and are taken (NIST SP 800-63B, section 3.1.1.2).

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::account::{FieldFault, NFC, check_length};

#[cfg(test)]
mod tests;

/// A password as it was typed. There is no `Display`, `Debug` is redacted, and the memory is wiped
/// on drop. Compared byte for byte, in constant time.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Wraps what was typed.
    #[must_use]
    pub fn presented(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The bytes, for hashing.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The form that is hashed (see the module).
    ///
    /// # Errors
    ///
    /// It holds a control character, or a separator of lines or paragraphs.
    pub fn prepared(&self) -> Result<Self, FieldFault> {
        if self.0.chars().any(is_refused) {
            return Err(FieldFault::Control);
        }
        if self.0.is_ascii() {
            return Ok(self.clone());
        }
        // With the capacity for all that may be written: a string that grows leaves memory behind
        // that is not wiped.
        let mut mapped = Zeroizing::new(String::with_capacity(self.0.len()));
        mapped.extend(self.0.chars().map(|typed| if is_space(typed) { ' ' } else { typed }));
        let mut normal =
            Zeroizing::new(String::with_capacity(mapped.len().saturating_mul(NFC_GROWTH)));
        normal.extend(NFC.normalize_iter(mapped.chars()));
        Ok(Self(normal))
    }
}

/// The normal form C is at most so many times as long in UTF-8 (UAX #15, section 9).
const NFC_GROWTH: usize = 3;

/// Control characters, and the separators of lines and paragraphs.
fn is_refused(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// A space outside ASCII: the general category Zs.
fn is_space(character: char) -> bool {
    matches!(
        character,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([secret])")
    }
}

/// A password that an account may have, [prepared](Password::prepared): 8 to 128 characters of any
/// kind but control characters (NIST SP 800-63B, section 3.1.1.2: no rules of composition).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPassword(Password);

impl NewPassword {
    /// The shortest, in characters.
    pub const LEAST: usize = 8;
    /// The longest, in characters.
    pub const MOST: usize = 128;
    /// The longest password as it may be typed, in bytes of UTF-8: characters of four bytes,
    /// decomposed (UAX #15, section 9).
    pub const MOST_BYTES: usize = NFC_GROWTH * 4 * Self::MOST;

    /// Takes a new password.
    ///
    /// # Errors
    ///
    /// It is too short or too long, counted in the form that is hashed, or holds a control
    /// character.
    pub fn new(password: Password) -> Result<Self, FieldFault> {
        let prepared = password.prepared()?;
        check_length(&prepared.0, Self::LEAST, Self::MOST)?;
        Ok(Self(prepared))
    }

    /// What is hashed.
    #[must_use]
    pub const fn password(&self) -> &Password {
        &self.0
    }
}
