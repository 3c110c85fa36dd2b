//! The use-cases of the token APIs and of the command line. Every change to the allowlist is made
//! by this service, so that the store and the cache always agree.

mod administration;
mod in_tenant;
mod sole;

use std::sync::Arc;
use std::time::Duration;

use super::cache::TokenCache;
use super::clock;
use super::command::{Command, CommandError, CommandOutcome, Minting};
use super::parts::{TokenParts, forget_removed, new_record};
use super::store::{AuthorizedBy, Issue, IssueMode, Listed, OnRemove, Removal, StoreError};
use super::verified::{Caller, Power};
use crate::domain::access::may_revoke;
use crate::domain::{KeyLimits, RawToken, Record, RecordKind, Timestamp, TokenDigest, TokenId};
use crate::telemetry::histogram::{Histogram, Took};

#[cfg(test)]
mod tests;

pub use administration::BootstrapOrder;

/// Changes the allowlist.
pub struct TokenService {
    parts: TokenParts,
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

/// How many characters of an opaque key lists show behind the prefix: 32 bits and more, which tell
/// nothing of the others.
const HINT_CHARS: usize = 8;

impl TokenService {
    /// `revocations`: the durations of revocations.
    #[must_use]
    pub fn new(parts: TokenParts, revocations: Arc<Histogram>) -> Self {
        Self { parts, revocations }
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
        let call = Call { service: self, parts: &self.parts, caller, context, now };
        match command {
            Command::RevokeCurrent => call.revoke_current().await,
            Command::Revoke(id) => call.revoke(id).await,
            // A spent bootstrap token is known only so that an attempt to revoke it can be
            // answered.
            _ if caller.token.power() == Power::Spent => Err(CommandError::CredentialGone),
            Command::Issue { name, lifetime_minutes, limits } => {
                call.issue(name, lifetime_minutes, limits).await
            }
            Command::List => Ok(CommandOutcome::Listed(call.owned().await?)),
            Command::RevokeAll => {
                call.remove_all().await?;
                Ok(CommandOutcome::AllRevoked { subject: caller.token.subject().to_owned() })
            }
            Command::IssueInTenant { tenant, name, expires_at, limits } => {
                call.issue_in_tenant(&tenant, name, expires_at, limits).await
            }
            Command::ListInTenant { tenant } => call.list_in_tenant(&tenant).await,
            Command::RevokeInTenant { tenant, id } => call.revoke_in_tenant(&tenant, id).await,
            Command::ShowSole => call.show_sole().await,
            Command::RenewSole { limits } => call.renew_sole(limits).await,
            Command::EnsureSole { limits } => call.ensure_sole(limits).await,
            Command::RevokeSole => call.revoke_sole().await,
            Command::IssueTicket | Command::Account(_) => Err(CommandError::Misdirected),
        }
    }

    /// Removes a record. When this has returned a [`Removal`], no cached answer from before it is
    /// given any more.
    async fn remove(
        &self,
        authorized_by: AuthorizedBy,
        target: TokenDigest,
        now: Timestamp,
    ) -> Result<Removal, StoreError> {
        let removal = self.parts.store.remove(authorized_by, target, OnRemove::Delete, now);
        self.timed(removal, move |_, cache| cache.invalidate(&target)).await
    }

    /// Makes a change that revokes, and notes how long it took.
    async fn timed<T: Send + 'static>(
        &self,
        removal: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        tell: impl FnOnce(&Result<T, StoreError>, &TokenCache) + Send + 'static,
    ) -> Result<T, StoreError> {
        let begun = clock::uptime();
        let removal = self.parts.change(removal, tell).await?;
        self.revocations.observe_shared(Took::new(clock::uptime().since(begun)));
        Ok(removal)
    }
}

/// One call of a token API: what every command needs.
struct Call<'a> {
    service: &'a TokenService,
    parts: &'a TokenParts,
    caller: &'a Caller,
    context: TokenApiContext<'a>,
    now: Timestamp,
}

impl Call<'_> {
    async fn issue(
        &self,
        name: Option<String>,
        lifetime_minutes: Option<u32>,
        limits: Option<KeyLimits>,
    ) -> Result<CommandOutcome, CommandError> {
        let lifetime = lifetime_minutes.map(|minutes| Duration::from_secs(u64::from(minutes) * 60));
        let key = self.new_key(limits);
        let expires_at = lifetime.map(|lifetime| key.issued_at.after(lifetime));
        self.add(Record { name, expires_at, ..key }, lifetime_minutes).await
    }

    /// A key with the caller's identity and these limits, as far as the caller's own allow them; it
    /// is not made yet.
    fn new_key(&self, limits: Option<KeyLimits>) -> Record {
        let owner = self.caller.owner_at(self.context.token_api);
        let token = &self.caller.token;
        let limits = KeyLimits::narrowed(limits, token.limits().copied());
        Record { limits, ..new_record(owner, RecordKind::ApiKey, token.identity(), self.now) }
    }

    /// Makes a key beside the owner's other keys.
    async fn add(
        &self,
        key: Record,
        lifetime_minutes: Option<u32>,
    ) -> Result<CommandOutcome, CommandError> {
        match self.make(key, IssueMode::Add).await? {
            (Some(token), record) => Ok(CommandOutcome::Issued { token, record, lifetime_minutes }),
            (None, _) => {
                Err(StoreError::Unavailable("it found no room beside other keys".into()).into())
            }
        }
    }

    /// Makes a key, unless `mode` forbids it beside another one: the token if it was made, and the
    /// record that is there now. When this has returned, nothing that the key replaced is accepted
    /// any more.
    async fn make(
        &self,
        key: Record,
        mode: IssueMode,
    ) -> Result<(Option<RawToken>, Box<Record>), CommandError> {
        let (token, record) = match self.context.minting {
            Minting::Signed(algorithm) => self.parts.sign(*algorithm, key)?,
            Minting::Opaque(format) => self.parts.mint(format, HINT_CHARS, key)?,
        };
        let digest = record.digest;
        let authorized_by = self.caller.authorized_by();
        let issue = self.parts.store.issue(authorized_by, record.clone(), mode, self.now);
        let issue = self.parts.change(issue, move |issue, cache| {
            match issue {
                Ok(Issue::Issued { removed }) => {
                    removed.iter().for_each(|digest| cache.invalidate(digest))
                }
                // It is unknown which keys were replaced, if any.
                Err(_) if mode != IssueMode::Add => cache.invalidate_all(),
                Ok(_) | Err(_) => {}
            }
            // If it was asked for before it was there, it is remembered as unknown.
            cache.invalidate(&digest);
        });
        match issue.await? {
            Issue::Issued { .. } => Ok((Some(token), Box::new(record))),
            Issue::Taken(record) => Ok((None, record)),
            Issue::AuthorizationGone => self.gone(),
            Issue::AuthorizationSpent => Err(CommandError::CredentialGone),
        }
    }

    /// The caller's keys at the token API, live and retired.
    async fn owned(&self) -> Result<Vec<Listed>, CommandError> {
        let owner = self.caller.owner_at(self.context.token_api);
        let owned = self.parts.store.owned(self.caller.authorized_by(), owner, self.now);
        match self.parts.within(owned).await? {
            Some(keys) => Ok(keys),
            None => self.gone(),
        }
    }

    async fn revoke_current(&self) -> Result<CommandOutcome, CommandError> {
        let id = self.caller.token.id();
        match self.caller.token.power() {
            Power::Full => {}
            // It has no record that could be revoked.
            Power::Outside => return Err(CommandError::NoSuchToken),
            Power::Session => return self.not_found(id).await,
            Power::Bootstrap | Power::Spent => return Err(CommandError::Protected),
        }
        match self.remove(self.caller.digest).await? {
            Removal::Removed => Ok(CommandOutcome::Revoked(id)),
            // Another call revoked it in between.
            Removal::Absent | Removal::AuthorizationGone => {
                self.settle().await?;
                self.gone()
            }
        }
    }

    async fn revoke(&self, id: TokenId) -> Result<CommandOutcome, CommandError> {
        let token = &self.caller.token;
        let target = self.parts.store.find_by_id(token.token_api().to_string(), id);
        let target = self.parts.within(target).await?;
        let is_spent = token.power() == Power::Spent;
        let key = match target {
            Some(Listed { record, .. }) if record.is_bootstrap() => {
                return Err(CommandError::Protected);
            }
            _ if is_spent => return Err(CommandError::CredentialGone),
            // Sessions are in no list: their ids are as unknown as any other.
            Some(key) if key.record.kind == RecordKind::ApiKey => key,
            Some(_) | None => return self.not_found(id).await,
        };
        if !may_revoke(&token.identity(), token.origin(), &key.record) {
            return Err(CommandError::NotOwner);
        }
        if key.retired_at.is_some() || key.record.is_expired(self.now) {
            return self.not_found(id).await;
        }
        match self.remove(key.record.digest).await? {
            Removal::Removed => Ok(CommandOutcome::Revoked(id)),
            Removal::Absent => self.not_found(id).await,
            Removal::AuthorizationGone => self.gone(),
        }
    }

    async fn remove(&self, target: TokenDigest) -> Result<Removal, StoreError> {
        self.service.remove(self.caller.authorized_by(), target, self.now).await
    }

    /// Removes every key of the caller at the token API, and says how many.
    async fn remove_all(&self) -> Result<usize, CommandError> {
        let owner = self.caller.owner_at(self.context.token_api);
        let removal = self.parts.store.remove_owned(
            self.caller.authorized_by(),
            owner,
            OnRemove::Delete,
            self.now,
        );
        match self.service.timed(removal, forget_removed).await? {
            Some(removed) => Ok(removed.len()),
            None => self.gone(),
        }
    }

    async fn not_found(&self, id: TokenId) -> Result<CommandOutcome, CommandError> {
        self.settle().await?;
        Ok(CommandOutcome::NotFound(id))
    }

    /// To be awaited before "it is gone" is answered: it may be gone since a moment ago, and
    /// another instance may not have noticed yet.
    async fn settle(&self) -> Result<(), StoreError> {
        self.parts.within(self.parts.store.settle()).await
    }

    /// The caller's own record is gone.
    fn gone<T>(&self) -> Result<T, CommandError> {
        self.parts.cache.invalidate(&self.caller.digest);
        Err(CommandError::CredentialGone)
    }
}
