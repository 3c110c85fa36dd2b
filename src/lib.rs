//! keyward: an authenticating reverse proxy.

pub mod admin;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod gateway;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tokens;
pub mod upstream;
pub mod wire;
