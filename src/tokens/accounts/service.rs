//! The use-cases of accounts. Every change is made by this service, so that the store and the cache
//! always agree.

mod administration;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::command::{AccountCommand, AccountError, AccountOutcome, KeyCommand, Registration};
use super::counters::Counters;
use super::hashing::HashingPool;
use super::logins::Logins;
use super::password_hash::Verdict;
use super::store::{AccountStore, Credentials, SessionOpening};
use super::throttle::{ClientGroup, Throttle, TooMany, Try};
use crate::domain::{
    Account, NewPassword, Password, RawToken, Record, RecordKind, Timestamp, TokenDigest, TokenId,
    Username,
};
use crate::tokens::cache::TokenCache;
use crate::tokens::keyring::{CredentialSort, Peppers, SecretBytes};
use crate::tokens::opaque::{OpaqueFormat, OpaqueTokens};
use crate::tokens::service::to_its_end;
use crate::tokens::signed::{SignedTokens, SigningAlgorithm};
use crate::tokens::store::{Store, StoreError};
use crate::tokens::verified::{Caller, Power};

/// How much of a key its owner sees in the list, beside the prefix.
const HINT_CHARS: usize = 4;

/// How long a password may wait to be hashed and be hashed. The queue is worth less than a second;
/// the rest is for a machine on which the proxy leaves the pool little.
const HASHING_DEADLINE: Duration = Duration::from_secs(10);

/// What one token API of the style says of its accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountTerms {
    /// Its name.
    pub token_api: Arc<str>,
    /// How it signs sessions.
    pub algorithm: SigningAlgorithm,
    /// How long a session lasts.
    pub session: Duration,
    /// How accounts come to be.
    pub enrolment: Enrolment,
    /// How its keys look.
    pub format: OpaqueFormat,
}

/// How accounts come to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enrolment {
    /// Anyone may register.
    #[default]
    Open,
    /// An administrator alone.
    Closed,
}

/// The parts that the service works with.
#[derive(Clone)]
pub struct AccountParts {
    /// The allowlist.
    pub store: Arc<dyn Store>,
    /// The accounts, kept with it.
    pub accounts: Arc<dyn AccountStore>,
    /// What failed before.
    pub counters: Arc<dyn Counters>,
    /// What is to be told of what was removed.
    pub cache: Arc<TokenCache>,
    /// Makes sessions.
    pub signed: Arc<SignedTokens>,
    /// Makes keys.
    pub opaque: Arc<OpaqueTokens>,
    /// Knows both by their digests.
    pub peppers: Arc<Peppers>,
    /// Names the counters of what failed.
    pub counter_key: Arc<SecretBytes>,
    /// Hashes passwords.
    pub hashing: Arc<HashingPool>,
    /// How often a password may be tried.
    pub limits: Logins,
    /// How long one operation of the store may take.
    pub deadline: Duration,
}

/// Registers, logs in, and manages keys.
#[derive(Clone)]
pub struct AccountsService {
    parts: AccountParts,
    throttle: Arc<Throttle>,
}

impl AccountsService {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: AccountParts) -> Self {
        let throttle = Throttle::new(Arc::clone(&parts.counters), &parts.counter_key, parts.limits);
        Self { parts, throttle: Arc::new(throttle) }
    }

    /// Does what is asked of the token API of `terms`, from `client`, by `caller` if the call has a
    /// credential.
    ///
    /// # Errors
    ///
    /// See [`AccountError`].
    ///
    /// # Cancel safety
    ///
    /// A command that has begun runs to its end even if its caller is gone: every attempt is
    /// counted, and nothing that was removed stays remembered.
    pub async fn execute(
        &self,
        terms: &AccountTerms,
        client: ClientGroup,
        caller: Option<&Caller>,
        command: AccountCommand,
        now: Timestamp,
    ) -> Result<AccountOutcome, AccountError> {
        match command {
            AccountCommand::Register(registration) => self
                .register(terms, client, registration, now)
                .await
                .map(AccountOutcome::Registered),
            AccountCommand::Login { username, password } => self
                .login(terms, client, username, password, now)
                .await
                .map(|token| AccountOutcome::LoggedIn { token }),
            AccountCommand::Keys(command) => {
                let is_session = |caller: &&Caller| {
                    let token = &caller.token;
                    token.power() == Power::Session
                        && **token.token_api() == *terms.token_api
                        && token.origin().is_none()
                };
                let caller = caller.filter(is_session).ok_or(AccountError::NoSession)?;
                match command {
                    KeyCommand::Issue { name } => self.issue_key(terms, caller, name, now).await,
                    KeyCommand::List => self.list_keys(caller, now).await,
                    KeyCommand::Revoke(id) => self.revoke_key(caller, id, now).await,
                }
            }
        }
    }

    async fn register(
        &self,
        terms: &AccountTerms,
        client: ClientGroup,
        registration: Registration,
        now: Timestamp,
    ) -> Result<Account, AccountError> {
        if terms.enrolment == Enrolment::Closed {
            return Err(AccountError::RegistrationClosed);
        }
        let (service, token_api) = (self.clone(), terms.token_api.to_string());
        on_its_own(async move {
            let attempt = match service
                .within(service.throttle.admit_registration(client, now))
                .await?
            {
                Ok(attempt) => attempt,
                Err(TooMany { retry_after }) => return Err(AccountError::TooMany { retry_after }),
            };
            let outcome = service.add(token_api, registration, now).await;
            let tried = match &outcome {
                Ok(_) => Try::Passed,
                Err(AccountError::Busy) => Try::Void,
                Err(_) => Try::Failed,
            };
            note_unsettled(
                service.within(service.throttle.settle_registration(attempt, tried, now)).await,
            );
            outcome
        })
        .await
    }

    async fn login(
        &self,
        terms: &AccountTerms,
        client: ClientGroup,
        username: String,
        password: Password,
        now: Timestamp,
    ) -> Result<RawToken, AccountError> {
        let (service, terms) = (self.clone(), terms.clone());
        on_its_own(async move {
            // Before any look-up of the name, so that this refusal does not tell whether the name
            // is known.
            let admission = service.throttle.admit(&terms.token_api, &username, client, now);
            let attempt = match service.within(admission).await? {
                Ok(attempt) => attempt,
                Err(TooMany { retry_after }) => return Err(AccountError::TooMany { retry_after }),
            };
            let outcome = service.try_password(&terms, &username, password, now).await;
            let tried = match &outcome {
                Ok(_) => Try::Passed,
                Err(AccountError::WrongLogin) => Try::Failed,
                Err(_) => Try::Void,
            };
            note_unsettled(service.within(service.throttle.settle(attempt, tried, now)).await);
            outcome
        })
        .await
    }

    /// The one way to log in. A password is verified in every case, because that takes the time: if
    /// no account has the name, if the account is disabled, and if the password is wrong.
    async fn try_password(
        &self,
        terms: &AccountTerms,
        username: &str,
        password: Password,
        now: Timestamp,
    ) -> Result<RawToken, AccountError> {
        let found = match Username::new(username) {
            Ok(username) => self.by_username(&terms.token_api, &username).await?,
            Err(_) => None,
        };
        let hash = found.as_ref().map(|found| found.hash.clone());
        let verdict = self.hashing(self.parts.hashing.verify(password.clone(), hash)).await?;
        let is_right = verdict != Verdict::Wrong;
        let Some(Credentials { account, hash }) =
            found.filter(|found| is_right && !found.account.is_disabled)
        else {
            return Err(AccountError::WrongLogin);
        };
        let (token, record) = self.session(terms, &account, now)?;
        let digest = record.digest;
        let opening = self.parts.accounts.open_session(account.id, account.revision, record);
        let opening = self.change(opening, move |opening, cache| {
            cache.invalidate(&digest);
            match opening {
                Ok(SessionOpening::Opened { removed }) => {
                    removed.iter().for_each(|digest| cache.invalidate(digest))
                }
                Ok(SessionOpening::Stale) => {}
                Err(_) => cache.invalidate_all(),
            }
        });
        match opening.await? {
            SessionOpening::Opened { .. } => {}
            // Disabled, or given another password, since it was looked up.
            SessionOpening::Stale => return Err(AccountError::WrongLogin),
        }
        if verdict == Verdict::RightAsTyped || self.parts.hashing.is_outdated(&hash) {
            self.renew_hash(&account, password).await;
        }
        Ok(token)
    }

    /// Best effort: the old hash is still good, and the next login tries again.
    async fn renew_hash(&self, account: &Account, password: Password) {
        let Ok(password) = NewPassword::new(password) else { return };
        let Ok(hash) = self.hashing(self.parts.hashing.hash(password)).await else { return };
        let rehash = self.parts.accounts.rehash(
            account.token_api.clone(),
            account.id,
            account.revision,
            hash,
        );
        if let Err(error) = self.within(rehash).await {
            tracing::debug!(%error, "a password keeps its old hash");
        }
    }

    fn session(
        &self,
        terms: &AccountTerms,
        account: &Account,
        now: Timestamp,
    ) -> Result<(RawToken, Record), AccountError> {
        let issued_at = now.truncated_to_seconds();
        let mut record = Record {
            digest: TokenDigest::from_bytes([0; 32]),
            id: TokenId::from_uuid(Uuid::new_v4()),
            token_api: terms.token_api.to_string(),
            kind: RecordKind::Session,
            origin: None,
            identity: account.identity(),
            name: None,
            hint: None,
            issued_at,
            expires_at: Some(issued_at.after(terms.session)),
            last_used_at: None,
        };
        let token = self.parts.signed.sign(terms.algorithm, &record)?;
        record.digest =
            self.parts.peppers.digest(CredentialSort::SignedToken, token.expose().as_bytes());
        Ok((token, record))
    }

    fn gone(&self, caller: &Caller) -> Result<AccountOutcome, AccountError> {
        self.parts.cache.invalidate(&caller.digest);
        Err(AccountError::NoSession)
    }

    /// Makes a change to its end, and tells the cache what came of it.
    async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        tell: impl FnOnce(&Result<T, StoreError>, &TokenCache) + Send + 'static,
    ) -> Result<T, StoreError> {
        let cache = Arc::clone(&self.parts.cache);
        to_its_end(self.parts.deadline, async move {
            let outcome = change.await;
            tell(&outcome, &cache);
            outcome
        })
        .await
    }

    async fn within<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout(self.parts.deadline, operation)
            .await
            .unwrap_or(Err(StoreError::TimedOut))
    }

    async fn hashing<T>(
        &self,
        computation: impl Future<Output = Result<T, super::hashing::HashingError>>,
    ) -> Result<T, AccountError> {
        match tokio::time::timeout(HASHING_DEADLINE, computation).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(AccountError::Busy),
        }
    }
}

/// Tells the cache what a removal named. After an error it is unknown what is gone: nothing that is
/// remembered counts any more.
fn forget_named(removal: &Result<Option<Vec<TokenDigest>>, StoreError>, cache: &TokenCache) {
    match removal {
        Ok(removed) => removed.iter().flatten().for_each(|digest| cache.invalidate(digest)),
        Err(_) => cache.invalidate_all(),
    }
}

/// An attempt that is not settled counts until its window ends: the safe side.
fn note_unsettled(settled: Result<(), StoreError>) {
    if let Err(error) = settled {
        tracing::warn!(%error, "what came of an attempt could not be counted");
    }
}

/// Runs the work to its end even if its caller is gone.
async fn on_its_own<T: Send + 'static>(
    work: impl Future<Output = Result<T, AccountError>> + Send + 'static,
) -> Result<T, AccountError> {
    let broken = |_| StoreError::Unavailable("the work was broken off".into());
    tokio::spawn(work).await.map_err(broken)?
}
