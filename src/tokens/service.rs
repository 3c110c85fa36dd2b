//! The use-cases of the token APIs and of the command line. Every change to the allowlist is made
//! by this service, so that the store and the cache always agree.

mod administration;
mod in_tenant;
mod sole;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::cache::TokenCache;
use super::clock;
use super::command::{Command, CommandError, CommandOutcome, Minting};
use super::keyring::{CredentialSort, Peppers};
use super::opaque::OpaqueTokens;
use super::signed::SignedTokens;
use super::store::{
    AuthorizedBy, Issue, IssueMode, Listed, OnRemove, Removal, Store, StoreError, StoreFuture,
};
use super::verified::{Caller, Power};
use crate::domain::access::may_revoke;
use crate::domain::{
    Owner, RawToken, Record, RecordKind, RevokeVerdict, Timestamp, TokenDigest, TokenId,
};
use crate::telemetry::histogram::Histogram;

#[cfg(test)]
mod tests;

pub use administration::BootstrapOrder;

/// Changes the allowlist.
pub struct TokenService {
    store: Arc<dyn Store>,
    cache: Arc<TokenCache>,
    signed: Arc<SignedTokens>,
    opaque: Arc<OpaqueTokens>,
    peppers: Arc<Peppers>,
    deadline: Duration,
    revocations: Arc<Histogram>,
}

/// The token API that a command is for.
#[derive(Clone, Copy, Debug)]
pub struct TokenApiContext<'a> {
    /// Its name.
    pub token_api: &'a str,
    /// How it makes its keys.
    pub minting: &'a Minting,
}

/// So many characters behind the prefix are shown of an opaque key: 32 bits and more, of which
/// nothing can be concluded.
const HINT_CHARS: usize = 8;

impl TokenService {
    /// `deadline`: how long one operation of the store may take. `revocations`: where it is noted
    /// how long they took.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        cache: Arc<TokenCache>,
        signed: Arc<SignedTokens>,
        opaque: Arc<OpaqueTokens>,
        peppers: Arc<Peppers>,
        deadline: Duration,
        revocations: Arc<Histogram>,
    ) -> Self {
        Self { store, cache, signed, opaque, peppers, deadline, revocations }
    }

    /// Does what `caller` asks of a token API that takes its credential.
    ///
    /// # Errors
    ///
    /// See [`CommandError`]. After an error of the store a change may have been made all the same;
    /// every command that does not make a key can be repeated with the same effect.
    ///
    /// # Cancel safety
    ///
    /// A change that has been handed to the store is made, and the cache is told of it, even if the
    /// caller is gone.
    pub async fn execute(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        command: Command,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        match command {
            Command::RevokeCurrent => self.revoke_current(caller, now).await,
            Command::Revoke(id) => self.revoke(caller, id, now).await,
            // A spent bootstrap token is known only so that an attempt to revoke it can be
            // answered.
            _ if caller.token.power() == Power::Spent => Err(CommandError::CredentialGone),
            Command::Issue { name, lifetime_minutes } => {
                self.issue(caller, context, name, lifetime_minutes, now).await
            }
            Command::List => self.list(caller, context, now).await,
            Command::RevokeAll => self.revoke_all(caller, context, now).await,
            Command::IssueInTenant { tenant, name, expires_at } => {
                self.issue_in_tenant(caller, context, &tenant, name, expires_at, now).await
            }
            Command::ListInTenant { tenant } => {
                self.list_in_tenant(caller, context, &tenant, now).await
            }
            Command::RevokeInTenant { tenant, id } => {
                self.revoke_in_tenant(caller, context, &tenant, id, now).await
            }
            Command::ShowSole => self.show_sole(caller, context, now).await,
            Command::RenewSole => self.renew_sole(caller, context, now).await,
            Command::EnsureSole => self.ensure_sole(caller, context, now).await,
            Command::RevokeSole => self.revoke_sole(caller, context, now).await,
            Command::Account(_) => Err(CommandError::Misdirected),
        }
    }

    async fn issue(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        name: Option<String>,
        lifetime_minutes: Option<u32>,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        let lifetime = lifetime_minutes.map(|minutes| Duration::from_secs(u64::from(minutes) * 60));
        let (token, record) = self.mint(
            context.minting,
            Record {
                name,
                expires_at: lifetime.map(|span| now.truncated_to_seconds().after(span)),
                ..key_of(caller, context, now)
            },
        )?;
        match self.add(caller.authorized_by(), record.clone(), IssueMode::Add, now).await? {
            Issue::Issued { .. } => {
                Ok(CommandOutcome::Issued { token, record: Box::new(record), lifetime_minutes })
            }
            Issue::AuthorizationGone => self.gone(caller),
            Issue::AuthorizationSpent => Err(CommandError::CredentialGone),
            Issue::Taken(_) => {
                Err(StoreError::Unavailable("it found no room beside other keys".into()).into())
            }
        }
    }

    /// Adds a record; when this has returned, nothing that it took the place of is accepted any
    /// more.
    async fn add(
        &self,
        authorized_by: AuthorizedBy,
        record: Record,
        mode: IssueMode,
        now: Timestamp,
    ) -> Result<Issue, StoreError> {
        let digest = record.digest;
        let operation = self.store.issue(authorized_by, record, mode, now);
        let cache = Arc::clone(&self.cache);
        self.to_its_end(async move {
            let issue = operation.await;
            match &issue {
                Ok(Issue::Issued { removed }) => {
                    removed.iter().for_each(|digest| cache.invalidate(digest))
                }
                // What was removed is unknown, if anything was: nothing that is remembered counts
                // any more.
                Err(_) if mode != IssueMode::Add => cache.invalidate_all(),
                Ok(_) | Err(_) => {}
            }
            // It may have been asked for before it was there, and is then remembered as unknown.
            cache.invalidate(&digest);
            issue
        })
        .await
    }

    async fn list(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        let owner = caller.owner_at(context.token_api);
        match self.within(self.store.owned(caller.authorized_by(), owner, now)).await? {
            Some(records) => Ok(CommandOutcome::Listed(records)),
            None => self.gone(caller),
        }
    }

    async fn revoke_current(
        &self,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        match caller.token.power() {
            Power::Full => {}
            // It has no record that could be revoked.
            Power::Outside => return Err(CommandError::NoSuchToken),
            Power::Session => return self.not_found(caller.token.id()).await,
            Power::Bootstrap | Power::Spent => return Err(CommandError::Protected),
        }
        match self.remove(AuthorizedBy::Record(caller.digest), caller.digest, now).await? {
            Removal::Removed => Ok(CommandOutcome::Revoked(caller.token.id())),
            // Another call revoked it in between: the credential is not accepted any more, and that
            // is the answer.
            Removal::Absent | Removal::AuthorizationGone => {
                self.within(self.store.settle()).await?;
                self.gone(caller)
            }
        }
    }

    async fn revoke(
        &self,
        caller: &Caller,
        id: TokenId,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        let target =
            self.within(self.store.find_by_id(caller.token.token_api().to_string(), id)).await?;
        let judge = |target: &Listed| {
            may_revoke(&caller.token.identity(), caller.token.origin(), &target.record)
        };
        let verdict = target.as_ref().map(judge);
        if verdict == Some(RevokeVerdict::Protected) {
            return Err(CommandError::Protected);
        }
        if caller.token.power() == Power::Spent {
            return Err(CommandError::CredentialGone);
        }
        match (target, verdict) {
            (_, Some(RevokeVerdict::NotOwner | RevokeVerdict::Protected)) => {
                Err(CommandError::NotOwner)
            }
            (Some(Listed { record, retired_at: None }), Some(RevokeVerdict::Allowed))
                if !record.is_expired(now) =>
            {
                match self.remove(AuthorizedBy::Record(caller.digest), record.digest, now).await? {
                    Removal::Removed => Ok(CommandOutcome::Revoked(id)),
                    Removal::Absent => self.not_found(id).await,
                    Removal::AuthorizationGone => self.gone(caller),
                }
            }
            _ => self.not_found(id).await,
        }
    }

    /// Says that there is no such key, which may be so since a moment ago: not before every
    /// instance has noticed.
    async fn not_found(&self, id: TokenId) -> Result<CommandOutcome, CommandError> {
        self.within(self.store.settle()).await?;
        Ok(CommandOutcome::NotFound(id))
    }

    async fn revoke_all(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        match self.remove_all(caller, context, now).await? {
            Some(_) => {
                Ok(CommandOutcome::AllRevoked { subject: caller.token.subject().to_owned() })
            }
            None => self.gone(caller),
        }
    }

    /// Removes every key of the caller at one token API, and says how many; nothing, if what
    /// authorizes it is gone.
    async fn remove_all(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        now: Timestamp,
    ) -> Result<Option<usize>, StoreError> {
        let owner = caller.owner_at(context.token_api);
        let operation =
            self.store.remove_owned(caller.authorized_by(), owner, OnRemove::Delete, now);
        let cache = Arc::clone(&self.cache);
        let begun = clock::uptime();
        let removal = self.to_its_end(async move {
            let removal = operation.await;
            match &removal {
                Ok(removed) => removed.iter().flatten().for_each(|digest| cache.invalidate(digest)),
                // Whether they are gone is unknown, and which: nothing that is remembered counts
                // any more.
                Err(_) => cache.invalidate_all(),
            }
            removal
        });
        let removal = removal.await?;
        self.revocations.observe_shared(clock::uptime().since(begun));
        Ok(removal.map(|removed| removed.len()))
    }

    /// Makes the token of `record` and gives the record its digest and what is shown of it.
    fn mint(
        &self,
        minting: &Minting,
        mut record: Record,
    ) -> Result<(RawToken, Record), CommandError> {
        let (sort, token) = match minting {
            Minting::Signed(algorithm) => {
                (CredentialSort::SignedToken, self.signed.sign(*algorithm, &record)?)
            }
            Minting::Opaque(format) => {
                let token = self.opaque.mint(format)?;
                record.hint = Some(format.hint(&token, HINT_CHARS));
                (CredentialSort::OpaqueToken, token)
            }
        };
        record.digest = self.peppers.digest(sort, token.expose().as_bytes());
        Ok((token, record))
    }

    /// Removes a record; when this has returned a [`Removal`], no cached answer from before it is
    /// given any more.
    async fn remove(
        &self,
        authorized_by: AuthorizedBy,
        target: TokenDigest,
        now: Timestamp,
    ) -> Result<Removal, StoreError> {
        let operation = self.store.remove(authorized_by, target, OnRemove::Delete, now);
        let cache = Arc::clone(&self.cache);
        let begun = clock::uptime();
        let removal = self.to_its_end(async move {
            let removal = operation.await;
            cache.invalidate(&target);
            removal
        });
        let removal = removal.await?;
        self.revocations.observe_shared(clock::uptime().since(begun));
        Ok(removal)
    }

    async fn to_its_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        to_its_end(self.deadline, change).await
    }

    fn gone<T>(&self, caller: &Caller) -> Result<T, CommandError> {
        self.cache.invalidate(&caller.digest);
        Err(CommandError::CredentialGone)
    }

    async fn within<T>(&self, operation: StoreFuture<T>) -> Result<T, StoreError> {
        tokio::time::timeout(self.deadline, operation).await.unwrap_or(Err(StoreError::TimedOut))
    }
}

/// A new key with the caller's identity; its digest comes when it is minted.
fn key_of(caller: &Caller, context: TokenApiContext<'_>, now: Timestamp) -> Record {
    let Owner { token_api, origin, .. } = caller.owner_at(context.token_api);
    Record {
        digest: caller.digest,
        id: TokenId::from_uuid(Uuid::new_v4()),
        token_api,
        kind: RecordKind::ApiKey,
        origin,
        identity: caller.token.identity(),
        name: None,
        hint: None,
        issued_at: now.truncated_to_seconds(),
        expires_at: None,
        last_used_at: None,
    }
}

/// Runs a change until the store has answered and the cache has been told, even if the caller is
/// gone: otherwise a removal that takes effect later would leave its token remembered.
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
