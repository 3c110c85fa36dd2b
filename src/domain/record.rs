//! The server-side entry of a token. No record, no access: the allowlist.

use super::{Identity, KeyLimits, Timestamp, TokenDigest, TokenId};

/// Everything that the store knows of one token, never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key of the record, by which a presented token is looked up.
    pub digest: TokenDigest,
    /// The public id, unique in the store.
    pub id: TokenId,
    /// The name of the token API that issued it; it opens only what accepts that name.
    pub token_api: String,
    /// What the token may be used for.
    pub kind: RecordKind,
    /// The issuer, or the token API, whose credential made it, where that is another than
    /// `token_api`: subjects are unique only within one. `None`: the token API's own.
    pub origin: Option<String>,
    /// The identity of its holder.
    pub identity: Identity,
    /// The label that its owner gave it.
    pub name: Option<String>,
    /// The first characters of an opaque token, for lists; `None` of a signed one.
    pub hint: Option<String>,
    /// Its own limits, beside those of its token API and routes; `None`: it has none.
    pub limits: Option<KeyLimits>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// The first moment at which it is no longer accepted; `None`: it does not expire.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// What a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A key that its owner listed, uses and revokes.
    ApiKey,
    /// A login: it makes the calls of token APIs and opens no route. Never listed.
    Session,
    /// A credential from an administrator that only makes API keys. Never listed, and not revocable
    /// over the token API.
    Bootstrap {
        /// How many more keys it can make. At 0 it is spent: it can do nothing, and is still known
        /// as a bootstrap token.
        mints_left: u32,
    },
}

/// A [`RecordKind`] without what changes while a record lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordSort {
    /// [`RecordKind::ApiKey`].
    ApiKey,
    /// [`RecordKind::Session`].
    Session,
    /// [`RecordKind::Bootstrap`].
    Bootstrap,
}

impl RecordKind {
    /// The sort.
    #[must_use]
    pub const fn sort(self) -> RecordSort {
        match self {
            Self::ApiKey => RecordSort::ApiKey,
            Self::Session => RecordSort::Session,
            Self::Bootstrap { .. } => RecordSort::Bootstrap,
        }
    }
}

/// The owner of a token: one subject of one origin within one token API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The token API's name.
    pub token_api: String,
    /// The record's origin.
    pub origin: Option<String>,
    /// The subject.
    pub subject: String,
}

impl Record {
    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner {
            token_api: self.token_api.clone(),
            origin: self.origin.clone(),
            subject: self.identity.subject.clone(),
        }
    }

    /// Whether it has expired at `now`: the moment named by `expires_at` is already too late (RFC
    /// 7519, section 4.1.4).
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }

    /// Whether it is a bootstrap token, spent or not.
    #[must_use]
    pub fn is_bootstrap(&self) -> bool {
        matches!(self.kind, RecordKind::Bootstrap { .. })
    }
}
