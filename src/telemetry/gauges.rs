//! What the metrics show that is not counted by workers: it is read at the moment of a scrape.

use std::sync::Arc;
use std::time::Duration;

use super::histogram::Histogram;
use super::store_durations::StoreDurations;
use crate::domain::Timestamp;

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
    /// How many keys there are that may be used now.
    pub keys: usize,
    /// The age at which they are fetched anew; `None`: they do not come from a source.
    pub refresh: Option<Duration>,
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

/// What was loaded last of what can be loaded anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastReload {
    /// Whether it could be used. Otherwise what was there before is in force.
    pub is_successful: bool,
    /// When something was put in force last; the start counts. `None`: it has not started yet.
    pub succeeded_at: Option<Timestamp>,
}

/// A certificate that is shown to clients, or to upstreams, issuers and Redis.
#[derive(Clone, Debug)]
pub struct CertificateGauges {
    /// Its file.
    pub file: String,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

/// What the process takes of the system; `None`: the system does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessGauges {
    /// The time that processors have spent on it.
    pub cpu: Duration,
    /// Its open file descriptors.
    pub open_files: Option<u64>,
    /// How many it may have open.
    pub most_files: Option<u64>,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// Its resident memory, in bytes.
    pub resident: Option<u64>,
    /// Its virtual memory, in bytes.
    pub mapped: Option<u64>,
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
    /// The configuration.
    pub config: LastReload,
    /// The files of certificates.
    pub certificate_files: LastReload,
    /// The certificates in force, each once.
    pub certificates: Vec<CertificateGauges>,
    /// What the process takes.
    pub process: ProcessGauges,
    /// How long the store took.
    pub store: Arc<StoreDurations>,
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
