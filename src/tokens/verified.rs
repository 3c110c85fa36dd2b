//! What is remembered of a token that passed, packed: a million of them may be in memory.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::issuer::Outside;
use super::store::AuthorizedBy;
use crate::domain::{
    Identity, KeyLimits, Owner, Record, RecordKind, Timestamp, TokenDigest, TokenId,
};

/// A token that has a record, or an outside token that was verified. Only the time of its last use
/// changes.
#[derive(Debug)]
pub struct Verified {
    id: TokenId,
    /// Unix milliseconds; [`NEVER`]: it does not expire.
    expires_at: i64,
    /// When a use was last noted in the store, in Unix milliseconds.
    noted_at: AtomicI64,
    token_api: Arc<str>,
    /// The fields of the identity and the origin, in the order of [`Field`], without separators.
    text: Box<str>,
    /// Where each field but the last ends in `text`.
    ends: [u32; FIELDS - 1],
    /// A bit for each field that is present.
    present: u8,
    power: Power,
    /// Boxed: few tokens have any.
    limits: Option<Box<KeyLimits>>,
}

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Everything that a token API and a route allow.
    Full,
    /// Make the calls of token APIs, but open no route.
    Session,
    /// Only make API keys.
    Bootstrap,
    /// Nothing: a bootstrap token that has made all its keys.
    Spent,
    /// Everything that a token API and a route allow to the JWTs of this outside issuer.
    Outside,
}

impl Power {
    /// Whether routes accept it. The others are credentials for token APIs only.
    #[must_use]
    pub const fn opens_routes(self) -> bool {
        matches!(self, Self::Full | Self::Outside)
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
    /// A token with this record.
    #[must_use]
    pub fn new(record: &Record) -> Self {
        let power = match record.kind {
            RecordKind::ApiKey => Power::Full,
            RecordKind::Session => Power::Session,
            RecordKind::Bootstrap { mints_left: 0 } => Power::Spent,
            RecordKind::Bootstrap { .. } => Power::Bootstrap,
        };
        Self {
            id: record.id,
            expires_at: record.expires_at.map_or(NEVER, Timestamp::unix_millis),
            noted_at: AtomicI64::new(record.last_used_at.map_or(i64::MIN, Timestamp::unix_millis)),
            power,
            limits: record.limits.map(Box::new),
            ..Self::packed(
                &record.identity,
                record.origin.as_deref(),
                record.token_api.as_str().into(),
            )
        }
    }

    /// An outside token. It has no record, so it has no id, and its use is never noted.
    #[must_use]
    pub fn outside(outside: &Outside) -> Self {
        Self {
            expires_at: outside.claims.expires_at.unix_millis(),
            ..Self::packed(&outside.claims.identity, None, Arc::clone(outside.issuer()))
        }
    }

    /// These texts, and otherwise a token without record.
    fn packed(identity: &Identity, origin: Option<&str>, token_api: Arc<str>) -> Self {
        let Identity { subject, username, organization, role, email } = identity;
        let fields: [_; FIELDS] = [
            Some(subject.as_str()),
            username.as_deref(),
            organization.as_deref(),
            role.as_deref(),
            email.as_deref(),
            origin,
        ];
        let mut text =
            String::with_capacity(fields.iter().flatten().map(|field| field.len()).sum());
        let mut ends = [0; FIELDS - 1];
        let mut present = 0;
        for (at, field) in fields.iter().enumerate() {
            if let Some(field) = field {
                text.push_str(field);
                present |= 1 << at;
            }
            if let Some(end) = ends.get_mut(at) {
                *end = u32::try_from(text.len()).unwrap_or(u32::MAX);
            }
        }
        Self {
            id: TokenId::from_uuid(uuid::Uuid::nil()),
            expires_at: NEVER,
            noted_at: AtomicI64::new(NEVER),
            token_api,
            text: text.into(),
            ends,
            present,
            power: Power::Outside,
            limits: None,
        }
    }

    /// The public id; without meaning for an outside token, see [`Caller::token_id`].
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// The token API that issued it, or the outside issuer: their names are never the same.
    #[must_use]
    pub fn token_api(&self) -> &Arc<str> {
        &self.token_api
    }

    /// What its holder may do.
    #[must_use]
    pub fn power(&self) -> Power {
        self.power
    }

    /// Its own limits; an outside token has none.
    #[must_use]
    pub fn limits(&self) -> Option<&KeyLimits> {
        self.limits.as_deref()
    }

    /// Whether it has expired at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now.unix_millis() >= self.expires_at
    }

    /// The first moment at which it is no longer accepted; `None`: it does not expire.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        (self.expires_at != NEVER).then(|| Timestamp::from_unix_millis(self.expires_at))
    }

    /// The origin of the subject ([`Record::origin`]).
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

    /// The whole identity.
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

    /// Whether this use is to be noted in the store: `true` for one call a minute.
    pub fn note_use(&self, now: Timestamp) -> bool {
        let noted = self.noted_at.load(Ordering::Relaxed);
        now.unix_millis().saturating_sub(noted) >= NOTE_EVERY_MILLIS
            && self
                .noted_at
                .compare_exchange(noted, now.unix_millis(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn field(&self, field: Field) -> Option<&str> {
        let at = field as usize;
        if self.present & (1 << at) == 0 {
            return None;
        }
        let start = at.checked_sub(1).map_or(Some(&0), |before| self.ends.get(before))?;
        let end = self.ends.get(at).map_or(self.text.len(), |end| *end as usize);
        self.text.get(*start as usize..end)
    }
}

/// A credential that passed.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its digest: the key of the record, if there is one.
    pub digest: TokenDigest,
    /// The identity of the holder.
    pub token: Arc<Verified>,
    /// Of an outside token: its other claims.
    pub outside: Option<Arc<Outside>>,
}

/// In a path: the tenant that the caller acts for.
pub const ACTIVE_TENANT: &str = "active";

impl Caller {
    /// The holder of an outside token.
    #[must_use]
    pub fn of_outside(digest: TokenDigest, outside: Arc<Outside>) -> Self {
        Self { digest, token: Arc::new(Verified::outside(&outside)), outside: Some(outside) }
    }

    /// The owner whose keys it lists, makes and revokes at this token API: the subject, of the
    /// token API or issuer of its credential.
    #[must_use]
    pub fn owner_at(&self, token_api: &str) -> Owner {
        let own = &**self.token.token_api();
        let origin = match &self.outside {
            Some(outside) => Some(outside.origin()),
            None if own == token_api => self.token.origin(),
            None => Some(own),
        };
        Owner {
            token_api: token_api.to_owned(),
            origin: origin.map(str::to_owned),
            subject: self.token.subject().to_owned(),
        }
    }

    /// What authorizes a change that it asks for.
    #[must_use]
    pub fn authorized_by(&self) -> AuthorizedBy {
        match self.outside {
            Some(_) => AuthorizedBy::Outside,
            None => AuthorizedBy::Record(self.digest),
        }
    }

    /// The id of the token for headers and logs; of an outside token its `jti`, if it has one.
    #[must_use]
    pub fn token_id(&self) -> Option<Cow<'_, str>> {
        match &self.outside {
            Some(outside) => outside.claims.token_id.as_deref().map(Cow::Borrowed),
            None => Some(Cow::Owned(self.token.id().to_string())),
        }
    }

    /// The tenant that a path names, if it is one of the caller's: [`ACTIVE_TENANT`] is the one
    /// that it acts for, or its only one.
    ///
    /// A token of keyward has one tenant, its organization. An outside token has those that it
    /// lists; if it lists none, its active tenant; without that claim, its organization. An active
    /// tenant that is not in the list is none.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Option<&str> {
        let active =
            self.outside.as_ref().and_then(|outside| outside.claims.active_tenant.as_deref());
        let listed = self.outside.iter().flat_map(|outside| &outside.claims.tenants);
        let mut listed = listed.map(|tenant| &**tenant);
        let Some(first) = listed.next() else {
            let only = active.or(self.token.organization()).filter(|tenant| !tenant.is_empty());
            return only.filter(|tenant| name == ACTIVE_TENANT || *tenant == name);
        };
        let mut all = std::iter::once(first).chain(listed);
        match (name, active) {
            (ACTIVE_TENANT, Some(active)) => all.find(|tenant| *tenant == active),
            (ACTIVE_TENANT, None) => all.all(|tenant| tenant == first).then_some(first),
            _ => all.find(|tenant| *tenant == name),
        }
        .filter(|tenant| !tenant.is_empty())
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
            limits: None,
            issued_at: Timestamp::from_unix_millis(0),
            expires_at: Some(Timestamp::from_unix_millis(5000)),
            last_used_at: None,
        }
    }

    fn subject_alone() -> Identity {
        let subject = "s".into();
        Identity { subject, username: None, organization: None, role: None, email: None }
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
                            let record =
                                Record { origin: origin.clone(), ..record(identity.clone()) };
                            let verified = Verified::new(&record);
                            assert_eq!(
                                (verified.identity(), verified.origin()),
                                (identity.clone(), origin.as_deref())
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_use_is_noted_once_a_minute_and_expiry_is_to_the_millisecond() {
        let verified = Verified::new(&record(subject_alone()));
        let at = Timestamp::from_unix_millis;
        assert!(
            verified.note_use(at(1_000))
                && !verified.note_use(at(60_999))
                && verified.note_use(at(61_000))
        );
        assert!(!verified.is_expired(at(4_999)) && verified.is_expired(at(5_000)));
    }

    #[test]
    fn only_an_api_key_opens_routes() {
        for (kind, power, opens) in [
            (RecordKind::ApiKey, Power::Full, true),
            (RecordKind::Session, Power::Session, false),
            (RecordKind::Bootstrap { mints_left: 1 }, Power::Bootstrap, false),
            (RecordKind::Bootstrap { mints_left: 0 }, Power::Spent, false),
        ] {
            let verified = Verified::new(&Record { kind, ..record(subject_alone()) });
            assert_eq!((verified.power(), verified.power().opens_routes()), (power, opens));
        }
    }

    #[test]
    fn a_million_of_them_fit_in_two_hundred_bytes_each_with_their_text() {
        assert!(size_of::<Verified>() <= 96, "{}", size_of::<Verified>());
    }
}
