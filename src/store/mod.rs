//! Adapters of the store port ([`crate::tokens::store`]): who keeps the records.

pub mod account_codec;
#[cfg(test)]
pub(crate) mod account_conformance;
#[cfg(test)]
pub(crate) mod conformance;
pub mod embedded;
pub mod key_directory;
pub mod record_codec;
pub mod redis;
mod settings;

pub use embedded::{EmbeddedOptions, EmbeddedStore, OpenError, Opener, StoreIdentity};
pub use record_codec::RecordKey;
pub use settings::KeySettings;
