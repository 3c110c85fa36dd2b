//! The part of a record that never changes, as bytes that cannot be altered unnoticed. Every store
//! keeps this form.
//!
//! Form 1, in this order:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the form's number, 1 |
//! | 16 | the tag: the first half of HMAC-SHA-256, under the integrity key, over `keyward record`, a zero byte, the form's number, the digest and the JSON |
//! | rest | JSON: `id`, `api`, `sub`, `iat`; if there is one: `usr`, `org`, `role`, `mail`, `name`, `exp`, `origin`, `hint`; for a bootstrap token `mints`, how many keys it was made for; for a session `kind`, which is `session` |
//!
//! A body without `kind` and `mints` is an API key's. `kind`, `origin` and `hint` came later: a
//! body without them says what it always said, and one with them is refused by who does not know
//! them.
//!
//! Times are milliseconds since 1970. The digest is not in the body but under the tag: a body that
//! was moved to another record does not verify. What changes while a record lives (keys left to
//! make, last use) is kept beside the body, and is not under the tag; the keys left are checked
//! against `mints`. A key that is retired keeps its body; that it is retired is where it is kept.
//!
//! Half a MAC is enough: 2^128 guesses are needed, each of them a write to the store (RFC 2104,
//! section 5).

use std::fmt;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::domain::{Identity, Record, RecordKind, Timestamp, TokenDigest, TokenId};

#[cfg(test)]
mod tests;

/// The form that is written, and the only one that is read.
const FORM: u8 = 1;

/// The length of a tag in bytes.
pub(super) const TAG: usize = 16;

/// The key under which records are sealed. It is not in the store: who can write to the store but
/// does not know the key can destroy records, not make or change them.
#[derive(Clone)]
pub struct RecordKey(hmac::Key);

/// What is kept beside the body because it changes while the record lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordState {
    /// How many more keys a bootstrap token can make; `None` for any other.
    pub mints_left: Option<u32>,
    /// When the token was last used.
    pub last_used_at: Option<Timestamp>,
}

/// A body that is not what was once written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Too short to be a body.
    #[error("a record was cut short")]
    CutShort,
    /// Another form than ours.
    #[error("a record has the unknown form {0}")]
    UnknownForm(u8),
    /// The tag does not fit key, digest and content.
    #[error("a record was altered")]
    Altered,
    /// The tag fits and yet we cannot read it: not written by this code.
    #[error("a record cannot be read")]
    Unreadable,
    /// What is beside the body is impossible for it: more keys left than it was made for, or keys
    /// left on what makes none.
    #[error("a record's count of keys left is impossible")]
    ImpossibleState,
}

/// The kinds that are named; the others are told by `mints`.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BodyKind {
    Session,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<S> {
    id: TokenId,
    api: S,
    sub: S,
    #[serde(skip_serializing_if = "Option::is_none")]
    usr: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<S>,
    iat: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mints: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<BodyKind>,
}

impl RecordKey {
    /// Takes 32 random bytes, best derived for this purpose alone.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The record as a new body. Its state at this moment is what [`RecordState::of`] says.
    ///
    /// # Errors
    ///
    /// [`BodyFault::Unreadable`] if it cannot be put into words, which no record is known to cause.
    pub fn encode(&self, record: &Record) -> Result<Vec<u8>, BodyFault> {
        let identity = &record.identity;
        let json = serde_json::to_vec(&Body::<&str> {
            id: record.id,
            api: &record.token_api,
            sub: &identity.subject,
            usr: identity.username.as_deref(),
            org: identity.organization.as_deref(),
            role: identity.role.as_deref(),
            mail: identity.email.as_deref(),
            name: record.name.as_deref(),
            iat: record.issued_at,
            exp: record.expires_at,
            mints: RecordState::of(record).mints_left,
            origin: record.origin.as_deref(),
            hint: record.hint.as_deref(),
            kind: (record.kind == RecordKind::Session).then_some(BodyKind::Session),
        })
        .map_err(|_| BodyFault::Unreadable)?;
        let mut body = Vec::with_capacity(1 + TAG + json.len());
        body.push(FORM);
        body.extend_from_slice(&self.tag(record.digest, &json));
        body.extend_from_slice(&json);
        Ok(body)
    }

    /// The record under `digest` from its body and the state beside it.
    ///
    /// # Errors
    ///
    /// The store's fault, each of them: see [`BodyFault`].
    pub fn decode(
        &self,
        digest: TokenDigest,
        body: &[u8],
        state: RecordState,
    ) -> Result<Record, BodyFault> {
        let (&form, sealed) = body.split_first().ok_or(BodyFault::CutShort)?;
        if form != FORM {
            return Err(BodyFault::UnknownForm(form));
        }
        let (tag, json) = sealed.split_first_chunk::<TAG>().ok_or(BodyFault::CutShort)?;
        if !bool::from(self.tag(digest, json).ct_eq(tag)) {
            return Err(BodyFault::Altered);
        }
        let body: Body<String> = serde_json::from_slice(json).map_err(|_| BodyFault::Unreadable)?;
        let kind = match (body.kind, body.mints, state.mints_left) {
            (None, None, None) => RecordKind::ApiKey,
            (Some(BodyKind::Session), None, None) => RecordKind::Session,
            (None, Some(made_for), Some(mints_left)) if mints_left <= made_for => {
                RecordKind::Bootstrap { mints_left }
            }
            _ => return Err(BodyFault::ImpossibleState),
        };
        Ok(Record {
            digest,
            id: body.id,
            token_api: body.api,
            kind,
            origin: body.origin,
            identity: Identity {
                subject: body.sub,
                username: body.usr,
                organization: body.org,
                role: body.role,
                email: body.mail,
            },
            name: body.name,
            hint: body.hint,
            issued_at: body.iat,
            expires_at: body.exp,
            last_used_at: state.last_used_at,
        })
    }

    /// Sixteen bytes that only this key makes: kept in a store, they tell another key from damage.
    #[must_use]
    pub fn seal(&self) -> [u8; TAG] {
        first_half(&hmac::sign(&self.0, b"keyward seal\0"))
    }

    fn tag(&self, digest: TokenDigest, json: &[u8]) -> [u8; TAG] {
        self.tag_of(&[b"keyward record\0", &[FORM], digest.as_bytes(), json])
    }

    /// The tag over the parts one after the other, the first of which says what they are.
    pub(super) fn tag_of(&self, parts: &[&[u8]]) -> [u8; TAG] {
        let mut mac = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| mac.update(part));
        first_half(&mac.sign())
    }
}

impl RecordState {
    /// The state of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let mints_left = match record.kind {
            RecordKind::ApiKey | RecordKind::Session => None,
            RecordKind::Bootstrap { mints_left } => Some(mints_left),
        };
        Self { mints_left, last_used_at: record.last_used_at }
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordKey([secret])")
    }
}

fn first_half(mac: &hmac::Tag) -> [u8; TAG] {
    // SHA-256 has 32 bytes, so the first 16 are always there. Were they not, the tag would be one
    // that nothing fits.
    mac.as_ref().first_chunk::<TAG>().copied().unwrap_or_default()
}
