//! The administrator's operations, carried out by this process.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::assemble::{self, Parts};
use crate::admin::{
    AdminError, AdminFuture, Administration, BootstrapRequest, IssuedBootstrap, Listing, Revocation, TokenKind,
};
use crate::config::Config;
use crate::domain::{Timestamp, TokenId};
use crate::tokens::command::CommandError;
use crate::tokens::service::{BootstrapOrder, TokenService};
use crate::tokens::signed::SigningAlgorithm;
use crate::tokens::store::Filter;

/// The names of the configured token APIs, and how each signs.
type TokenApis = Vec<(Arc<str>, SigningAlgorithm)>;

/// Carries out what the command line asks for.
pub(super) struct OwnAdministration {
    service: TokenService,
    token_apis: ArcSwap<TokenApis>,
    /// Held so that the store stays open, and is closed in order when this goes.
    _parts: Parts,
}

impl OwnAdministration {
    pub(super) fn new(parts: Parts, config: &Config) -> Self {
        Self { service: parts.service(), token_apis: ArcSwap::from_pointee(names(config)), _parts: parts }
    }

    /// Follows a reload.
    pub(super) fn replace(&self, config: &Config) {
        self.token_apis.store(Arc::new(names(config)));
    }
}

fn names(config: &Config) -> TokenApis {
    config.token_apis.iter().map(|api| (Arc::clone(&api.name), assemble::algorithm(api.algorithm))).collect()
}

fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

impl Administration for OwnAdministration {
    fn bootstrap_create(&self, request: BootstrapRequest) -> AdminFuture<'_, IssuedBootstrap> {
        Box::pin(async move {
            request.check()?;
            let known = self.token_apis.load();
            let Some((name, algorithm)) = known.iter().find(|(name, _)| **name == *request.token_api) else {
                return Err(AdminError::Refused(format!("there is no token API named {:?}", request.token_api)));
            };
            let order = BootstrapOrder {
                token_api: name.to_string(),
                algorithm: *algorithm,
                identity: request.identity,
                mints: request.mints,
                lifetime: request.expires_in,
            };
            let (token, record) = self.service.bootstrap(order, now()).await.map_err(|fault| match fault {
                CommandError::Store(fault) => AdminError::from(fault),
                other => AdminError::Unavailable(other.to_string()),
            })?;
            Ok(IssuedBootstrap { id: record.id, token })
        })
    }

    fn list(&self, filter: Filter) -> AdminFuture<'_, Vec<Listing>> {
        Box::pin(async move { Ok(self.service.browse(filter).await?.iter().filter_map(Listing::of).collect()) })
    }

    fn revoke(&self, kind: TokenKind, id: TokenId) -> AdminFuture<'_, Revocation> {
        Box::pin(async move {
            let names: Vec<_> = self.token_apis.load().iter().map(|(name, _)| Arc::clone(name)).collect();
            let revoked = self.service.revoke_as_administrator(&names, id, kind.into(), now()).await?;
            Ok(if revoked { Revocation::Revoked } else { Revocation::NotFound })
        })
    }
}
