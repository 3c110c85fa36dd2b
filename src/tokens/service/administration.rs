//! What administrators do with tokens.

use std::sync::Arc;
use std::time::Duration;

use super::TokenService;
use crate::domain::{
    Identity, KeyLimits, Owner, RawToken, Record, RecordKind, RecordSort, Timestamp, TokenId,
};
use crate::tokens::command::CommandError;
use crate::tokens::parts::new_record;
use crate::tokens::signed::SigningAlgorithm;
use crate::tokens::store::{AuthorizedBy, Filter, Listed, Removal, StoreError};

/// A bootstrap token to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapOrder {
    /// The token API that it is for.
    pub token_api: String,
    /// How that token API signs.
    pub algorithm: SigningAlgorithm,
    /// The identity of its holder.
    pub identity: Identity,
    /// How many keys it can make, at least 1.
    pub mints: u32,
    /// How long it is good; `None`: until it is spent or revoked.
    pub lifetime: Option<Duration>,
    /// The limits of the keys that it makes.
    pub limits: Option<KeyLimits>,
}

impl TokenService {
    /// Makes a bootstrap token.
    ///
    /// # Errors
    ///
    /// When the store does not take it or it cannot be signed.
    pub async fn bootstrap(
        &self,
        order: BootstrapOrder,
        now: Timestamp,
    ) -> Result<(RawToken, Record), CommandError> {
        let subject = order.identity.subject.clone();
        let owner = Owner { token_api: order.token_api, origin: None, subject };
        let kind = RecordKind::Bootstrap { mints_left: order.mints };
        let mut record = new_record(owner, kind, order.identity, now);
        record.limits = order.limits;
        record.expires_at = order.lifetime.map(|lifetime| record.issued_at.after(lifetime));
        let (token, record) = self.parts.sign(order.algorithm, record)?;
        self.parts.within(self.parts.store.provision(record.clone())).await?;
        self.parts.cache.invalidate(&record.digest);
        Ok((token, record))
    }

    /// The records that match.
    ///
    /// # Errors
    ///
    /// When the store cannot tell.
    pub async fn browse(&self, filter: Filter) -> Result<Vec<Record>, StoreError> {
        self.parts.within(self.parts.store.browse(filter)).await
    }

    /// Revokes a token of one of these token APIs. `sort`: which sort is meant, so that a mistyped
    /// id does not end another one. `false`: there is no such token.
    ///
    /// # Errors
    ///
    /// When the store cannot tell or cannot do it.
    pub async fn revoke_as_administrator(
        &self,
        token_apis: &[Arc<str>],
        id: TokenId,
        sort: RecordSort,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let store = &self.parts.store;
        for token_api in token_apis {
            let target = self.parts.within(store.find_by_id(token_api.to_string(), id)).await?;
            if let Some(Listed { record, retired_at: None }) = target
                && record.kind.sort() == sort
                && self.remove(AuthorizedBy::Outside, record.digest, now).await? == Removal::Removed
            {
                return Ok(true);
            }
        }
        self.parts.within(store.settle()).await?;
        Ok(false)
    }
}
