//! What the metrics show that is not counted by workers: it is read at the moment of a scrape.

use std::sync::Arc;
use std::time::Duration;

use super::histogram::Histogram;

/// An instance as a member of its fleet.
#[derive(Clone, Debug, Default)]
pub struct FleetGauges {
    /// How long the lease still lasts.
    pub lease_left: Duration,
    /// How long one lasts.
    pub lease: Duration,
    /// How long an instance that is cut off from the store may still use what it remembers.
    pub bound: Duration,
    /// How often the link to the store was established.
    pub links: u64,
    /// How often everything that was remembered was dropped.
    pub drops: u64,
    /// How often the store's data was found lost or replaced.
    pub generations_lost: u64,
    /// How often an instance did not confirm a removal before its lease was over.
    pub unconfirmed: u64,
}

/// The keys of one outside issuer.
#[derive(Clone, Debug, Default)]
pub struct IssuerGauges {
    /// Its name in the configuration: what is in it needs no escaping.
    pub name: Arc<str>,
    /// How many usable keys there are.
    pub keys: usize,
    /// How long ago they were fetched; `None`: never, or they are a secret that does not age.
    pub age: Option<Duration>,
    /// Fetches that brought keys.
    pub fetched: u64,
    /// Fetches that brought none.
    pub failed: u64,
}

/// One upstream whose endpoints are chosen among, checked or limited.
#[derive(Clone, Debug, Default)]
pub struct UpstreamGauges {
    /// Its name in the configuration: what is in it needs no escaping.
    pub name: Arc<str>,
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests that wait for a place.
    pub waiting: u32,
    /// Its endpoints, in the order of the configuration.
    pub endpoints: Vec<EndpointGauges>,
}

/// One endpoint of an upstream.
#[derive(Clone, Debug, Default)]
pub struct EndpointGauges {
    /// As in the configuration, without its scheme.
    pub name: String,
    /// Whether it gets requests.
    pub is_up: bool,
    /// Whether it gets none because it failed.
    pub is_ejected: bool,
    /// How often it was left out because it failed.
    pub ejections: u64,
    /// Requests that were sent to it, those that were sent again each time.
    pub requests: u64,
    /// Requests that it failed.
    pub failed: u64,
    /// Its connections, where those are limited.
    pub connections: Option<u32>,
}

/// What is read at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Tokens in the cache.
    pub cache_entries: usize,
    /// Reads thrown away because of a fence.
    pub refused_fills: u64,
    /// Lines of the access log that were dropped.
    pub log_lines_dropped: u64,
    /// Connections turned away because of the limit.
    pub connections_refused: u64,
    /// Requests under way, where their number is bounded.
    pub requests_under_way: u32,
    /// The resident memory of the process, in bytes.
    pub memory: u64,
    /// How much it may be, in bytes; `None`: any amount.
    pub memory_limit: Option<u64>,
    /// Whether it is more, and what is new is refused.
    pub is_memory_exceeded: bool,
    /// How often it became more.
    pub memory_exceeded: u64,
    /// Reloads that were put in force.
    pub reloads_done: u64,
    /// Reloads that were refused.
    pub reloads_refused: u64,
    /// Files of certificates that changed and were put in force.
    pub certificate_reloads_done: u64,
    /// Files of certificates that changed and could not be used.
    pub certificate_reloads_failed: u64,
    /// Whether the instance is ready.
    pub is_ready: bool,
    /// From the order to revoke a token until no instance accepts it.
    pub revocations: Arc<Histogram>,
    /// The outside issuers, in the order of the configuration.
    pub issuers: Vec<IssuerGauges>,
    /// The upstreams of which something is known.
    pub upstreams: Vec<UpstreamGauges>,
    /// With a store that is shared by a fleet.
    pub fleet: Option<FleetGauges>,
}
