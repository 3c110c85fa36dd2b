//! The part of a record that never changes, as bytes that cannot be altered unnoticed. Every store
//! keeps this form.
//!
//! Form 1, in this order:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the form's number, 1 |
//! | 16 | the tag: the first half of HMAC-SHA-256, under the integrity key, over `keyward record`, a zero byte, the form's number, the digest and the JSON |
//! | rest | JSON: `id`, `api`, `sub`, `iat`; if there is one: `usr`, `org`, `role`, `mail`, `name`, `exp`, `origin`, `hint`; for a bootstrap token `mints`, how many keys it was made for; for a session `kind`, which is `session`; `limits`, in the form of [`KeyLimits`] |
//!
//! A body without `kind` and `mints` is an API key's. An older keyward that does not know `kind`,
//! `origin`, `hint` or `limits` refuses a body with them: it does not serve a limited key without
//! its limits.
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
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::domain::{Identity, KeyLimits, Record, RecordKind, Timestamp, TokenDigest, TokenId};

#[cfg(test)]
mod tests;

/// The form that is written, and the only one that is read.
const FORM: u8 = 1;

/// The length of a tag in bytes.
const TAG: usize = 16;

/// What the tags of records begin with.
const PURPOSE: &[u8] = b"keyward record\0";

/// The key under which records and accounts are sealed. It is not in the store: with access to the
/// store alone, records can be destroyed, but not made or changed.
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

/// Sealed bytes that are not what was once written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// They end within the form or the tag.
    #[error("was cut short")]
    CutShort,
    /// Another form than ours.
    #[error("has the unknown form {0}")]
    UnknownForm(u8),
    /// The tag does not fit key and content.
    #[error("was altered")]
    Altered,
    /// The tag fits and yet the content cannot be read: not written by this code.
    #[error("cannot be read")]
    Unreadable,
}

/// A record that is not what was once written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Its body is not.
    #[error("a record {0}")]
    Seal(#[from] SealFault),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<KeyLimits>,
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
    /// [`SealFault::Unreadable`] if it cannot be written as JSON, which no record is known to
    /// cause.
    pub fn encode(&self, record: &Record) -> Result<Vec<u8>, BodyFault> {
        let identity = &record.identity;
        let body = Body::<&str> {
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
            limits: record.limits,
        };
        Ok(self.seal_body(PURPOSE, record.digest.as_bytes(), &body)?)
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
        let body: Body<String> = self.open_body(PURPOSE, digest.as_bytes(), body)?;
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
            limits: body.limits,
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

    /// Form, tag and JSON of `body`. The tag is over `purpose`, form, `place` and JSON.
    pub(super) fn seal_body(
        &self,
        purpose: &[u8],
        place: &[u8],
        body: &impl Serialize,
    ) -> Result<Vec<u8>, SealFault> {
        let json = serde_json::to_vec(body).map_err(|_| SealFault::Unreadable)?;
        let mut sealed = Vec::with_capacity(1 + TAG + json.len());
        sealed.push(FORM);
        sealed.extend_from_slice(&self.tag(purpose, place, &json));
        sealed.extend_from_slice(&json);
        Ok(sealed)
    }

    /// The body that was sealed by [`seal_body`](Self::seal_body).
    pub(super) fn open_body<T: DeserializeOwned>(
        &self,
        purpose: &[u8],
        place: &[u8],
        sealed: &[u8],
    ) -> Result<T, SealFault> {
        let (&form, sealed) = sealed.split_first().ok_or(SealFault::CutShort)?;
        if form != FORM {
            return Err(SealFault::UnknownForm(form));
        }
        let (tag, json) = sealed.split_first_chunk::<TAG>().ok_or(SealFault::CutShort)?;
        if !bool::from(self.tag(purpose, place, json).ct_eq(tag)) {
            return Err(SealFault::Altered);
        }
        serde_json::from_slice(json).map_err(|_| SealFault::Unreadable)
    }

    fn tag(&self, purpose: &[u8], place: &[u8], json: &[u8]) -> [u8; TAG] {
        let mut mac = hmac::Context::with_key(&self.0);
        [purpose, &[FORM], place, json].iter().for_each(|part| mac.update(part));
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
