//! The words of HTTP that all parts share, as pure functions and small types; and what the sockets
//! of several parts have in common.

pub mod authority;
pub mod byte_stream;
pub mod deadline;
pub mod fields;
pub mod gather;
pub mod keep_alive;
pub mod limits;
pub mod local_exec;
pub mod path;
pub mod problem;
pub mod retry_after;
pub mod socket_file;

pub use crate::domain::json;
