//! keyward: an authenticating reverse proxy.

pub mod api;
pub mod config;
pub mod domain;
pub mod tokens;
pub mod upstream;
pub mod wire;
