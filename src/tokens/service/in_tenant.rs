//! Keys that speak for their owner in one tenant, which is their organization (style
//! `tenant-tokens`).

use super::Call;
use crate::domain::{Identity, KeyLimits, Record, RecordKind, Timestamp, TokenId};
use crate::tokens::command::{CommandError, CommandOutcome};
use crate::tokens::store::{Listed, Removal};

impl Call<'_> {
    pub(super) async fn issue_in_tenant(
        &self,
        tenant: &str,
        name: String,
        expires_at: Timestamp,
        limits: Option<KeyLimits>,
    ) -> Result<CommandOutcome, CommandError> {
        let organization = Some(self.tenant(tenant)?.to_owned());
        let key = Record {
            identity: Identity { organization, ..self.caller.token.identity() },
            name: Some(name),
            expires_at: Some(expires_at),
            ..self.new_key(limits)
        };
        self.add(key, None).await
    }

    pub(super) async fn list_in_tenant(
        &self,
        tenant: &str,
    ) -> Result<CommandOutcome, CommandError> {
        let tenant = self.tenant(tenant)?;
        let mut keys = self.owned().await?;
        keys.retain(|key| key.retired_at.is_none() && is_in(tenant, &key.record));
        Ok(CommandOutcome::Listed(keys))
    }

    pub(super) async fn revoke_in_tenant(
        &self,
        tenant: &str,
        id: Option<TokenId>,
    ) -> Result<CommandOutcome, CommandError> {
        let tenant = self.tenant(tenant)?;
        let id = id.ok_or(CommandError::NoSuchToken)?;
        let token_api = self.context.token_api;
        let found = self.parts.store.find_by_id(token_api.to_owned(), id);
        let removal = match self.parts.within(found).await? {
            Some(Listed { record, retired_at: None })
                if record.kind == RecordKind::ApiKey
                    && record.owner() == self.caller.owner_at(token_api)
                    && is_in(tenant, &record)
                    && !record.is_expired(self.now) =>
            {
                self.remove(record.digest).await?
            }
            _ => Removal::Absent,
        };
        match removal {
            Removal::Removed => Ok(CommandOutcome::Revoked(id)),
            Removal::Absent => {
                self.settle().await?;
                Err(CommandError::NoSuchToken)
            }
            Removal::AuthorizationGone => self.gone(),
        }
    }

    fn tenant(&self, name: &str) -> Result<&str, CommandError> {
        self.caller.tenant(name).ok_or(CommandError::ForeignTenant)
    }
}

fn is_in(tenant: &str, record: &Record) -> bool {
    record.identity.organization.as_deref() == Some(tenant)
}
