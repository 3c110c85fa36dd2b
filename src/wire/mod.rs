//! The words of HTTP that everybody who speaks it shares: pure functions and small types, which know bytes and readers and
//! writers of them, and no sockets.

pub mod authority;
pub mod body;
pub mod chunks;
pub mod deadline;
pub mod fields;
pub mod head;
pub mod interim;
pub mod lines;
pub mod path;
pub mod problem;
pub mod receiving;
pub mod sending;

pub use crate::domain::json;
