//! The API keys of an account.

use super::{AccountTerms, AccountsService, HINT_CHARS};
use crate::domain::{KeyLimits, Record, RecordKind, RecordSort, Timestamp, TokenId};
use crate::tokens::accounts::command::{AccountError, AccountOutcome};
use crate::tokens::parts::new_record;
use crate::tokens::store::{Issue, IssueMode, Listed, OnRemove, Removal, StoreError};
use crate::tokens::verified::Caller;

impl AccountsService {
    pub(super) async fn issue_key(
        &self,
        terms: &AccountTerms,
        caller: &Caller,
        name: String,
        limits: Option<KeyLimits>,
        now: Timestamp,
    ) -> Result<AccountOutcome, AccountError> {
        let tokens = &self.parts.tokens;
        let owner = caller.owner_at(&terms.token_api);
        let record = new_record(owner, RecordKind::ApiKey, caller.token.identity(), now);
        let limits = KeyLimits::narrowed(limits, caller.token.limits().copied());
        let record = Record { name: Some(name), limits, ..record };
        let (key, record) = tokens.mint(&terms.format, HINT_CHARS, record)?;
        let digest = record.digest;
        // If the account is disabled meanwhile, its session is removed in the same step and
        // authorizes nothing any more.
        let issue = tokens.store.issue(caller.authorized_by(), record.clone(), IssueMode::Add, now);
        match tokens.change(issue, move |_, cache| cache.invalidate(&digest)).await? {
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
        let tokens = &self.parts.tokens;
        let owner = caller.owner_at(caller.token.token_api());
        match tokens.within(tokens.store.owned(caller.authorized_by(), owner, now)).await? {
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
        let tokens = &self.parts.tokens;
        let found = tokens.store.find_by_id(caller.token.token_api().to_string(), id);
        let own = tokens.within(found).await?.filter(|found| {
            found.record.kind.sort() == RecordSort::ApiKey
                && found.record.owner() == caller.owner_at(caller.token.token_api())
        });
        let Some(Listed { record, retired_at }) = own else {
            return Err(AccountError::NoSuchKey);
        };
        if retired_at.is_none() {
            let digest = record.digest;
            let removal =
                tokens.store.remove(caller.authorized_by(), digest, OnRemove::Retire, now);
            match tokens.change(removal, move |_, cache| cache.invalidate(&digest)).await? {
                Removal::Removed => return Ok(AccountOutcome::KeyRevoked),
                Removal::Absent => {}
                Removal::AuthorizationGone => return self.gone(caller),
            }
        }
        // Another call retired it, perhaps a moment ago: it is not answered before every instance
        // has noticed.
        tokens.within(tokens.store.settle()).await?;
        Ok(AccountOutcome::KeyRevoked)
    }
}
