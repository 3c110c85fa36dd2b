//! keyward: an authenticating reverse proxy.

pub mod config;
pub mod domain;
pub mod tokens;
