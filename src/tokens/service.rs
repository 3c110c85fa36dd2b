//! The use-cases of the token APIs and of the command line: every change to the allowlist goes through here, so that the
//! store and the cache are never told different things.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::cache::TokenCache;
use super::command::{Command, CommandError, Outcome};
use super::keyring::{CredentialSort, Pepper};
use super::signed::{SignedTokens, SigningAlgorithm};
use super::store::{Afterlife, Filter, Issue, Listed, Place, Removal, Store, StoreError, StoreFuture, Voucher};
use super::verified::{Caller, Power};
use crate::domain::access::may_revoke;
use crate::domain::{
    Identity, RawToken, Record, RecordKind, RecordSort, RevokeVerdict, Timestamp, TokenDigest, TokenId,
};

#[cfg(test)]
mod tests;

/// Changes the allowlist.
pub struct TokenService {
    store: Arc<dyn Store>,
    cache: Arc<TokenCache>,
    signed: Arc<SignedTokens>,
    pepper: Arc<Pepper>,
    deadline: Duration,
}

/// What an administrator says of a new bootstrap token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapOrder {
    /// The token API that it is for.
    pub token_api: String,
    /// How that token API signs.
    pub algorithm: SigningAlgorithm,
    /// Whom it speaks for.
    pub identity: Identity,
    /// How many keys it can make, at least 1.
    pub mints: u32,
    /// How long it is good; `None`: until it is spent or revoked.
    pub lifetime: Option<Duration>,
}

impl TokenService {
    /// `deadline`: how long one operation of the store may take.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        cache: Arc<TokenCache>,
        signed: Arc<SignedTokens>,
        pepper: Arc<Pepper>,
        deadline: Duration,
    ) -> Self {
        Self { store, cache, signed, pepper, deadline }
    }

    /// Does what `caller` asks of the token API that its token is of, which signs by `algorithm`.
    ///
    /// # Errors
    ///
    /// See [`CommandError`]. After an error of the store a change may have been made all the same; every command but
    /// [`Command::Issue`] can be repeated with the same effect.
    ///
    /// # Cancel safety
    ///
    /// A change that has been handed to the store is made, and the cache is told of it, also when nobody waits any more.
    pub async fn execute(
        &self,
        caller: &Caller,
        algorithm: SigningAlgorithm,
        command: Command,
        now: Timestamp,
    ) -> Result<Outcome, CommandError> {
        match command {
            Command::RevokeCurrent => self.revoke_current(caller, now).await,
            Command::Revoke(id) => self.revoke(caller, id, now).await,
            // A spent bootstrap token is known only so that an attempt to revoke it can be answered.
            _ if caller.token.power() == Power::Spent => Err(CommandError::CredentialGone),
            Command::Issue { name, lifetime_minutes } => {
                self.issue(caller, algorithm, name, lifetime_minutes, now).await
            }
            Command::List => self.list(caller, now).await,
            Command::RevokeAll => self.revoke_all(caller, now).await,
            Command::Account(_) => Err(CommandError::Misdirected),
        }
    }

    async fn issue(
        &self,
        caller: &Caller,
        algorithm: SigningAlgorithm,
        name: Option<String>,
        lifetime_minutes: Option<u32>,
        now: Timestamp,
    ) -> Result<Outcome, CommandError> {
        let lifetime = lifetime_minutes.map(|minutes| Duration::from_secs(u64::from(minutes) * 60));
        let (token, record) = self.mint(
            algorithm,
            Record {
                digest: caller.digest,
                id: TokenId::from_uuid(Uuid::new_v4()),
                token_api: caller.token.token_api().to_string(),
                kind: RecordKind::ApiKey,
                origin: caller.token.origin().map(str::to_owned),
                identity: caller.token.identity(),
                name,
                hint: None,
                issued_at: now.truncated_to_seconds(),
                expires_at: lifetime.map(|span| now.truncated_to_seconds().after(span)),
                last_used_at: None,
            },
        )?;
        let operation = self.store.issue(Voucher::Record(caller.digest), record.clone(), Place::Beside, now);
        let cache = Arc::clone(&self.cache);
        let digest = record.digest;
        let issue = self.to_its_end(async move {
            let issue = operation.await;
            if let Ok(Issue::Issued { removed }) = &issue {
                removed.iter().for_each(|digest| cache.invalidate(digest));
            }
            // It may have been asked for before it was there, and is then remembered as unknown.
            cache.invalidate(&digest);
            issue
        });
        match issue.await? {
            Issue::Issued { .. } => Ok(Outcome::Issued { token, record: Box::new(record), lifetime_minutes }),
            Issue::VoucherGone => self.gone(caller),
            Issue::VoucherSpent => Err(CommandError::CredentialGone),
            Issue::Taken(_) => Err(StoreError::Unavailable("it found no room beside other keys".into()).into()),
        }
    }

    async fn list(&self, caller: &Caller, now: Timestamp) -> Result<Outcome, CommandError> {
        match self.within(self.store.owned(Voucher::Record(caller.digest), caller.owner(), now)).await? {
            Some(records) => Ok(Outcome::Listed(records)),
            None => self.gone(caller),
        }
    }

    async fn revoke_current(&self, caller: &Caller, now: Timestamp) -> Result<Outcome, CommandError> {
        match caller.token.power() {
            Power::Full => {}
            Power::Session => return self.not_found(caller.token.id()).await,
            Power::Bootstrap | Power::Spent => return Err(CommandError::Protected),
        }
        match self.remove(Voucher::Record(caller.digest), caller.digest, now).await? {
            Removal::Removed => Ok(Outcome::Revoked(caller.token.id())),
            // Somebody else was quicker: the credential is not accepted any more, and that is the answer.
            Removal::Absent | Removal::VoucherGone => {
                self.within(self.store.settle()).await?;
                self.gone(caller)
            }
        }
    }

    async fn revoke(&self, caller: &Caller, id: TokenId, now: Timestamp) -> Result<Outcome, CommandError> {
        let target = self.within(self.store.find_by_id(caller.token.token_api().to_string(), id)).await?;
        let judge = |target: &Listed| may_revoke(&caller.token.identity(), caller.token.origin(), &target.record);
        let verdict = target.as_ref().map(judge);
        if verdict == Some(RevokeVerdict::Protected) {
            return Err(CommandError::Protected);
        }
        if caller.token.power() == Power::Spent {
            return Err(CommandError::CredentialGone);
        }
        match (target, verdict) {
            (_, Some(RevokeVerdict::NotOwner | RevokeVerdict::Protected)) => Err(CommandError::NotOwner),
            (Some(Listed { record, retired_at: None }), Some(RevokeVerdict::Allowed)) if !record.is_expired(now) => {
                match self.remove(Voucher::Record(caller.digest), record.digest, now).await? {
                    Removal::Removed => Ok(Outcome::Revoked(id)),
                    Removal::Absent => self.not_found(id).await,
                    Removal::VoucherGone => self.gone(caller),
                }
            }
            _ => self.not_found(id).await,
        }
    }

    /// Says that there is no such key, which may be so since a moment ago: not before every instance has noticed.
    async fn not_found(&self, id: TokenId) -> Result<Outcome, CommandError> {
        self.within(self.store.settle()).await?;
        Ok(Outcome::NotFound(id))
    }

    async fn revoke_all(&self, caller: &Caller, now: Timestamp) -> Result<Outcome, CommandError> {
        let voucher = Voucher::Record(caller.digest);
        let operation = self.store.remove_owned(voucher, caller.owner(), Afterlife::Gone, now);
        let cache = Arc::clone(&self.cache);
        let removal = self.to_its_end(async move {
            let removal = operation.await;
            match &removal {
                Ok(removed) => removed.iter().flatten().for_each(|digest| cache.invalidate(digest)),
                // Whether they are gone is unknown, and which: nothing that is remembered counts any more.
                Err(_) => cache.invalidate_all(),
            }
            removal
        });
        match removal.await? {
            Some(_) => Ok(Outcome::AllRevoked { subject: caller.token.subject().to_owned() }),
            None => self.gone(caller),
        }
    }

    /// Makes a bootstrap token: an administrator's doing.
    ///
    /// # Errors
    ///
    /// When the store does not take it or it cannot be signed.
    pub async fn bootstrap(&self, order: BootstrapOrder, now: Timestamp) -> Result<(RawToken, Record), CommandError> {
        let (token, record) = self.mint(
            order.algorithm,
            Record {
                digest: TokenDigest::from_bytes([0; 32]),
                id: TokenId::from_uuid(Uuid::new_v4()),
                token_api: order.token_api,
                kind: RecordKind::Bootstrap { mints_left: order.mints },
                origin: None,
                identity: order.identity,
                name: None,
                hint: None,
                issued_at: now.truncated_to_seconds(),
                expires_at: order.lifetime.map(|span| now.truncated_to_seconds().after(span)),
                last_used_at: None,
            },
        )?;
        self.within(self.store.provision(record.clone())).await?;
        self.cache.invalidate(&record.digest);
        Ok((token, record))
    }

    /// The records that match, for an administrator.
    ///
    /// # Errors
    ///
    /// When the store cannot tell.
    pub async fn browse(&self, filter: Filter) -> Result<Vec<Record>, StoreError> {
        self.within(self.store.browse(filter)).await
    }

    /// Revokes a token of one of these token APIs, for an administrator. `sort` says which sort is meant, so that a slip of
    /// the hand does not end another; false: there is no such token.
    ///
    /// # Errors
    ///
    /// When the store cannot tell or cannot do it.
    pub async fn revoke_as_administrator(
        &self,
        token_apis: &[Arc<str>],
        id: TokenId,
        sort: RecordSort,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        for token_api in token_apis {
            let target = self.within(self.store.find_by_id(token_api.to_string(), id)).await?;
            if let Some(Listed { record, retired_at: None }) = target
                && record.kind.sort() == sort
                && self.remove(Voucher::Outside, record.digest, now).await? == Removal::Removed
            {
                return Ok(true);
            }
        }
        self.within(self.store.settle()).await?;
        Ok(false)
    }

    /// Signs the token of `record` and gives the record the digest of it.
    fn mint(&self, algorithm: SigningAlgorithm, mut record: Record) -> Result<(RawToken, Record), CommandError> {
        let token = self.signed.sign(algorithm, &record)?;
        record.digest = self.pepper.digest(CredentialSort::SignedToken, token.expose().as_bytes());
        Ok((token, record))
    }

    /// Removes a record; when this has returned a [`Removal`], no cached answer from before it is given any more.
    async fn remove(&self, voucher: Voucher, target: TokenDigest, now: Timestamp) -> Result<Removal, StoreError> {
        let operation = self.store.remove(voucher, target, Afterlife::Gone, now);
        let cache = Arc::clone(&self.cache);
        self.to_its_end(async move {
            let removal = operation.await;
            cache.invalidate(&target);
            removal
        })
        .await
    }

    async fn to_its_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        to_its_end(self.deadline, change).await
    }

    fn gone(&self, caller: &Caller) -> Result<Outcome, CommandError> {
        self.cache.invalidate(&caller.digest);
        Err(CommandError::CredentialGone)
    }

    async fn within<T>(&self, operation: StoreFuture<T>) -> Result<T, StoreError> {
        tokio::time::timeout(self.deadline, operation).await.unwrap_or(Err(StoreError::TimedOut))
    }
}

/// Runs a change until the store has answered and the cache has been told, whether or not somebody still waits for it: a
/// removal that takes effect after its caller gave up must not leave its token remembered.
pub(super) async fn to_its_end<T: Send + 'static>(
    deadline: Duration,
    change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::time::timeout(deadline, tokio::spawn(change)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(StoreError::Unavailable("the change was broken off".into())),
        Err(_) => Err(StoreError::TimedOut),
    }
}
