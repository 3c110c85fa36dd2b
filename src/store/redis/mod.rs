//! The store of a fleet: Redis.

pub mod connection;
pub mod data;
pub mod discover;
pub mod inspect;
mod lane;
pub mod node;
mod pace;
pub mod settings;
pub mod site;
pub mod site_fault;
mod slot;
mod tls;
mod trouble;

#[cfg(test)]
#[allow(dead_code, reason = "the tests here and those through the socket use different parts of it")]
#[path = "../../../tests/it/support/redis.rs"]
mod server;
