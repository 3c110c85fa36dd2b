//! What administrators do with tokens.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::TokenService;
use crate::domain::{
    Identity, RawToken, Record, RecordKind, RecordSort, Timestamp, TokenDigest, TokenId,
};
use crate::tokens::command::{CommandError, Minting};
use crate::tokens::signed::SigningAlgorithm;
use crate::tokens::store::{AuthorizedBy, Filter, Listed, Removal, StoreError};

/// What an administrator says of a new bootstrap token.
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
}

impl TokenService {
    /// Makes a bootstrap token: an administrator's doing.
    ///
    /// # Errors
    ///
    /// When the store does not take it or it cannot be signed.
    pub async fn bootstrap(
        &self,
        order: BootstrapOrder,
        now: Timestamp,
    ) -> Result<(RawToken, Record), CommandError> {
        let (token, record) = self.mint(
            &Minting::Signed(order.algorithm),
            Record {
                digest: TokenDigest::from_bytes([0; 32]),
                id: TokenId::from_uuid(Uuid::new_v4()),
                token_api: order.token_api,
                kind: RecordKind::Bootstrap { mints_left: order.mints },
                origin: None,
                identity: order.identity,
                name: None,
                hint: None,
                issued_at: now.truncated_to_seconds(),
                expires_at: order.lifetime.map(|span| now.truncated_to_seconds().after(span)),
                last_used_at: None,
            },
        )?;
        self.within(self.store.provision(record.clone())).await?;
        self.cache.invalidate(&record.digest);
        Ok((token, record))
    }

    /// The records that match, for an administrator.
    ///
    /// # Errors
    ///
    /// When the store cannot tell.
    pub async fn browse(&self, filter: Filter) -> Result<Vec<Record>, StoreError> {
        self.within(self.store.browse(filter)).await
    }

    /// Revokes a token of one of these token APIs, for an administrator. `sort` says which sort is
    /// meant, so that a slip of the hand does not end another; false: there is no such token.
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
        for token_api in token_apis {
            let target = self.within(self.store.find_by_id(token_api.to_string(), id)).await?;
            if let Some(Listed { record, retired_at: None }) = target
                && record.kind.sort() == sort
                && self.remove(AuthorizedBy::Outside, record.digest, now).await? == Removal::Removed
            {
                return Ok(true);
            }
        }
        self.within(self.store.settle()).await?;
        Ok(false)
    }
}
