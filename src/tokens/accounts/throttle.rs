//! Limits how often a password may be tried, for each account and address.
//!
//! Failures are counted in windows of 15 minutes, of three things; the numbers are the defaults of
//! [`Logins`]. None of them may be 0, which would lock users out without an attack:
//!
//! | of | limit | against |
//! |---|---|---|
//! | one account from one address | 5 | guessing |
//! | one address, whatever the account | 50 | trying one password with every account |
//! | one account from everywhere | none; from 50 on, an address that has never logged in to it may fail once instead of 5 times | guessing from many addresses |
//!
//! Nothing locks an account. Whatever fails from other addresses, the owner's own address keeps its
//! five attempts, and a new address keeps one. An address is that of the connection; of IPv6 it is
//! the /64, which is what one site or host has. All peers of a listener on a Unix socket are one
//! address, unless a trusted proxy names another. A success clears the account's counter of that
//! address, and the address is then known.
//!
//! Accounts are counted by the name that is typed, folded, whether or not there is such an account:
//! all spellings share a counter (cf. CVE-2025-24806), and nothing tells which names exist.

use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac};

use super::command::AccountError;
use super::counters::{Allowance, CounterKey, Counters, Reservation, Settlement};
use super::logins::Logins;
use crate::domain::Timestamp;
use crate::domain::account::fold;
use crate::tokens::keyring::SecretBytes;
use crate::tokens::store::StoreError;

#[cfg(test)]
mod tests;

/// Where a call comes from, as far as it is counted: an IPv4 address, the /64 of an IPv6 address,
/// or a listener on a Unix socket, whose peers have no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientGroup(Group);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Group {
    Address(IpAddr),
    /// The SHA-256 of the listener's path.
    UnixListener([u8; 32]),
}

impl ClientGroup {
    /// All peers of the listener on the Unix socket at this path.
    #[must_use]
    pub fn of_unix_listener(path: &Path) -> Self {
        let digest = digest::digest(&digest::SHA256, path.as_os_str().as_bytes());
        Self(Group::UnixListener(digest.as_ref().first_chunk().copied().unwrap_or_default()))
    }
}

impl From<IpAddr> for ClientGroup {
    fn from(address: IpAddr) -> Self {
        Self(Group::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
            }
            v4 => v4,
        }))
    }
}

/// The limits, on a store of counters.
pub(super) struct Throttle {
    counters: Arc<dyn Counters>,
    key: hmac::Key,
    limits: Logins,
}

/// Permission to try one password, or to register one account. To be settled whatever the outcome.
#[must_use]
#[derive(Debug)]
pub(super) struct Attempt {
    /// What was reserved, and what becomes of it if the attempt passes.
    reserved: Vec<(CounterKey, Settlement)>,
    /// The account and the address of a login.
    login: Option<(CounterKey, CounterKey)>,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Try {
    /// The password was right, or the account was registered.
    Passed,
    /// It was not.
    Failed,
    /// It was not tried.
    Void,
}

impl Throttle {
    /// `key`: counters are named by a MAC under it, which tells nothing of what is counted.
    pub(super) fn new(counters: Arc<dyn Counters>, key: &SecretBytes, limits: Logins) -> Self {
        Self { counters, key: hmac::Key::new(hmac::HMAC_SHA256, key.expose()), limits }
    }

    /// Reserves an attempt.
    ///
    /// # Errors
    ///
    /// [`AccountError::TooMany`], or the counters cannot tell.
    pub(super) async fn admit(
        &self,
        token_api: &str,
        username: &str,
        client: ClientGroup,
        now: Timestamp,
    ) -> Result<Attempt, AccountError> {
        let folded = fold(username);
        let account = self.name(&[b"account", token_api.as_bytes(), folded.as_bytes()]);
        let address = self.name(&[b"address", &octets(client)]);
        let pair = self.name(&[b"pair", &account.0, &address.0]);
        let Logins { window, failures_per_address, .. } = self.limits;
        let mut limit = self.limits.failures;
        if self.counters.spent(account, now).await? >= self.limits.suspect_from
            && !self.counters.remembers(account, address, now).await?
        {
            limit = limit.min(self.limits.failures_of_strangers);
        }
        let allowances = [(pair, limit), (address, failures_per_address), (account, u32::MAX)];
        let allowances = allowances.map(|(key, limit)| Allowance { key, limit, window });
        self.reserve(allowances.into(), now).await?;
        let reserved = vec![
            (pair, Settlement::Cleared),
            (address, Settlement::Returned),
            (account, Settlement::Returned),
        ];
        Ok(Attempt { reserved, login: Some((account, address)) })
    }

    /// Counts the outcome of an attempt.
    pub(super) async fn settle(
        &self,
        attempt: Attempt,
        outcome: Try,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let settled = attempt.reserved.into_iter().map(|(key, if_passed)| match outcome {
            Try::Passed => (key, if_passed),
            Try::Failed => (key, Settlement::Spent),
            Try::Void => (key, Settlement::Returned),
        });
        self.counters.settle(settled.collect(), now).await?;
        if outcome == Try::Passed
            && let Some((account, address)) = attempt.login
        {
            self.counters.remember(account, address, now).await?;
        }
        Ok(())
    }

    /// Reserves a registration. Errors as for [`Self::admit`].
    pub(super) async fn admit_registration(
        &self,
        client: ClientGroup,
        now: Timestamp,
    ) -> Result<Attempt, AccountError> {
        let key = self.name(&[b"registration", &octets(client)]);
        let (limit, window) =
            (self.limits.registrations_per_address, self.limits.registration_window);
        let allowance = Allowance { key, limit, window };
        self.reserve(vec![allowance], now).await?;
        Ok(Attempt { reserved: vec![(key, Settlement::Spent)], login: None })
    }

    async fn reserve(
        &self,
        allowances: Vec<Allowance>,
        now: Timestamp,
    ) -> Result<(), AccountError> {
        match self.counters.reserve(allowances, now).await? {
            Reservation::Reserved => Ok(()),
            Reservation::Refused { retry_after } => Err(AccountError::TooMany { retry_after }),
        }
    }

    fn name(&self, parts: &[&[u8]]) -> CounterKey {
        let mut mac = hmac::Context::with_key(&self.key);
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        CounterKey(mac.sign().as_ref().first_chunk::<16>().copied().unwrap_or_default())
    }
}

fn octets(client: ClientGroup) -> Vec<u8> {
    // Of different lengths, so that no group is taken for one of another kind.
    match client.0 {
        Group::Address(IpAddr::V4(address)) => address.octets().to_vec(),
        Group::Address(IpAddr::V6(address)) => address.octets().to_vec(),
        Group::UnixListener(digest) => digest.to_vec(),
    }
}
