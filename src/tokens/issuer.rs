//! Outside issuers: the JWTs of an OIDC provider, or of a site's own login, as credentials.
//!
//! A token is checked by the settings of its issuer and by keys that are at hand. First comes its
//! form, then its header, its key, its signature, and only then its claims, so that no claim is
//! believed before the signature is checked. The algorithm is pinned to the key ([`jwk`]); the key
//! comes from the issuer's set, which is refreshed in the background ([`ring`]), and never from the
//! token. A token that names no key, or a name that several keys have, is tried with those that
//! fit. What passed is remembered until it expires or its key is gone ([`set`]).
//!
//! A "no" is a value; "cannot tell", because there are no keys of the issuer, is an error. How keys
//! are fetched is not decided here: see [`KeySource`].
//!
//! Unlike a token of keyward ([`super::signed`]), an outside token has no record: it is good until
//! it expires, and keyward cannot revoke it.

mod claims;
mod compact;
mod configured;
mod judge;
pub mod jwk;
pub mod metadata;
mod outside;
mod refusal;
pub mod ring;
pub mod set;
mod settings;

pub use configured::Issuer;
pub use jwk::{KeySet, NoKeySet};
pub use outside::Outside;
pub use refusal::{IssuerUnavailable, OutsideFault, OutsideRefusal};
pub use ring::{KeyFetch, KeyRing, KeySource, KeySourceFault, Rhythm, RingHealth};
pub use set::IssuerSet;
pub use settings::{IssuerSettings, Tenancy};

#[cfg(test)]
mod tests;
