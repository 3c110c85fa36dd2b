//! Keys that speak for their owner in one tenant, which is their organization (style
//! `tenant-tokens`).

use super::{TokenApiContext, TokenService, key_of};
use crate::domain::{Identity, Record, RecordKind, Timestamp, TokenDigest, TokenId};
use crate::tokens::command::{CommandError, CommandOutcome};
use crate::tokens::store::{Issue, IssueMode, Listed, Removal, StoreError};
use crate::tokens::verified::Caller;

impl TokenService {
    pub(super) async fn issue_in_tenant(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        tenant: &str,
        name: String,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        let tenant = caller.tenant(tenant).ok_or(CommandError::ForeignTenant)?.to_owned();
        let (token, record) = self.mint(
            context.minting,
            Record {
                identity: Identity { organization: Some(tenant), ..caller.token.identity() },
                name: Some(name),
                expires_at: Some(expires_at),
                ..key_of(caller, context, now)
            },
        )?;
        match self.add(caller.authorized_by(), record.clone(), IssueMode::Add, now).await? {
            Issue::Issued { .. } => Ok(CommandOutcome::Issued {
                token,
                record: Box::new(record),
                lifetime_minutes: None,
            }),
            Issue::AuthorizationGone => self.gone(caller),
            Issue::AuthorizationSpent => Err(CommandError::CredentialGone),
            Issue::Taken(_) => {
                Err(StoreError::Unavailable("it found no room beside other keys".into()).into())
            }
        }
    }

    pub(super) async fn list_in_tenant(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        tenant: &str,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        let tenant = caller.tenant(tenant).ok_or(CommandError::ForeignTenant)?;
        let owner = caller.owner_at(context.token_api);
        match self.within(self.store.owned(caller.authorized_by(), owner, now)).await? {
            Some(mut keys) => {
                keys.retain(|key| key.retired_at.is_none() && is_in(tenant, &key.record));
                Ok(CommandOutcome::Listed(keys))
            }
            None => self.gone(caller),
        }
    }

    pub(super) async fn revoke_in_tenant(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        tenant: &str,
        id: Option<TokenId>,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        let tenant = caller.tenant(tenant).ok_or(CommandError::ForeignTenant)?;
        let Some(id) = id else { return Err(CommandError::NoSuchToken) };
        let found = self.within(self.store.find_by_id(context.token_api.to_owned(), id)).await?;
        let target: Option<TokenDigest> = match found {
            Some(Listed { record, retired_at: None })
                if record.kind == RecordKind::ApiKey
                    && record.owner() == caller.owner_at(context.token_api)
                    && is_in(tenant, &record)
                    && !record.is_expired(now) =>
            {
                Some(record.digest)
            }
            _ => None,
        };
        let removal = match target {
            Some(target) => self.remove(caller.authorized_by(), target, now).await?,
            None => Removal::Absent,
        };
        match removal {
            Removal::Removed => Ok(CommandOutcome::Revoked(id)),
            Removal::Absent => {
                // It may be gone since a moment ago: not before every instance has noticed.
                self.within(self.store.settle()).await?;
                Err(CommandError::NoSuchToken)
            }
            Removal::AuthorizationGone => self.gone(caller),
        }
    }
}

fn is_in(tenant: &str, record: &Record) -> bool {
    record.identity.organization.as_deref() == Some(tenant)
}
