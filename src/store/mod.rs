//! Adapters of the store port ([`crate::tokens::store`]): where the records are kept.

pub mod account_codec;
pub mod embedded;
pub mod key_directory;
pub mod record_codec;
pub mod redis;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod timed;

pub use embedded::{EmbeddedOptions, EmbeddedStore, OpenError, Opener, StoreIdentity};
pub use record_codec::RecordKey;
pub use settings::KeySettings;
pub use timed::Timed;
