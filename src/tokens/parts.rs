//! The parts that the authenticator and the services of tokens and accounts share, and the
//! operations that several of them need.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::cache::TokenCache;
use super::keyring::{CredentialSort, Peppers};
use super::opaque::{NoRandomness, OpaqueFormat, OpaqueTokens};
use super::signed::{KeyError, SignedTokens, SigningAlgorithm};
use super::store::{Store, StoreError};
use crate::domain::{
    Identity, Owner, RawToken, Record, RecordKind, Timestamp, TokenDigest, TokenId,
};

/// What tokens are made, checked and kept with.
#[derive(Clone)]
pub struct TokenParts {
    /// The allowlist.
    pub store: Arc<dyn Store>,
    /// What is remembered of it.
    pub cache: Arc<TokenCache>,
    /// Signs and verifies JWTs.
    pub signed: Arc<SignedTokens>,
    /// Makes and recognizes opaque tokens.
    pub opaque: Arc<OpaqueTokens>,
    /// Turn tokens into digests.
    pub peppers: Arc<Peppers>,
    /// How long one operation of the store may take before the answer is "cannot tell".
    pub deadline: Duration,
}

impl TokenParts {
    /// Waits for an operation of the store until the deadline.
    pub(super) async fn within<T, E: From<StoreError>>(
        &self,
        operation: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let outcome = tokio::time::timeout(self.deadline, operation).await;
        outcome.unwrap_or_else(|_| Err(StoreError::TimedOut.into()))
    }

    /// Makes a change, and tells the cache its outcome, even if the caller is gone: otherwise a
    /// removal that takes effect later would leave its token remembered.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        tell: impl FnOnce(&Result<T, StoreError>, &TokenCache) + Send + 'static,
    ) -> Result<T, StoreError> {
        let cache = Arc::clone(&self.cache);
        let running = tokio::spawn(async move {
            let outcome = change.await;
            tell(&outcome, &cache);
            outcome
        });
        let broken_off = |_| StoreError::Unavailable("the change was broken off".into());
        self.within(async { running.await.map_err(broken_off)? }).await
    }

    /// Signs the token of `record`, and gives the record its digest.
    pub(super) fn sign(
        &self,
        algorithm: SigningAlgorithm,
        mut record: Record,
    ) -> Result<(RawToken, Record), KeyError> {
        let token = self.signed.sign(algorithm, &record)?;
        record.digest = self.digest(CredentialSort::SignedToken, &token);
        Ok((token, record))
    }

    /// Makes an opaque token, and gives `record` its digest and a hint of `shown` characters behind
    /// the prefix.
    pub(super) fn mint(
        &self,
        format: &OpaqueFormat,
        shown: usize,
        mut record: Record,
    ) -> Result<(RawToken, Record), NoRandomness> {
        let token = self.opaque.mint(format)?;
        record.digest = self.digest(CredentialSort::OpaqueToken, &token);
        record.hint = Some(format.hint(&token, shown));
        Ok((token, record))
    }

    fn digest(&self, sort: CredentialSort, token: &RawToken) -> TokenDigest {
        self.peppers.digest(sort, token.expose().as_bytes())
    }
}

/// A new record without name and expiry; it gets its digest with its token.
pub(super) fn new_record(
    owner: Owner,
    kind: RecordKind,
    identity: Identity,
    now: Timestamp,
) -> Record {
    Record {
        digest: TokenDigest::from_bytes([0; 32]),
        id: TokenId::from_uuid(Uuid::new_v4()),
        token_api: owner.token_api,
        kind,
        origin: owner.origin,
        identity,
        name: None,
        hint: None,
        limits: None,
        issued_at: now.truncated_to_seconds(),
        expires_at: None,
        last_used_at: None,
    }
}

/// Tells the cache which records a change removed. After an error it is unknown which are gone, so
/// everything that is remembered is forgotten.
pub(super) fn forget_removed(
    removal: &Result<Option<Vec<TokenDigest>>, StoreError>,
    cache: &TokenCache,
) {
    match removal {
        Ok(removed) => removed.iter().flatten().for_each(|digest| cache.invalidate(digest)),
        Err(_) => cache.invalidate_all(),
    }
}
