//! The use-cases of accounts. Every change is made by this service, so that the store and the cache
//! always agree.

mod administration;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use super::command::{AccountCommand, AccountError, AccountOutcome, KeyCommand, Registration};
use super::counters::Counters;
use super::hashing::{HashingError, HashingPool};
use super::logins::Logins;
use super::password_hash::Verdict;
use super::store::{AccountStore, Credentials, SessionOpening};
use super::throttle::{Attempt, ClientGroup, Throttle, Try};
use crate::domain::{
    Account, NewPassword, Owner, Password, RawToken, RecordKind, Timestamp, Username,
};
use crate::tokens::keyring::SecretBytes;
use crate::tokens::opaque::OpaqueFormat;
use crate::tokens::parts::{TokenParts, new_record};
use crate::tokens::signed::SigningAlgorithm;
use crate::tokens::store::StoreError;
use crate::tokens::verified::{Caller, Power};

/// How many characters of a key its owner sees in the list, behind the prefix.
const HINT_CHARS: usize = 4;

/// How long a password may wait to be hashed and be hashed. A full queue takes less than a second;
/// the rest is for a machine whose cores are busy with the proxy.
const HASHING_DEADLINE: Duration = Duration::from_secs(10);

/// The settings of one token API of the style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountTerms {
    /// Its name.
    pub token_api: Arc<str>,
    /// How it signs sessions.
    pub algorithm: SigningAlgorithm,
    /// How long a session lasts.
    pub session: Duration,
    /// How accounts are made.
    pub enrolment: Enrolment,
    /// The form of its keys.
    pub format: OpaqueFormat,
}

/// How accounts are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enrolment {
    /// By registration, without a credential.
    #[default]
    Open,
    /// By an administrator only.
    Closed,
}

/// The parts that the service works with.
#[derive(Clone)]
pub struct AccountParts {
    /// What sessions and keys are made and kept with.
    pub tokens: TokenParts,
    /// The accounts, in the same store.
    pub accounts: Arc<dyn AccountStore>,
    /// The counters of failed attempts.
    pub counters: Arc<dyn Counters>,
    /// The key under which these counters are named.
    pub counter_key: Arc<SecretBytes>,
    /// Hashes passwords.
    pub hashing: Arc<HashingPool>,
    /// How often a password may be tried.
    pub limits: Logins,
}

/// Registers, logs in, and manages keys.
#[derive(Clone)]
pub struct AccountsService {
    parts: AccountParts,
    throttle: Arc<Throttle>,
}

impl AccountsService {
    /// A service of these parts.
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
    /// counted, and what was removed is forgotten.
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
                    KeyCommand::Issue { name, limits } => {
                        self.issue_key(terms, caller, name, limits, now).await
                    }
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
            let admission = service.throttle.admit_registration(client, now);
            let attempt = service.parts.tokens.within(admission).await?;
            let outcome = service.add(token_api, registration, now).await;
            let tried = match &outcome {
                Ok(_) => Try::Passed,
                Err(AccountError::Busy) => Try::Void,
                Err(_) => Try::Failed,
            };
            service.settle(attempt, tried, now).await;
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
            // Before the name is looked up, so that this refusal does not tell whether it is known.
            let admission = service.throttle.admit(&terms.token_api, &username, client, now);
            let attempt = service.parts.tokens.within(admission).await?;
            let outcome = service.try_password(&terms, &username, password, now).await;
            let tried = match &outcome {
                Ok(_) => Try::Passed,
                Err(AccountError::WrongLogin) => Try::Failed,
                Err(_) => Try::Void,
            };
            service.settle(attempt, tried, now).await;
            outcome
        })
        .await
    }

    /// Counts the outcome of an attempt. One that is not settled counts until its window ends.
    async fn settle(&self, attempt: Attempt, outcome: Try, now: Timestamp) {
        let settled = self.throttle.settle(attempt, outcome, now);
        if let Err(error) = self.parts.tokens.within(settled).await {
            tracing::warn!(%error, "what came of an attempt could not be counted");
        }
    }

    /// Logs in. A password is verified in every case, so that the time tells nothing: also if no
    /// account has the name, or if the account is disabled.
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
        let owner = Owner {
            token_api: terms.token_api.to_string(),
            origin: None,
            subject: account.id.to_string(),
        };
        let mut record = new_record(owner, RecordKind::Session, account.identity(), now);
        record.expires_at = Some(record.issued_at.after(terms.session));
        let (token, record) = self.parts.tokens.sign(terms.algorithm, record)?;
        let digest = record.digest;
        let opening = self.parts.accounts.open_session(account.id, account.revision, record);
        let opening = self.parts.tokens.change(opening, move |opening, cache| {
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
        if let Err(error) = self.parts.tokens.within(rehash).await {
            tracing::debug!(%error, "a password keeps its old hash");
        }
    }

    fn gone(&self, caller: &Caller) -> Result<AccountOutcome, AccountError> {
        self.parts.tokens.cache.invalidate(&caller.digest);
        Err(AccountError::NoSession)
    }

    async fn hashing<T>(
        &self,
        computation: impl Future<Output = Result<T, HashingError>>,
    ) -> Result<T, AccountError> {
        match tokio::time::timeout(HASHING_DEADLINE, computation).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(AccountError::Busy),
        }
    }
}

/// Runs the work to its end even if its caller is gone.
async fn on_its_own<T: Send + 'static>(
    work: impl Future<Output = Result<T, AccountError>> + Send + 'static,
) -> Result<T, AccountError> {
    let broken = |_| StoreError::Unavailable("the work was broken off".into());
    tokio::spawn(work).await.map_err(broken)?
}
