//! The words of HTTP that everybody who speaks it shares: pure functions and small types, no sockets.

pub mod authority;
pub mod chunks;
pub mod deadline;
pub mod fields;
pub mod head;
pub mod interim;
pub mod path;
pub mod problem;
pub mod small_writes;

pub use crate::domain::json;
