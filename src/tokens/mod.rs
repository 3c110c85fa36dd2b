//! The use-cases: managing tokens, and checking credentials. Knows neither HTTP nor a database.

pub mod accounts;
pub mod authenticator;
pub mod cache;
pub mod clock;
pub mod command;
pub mod finding;
pub mod issuer;
mod jwt;
pub mod keyring;
pub mod lease;
pub mod migration;
pub mod opaque;
pub mod parts;
pub mod service;
pub mod signed;
pub mod store;
pub mod tickets;
pub mod verified;
