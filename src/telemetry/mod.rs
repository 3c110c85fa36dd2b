//! What keyward tells its operators: logs, metrics and the access log. Never a token.

pub mod access_log;
pub mod configured;
pub mod counter;
pub mod counts;
mod explanation;
pub mod gauges;
pub mod histogram;
pub mod log;
pub mod metrics;
mod own_page;
mod page;
mod parts_page;
mod plan_page;
mod reason;
pub mod series;
mod settings;
pub mod store_durations;

pub use explanation::{
    Decision, ExplainedCors, ExplainedCredential, ExplainedHeader, ExplainedHolder, ExplainedRoute,
    Explanation,
};
pub use reason::Reason;
pub use settings::LogSettings;
