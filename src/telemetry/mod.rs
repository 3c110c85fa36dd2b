//! What keyward tells its operators: logs, metrics and the access log. Never a token.

pub mod access_log;
pub mod counter;
mod explanation;
pub mod histogram;
pub mod log;
pub mod metrics;
mod reason;
mod settings;

pub use explanation::{
    Decision, ExplainedCors, ExplainedCredential, ExplainedHeader, ExplainedHolder, ExplainedRoute,
    Explanation,
};
pub use reason::Reason;
pub use settings::LogSettings;
