//! What keyward tells its operators: logs, metrics and the access log. Never a token.

pub mod access_log;
pub mod log;
pub mod metrics;
mod reason;

pub use reason::Reason;
