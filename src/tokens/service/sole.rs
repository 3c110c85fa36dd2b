//! Keys of which an owner has one at most (style `agent-tokens`).

use super::{TokenApiContext, TokenService, key_of};
use crate::domain::{RawToken, Record, Timestamp};
use crate::tokens::command::{CommandError, CommandOutcome};
use crate::tokens::store::{Issue, IssueMode};
use crate::tokens::verified::Caller;

impl TokenService {
    pub(super) async fn show_sole(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        let owner = caller.owner_at(context.token_api);
        match self.within(self.store.owned(caller.authorized_by(), owner, now)).await? {
            Some(keys) => {
                let live = keys.into_iter().rfind(|key| key.retired_at.is_none());
                Ok(CommandOutcome::SoleShown(live.map(|key| Box::new(key.record))))
            }
            None => self.gone(caller),
        }
    }

    pub(super) async fn renew_sole(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        match self.make_sole(caller, context, IssueMode::Replace, now).await? {
            (Some(token), record) => Ok(CommandOutcome::SoleRenewed { token, record }),
            // What is put in the place of another never finds it taken.
            (None, _) => self.gone(caller),
        }
    }

    pub(super) async fn ensure_sole(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        let (token, record) = self.make_sole(caller, context, IssueMode::IfNone, now).await?;
        Ok(CommandOutcome::SoleEnsured { token, record })
    }

    /// Makes the key, unless its place is taken: the token if it was made, and the record that is
    /// there now.
    async fn make_sole(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        mode: IssueMode,
        now: Timestamp,
    ) -> Result<(Option<RawToken>, Box<Record>), CommandError> {
        let (token, record) = self.mint(context.minting, key_of(caller, context, now))?;
        match self.add(caller.authorized_by(), record.clone(), mode, now).await? {
            Issue::Issued { .. } => Ok((Some(token), Box::new(record))),
            Issue::Taken(record) => Ok((None, record)),
            Issue::AuthorizationGone => self.gone(caller),
            Issue::AuthorizationSpent => Err(CommandError::CredentialGone),
        }
    }

    pub(super) async fn revoke_sole(
        &self,
        caller: &Caller,
        context: TokenApiContext<'_>,
        now: Timestamp,
    ) -> Result<CommandOutcome, CommandError> {
        match self.remove_all(caller, context, now).await? {
            Some(0) => {
                // It may be gone since a moment ago: not before every instance has noticed.
                self.within(self.store.settle()).await?;
                Ok(CommandOutcome::SoleRevoked)
            }
            Some(_) => Ok(CommandOutcome::SoleRevoked),
            None => self.gone(caller),
        }
    }
}
