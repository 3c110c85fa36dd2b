//! The names of endpoints: what their addresses are, asked again when their time to live is over.
//!
//! ```text
//! watch ─→ client ─→ servers of names      watch ─→ answers ─→ the states of upstreams
//!   └────→ known
//! ```
//!
//! * `watch` asks for each name, once per process, and publishes what has changed.
//! * `client` asks: `/etc/hosts`, then the servers, with the search list of `/etc/resolv.conf`.
//! * `known` decides what an answer means: which addresses are in force, and when to ask again.
//! * `answers` is what was found, for all upstreams; an upstream has an endpoint for each address.
//!
//! No request waits for a server of names.

mod answers;
mod client;
mod known;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

pub use answers::Answers;
pub(super) use answers::Unresolved;
pub use settings::DnsSettings;
pub use watch::NameWatch;
