//! Rules without I/O or clock: tokens, records, identities, access. Knows neither HTTP nor a store.

pub mod access;
pub mod account;
pub mod algorithm;
pub mod claim;
pub mod hex;
pub mod identity;
pub mod json;
pub mod limits;
pub mod password;
pub mod record;
pub mod time;
pub mod token;

pub use account::{Account, AccountId, Email, FieldFault, FullName, Username};
pub use algorithm::OutsideAlgorithm;
pub use claim::{ClaimNames, ClaimPath, ClaimRule, ClaimValue, TENANT};
pub use identity::Identity;
pub use limits::{KeyLimits, KeyRate, LimitsFault, Rate};
pub use password::{NewPassword, Password};
pub use record::{Owner, Record, RecordKind, RecordSort};
pub use time::{DateFault, Moment, Timestamp, Uptime};
pub use token::{RawToken, TokenDigest, TokenId};
