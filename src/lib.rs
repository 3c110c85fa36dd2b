//! keyward: an authenticating reverse proxy.

pub mod api;
pub mod config;
pub mod domain;
pub mod gateway;
pub mod telemetry;
pub mod store;
pub mod tokens;
pub mod upstream;
pub mod wire;
