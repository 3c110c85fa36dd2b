//! An administration whose operations fail, each with words of its own.

use crate::admin::{
    AdminError, AdminFuture, Administration, BootstrapRequest, ExplainRequest, IssuedBootstrap,
    Listing, Revocation, TokenKind, UserChange, UserListing, UserOutcome, UserRequest,
};
use crate::domain::TokenId;
use crate::telemetry::Explanation;
use crate::tokens::store::Filter;

/// The operations on a store that cannot carry them out.
pub(super) struct Failing;

fn unavailable<T: Send>(words: &str) -> AdminFuture<'_, T> {
    Box::pin(async { Err(AdminError::Unavailable(words.to_owned())) })
}

impl Administration for Failing {
    fn explain(&self, _: ExplainRequest) -> AdminFuture<'_, Explanation> {
        unavailable("the store is damaged: page 5")
    }

    fn bootstrap_create(&self, _: BootstrapRequest) -> AdminFuture<'_, IssuedBootstrap> {
        Box::pin(async {
            Err(AdminError::Refused("there is no token API named \"jarvispy\"".into()))
        })
    }

    fn list(&self, _: Filter) -> AdminFuture<'_, Vec<Listing>> {
        unavailable("the store is damaged: page 3")
    }

    fn revoke(&self, _: TokenKind, _: TokenId) -> AdminFuture<'_, Revocation> {
        unavailable("the store has no room left: disk")
    }

    fn user_add(&self, _: UserRequest) -> AdminFuture<'_, UserListing> {
        Box::pin(async { Err(AdminError::Refused("the username is taken".into())) })
    }

    fn users(&self, _: Option<String>, _: usize) -> AdminFuture<'_, Vec<UserListing>> {
        unavailable("the store is damaged: page 4")
    }

    fn user_change(&self, _: UserChange) -> AdminFuture<'_, UserOutcome> {
        unavailable("too many passwords wait to be hashed")
    }
}
