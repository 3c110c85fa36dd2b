//! Keys of which an owner has one at most (style `agent-tokens`).

use super::Call;
use crate::tokens::command::{CommandError, CommandOutcome};
use crate::tokens::store::IssueMode;

impl Call<'_> {
    pub(super) async fn show_sole(&self) -> Result<CommandOutcome, CommandError> {
        let live = self.owned().await?.into_iter().rfind(|key| key.retired_at.is_none());
        Ok(CommandOutcome::SoleShown(live.map(|key| Box::new(key.record))))
    }

    pub(super) async fn renew_sole(&self) -> Result<CommandOutcome, CommandError> {
        match self.make(self.new_key(), IssueMode::Replace).await? {
            (Some(token), record) => Ok(CommandOutcome::SoleRenewed { token, record }),
            // Does not happen: a key that replaces the others finds no other one.
            (None, _) => self.gone(),
        }
    }

    pub(super) async fn ensure_sole(&self) -> Result<CommandOutcome, CommandError> {
        let (token, record) = self.make(self.new_key(), IssueMode::IfNone).await?;
        Ok(CommandOutcome::SoleEnsured { token, record })
    }

    pub(super) async fn revoke_sole(&self) -> Result<CommandOutcome, CommandError> {
        if self.remove_all().await? == 0 {
            self.settle().await?;
        }
        Ok(CommandOutcome::SoleRevoked)
    }
}
