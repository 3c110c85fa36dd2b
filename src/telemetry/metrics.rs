//! Metrics. Each worker writes its own counters, without a lock and without a locked instruction; a
//! scrape adds them up.

use std::fmt::Write as _;
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

/// What is seen of an instance as a member of its fleet.
#[derive(Clone, Debug, Default)]
pub struct FleetGauges {
    /// How much is left of the lease.
    pub lease_left: Duration,
    /// For how long after its last word from the store any instance may use what it remembers: the
    /// bound of a revocation where an instance is cut off.
    pub bound: Duration,
    /// How often the link to the store was established.
    pub links: u64,
    /// How often everything that was remembered was dropped.
    pub drops: u64,
    /// How often the store's data was found lost or replaced.
    pub generations_lost: u64,
    /// How often an instance did not confirm a removal, so that it was waited for until its lease
    /// was over.
    pub unconfirmed: u64,
}

/// What is seen of the keys of one outside issuer.
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

/// One worker's counters.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Responses by status.
    pub requests: StatusCounts,
    /// Refusals by reason.
    pub refusals: RefusalCounts,
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
    /// From the order to revoke to the moment at which no instance accepts the token.
    pub revocations: Arc<Histogram>,
    /// The outside issuers, in the order of the configuration.
    pub issuers: Vec<IssuerGauges>,
    /// With a store that is shared by a fleet.
    pub fleet: Option<FleetGauges>,
}

/// Everything, in Prometheus' text format 0.0.4.
#[must_use]
pub fn render<'a>(
    workers: impl Iterator<Item = &'a WorkerCounters> + Clone,
    gauges: &Gauges,
) -> String {
    let mut out = String::new();
    let sum = |of: &dyn Fn(&WorkerCounters) -> u64| workers.clone().map(of).sum::<u64>();
    family(&mut out, "keyward_requests_total", "counter", "Responses, by status.");
    for status in 100..600_usize {
        let count = sum(&|worker| worker.requests.0.get(status - 100).map_or(0, Counter::value));
        if count > 0 {
            let _ = writeln!(out, "keyward_requests_total{{status=\"{status}\"}} {count}");
        }
    }
    family(
        &mut out,
        "keyward_refusals_total",
        "counter",
        "Requests that were refused or failed, by reason.",
    );
    for reason in Reason::ALL {
        let count = sum(&|worker| worker.refusals.0.get(reason as usize).map_or(0, Counter::value));
        let _ = writeln!(out, "keyward_refusals_total{{reason=\"{reason}\"}} {count}");
    }
    family(
        &mut out,
        "keyward_request_duration_seconds",
        "histogram",
        "From the arrival of a request to the last byte of its response.",
    );
    let durations = workers.clone().map(|worker| &worker.durations);
    Histogram::render(&mut out, "keyward_request_duration_seconds", durations);
    let opened = sum(&|worker| worker.connections_opened.value());
    let closed = sum(&|worker| worker.connections_closed.value());
    for (name, kind, help, value) in [
        (
            "keyward_token_cache_hits_total",
            "counter",
            "Tokens that a cache knew.",
            sum(&|worker| worker.cache_hits.value()),
        ),
        (
            "keyward_token_cache_misses_total",
            "counter",
            "Tokens that were checked anew.",
            sum(&|worker| worker.cache_misses.value()),
        ),
        (
            "keyward_token_cache_refused_fills_total",
            "counter",
            "Look-ups thrown away because of an invalidation meanwhile.",
            gauges.refused_fills,
        ),
        (
            "keyward_token_cache_entries",
            "gauge",
            "Tokens in the cache.",
            gauges.cache_entries as u64,
        ),
        (
            "keyward_client_connections_total",
            "counter",
            "Connections accepted from clients.",
            opened,
        ),
        (
            "keyward_client_connections",
            "gauge",
            "Open connections of clients.",
            opened.saturating_sub(closed),
        ),
        (
            "keyward_client_connections_refused_total",
            "counter",
            "Connections turned away at the limit.",
            gauges.connections_refused,
        ),
        (
            "keyward_access_log_dropped_total",
            "counter",
            "Lines of the access log that could not be written.",
            gauges.log_lines_dropped,
        ),
        ("keyward_ready", "gauge", "Whether the instance is ready.", u64::from(gauges.is_ready)),
    ] {
        family(&mut out, name, kind, help);
        let _ = writeln!(out, "{name} {value}");
    }
    revocations(&mut out, &gauges.revocations);
    if !gauges.issuers.is_empty() {
        render_issuers(&mut out, &gauges.issuers);
    }
    if let Some(fleet) = &gauges.fleet {
        render_fleet(&mut out, fleet);
    }
    family(
        &mut out,
        "keyward_config_reloads_total",
        "counter",
        "Reloads of the configuration, by outcome.",
    );
    let _ =
        writeln!(out, "keyward_config_reloads_total{{outcome=\"done\"}} {}", gauges.reloads_done);
    let _ = writeln!(
        out,
        "keyward_config_reloads_total{{outcome=\"refused\"}} {}",
        gauges.reloads_refused
    );
    let name = "keyward_certificate_reloads_total";
    family(&mut out, name, "counter", "Changes of the files of certificates, by outcome.");
    let _ = writeln!(out, "{name}{{outcome=\"done\"}} {}", gauges.certificate_reloads_done);
    let _ = writeln!(out, "{name}{{outcome=\"failed\"}} {}", gauges.certificate_reloads_failed);
    family(&mut out, "keyward_build_info", "gauge", "The version that runs.");
    let _ = writeln!(out, "keyward_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    out
}

fn revocations(out: &mut String, timings: &Histogram) {
    let name = "keyward_revocation_duration_seconds";
    family(
        out,
        name,
        "histogram",
        "From the order to revoke to the moment at which no instance accepts the token.",
    );
    Histogram::render(out, name, std::iter::once(timings));
}

fn render_issuers(out: &mut String, issuers: &[IssuerGauges]) {
    let name = "keyward_issuer_key_fetches_total";
    family(out, name, "counter", "Fetches of an issuer's keys, by outcome.");
    for issuer in issuers {
        let _ = writeln!(
            out,
            "{name}{{issuer=\"{}\",outcome=\"done\"}} {}",
            issuer.name, issuer.fetched
        );
        let _ = writeln!(
            out,
            "{name}{{issuer=\"{}\",outcome=\"failed\"}} {}",
            issuer.name, issuer.failed
        );
    }
    let name = "keyward_issuer_keys";
    family(out, name, "gauge", "Keys of an issuer that are here and can be used.");
    for issuer in issuers {
        let _ = writeln!(out, "{name}{{issuer=\"{}\"}} {}", issuer.name, issuer.keys);
    }
    let name = "keyward_issuer_keys_age_seconds";
    family(out, name, "gauge", "Since when an issuer's keys have not been fetched anew.");
    for issuer in issuers {
        if let Some(age) = issuer.age {
            let age = seconds(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
            let _ = writeln!(out, "{name}{{issuer=\"{}\"}} {age}", issuer.name);
        }
    }
}

fn render_fleet(out: &mut String, fleet: &FleetGauges) {
    let micros = |span: Duration| seconds(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    for (name, kind, help, value) in [
        (
            "keyward_coherence_lease_seconds_left",
            "gauge",
            "How long what the store has said may still be used; 0: nothing is accepted that needs \
             it.",
            micros(fleet.lease_left),
        ),
        (
            "keyward_coherence_bound_seconds",
            "gauge",
            "How long an instance that is cut off may accept a token after it was revoked, beside \
             the time in which an \
             isolated master refuses writes.",
            micros(fleet.bound),
        ),
        (
            "keyward_coherence_links_total",
            "counter",
            "How often the link to the store was established.",
            fleet.links.to_string(),
        ),
        (
            "keyward_coherence_drops_total",
            "counter",
            "How often everything that was remembered was dropped.",
            fleet.drops.to_string(),
        ),
        (
            "keyward_store_generation_changes_total",
            "counter",
            "How often the store's data was found lost or replaced.",
            fleet.generations_lost.to_string(),
        ),
        (
            "keyward_revocation_unconfirmed_instances",
            "counter",
            "Instances that did not confirm a removal and were waited for until their lease was \
             over.",
            fleet.unconfirmed.to_string(),
        ),
    ] {
        family(out, name, kind, help);
        let _ = writeln!(out, "{name} {value}");
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // A `fmt::Write` into a `String` cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
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
