//! keyward: an authenticating reverse proxy.

pub mod admin;
pub mod cli;
pub mod domain;
pub mod telemetry;
pub mod tokens;
