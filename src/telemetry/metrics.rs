//! Metrics. Each worker writes its own counters without a locked instruction; a scrape adds them
//! up.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use super::Reason;
use super::counter::Counter;
use super::histogram::{Histogram, seconds};

/// Responses by status, 100…599.
#[derive(Debug)]
pub struct StatusCounts(Box<[Counter]>);

impl Default for StatusCounts {
    fn default() -> Self {
        Self((100..600).map(|_| Counter::default()).collect())
    }
}

impl StatusCounts {
    /// Counts one.
    pub fn count(&self, status: u16) {
        if let Some(counter) = usize::from(status).checked_sub(100).and_then(|at| self.0.get(at)) {
            counter.add(1);
        }
    }
}

/// Refusals by reason.
#[derive(Debug, Default)]
pub struct RefusalCounts([Counter; Reason::ALL.len()]);

impl RefusalCounts {
    /// Counts one.
    pub fn count(&self, reason: Reason) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.add(1);
        }
    }
}

/// By what requests are limited: the values of the label of [`LimitedCounts`].
pub const LIMITED_BY: [&str; 6] = ["token", "subject", "tenant", "address", "route", "concurrent"];

/// Requests that limits refused, by what the limit counts.
#[derive(Debug, Default)]
pub struct LimitedCounts([Counter; LIMITED_BY.len()]);

impl LimitedCounts {
    /// Counts one; `by` is one of [`LIMITED_BY`].
    pub fn count(&self, by: &str) {
        let at = LIMITED_BY.iter().position(|known| *known == by);
        if let Some(counter) = at.and_then(|at| self.0.get(at)) {
            counter.add(1);
        }
    }
}

/// An instance as a member of its fleet.
#[derive(Clone, Debug, Default)]
pub struct FleetGauges {
    /// How long the lease still lasts.
    pub lease_left: Duration,
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
    /// Its connections, where those are limited.
    pub connections: Option<u32>,
}

/// One worker's counters.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Responses by status.
    pub requests: StatusCounts,
    /// Refusals by reason.
    pub refusals: RefusalCounts,
    /// Requests that limits refused.
    pub rate_limited: LimitedCounts,
    /// From the arrival of a request to the last byte of its response.
    pub durations: Histogram,
    /// Tokens that a cache knew.
    pub cache_hits: Counter,
    /// Tokens that were looked up.
    pub cache_misses: Counter,
    /// Connections of clients, accepted.
    pub connections_opened: Counter,
    /// Connections of clients, ended.
    pub connections_closed: Counter,
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

/// Everything, in Prometheus' text format 0.0.4.
#[must_use]
pub fn render<'a>(
    workers: impl Iterator<Item = &'a WorkerCounters> + Clone,
    gauges: &Gauges,
) -> String {
    let mut page = Page::default();
    let sum = |of: &dyn Fn(&WorkerCounters) -> u64| workers.clone().map(of).sum::<u64>();
    let name = "keyward_requests_total";
    page.family("counter", name, "Responses, by status.");
    for status in 100..600_usize {
        let count = sum(&|worker| worker.requests.0.get(status - 100).map_or(0, Counter::value));
        if count > 0 {
            page.labelled(name, "status", status, count);
        }
    }
    let name = "keyward_refusals_total";
    page.family("counter", name, "Requests that were refused or failed, by reason.");
    for reason in Reason::ALL {
        let count = sum(&|worker| worker.refusals.0.get(reason as usize).map_or(0, Counter::value));
        page.labelled(name, "reason", reason, count);
    }
    let name = "keyward_rate_limited_total";
    page.family("counter", name, "Limits that refused a request, by what they count.");
    for (at, by) in LIMITED_BY.iter().enumerate() {
        let count = sum(&|worker| worker.rate_limited.0.get(at).map_or(0, Counter::value));
        page.labelled(name, "by", by, count);
    }
    page.histogram(
        "keyward_request_duration_seconds",
        "From the arrival of a request to the last byte of its response.",
        workers.clone().map(|worker| &worker.durations),
    );
    let hits = sum(&|worker| worker.cache_hits.value());
    page.counter("keyward_token_cache_hits_total", "Tokens that a cache knew.", hits);
    let misses = sum(&|worker| worker.cache_misses.value());
    page.counter("keyward_token_cache_misses_total", "Tokens that were checked anew.", misses);
    page.counter(
        "keyward_token_cache_refused_fills_total",
        "Look-ups thrown away because of an invalidation meanwhile.",
        gauges.refused_fills,
    );
    page.gauge("keyward_token_cache_entries", "Tokens in the cache.", gauges.cache_entries);
    let opened = sum(&|worker| worker.connections_opened.value());
    let closed = sum(&|worker| worker.connections_closed.value());
    let open = opened.saturating_sub(closed);
    page.counter("keyward_client_connections_total", "Connections accepted from clients.", opened);
    page.gauge("keyward_client_connections", "Open connections of clients.", open);
    page.counter(
        "keyward_client_connections_refused_total",
        "Connections turned away at the limit.",
        gauges.connections_refused,
    );
    page.counter(
        "keyward_access_log_dropped_total",
        "Lines of the access log that could not be written.",
        gauges.log_lines_dropped,
    );
    page.gauge(
        "keyward_requests_under_way",
        "Requests under way, where limits.requests bounds them.",
        gauges.requests_under_way,
    );
    page.gauge("keyward_memory_bytes", "The resident memory of the process.", gauges.memory);
    page.gauge(
        "keyward_memory_limit_bytes",
        "How much it may be before what is new is refused; 0: any amount.",
        gauges.memory_limit.unwrap_or_default(),
    );
    page.gauge(
        "keyward_memory_exceeded",
        "Whether what is new is refused because there is too much memory in use.",
        u8::from(gauges.is_memory_exceeded),
    );
    page.counter(
        "keyward_memory_exceeded_total",
        "How often what is new began to be refused because of that.",
        gauges.memory_exceeded,
    );
    page.gauge("keyward_ready", "Whether the instance is ready.", u8::from(gauges.is_ready));
    page.histogram(
        "keyward_revocation_duration_seconds",
        "From the order to revoke to the moment at which no instance accepts the token.",
        std::iter::once(&*gauges.revocations),
    );
    if !gauges.issuers.is_empty() {
        page.issuers(&gauges.issuers);
    }
    if !gauges.upstreams.is_empty() {
        page.upstreams(&gauges.upstreams);
    }
    if let Some(fleet) = &gauges.fleet {
        page.fleet(fleet);
    }
    let name = "keyward_config_reloads_total";
    page.family("counter", name, "Reloads of the configuration, by outcome.");
    page.labelled(name, "outcome", "done", gauges.reloads_done);
    page.labelled(name, "outcome", "refused", gauges.reloads_refused);
    let name = "keyward_certificate_reloads_total";
    page.family("counter", name, "Changes of the files of certificates, by outcome.");
    page.labelled(name, "outcome", "done", gauges.certificate_reloads_done);
    page.labelled(name, "outcome", "failed", gauges.certificate_reloads_failed);
    let name = "keyward_build_info";
    page.family("gauge", name, "The version that runs.");
    page.labelled(name, "version", env!("CARGO_PKG_VERSION"), 1);
    page.0
}

/// The text so far. A `fmt::Write` into a `String` cannot fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, kind: &str, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family("counter", name, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.family("gauge", name, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        summands: impl Iterator<Item = &'a Histogram> + Clone,
    ) {
        self.family("histogram", name, help);
        Histogram::render(&mut self.0, name, summands);
    }

    /// A line with one label, whose value needs no escaping.
    fn labelled(&mut self, name: &str, label: &str, is: impl fmt::Display, value: u64) {
        let _ = writeln!(self.0, "{name}{{{label}=\"{is}\"}} {value}");
    }

    fn issuers(&mut self, issuers: &[IssuerGauges]) {
        let name = "keyward_issuer_key_fetches_total";
        self.family("counter", name, "Fetches of an issuer's keys, by outcome.");
        for IssuerGauges { name: issuer, fetched, failed, .. } in issuers {
            for (outcome, count) in [("done", fetched), ("failed", failed)] {
                let labels = format!("issuer=\"{issuer}\",outcome=\"{outcome}\"");
                let _ = writeln!(self.0, "{name}{{{labels}}} {count}");
            }
        }
        let name = "keyward_issuer_keys";
        self.family("gauge", name, "Keys of an issuer that are here and can be used.");
        for issuer in issuers {
            self.labelled(name, "issuer", &issuer.name, issuer.keys as u64);
        }
        let name = "keyward_issuer_keys_age_seconds";
        self.family("gauge", name, "Since when an issuer's keys have not been fetched anew.");
        for IssuerGauges { name: issuer, age, .. } in issuers {
            if let Some(age) = age {
                let _ = writeln!(self.0, "{name}{{issuer=\"{issuer}\"}} {}", seconds(*age));
            }
        }
    }

    fn upstreams(&mut self, upstreams: &[UpstreamGauges]) {
        let name = "keyward_upstream_retries_total";
        self.family("counter", name, "Requests that were sent to an upstream again.");
        for upstream in upstreams {
            self.labelled(name, "upstream", &upstream.name, upstream.retries);
        }
        let name = "keyward_upstream_waiting";
        self.family("gauge", name, "Requests that wait for a place at an upstream.");
        for upstream in upstreams {
            self.labelled(name, "upstream", &upstream.name, u64::from(upstream.waiting));
        }
        self.endpoints(
            upstreams,
            ("gauge", "keyward_upstream_endpoint_up", "Whether an endpoint gets requests."),
            |endpoint| Some(u64::from(endpoint.is_up)),
        );
        let help = "Whether an endpoint gets no requests for a while because it failed.";
        self.endpoints(
            upstreams,
            ("gauge", "keyward_upstream_endpoint_ejected", help),
            |endpoint| Some(u64::from(endpoint.is_ejected)),
        );
        let help = "How often an endpoint was left out because it failed.";
        self.endpoints(
            upstreams,
            ("counter", "keyward_upstream_ejections_total", help),
            |endpoint| Some(endpoint.ejections),
        );
        let help = "Connections to an endpoint, where they are limited.";
        self.endpoints(upstreams, ("gauge", "keyward_upstream_connections", help), |endpoint| {
            endpoint.connections.map(u64::from)
        });
    }

    /// A family with a line for each endpoint that has a value.
    fn endpoints(
        &mut self,
        upstreams: &[UpstreamGauges],
        (kind, name, help): (&str, &str, &str),
        value: impl Fn(&EndpointGauges) -> Option<u64>,
    ) {
        self.family(kind, name, help);
        for UpstreamGauges { name: upstream, endpoints, .. } in upstreams {
            for endpoint in endpoints {
                let Some(value) = value(endpoint) else { continue };
                // The path of a socket may hold what ends a label.
                let label = endpoint.name.replace('\\', "\\\\").replace('"', "\\\"");
                let labels = format!("upstream=\"{upstream}\",endpoint=\"{label}\"");
                let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
            }
        }
    }

    fn fleet(&mut self, fleet: &FleetGauges) {
        self.gauge(
            "keyward_coherence_lease_seconds_left",
            "How long what the store has said may still be used; 0: nothing is accepted that needs \
             it.",
            seconds(fleet.lease_left),
        );
        self.gauge(
            "keyward_coherence_bound_seconds",
            "How long an instance that is cut off may accept a token after it was revoked, beside \
             the time in which an isolated master refuses writes.",
            seconds(fleet.bound),
        );
        self.counter(
            "keyward_coherence_links_total",
            "How often the link to the store was established.",
            fleet.links,
        );
        self.counter(
            "keyward_coherence_drops_total",
            "How often everything that was remembered was dropped.",
            fleet.drops,
        );
        self.counter(
            "keyward_store_generation_changes_total",
            "How often the store's data was found lost or replaced.",
            fleet.generations_lost,
        );
        self.counter(
            "keyward_revocation_unconfirmed_instances",
            "Instances that did not confirm a removal and were waited for until their lease was \
             over.",
            fleet.unconfirmed,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_and_the_status_of_a_client_that_left_are_counted() {
        let worker = WorkerCounters::default();
        worker.requests.count(Reason::CLIENT_GONE_STATUS);
        for (n, reason) in (1..).zip(Reason::ALL) {
            (0..n).for_each(|_| worker.refusals.count(reason));
        }
        let text = render(std::iter::once(&worker), &Gauges::default());
        let has = |line: &str| text.lines().any(|other| other == line);
        assert!(has("keyward_requests_total{status=\"499\"} 1"), "{text}");
        for (n, reason) in (1..).zip(Reason::ALL) {
            assert!(
                has(&format!("keyward_refusals_total{{reason=\"{reason}\"}} {n}")),
                "{reason}: {text}"
            );
        }
    }
}
