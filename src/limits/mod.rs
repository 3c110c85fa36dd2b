//! How many requests may be made: rates, and requests at the same time.
//!
//! This layer counts, and knows neither HTTP nor a store. `gateway` decides what is counted, and
//! says no; a store that a fleet shares counts for all of its instances behind [`SharedCounters`].
//!
//! A rate is a [`Quota`]: so many requests a period, and so many at once. It is kept by the generic
//! cell rate algorithm (GCRA): permits come back one by one, evenly over the period, and there is
//! no window at whose border twice as many would pass. What is counted together has one
//! [`CounterKey`].
//!
//! What the process as a whole can bear is its [`Load`]; [`freed`] gives memory back to the system.

mod allowance;
mod allowances;
mod concurrency;
pub mod freed;
mod gcra;
mod key;
mod load;
mod quota;
mod rate;
mod settings;
mod shared;
mod verdict;

pub use allowances::{Allowances, FleetCounters, Judged, Pending};
pub use concurrency::{Concurrency, Place};
pub use key::{CounterKey, LimitId, Scope};
pub use load::{Excess, Load, UnderWay};
pub use quota::{Quota, UNITS};
pub use rate::{Asked, MOST_COUNTERS, Rate, Taken, Waiting};
pub use settings::{LimitSettings, RateSettings};
pub use shared::{CountersError, CountersFuture, Grant, SharedCounters};
pub use verdict::Verdict;
