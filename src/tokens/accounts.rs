//! Accounts: users register, log in with a password, and make API keys.
//!
//! [`service`] has the use-cases. A login is slow on purpose: [`hashing`] does it on threads of its
//! own, after [`throttle`] has checked the [`counters`] of failed attempts. Accounts are in an
//! [`store::AccountStore`]; their sessions and keys are records.

pub mod command;
pub mod counters;
pub mod hashing;
mod logins;
pub mod password_hash;
pub mod service;
pub mod store;
pub mod throttle;

pub use command::{AccountCommand, AccountError, AccountOutcome, KeyCommand, Registration};
pub use counters::{Counters, MemoryCounters};
pub use hashing::HashingPool;
pub use logins::Logins;
pub use password_hash::{HashingCost, PasswordHash, Verdict};
pub use service::{AccountParts, AccountTerms, AccountsService, Enrolment};
pub use store::AccountStore;
pub use throttle::ClientGroup;
