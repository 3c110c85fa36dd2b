//! Moves everything from one store to another: what is missing is copied, and everything is read
//! back and compared.
//!
//! The source is not changed. The target must be empty or hold nothing but what the source holds,
//! so a run that was broken off is completed by the next one. The caller sees to it that neither
//! store serves meanwhile. What has expired is left behind.

use std::collections::BTreeMap;

use serde::Serialize;

use self::contents::{Contents, Item, in_order};
pub use self::contents::{MigrationError, Ports, Side, Sort};
use super::accounts::store::{Credentials, Registered};
use super::store::StoreError;
use crate::domain::Timestamp;

mod contents;

/// How many differences are named.
const NAMED: usize = 20;

/// How many there were of one sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The sort.
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

/// The outcome of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// By sort.
    pub counts: Vec<Count>,
    /// How many are not the same at both stores, or only at the target, or missing there.
    pub differing: usize,
    /// The first 20 of them, for an operator: by id, never by a digest.
    pub differences: Vec<String>,
}

/// A step of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reading one of the stores.
    Reading(Side),
    /// So many have been copied, of so many that are missing.
    Copied(usize, usize),
    /// Everything is being read back.
    Verifying,
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
        copy(source.missing_in(&before, now), to, step).await?;
        step(Step::Verifying);
        let after = Contents::read(to, Side::Target).await?;
        comparison = Comparison::of(&source, &after, Some(now));
    }
    Ok(comparison.summary(&source, &before, now))
}

/// Adds accounts, and then records.
async fn copy(
    missing: Vec<&Item>,
    to: &Ports,
    step: &mut dyn FnMut(Step),
) -> Result<(), MigrationError> {
    let all = missing.len();
    let mut done = 0;
    let mut progress = || {
        done += 1;
        step(Step::Copied(done, all));
    };
    let failed = |fault: StoreError| MigrationError::Store(Side::Target, fault);
    let accounts = missing.iter().filter_map(|item| {
        let Item::Account(Credentials { account, hash }) = item else { return None };
        let id = account.id;
        let registration = to.accounts.register(account.clone(), hash.clone());
        Some(async move {
            match registration.await.map_err(failed)? {
                Registered::Registered => Ok(()),
                Registered::UsernameTaken | Registered::EmailTaken => {
                    Err(MigrationError::Taken(id))
                }
            }
        })
    });
    in_order(accounts, &mut progress).await?;
    let records = missing.iter().filter_map(|item| {
        let Item::Record(listed) = item else { return None };
        let restoring = to.records.restore(listed.clone());
        Some(async move { restoring.await.map_err(failed) })
    });
    in_order(records, &mut progress).await?;
    Ok(())
}

/// The contents of the target, compared with those of the source.
#[derive(Default)]
struct Comparison {
    same: BTreeMap<Sort, usize>,
    differing: usize,
    differences: Vec<String>,
}

impl Comparison {
    /// `complete`: what is missing at the target and had not expired at this moment is a
    /// difference, too.
    fn of(source: &Contents, target: &Contents, complete: Option<Timestamp>) -> Self {
        let mut comparison = Self::default();
        let originals = source.by_key();
        for item in &target.0 {
            match originals.get(&item.key()).map(|original| original.differing_fields(item)) {
                None => comparison.differ(item, "is only at the target"),
                Some(fields) if fields.is_empty() => {
                    *comparison.same.entry(item.sort()).or_default() += 1
                }
                Some(fields) => comparison.differ(item, &format!("differs: {}", fields.join(", "))),
            }
        }
        for item in complete.iter().flat_map(|now| source.missing_in(target, *now)) {
            comparison.differ(item, "is missing at the target");
        }
        comparison
    }

    fn differ(&mut self, item: &Item, how: &str) {
        self.differing += 1;
        if self.differences.len() < NAMED {
            let sort = item.sort().words().trim_end_matches('s');
            self.differences.push(format!(
                "{sort} {} of {:?} {how}",
                item.key().1,
                item.token_api()
            ));
        }
    }

    fn summary(self, source: &Contents, before: &Contents, now: Timestamp) -> Migration {
        let count = |sort: Sort| {
            let verified = self.same.get(&sort).copied().unwrap_or(0);
            let there = before.count(sort);
            let is_left = |item: &&Item| item.sort() == sort && item.is_expired(now);
            Count {
                sort,
                found: source.count(sort),
                expired: source.0.iter().filter(is_left).count(),
                there,
                copied: verified.saturating_sub(there),
                verified,
            }
        };
        let counts = Sort::ALL.map(count).to_vec();
        Migration { counts, differing: self.differing, differences: self.differences }
    }
}
