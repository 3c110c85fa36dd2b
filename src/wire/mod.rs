//! The words of HTTP that all parts share: pure functions and small types, without sockets.

pub mod authority;
pub mod deadline;
pub mod fields;
pub mod keep_alive;
pub mod local_exec;
pub mod path;
pub mod problem;

pub use crate::domain::json;
