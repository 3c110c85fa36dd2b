//! Passwords.
//!
//! `secrecy::SecretString` is the same but for comparison, which it does not have: a reload
//! compares configurations, and passwords among them, so a type of ours around it would stay.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A password: wiped on drop, shown by nothing.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
