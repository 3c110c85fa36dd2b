//! Keys of which an owner has one at most (style `agent-tokens`).

use super::{Desk, TokenService, key_of};
use crate::domain::Timestamp;
use crate::tokens::command::{CommandError, Outcome};
use crate::tokens::store::{Issue, Place};
use crate::tokens::verified::Caller;

impl TokenService {
    pub(super) async fn show_sole(
        &self,
        caller: &Caller,
        desk: Desk<'_>,
        now: Timestamp,
    ) -> Result<Outcome, CommandError> {
        let owner = caller.owner_at(desk.token_api);
        match self.within(self.store.owned(caller.voucher(), owner, now)).await? {
            Some(keys) => {
                let live = keys.into_iter().rfind(|key| key.retired_at.is_none());
                Ok(Outcome::SoleShown(live.map(|key| Box::new(key.record))))
            }
            None => self.gone(caller),
        }
    }

    pub(super) async fn renew_sole(
        &self,
        caller: &Caller,
        desk: Desk<'_>,
        now: Timestamp,
    ) -> Result<Outcome, CommandError> {
        let (token, record) = self.mint(desk.minting, key_of(caller, desk, now))?;
        match self.add(caller.voucher(), record.clone(), Place::Instead, now).await? {
            Issue::Issued { .. } => Ok(Outcome::SoleRenewed { token, record: Box::new(record) }),
            Issue::Taken(_) | Issue::VoucherGone => self.gone(caller),
            Issue::VoucherSpent => Err(CommandError::CredentialGone),
        }
    }

    pub(super) async fn ensure_sole(
        &self,
        caller: &Caller,
        desk: Desk<'_>,
        now: Timestamp,
    ) -> Result<Outcome, CommandError> {
        let (token, record) = self.mint(desk.minting, key_of(caller, desk, now))?;
        match self.add(caller.voucher(), record.clone(), Place::Alone, now).await? {
            Issue::Issued { .. } => Ok(Outcome::SoleEnsured { token: Some(token), record: Box::new(record) }),
            Issue::Taken(record) => Ok(Outcome::SoleEnsured { token: None, record }),
            Issue::VoucherGone => self.gone(caller),
            Issue::VoucherSpent => Err(CommandError::CredentialGone),
        }
    }

    pub(super) async fn revoke_sole(
        &self,
        caller: &Caller,
        desk: Desk<'_>,
        now: Timestamp,
    ) -> Result<Outcome, CommandError> {
        match self.remove_all(caller, desk, now).await? {
            Some(0) => {
                // It may be gone since a moment ago: not before every instance has noticed.
                self.within(self.store.settle()).await?;
                Ok(Outcome::SoleRevoked)
            }
            Some(_) => Ok(Outcome::SoleRevoked),
            None => self.gone(caller),
        }
    }
}
