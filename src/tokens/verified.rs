//! What is remembered of a token that passed: as small as a million of them in memory asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::{Identity, Owner, Record, RecordKind, Timestamp, TokenDigest, TokenId};

/// A token that has a record. Immutable, but for the note of its last use.
#[derive(Debug)]
pub struct Verified {
    id: TokenId,
    /// Unix milliseconds; [`NEVER`]: it does not expire.
    expires_at: i64,
    /// When a use was last handed to the store, in Unix milliseconds.
    noted_at: AtomicI64,
    token_api: Arc<str>,
    /// The identity's fields and the origin one after the other, in the order of [`Field`].
    text: Box<str>,
    /// Where each field ends in `text`.
    ends: [u32; FIELDS],
    /// Which fields are there at all, a bit each.
    present: u8,
    power: Power,
}

/// What the holder may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Everything that a token API and a route allow.
    Full,
    /// Make the calls of token APIs, but open no route.
    Session,
    /// Only make API keys.
    Bootstrap,
    /// A bootstrap token that has made all it was good for: nothing.
    Spent,
}

impl Power {
    /// Whether a route lets its holder through. All the others are credentials for token APIs alone.
    #[must_use]
    pub const fn opens_routes(self) -> bool {
        matches!(self, Self::Full)
    }
}

/// How often a use is noted at most: once a minute per token.
const NOTE_EVERY_MILLIS: i64 = 60_000;
const NEVER: i64 = i64::MAX;
const FIELDS: usize = 6;

#[derive(Clone, Copy)]
enum Field {
    Subject,
    Username,
    Organization,
    Role,
    Email,
    Origin,
}

impl Verified {
    /// Of a record that is there, for its token API's shared name.
    #[must_use]
    pub fn new(record: &Record, token_api: Arc<str>) -> Self {
        let Identity { subject, username, organization, role, email } = &record.identity;
        let fields = [
            Some(subject),
            username.as_ref(),
            organization.as_ref(),
            role.as_ref(),
            email.as_ref(),
            record.origin.as_ref(),
        ];
        let mut text = String::with_capacity(fields.iter().flatten().map(|field| field.len()).sum());
        let mut ends = [0; FIELDS];
        let mut present = 0;
        for (at, (field, end)) in fields.iter().zip(&mut ends).enumerate() {
            if let Some(field) = field {
                text.push_str(field);
                present |= 1 << at;
            }
            *end = u32::try_from(text.len()).unwrap_or(u32::MAX);
        }
        Self {
            id: record.id,
            expires_at: record.expires_at.map_or(NEVER, Timestamp::unix_millis),
            noted_at: AtomicI64::new(record.last_used_at.map_or(i64::MIN, Timestamp::unix_millis)),
            token_api,
            text: text.into(),
            ends,
            present,
            power: match record.kind {
                RecordKind::ApiKey => Power::Full,
                RecordKind::Session => Power::Session,
                RecordKind::Bootstrap { mints_left: 0 } => Power::Spent,
                RecordKind::Bootstrap { .. } => Power::Bootstrap,
            },
        }
    }

    /// The public id.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// The token API that issued it.
    #[must_use]
    pub fn token_api(&self) -> &Arc<str> {
        &self.token_api
    }

    /// What its holder may do.
    #[must_use]
    pub fn power(&self) -> Power {
        self.power
    }

    /// Whether its time is over at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now.unix_millis() >= self.expires_at
    }

    /// Where the subject is from, if not from the token API itself ([`Record::origin`]).
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.field(Field::Origin)
    }

    /// The `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.field(Field::Subject).unwrap_or_default()
    }

    /// The username.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.field(Field::Username)
    }

    /// The organization.
    #[must_use]
    pub fn organization(&self) -> Option<&str> {
        self.field(Field::Organization)
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.field(Field::Role)
    }

    /// The email address.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.field(Field::Email)
    }

    /// The whole identity, for a token that is to carry the same one.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            subject: self.subject().to_owned(),
            username: self.username().map(str::to_owned),
            organization: self.organization().map(str::to_owned),
            role: self.role().map(str::to_owned),
            email: self.email().map(str::to_owned),
        }
    }

    /// Whether this use is to be noted in the store: true at most once a minute, for one caller.
    pub fn note_use(&self, now: Timestamp) -> bool {
        let noted = self.noted_at.load(Ordering::Relaxed);
        now.unix_millis().saturating_sub(noted) >= NOTE_EVERY_MILLIS
            && self.noted_at.compare_exchange(noted, now.unix_millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn field(&self, field: Field) -> Option<&str> {
        let at = field as usize;
        if self.present & (1 << at) == 0 {
            return None;
        }
        let start = match at.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        let end = *self.ends.get(at)?;
        self.text.get(start as usize..end as usize)
    }
}

/// A credential that passed, with the key of its record.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The record's key.
    pub digest: TokenDigest,
    /// Who it is.
    pub token: Arc<Verified>,
}

impl Caller {
    /// Whose keys it lists, makes and revokes.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner {
            token_api: self.token.token_api().to_string(),
            origin: self.token.origin().map(str::to_owned),
            subject: self.token.subject().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(identity: Identity) -> Record {
        Record {
            digest: TokenDigest::from_bytes([0; 32]),
            id: TokenId::from_uuid(uuid::Uuid::nil()),
            token_api: "api".into(),
            kind: RecordKind::ApiKey,
            origin: None,
            identity,
            name: None,
            hint: None,
            issued_at: Timestamp::from_unix_millis(0),
            expires_at: Some(Timestamp::from_unix_millis(5000)),
            last_used_at: None,
        }
    }

    #[test]
    fn the_packed_identity_is_the_identity_whatever_is_absent_or_empty() {
        let some = |text: &str| Some(text.to_owned());
        for username in [None, some(""), some("ann")] {
            for organization in [None, some(""), some("acmé")] {
                for role in [None, some("admin")] {
                    for email in [None, some("a@b.example")] {
                        let identity = Identity {
                            subject: "auth0|x".into(),
                            username: username.clone(),
                            organization: organization.clone(),
                            role: role.clone(),
                            email: email.clone(),
                        };
                        for origin in [None, some(""), some("https://idp.example")] {
                            let record = Record { origin: origin.clone(), ..record(identity.clone()) };
                            let verified = Verified::new(&record, "api".into());
                            assert_eq!((verified.identity(), verified.origin()), (identity.clone(), origin.as_deref()));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_use_is_noted_once_a_minute_and_expiry_is_to_the_millisecond() {
        let identity = Identity { subject: "s".into(), username: None, organization: None, role: None, email: None };
        let verified = Verified::new(&record(identity), "api".into());
        let at = Timestamp::from_unix_millis;
        assert!(verified.note_use(at(1_000)) && !verified.note_use(at(60_999)) && verified.note_use(at(61_000)));
        assert!(!verified.is_expired(at(4_999)) && verified.is_expired(at(5_000)));
    }

    #[test]
    fn only_an_api_key_opens_routes() {
        let identity = Identity { subject: "s".into(), username: None, organization: None, role: None, email: None };
        for (kind, power, opens) in [
            (RecordKind::ApiKey, Power::Full, true),
            (RecordKind::Session, Power::Session, false),
            (RecordKind::Bootstrap { mints_left: 1 }, Power::Bootstrap, false),
            (RecordKind::Bootstrap { mints_left: 0 }, Power::Spent, false),
        ] {
            let verified = Verified::new(&Record { kind, ..record(identity.clone()) }, "api".into());
            assert_eq!((verified.power(), verified.power().opens_routes()), (power, opens));
        }
    }

    #[test]
    fn a_million_of_them_fit_in_two_hundred_bytes_each_with_their_text() {
        assert!(size_of::<Verified>() <= 96, "{}", size_of::<Verified>());
    }
}
