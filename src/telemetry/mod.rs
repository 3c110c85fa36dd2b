//! What keyward tells of itself: logs, the access log, metrics. Never a token.

pub mod access_log;
pub mod metrics;
