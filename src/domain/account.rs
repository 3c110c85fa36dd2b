//! Accounts: users that log in with a username and a password ([`super::password`]).

use std::fmt;

use icu_normalizer::{ComposingNormalizer, ComposingNormalizerBorrowed};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Identity, Timestamp, TokenId};

#[cfg(test)]
mod tests;

/// The normal form C of Unicode (UAX #15).
pub(super) const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfc();

/// A user that can log in to one token API. The hash of the password is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The public id: the subject of the account's sessions and keys.
    pub id: AccountId,
    /// The token API that it belongs to.
    pub token_api: String,
    /// The name that it logs in with.
    pub username: Username,
    /// Its email address, which is not verified.
    pub email: Email,
    /// The name to display.
    pub full_name: FullName,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Whether an administrator has disabled it.
    pub is_disabled: bool,
    /// Raised by every change that ends the account's sessions: a login that began before such a
    /// change opens no session.
    pub revision: u32,
}

impl Account {
    /// The identity of its sessions and keys.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            subject: self.id.to_string(),
            username: Some(self.username.as_str().to_owned()),
            organization: None,
            role: None,
            email: Some(self.email.as_str().to_owned()),
        }
    }
}

/// The public name of an account: a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(Uuid);

impl AccountId {
    /// Takes a UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Reads the one spelling that [`TokenId::parse`] reads.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        TokenId::parse(text).map(|id| Self(Uuid::from_bytes(*id.as_bytes())))
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What is wrong with a field of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldFault {
    /// Fewer characters than so many.
    #[error("it must not have fewer than {0} characters")]
    TooShort(usize),
    /// More characters than so many.
    #[error("it must have at most {0} characters")]
    TooLong(usize),
    /// Another character than a letter `A-Z`, `a-z` or a digit.
    #[error("it must have only letters (A-Z, a-z) and digits")]
    NotAlphanumeric,
    /// A control character.
    #[error("it must have no control characters")]
    Control,
    /// Only white space.
    #[error("it must not be blank")]
    Blank,
    /// No email address, for this reason.
    #[error("it is no email address: {0}")]
    NotAnEmail(&'static str),
}

/// Checks the length of a text in characters (Unicode scalar values).
pub(super) fn check_length(text: &str, least: usize, most: usize) -> Result<(), FieldFault> {
    // A character has at most four bytes: a text of a megabyte is not counted.
    let length = if text.len() > most * 4 { most + 1 } else { text.chars().count() };
    if length < least {
        Err(FieldFault::TooShort(least))
    } else if length > most {
        Err(FieldFault::TooLong(most))
    } else {
        Ok(())
    }
}

/// A username: 3 to 50 letters and digits of ASCII, kept as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// The shortest, in characters.
    pub const LEAST: usize = 3;
    /// The longest, in characters.
    pub const MOST: usize = 50;

    /// Takes a username.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, FieldFault> {
        check_length(text, Self::LEAST, Self::MOST)?;
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(FieldFault::NotAlphanumeric);
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was typed at registration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which usernames are compared: `Alice` and `alice` are the same.
    #[must_use]
    pub fn folded(&self) -> String {
        fold(&self.0)
    }
}

/// The form in which usernames are compared, for any text that is typed as one: all spellings of a
/// name share one counter of failures (cf. CVE-2025-24806), in whichever Unicode form they are
/// typed, and whether or not there is such an account.
#[must_use]
pub fn fold(username: &str) -> String {
    NFC.normalize(username).to_ascii_lowercase()
}

/// An email address as registration takes it: `local@domain` in ASCII, where the local part is a
/// dot-atom (RFC 5322, section 3.2.3; no quoted strings) of at most 64 characters, the domain is a
/// host name of at least two labels, and the whole has at most 254 characters (RFC 5321, section
/// 4.5.3.1; RFC 3696, erratum 1690).
///
/// Only ASCII, so that no two addresses look alike and are compared as different (cf.
/// CVE-2019-19844). A domain in another script is written with its `xn--` labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// The longest, in characters.
    pub const MOST: usize = 254;

    /// Takes an address.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, FieldFault> {
        let wrong = |why| Err(FieldFault::NotAnEmail(why));
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("only visible ASCII characters can be in it");
        }
        if text.len() > Self::MOST {
            return wrong("it is longer than 254 characters");
        }
        let Some((local, domain)) = text.split_once('@') else {
            return wrong("an @-sign is missing");
        };
        if domain.contains('@') {
            return wrong("it has two @-signs");
        }
        if !(1..=64).contains(&local.len()) {
            return wrong("the part before the @-sign must have 1 to 64 characters");
        }
        let is_atom = |atom: &str| {
            let fits =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
            !atom.is_empty() && atom.bytes().all(fits)
        };
        if !local.split('.').all(is_atom) {
            return wrong(
                "the part before the @-sign has a character or a period where it cannot be",
            );
        }
        let is_label = |label: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            let ends = label.starts_with('-') || label.ends_with('-');
            (1..=63).contains(&label.len()) && label.bytes().all(fits) && !ends
        };
        if !domain.split('.').all(is_label) {
            return wrong("the part after the @-sign is no host name");
        }
        match domain.rsplit_once('.') {
            Some((_, top)) if !top.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self(text.to_owned()))
            }
            _ => wrong("the part after the @-sign must be a host name with a period in it"),
        }
    }

    /// As it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which addresses are compared. The local part is folded as well: no mail server
    /// in use tells the cases apart.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// A name to display: 1 to 200 characters, kept as it was typed. Not only white space, and no
/// control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullName(String);

impl FullName {
    /// The longest, in characters.
    pub const MOST: usize = 200;

    /// Takes a name.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, FieldFault> {
        check_length(text, 1, Self::MOST)?;
        if text.chars().any(char::is_control) {
            Err(FieldFault::Control)
        } else if text.trim().is_empty() {
            Err(FieldFault::Blank)
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
