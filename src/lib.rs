//! keyward: an authenticating reverse proxy.

pub mod domain;
pub mod store;
pub mod tokens;
