//! Keys of which an owner has one at most (style `agent-tokens`).

use super::Call;
use crate::domain::{KeyLimits, Record};
use crate::tokens::command::{CommandError, CommandOutcome};
use crate::tokens::store::IssueMode;

impl Call<'_> {
    pub(super) async fn show_sole(&self) -> Result<CommandOutcome, CommandError> {
        Ok(CommandOutcome::SoleShown(self.live_sole().await?.map(Box::new)))
    }

    async fn live_sole(&self) -> Result<Option<Record>, CommandError> {
        let live = self.owned().await?.into_iter().rfind(|key| key.retired_at.is_none());
        Ok(live.map(|key| key.record))
    }

    /// The new key has no wider limits than the one that it replaces: whoever rotates a key, perhaps
    /// without knowing of its limits, does not lift them. Of renewals at the same time each goes by
    /// the key that it found; their caller may also revoke the key and make one without limits.
    pub(super) async fn renew_sole(
        &self,
        limits: Option<KeyLimits>,
    ) -> Result<CommandOutcome, CommandError> {
        let replaced = self.live_sole().await?.and_then(|key| key.limits);
        let key = self.new_key(KeyLimits::narrowed(limits, replaced));
        match self.make(key, IssueMode::Replace).await? {
            (Some(token), record) => Ok(CommandOutcome::SoleRenewed { token, record }),
            // Does not happen: a key that replaces the others finds no other one.
            (None, _) => self.gone(),
        }
    }

    pub(super) async fn ensure_sole(
        &self,
        limits: Option<KeyLimits>,
    ) -> Result<CommandOutcome, CommandError> {
        let (token, record) = self.make(self.new_key(limits), IssueMode::IfNone).await?;
        Ok(CommandOutcome::SoleEnsured { token, record })
    }

    pub(super) async fn revoke_sole(&self) -> Result<CommandOutcome, CommandError> {
        if self.remove_all().await? == 0 {
            self.settle().await?;
        }
        Ok(CommandOutcome::SoleRevoked)
    }
}
