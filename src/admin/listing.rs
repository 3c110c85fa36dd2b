//! A record as an administrator sees it: everything but the digest.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{Identity, KeyLimits, Record, RecordKind, RecordSort, Timestamp, TokenId};

/// The two kinds of token that an administrator manages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// A key that its owner made, listed and uses.
    ApiKey,
    /// A credential from an administrator, good only for making API keys.
    Bootstrap,
}

impl From<TokenKind> for RecordSort {
    fn from(kind: TokenKind) -> Self {
        match kind {
            TokenKind::ApiKey => Self::ApiKey,
            TokenKind::Bootstrap => Self::Bootstrap,
        }
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey => "token",
            Self::Bootstrap => "bootstrap token",
        })
    }
}

/// One token in a list. As JSON every key is always there, and times are RFC 3339 in UTC, to the
/// second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The public id: what revokes it.
    pub id: TokenId,
    /// What the token may be used for.
    pub kind: TokenKind,
    /// The token API that issued it.
    pub token_api: String,
    /// The subject of its identity.
    pub subject: String,
    /// The name that people use.
    pub username: Option<String>,
    /// The organization.
    pub organization: Option<String>,
    /// The role.
    pub role: Option<String>,
    /// The email address.
    pub email: Option<String>,
    /// The label that its owner gave it.
    pub name: Option<String>,
    /// How many more keys a bootstrap token can make; `None` for an API key.
    pub mints_left: Option<u32>,
    /// Its own limits, which the keys of a bootstrap token get.
    pub limits: Option<KeyLimits>,
    /// When it was issued.
    #[serde(with = "rfc3339")]
    pub issued_at: Timestamp,
    /// The first moment at which it is no longer accepted; `None`: it does not expire.
    #[serde(with = "rfc3339_or_null")]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[serde(with = "rfc3339_or_null")]
    pub last_used_at: Option<Timestamp>,
}

impl Listing {
    /// The record as a line of a list; `None` for a session, which is in no list.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let (kind, mints_left) = match record.kind {
            RecordKind::ApiKey => (TokenKind::ApiKey, None),
            RecordKind::Bootstrap { mints_left } => (TokenKind::Bootstrap, Some(mints_left)),
            RecordKind::Session => return None,
        };
        let Identity { subject, username, organization, role, email } = record.identity.clone();
        Some(Self {
            id: record.id,
            kind,
            token_api: record.token_api.clone(),
            subject,
            username,
            organization,
            role,
            email,
            name: record.name.clone(),
            mints_left,
            limits: record.limits,
            issued_at: record.issued_at,
            expires_at: record.expires_at,
            last_used_at: record.last_used_at,
        })
    }
}

fn parse<E: serde::de::Error>(text: &str) -> Result<Timestamp, E> {
    Timestamp::parse_with_offset(text).map_err(|_| E::custom("not an RFC 3339 time"))
}

pub(super) mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::domain::Timestamp;

    pub(in crate::admin) fn serialize<T, S>(time: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Copy + Into<Option<Timestamp>>,
        S: Serializer,
    {
        (*time).into().map(Timestamp::to_rfc3339_zulu).serialize(serializer)
    }

    pub(in crate::admin) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        super::parse(&String::deserialize(deserializer)?)
    }
}

mod rfc3339_or_null {
    use serde::{Deserialize, Deserializer};

    pub(super) use super::rfc3339::serialize;
    use crate::domain::Timestamp;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| super::parse(&text)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TokenDigest;

    #[test]
    fn a_listing_survives_json_and_holds_no_digest() {
        let record = Record {
            digest: TokenDigest::from_bytes([0xab; 32]),
            id: TokenId::parse("f1c2a3b4-5d6e-4f80-9a0b-1c2d3e4f5a6b").expect("an id"),
            token_api: "jarvispy".into(),
            kind: RecordKind::Bootstrap { mints_left: 3 },
            origin: None,
            identity: Identity {
                subject: "u1".into(),
                username: None,
                organization: Some("acme".into()),
                role: None,
                email: None,
            },
            name: None,
            hint: None,
            limits: serde_json::from_str(r#"{"rate":"10/s"}"#).expect("limits"),
            issued_at: Timestamp::from_unix_millis(1_813_917_600_000),
            expires_at: Some(Timestamp::from_unix_millis(1_813_917_601_000)),
            last_used_at: None,
        };
        let listing = Listing::of(&record).expect("listed");
        let json = serde_json::to_string(&listing).expect("json");
        assert_eq!(
            json,
            r#"{"id":"f1c2a3b4-5d6e-4f80-9a0b-1c2d3e4f5a6b","kind":"bootstrap","token_api":"jarvispy","subject":"u1","username":null,"organization":"acme","role":null,"email":null,"name":null,"mints_left":3,"limits":{"rate":"10/s","burst":10},"issued_at":"2027-06-25T10:00:00Z","expires_at":"2027-06-25T10:00:01Z","last_used_at":null}"#
        );
        assert_eq!(serde_json::from_str::<Listing>(&json).expect("the same"), listing);
        assert_eq!(Listing::of(&Record { kind: RecordKind::Session, ..record }), None);
    }
}
