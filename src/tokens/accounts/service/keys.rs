//! The API keys of an account.

use uuid::Uuid;

use super::{AccountTerms, AccountsService, HINT_CHARS};
use crate::domain::{Record, RecordKind, RecordSort, Timestamp, TokenId};
use crate::tokens::accounts::command::{AccountError, AccountOutcome};
use crate::tokens::keyring::CredentialSort;
use crate::tokens::store::{AuthorizedBy, Issue, IssueMode, Listed, OnRemove, Removal, StoreError};
use crate::tokens::verified::Caller;

impl AccountsService {
    pub(super) async fn issue_key(
        &self,
        terms: &AccountTerms,
        caller: &Caller,
        name: String,
        now: Timestamp,
    ) -> Result<AccountOutcome, AccountError> {
        let key = self.parts.opaque.mint(&terms.format)?;
        let record = Record {
            digest: self.parts.peppers.digest(CredentialSort::OpaqueToken, key.expose().as_bytes()),
            id: TokenId::from_uuid(Uuid::new_v4()),
            token_api: terms.token_api.to_string(),
            kind: RecordKind::ApiKey,
            origin: None,
            identity: caller.token.identity(),
            name: Some(name),
            hint: Some(terms.format.hint(&key, HINT_CHARS)),
            issued_at: now.truncated_to_seconds(),
            expires_at: None,
            last_used_at: None,
        };
        let digest = record.digest;
        // If the account is disabled meanwhile, its session is removed in the same step, and
        // nothing authorizes it any more.
        let issue = self.parts.store.issue(
            AuthorizedBy::Record(caller.digest),
            record.clone(),
            IssueMode::Add,
            now,
        );
        match self.change(issue, move |_, cache| cache.invalidate(&digest)).await? {
            Issue::Issued { .. } => Ok(AccountOutcome::KeyIssued { key, record: Box::new(record) }),
            Issue::AuthorizationGone | Issue::AuthorizationSpent => self.gone(caller),
            Issue::Taken(_) => {
                Err(StoreError::Unavailable("it found no room beside other keys".into()).into())
            }
        }
    }

    pub(super) async fn list_keys(
        &self,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<AccountOutcome, AccountError> {
        match self
            .within(self.parts.store.owned(
                AuthorizedBy::Record(caller.digest),
                caller.owner_at(caller.token.token_api()),
                now,
            ))
            .await?
        {
            Some(keys) => Ok(AccountOutcome::Keys(keys)),
            None => self.gone(caller),
        }
    }

    pub(super) async fn revoke_key(
        &self,
        caller: &Caller,
        id: TokenId,
        now: Timestamp,
    ) -> Result<AccountOutcome, AccountError> {
        let store = &self.parts.store;
        let found = self.within(store.find_by_id(caller.token.token_api().to_string(), id)).await?;
        let own = found.filter(|found| {
            found.record.kind.sort() == RecordSort::ApiKey
                && found.record.owner() == caller.owner_at(caller.token.token_api())
        });
        match own {
            Some(Listed { record, retired_at: None }) => {
                let digest = record.digest;
                let removal = store.remove(
                    AuthorizedBy::Record(caller.digest),
                    digest,
                    OnRemove::Retire,
                    now,
                );
                match self.change(removal, move |_, cache| cache.invalidate(&digest)).await? {
                    Removal::Removed => Ok(AccountOutcome::KeyRevoked),
                    Removal::Absent => {
                        // Another call revoked it in between.
                        self.within(store.settle()).await?;
                        Ok(AccountOutcome::KeyRevoked)
                    }
                    Removal::AuthorizationGone => self.gone(caller),
                }
            }
            Some(_) => {
                // When this is answered, no instance accepts the key any more, even if another call
                // retired it, at any time before.
                self.within(store.settle()).await?;
                Ok(AccountOutcome::KeyRevoked)
            }
            None => Err(AccountError::NoSuchKey),
        }
    }
}
