//! Moving everything from one store to another: what is missing is copied, and everything is read
//! back and compared.
//!
//! Nothing is deleted or changed at the source. The target must be empty or hold nothing but what
//! the source holds, so a run that was broken off is completed by the next one. Neither may serve
//! meanwhile: that is for the caller to see to. What has expired is left behind.
//!
//! One file: reading, copying and comparing go over the same lists of sorts.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tokio::task::{JoinError, JoinHandle};

use super::accounts::AccountStore;
use super::accounts::store::{Credentials, Registered};
use super::store::{Filter, Listed, Store, StoreError, StoreFuture};
use crate::domain::{Account, AccountId, Record, RecordSort, Timestamp, TokenId};

/// How many operations are under way at once: enough that a store can do many of them in one step
/// of its own.
const AT_ONCE: usize = 256;

/// How many differences are named.
const NAMED: usize = 20;

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
    /// Those that are.
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

    /// What a reader calls them.
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

    const fn one(self) -> &'static str {
        match self {
            Self::Accounts => "account",
            Self::ApiKeys => "API key",
            Self::RetiredKeys => "retired key",
            Self::Sessions => "session",
            Self::BootstrapTokens => "bootstrap token",
        }
    }

    fn of(kept: &Listed) -> Self {
        match kept.record.kind.sort() {
            RecordSort::ApiKey if kept.retired_at.is_some() => Self::RetiredKeys,
            RecordSort::ApiKey => Self::ApiKeys,
            RecordSort::Session => Self::Sessions,
            RecordSort::Bootstrap => Self::BootstrapTokens,
        }
    }
}

/// How many there were of one sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Which.
    pub sort: Sort,
    /// At the source.
    pub found: usize,
    /// At the source, but expired: left behind.
    pub expired: usize,
    /// At the target already.
    pub there: usize,
    /// Copied by this run.
    pub copied: usize,
    /// At the target at the end, and the same as at the source.
    pub verified: usize,
}

/// What became of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// By sort.
    pub counts: Vec<Count>,
    /// How many differ: at the target, but not the same as at the source or not there at all; or
    /// missing at the target.
    pub differing: usize,
    /// The first of them in words: by id, never by a digest.
    pub differences: Vec<String>,
}

/// What happens just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reading one of the stores.
    Reading(Side),
    /// So many of so many of this sort have been copied.
    Copied(usize, usize),
    /// Everything is being read back.
    Verifying,
}

/// Which of the two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that is copied.
    Source,
    /// The one that it is copied into.
    Target,
}

/// It was broken off: what was copied stays, and a repeated run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A store failed.
    #[error("the {side} failed", side = match .0 { Side::Source => "source", Side::Target => "target" })]
    Store(Side, #[source] StoreError),
    /// A name or an address is taken at the target although it was empty: another program writes to
    /// it.
    #[error("account {0} cannot be added to the target: its name or address was taken meanwhile")]
    Taken(AccountId),
    /// The program fails itself.
    #[error("the work was broken off")]
    Broken(#[source] JoinError),
}

/// Copies what is missing at `to`, and compares everything. `step` is called at each step.
///
/// Where the target holds something that the source does not hold in the same way, nothing is
/// copied, and the differences say so.
///
/// # Errors
///
/// See [`MigrationError`].
///
/// # Cancel safety
///
/// What was copied stays; a repeated run completes it.
pub async fn migrate(
    from: &Ports,
    to: &Ports,
    now: Timestamp,
    step: &mut dyn FnMut(Step),
) -> Result<Migration, MigrationError> {
    step(Step::Reading(Side::Source));
    let source = Contents::read(from, Side::Source).await?;
    step(Step::Reading(Side::Target));
    let before = Contents::read(to, Side::Target).await?;
    let mut comparison = Comparison::of(&source, &before, None);
    if comparison.differing == 0 {
        let there = before.index();
        let missing_accounts: Vec<_> = source
            .accounts
            .iter()
            .filter(|found| !there.accounts.contains_key(&found.account.id))
            .cloned()
            .collect();
        let is_missing =
            |kept: &&Listed| !is_over(kept, now) && !there.records.contains_key(&kept.record.id);
        let missing: Vec<_> = source.records.iter().filter(is_missing).cloned().collect();
        drop(there);
        let all = missing_accounts.len() + missing.len();
        let mut done = 0;
        let mut progress = || {
            done += 1;
            step(Step::Copied(done, all));
        };
        let ids: Vec<_> = missing_accounts.iter().map(|found| found.account.id).collect();
        let accounts = missing_accounts
            .into_iter()
            .map(|found| to.accounts.register(found.account, found.hash));
        let registered = in_order(Side::Target, accounts, &mut progress).await?;
        let refused =
            ids.into_iter().zip(registered).find(|&(_, outcome)| outcome != Registered::Registered);
        if let Some((id, _)) = refused {
            return Err(MigrationError::Taken(id));
        }
        let records = missing.into_iter().map(|kept| to.records.restore(kept));
        in_order(Side::Target, records, &mut progress).await?;
        step(Step::Verifying);
        let after = Contents::read(to, Side::Target).await?;
        comparison = Comparison::of(&source, &after, Some(now));
    }
    Ok(comparison.summary(&source, &before, now))
}

/// Whether a record has expired: it is left behind. What is retired stays in its owner's list for
/// ever.
fn is_over(kept: &Listed, now: Timestamp) -> bool {
    kept.retired_at.is_none() && kept.record.is_expired(now)
}

/// Makes the futures one after another, has at most [`AT_ONCE`] of them under way, and returns what
/// they return in their order.
async fn in_order<T: Send + 'static>(
    side: Side,
    work: impl Iterator<Item = StoreFuture<T>>,
    done: &mut dyn FnMut(),
) -> Result<Vec<T>, MigrationError> {
    let mut under_way: VecDeque<JoinHandle<Result<T, StoreError>>> =
        VecDeque::with_capacity(AT_ONCE);
    let mut results = Vec::new();
    for future in work {
        if under_way.len() >= AT_ONCE
            && let Some(first) = under_way.pop_front()
        {
            results.push(settled(side, first).await?);
            done();
        }
        under_way.push_back(tokio::spawn(future));
    }
    for first in under_way {
        results.push(settled(side, first).await?);
        done();
    }
    Ok(results)
}

async fn settled<T>(
    side: Side,
    task: JoinHandle<Result<T, StoreError>>,
) -> Result<T, MigrationError> {
    task.await.map_err(MigrationError::Broken)?.map_err(|fault| MigrationError::Store(side, fault))
}

/// Everything that a store holds.
struct Contents {
    /// Oldest first, those that are retired among them.
    records: Vec<Listed>,
    accounts: Vec<Credentials>,
}

/// The same by id.
struct Index<'a> {
    records: HashMap<TokenId, &'a Listed>,
    accounts: HashMap<AccountId, &'a Credentials>,
}

impl Contents {
    async fn read(ports: &Ports, side: Side) -> Result<Self, MigrationError> {
        let failed = |fault| MigrationError::Store(side, fault);
        let live = ports.records.browse(Filter::default()).await.map_err(failed)?;
        let mut records = ports.records.retired().await.map_err(failed)?;
        records.extend(live.into_iter().map(|record| Listed { record, retired_at: None }));
        records.sort_by_key(|kept| kept.record.issued_at);
        // The list has no hashes; those are read one by one.
        let listed = ports.accounts.accounts(None, 0).await.map_err(failed)?;
        let found = listed.into_iter().map(|account| {
            ports.accounts.account_by_username(account.token_api, account.username.folded())
        });
        let accounts = in_order(side, found, &mut || ()).await?.into_iter().flatten().collect();
        Ok(Self { records, accounts })
    }

    fn index(&self) -> Index<'_> {
        Index {
            records: self.records.iter().map(|kept| (kept.record.id, kept)).collect(),
            accounts: self.accounts.iter().map(|found| (found.account.id, found)).collect(),
        }
    }

    fn count(&self, sort: Sort, counted: impl Fn(&Listed) -> bool) -> usize {
        if sort == Sort::Accounts {
            return self.accounts.len();
        }
        self.records.iter().filter(|kept| Sort::of(kept) == sort && counted(kept)).count()
    }
}

/// What the target holds, held against the source.
#[derive(Default)]
struct Comparison {
    same: HashMap<&'static str, usize>,
    differing: usize,
    differences: Vec<String>,
}

impl Comparison {
    /// With `complete`, what is missing at the target and had not expired at that moment is a
    /// difference, too.
    fn of(source: &Contents, target: &Contents, complete: Option<Timestamp>) -> Self {
        let mut found = Self::default();
        let (from, to) = (source.index(), target.index());
        for kept in &target.records {
            let here = Name {
                sort: Sort::of(kept),
                id: &kept.record.id,
                token_api: &kept.record.token_api,
            };
            found.note(
                &here,
                from.records.get(&kept.record.id).map(|original| unlike(original, kept)),
            );
        }
        for account in &target.accounts {
            let Credentials { account: Account { id, token_api, .. }, .. } = account;
            let here = Name { sort: Sort::Accounts, id, token_api };
            found.note(
                &here,
                from.accounts.get(id).map(|original| unlike_accounts(original, account)),
            );
        }
        let Some(now) = complete else { return found };
        for kept in source.records.iter().filter(|kept| !is_over(kept, now)) {
            if !to.records.contains_key(&kept.record.id) {
                let here = Name {
                    sort: Sort::of(kept),
                    id: &kept.record.id,
                    token_api: &kept.record.token_api,
                };
                found.differ(&here, "is missing at the target");
            }
        }
        for Credentials { account, .. } in &source.accounts {
            if !to.accounts.contains_key(&account.id) {
                let here =
                    Name { sort: Sort::Accounts, id: &account.id, token_api: &account.token_api };
                found.differ(&here, "is missing at the target");
            }
        }
        found
    }

    /// What there is at the target, and in what it is unlike the one at the source, if there is
    /// one.
    fn note(&mut self, name: &Name<'_>, unlike: Option<Vec<&'static str>>) {
        match unlike {
            None => self.differ(name, "is only at the target"),
            Some(fields) if fields.is_empty() => {
                *self.same.entry(name.sort.words()).or_default() += 1
            }
            Some(fields) => self.differ(name, &format!("differs: {}", fields.join(", "))),
        }
    }

    fn differ(&mut self, name: &Name<'_>, how: &str) {
        self.differing += 1;
        if self.differences.len() < NAMED {
            let Name { sort, id, token_api } = name;
            self.differences.push(format!("{} {id} of {token_api:?} {how}", sort.one()));
        }
    }

    fn summary(self, source: &Contents, before: &Contents, now: Timestamp) -> Migration {
        let count = |sort: Sort| {
            let verified = self.same.get(sort.words()).copied().unwrap_or(0);
            let there = before.count(sort, |_| true);
            Count {
                sort,
                found: source.count(sort, |_| true),
                expired: if sort == Sort::Accounts {
                    0
                } else {
                    source.count(sort, |kept| is_over(kept, now))
                },
                there,
                copied: verified.saturating_sub(there),
                verified,
            }
        };
        let counts = Sort::ALL.map(count).to_vec();
        Migration { counts, differing: self.differing, differences: self.differences }
    }
}

/// What a record is called in a difference.
struct Name<'a> {
    sort: Sort,
    id: &'a dyn fmt::Display,
    token_api: &'a str,
}

/// In what two records of one id differ.
fn unlike(a: &Listed, b: &Listed) -> Vec<&'static str> {
    // Named one by one, so that the compiler asks for a field that is added to a record.
    let Record {
        digest,
        id: _,
        token_api,
        kind,
        origin,
        identity,
        name,
        hint,
        issued_at,
        expires_at,
        last_used_at,
    } = &a.record;
    let b_record = &b.record;
    let fields = [
        ("digest", *digest == b_record.digest),
        ("token API", *token_api == b_record.token_api),
        ("sort or number of keys left to make", *kind == b_record.kind),
        ("origin", *origin == b_record.origin),
        ("identity", *identity == b_record.identity),
        ("name", *name == b_record.name),
        ("hint", *hint == b_record.hint),
        ("time of issue", *issued_at == b_record.issued_at),
        ("expiry", *expires_at == b_record.expires_at),
        ("last use", *last_used_at == b_record.last_used_at),
        ("retirement", a.retired_at == b.retired_at),
    ];
    fields.into_iter().filter(|(_, same)| !same).map(|(field, _)| field).collect()
}

/// In what two accounts of one id differ.
fn unlike_accounts(a: &Credentials, b: &Credentials) -> Vec<&'static str> {
    let Account { id: _, token_api, username, email, full_name, created_at, is_disabled, revision } =
        &a.account;
    let account = &b.account;
    let fields = [
        ("token API", *token_api == account.token_api),
        ("username", *username == account.username),
        ("email address", *email == account.email),
        ("full name", *full_name == account.full_name),
        ("time of registration", *created_at == account.created_at),
        ("whether it is disabled", *is_disabled == account.is_disabled),
        ("revision", *revision == account.revision),
        ("password", a.hash == b.hash),
    ];
    fields.into_iter().filter(|(_, same)| !same).map(|(field, _)| field).collect()
}
