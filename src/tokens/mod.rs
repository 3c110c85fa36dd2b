//! The use-cases: what can be done with tokens, and how a credential is checked. Knows neither HTTP nor a database.

pub mod keyring;
pub mod signed;
pub mod store;
