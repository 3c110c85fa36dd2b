//! What a store holds, as a migration reads and compares it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;
use tokio::task::JoinError;
use uuid::Uuid;

use crate::domain::{Account, AccountId, Record, RecordSort, Timestamp};
use crate::tokens::accounts::AccountStore;
use crate::tokens::accounts::store::Credentials;
use crate::tokens::store::{Filter, Listed, Store, StoreError};

/// How many operations are under way at once, so that a store can do many of them in one step of
/// its own.
const AT_ONCE: usize = 256;

/// A store as both of its ports.
#[derive(Clone)]
pub struct Ports {
    /// Its records.
    pub records: Arc<dyn Store>,
    /// Its accounts.
    pub accounts: Arc<dyn AccountStore>,
}

/// The sorts of what is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Accounts, with the hashes of their passwords.
    Accounts,
    /// API keys that are not retired.
    ApiKeys,
    /// API keys that are retired.
    RetiredKeys,
    /// Logins.
    Sessions,
    /// Bootstrap tokens, spent or not.
    BootstrapTokens,
}

impl Sort {
    /// All of them, in the order of the summary.
    pub const ALL: [Self; 5] =
        [Self::Accounts, Self::ApiKeys, Self::RetiredKeys, Self::Sessions, Self::BootstrapTokens];

    /// Their name, in the plural.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::ApiKeys => "API keys",
            Self::RetiredKeys => "retired keys",
            Self::Sessions => "sessions",
            Self::BootstrapTokens => "bootstrap tokens",
        }
    }

    fn of(item: &Listed) -> Self {
        match item.record.kind.sort() {
            RecordSort::ApiKey if item.retired_at.is_some() => Self::RetiredKeys,
            RecordSort::ApiKey => Self::ApiKeys,
            RecordSort::Session => Self::Sessions,
            RecordSort::Bootstrap => Self::BootstrapTokens,
        }
    }
}

/// Which of the two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that is copied.
    Source,
    /// The one that it is copied into.
    Target,
}

/// A migration was broken off. What was copied stays, and the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A store failed.
    #[error("the {side} failed", side = match .0 { Side::Source => "source", Side::Target => "target" })]
    Store(Side, #[source] StoreError),
    /// A name or an address was taken at the target meanwhile: another program writes to it.
    #[error("account {0} cannot be added to the target: its name or address was taken meanwhile")]
    Taken(AccountId),
    /// A fault of keyward itself.
    #[error("the work was broken off")]
    Broken(#[source] JoinError),
}

/// Runs the futures in their order, at most [`AT_ONCE`] at the same time, and returns their results
/// in this order.
pub(super) async fn in_order<T: Send + 'static>(
    work: impl Iterator<Item = impl Future<Output = Result<T, MigrationError>> + Send + 'static>,
    done: &mut dyn FnMut(),
) -> Result<Vec<T>, MigrationError> {
    let mut work = work.fuse();
    let mut under_way = VecDeque::with_capacity(AT_ONCE);
    let mut results = Vec::new();
    loop {
        if under_way.len() < AT_ONCE
            && let Some(future) = work.next()
        {
            under_way.push_back(tokio::spawn(future));
            continue;
        }
        let Some(first) = under_way.pop_front() else { return Ok(results) };
        results.push(first.await.map_err(MigrationError::Broken)??);
        done();
    }
}

/// A record or an account, as a store holds it.
pub(super) enum Item {
    Record(Listed),
    Account(Credentials),
}

impl Item {
    /// Unique in a store: whether it is an account, and its id.
    pub(super) fn key(&self) -> (bool, Uuid) {
        match self {
            Self::Record(listed) => (false, Uuid::from_bytes(*listed.record.id.as_bytes())),
            Self::Account(found) => (true, Uuid::from_bytes(*found.account.id.as_bytes())),
        }
    }

    pub(super) fn sort(&self) -> Sort {
        match self {
            Self::Record(listed) => Sort::of(listed),
            Self::Account(_) => Sort::Accounts,
        }
    }

    pub(super) fn token_api(&self) -> &str {
        match self {
            Self::Record(listed) => &listed.record.token_api,
            Self::Account(found) => &found.account.token_api,
        }
    }

    /// Whether it has expired, and is left behind. A retired key stays in its owner's list for
    /// ever.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        matches!(self, Self::Record(Listed { record, retired_at: None }) if record.is_expired(now))
    }

    /// The fields in which it differs from the item with the same id at the other store.
    pub(super) fn differing_fields(&self, other: &Self) -> Vec<&'static str> {
        let fields = match (self, other) {
            (Self::Record(own), Self::Record(other)) => same_fields_of_records(own, other).to_vec(),
            (Self::Account(own), Self::Account(other)) => {
                same_fields_of_accounts(own, other).to_vec()
            }
            _ => Vec::new(),
        };
        fields.into_iter().filter(|(_, is_same)| !is_same).map(|(field, _)| field).collect()
    }
}

/// The fields of two records of one id, and whether they are the same.
fn same_fields_of_records(a: &Listed, b: &Listed) -> [(&'static str, bool); 12] {
    // Named one by one, so that a new field of a record has to be added.
    let Record {
        digest,
        id: _,
        token_api,
        kind,
        origin,
        identity,
        name,
        hint,
        limits,
        issued_at,
        expires_at,
        last_used_at,
    } = &a.record;
    let other = &b.record;
    [
        ("digest", *digest == other.digest),
        ("token API", *token_api == other.token_api),
        ("sort or number of keys left to make", *kind == other.kind),
        ("origin", *origin == other.origin),
        ("identity", *identity == other.identity),
        ("name", *name == other.name),
        ("hint", *hint == other.hint),
        ("limits", *limits == other.limits),
        ("time of issue", *issued_at == other.issued_at),
        ("expiry", *expires_at == other.expires_at),
        ("last use", *last_used_at == other.last_used_at),
        ("retirement", a.retired_at == b.retired_at),
    ]
}

/// The fields of two accounts of one id, and whether they are the same.
fn same_fields_of_accounts(a: &Credentials, b: &Credentials) -> [(&'static str, bool); 8] {
    let Account { id: _, token_api, username, email, full_name, created_at, is_disabled, revision } =
        &a.account;
    let other = &b.account;
    [
        ("token API", *token_api == other.token_api),
        ("username", *username == other.username),
        ("email address", *email == other.email),
        ("full name", *full_name == other.full_name),
        ("time of registration", *created_at == other.created_at),
        ("whether it is disabled", *is_disabled == other.is_disabled),
        ("revision", *revision == other.revision),
        ("password", a.hash == b.hash),
    ]
}

/// Everything that a store holds: records, oldest first, and then accounts.
pub(super) struct Contents(pub(super) Vec<Item>);

impl Contents {
    pub(super) async fn read(ports: &Ports, side: Side) -> Result<Self, MigrationError> {
        let failed = move |fault| MigrationError::Store(side, fault);
        let live = ports.records.browse(Filter::default()).await.map_err(failed)?;
        let mut records = ports.records.retired().await.map_err(failed)?;
        records.extend(live.into_iter().map(|record| Listed { record, retired_at: None }));
        records.sort_by_key(|listed| listed.record.issued_at);
        // The list has no hashes; those are read one by one.
        let accounts = ports.accounts.accounts(None, 0).await.map_err(failed)?;
        let accounts = accounts.into_iter().map(|Account { token_api, username, .. }| {
            let found = ports.accounts.account_by_username(token_api, username.folded());
            async move { found.await.map_err(failed) }
        });
        let accounts = in_order(accounts, &mut || ()).await?.into_iter().flatten();
        Ok(Self(records.into_iter().map(Item::Record).chain(accounts.map(Item::Account)).collect()))
    }

    pub(super) fn by_key(&self) -> HashMap<(bool, Uuid), &Item> {
        self.0.iter().map(|item| (item.key(), item)).collect()
    }

    /// What the target does not hold and is not expired.
    pub(super) fn missing_in(&self, target: &Self, now: Timestamp) -> Vec<&Item> {
        let there = target.by_key();
        let is_missing = |item: &&Item| !item.is_expired(now) && !there.contains_key(&item.key());
        self.0.iter().filter(is_missing).collect()
    }

    pub(super) fn count(&self, sort: Sort) -> usize {
        self.0.iter().filter(|item| item.sort() == sort).count()
    }
}
