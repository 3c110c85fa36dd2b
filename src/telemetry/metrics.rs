//! Metrics. Each worker writes its own counters without a locked instruction; a scrape adds them
//! up.

use super::Reason;
use super::configured::PlanSeries;
use super::counter::Counter;
use super::counts::LIMITED_BY;
use super::counts::{LimitedCounts, RefusalCounts, StatusCounts};
use super::gauges::Gauges;
use super::histogram::Histogram;
use super::page::Page;

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

/// The statuses that keyward itself gives: these are shown from the start, so that the first one is
/// an increase. Others are shown once they have been seen.
const OWN_STATUSES: [u16; 16] =
    [200, 400, 401, 403, 404, 405, 408, 409, 413, 429, 431, 499, 500, 502, 503, 504];

/// Everything, in Prometheus' text format 0.0.4. `series`: of the plan that is in force.
#[must_use]
pub fn render<'a>(
    workers: impl Iterator<Item = &'a WorkerCounters> + Clone,
    gauges: &Gauges,
    series: &PlanSeries,
) -> String {
    let mut page = Page::default();
    let sum = |of: &dyn Fn(&WorkerCounters) -> u64| workers.clone().map(of).sum::<u64>();
    let name = "keyward_requests_total";
    page.family(("counter", name, "Responses, by status."));
    for status in 100..600_u16 {
        let at = usize::from(status - 100);
        let count = sum(&|worker| worker.requests.0.get(at).map_or(0, Counter::value));
        if count > 0 || OWN_STATUSES.contains(&status) {
            page.labelled(name, "status", status, count);
        }
    }
    let name = "keyward_refusals_total";
    page.family(("counter", name, "Requests that were refused or failed, by reason."));
    for reason in Reason::ALL {
        let count = sum(&|worker| worker.refusals.0.get(reason as usize).map_or(0, Counter::value));
        page.labelled(name, "reason", reason, count);
    }
    let name = "keyward_rate_limited_total";
    page.family(("counter", name, "Limits that refused a request, by what they count."));
    for (at, by) in LIMITED_BY.iter().enumerate() {
        let count = sum(&|worker| worker.rate_limited.0.get(at).map_or(0, Counter::value));
        page.labelled(name, "by", by, count);
    }
    page.histogram(
        "keyward_request_duration_seconds",
        "From the arrival of a request to the last byte of its response.",
        workers.clone().map(|worker| &worker.durations),
    );
    page.plan(series);
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
    page.store(&gauges.store);
    page.reloads(gauges);
    page.certificates(&gauges.certificates);
    page.process(&gauges.process);
    let name = "keyward_build_info";
    page.family(("gauge", name, "The version that runs."));
    page.labelled(name, "version", env!("CARGO_PKG_VERSION"), 1);
    page.0
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
        let text = render(std::iter::once(&worker), &Gauges::default(), &PlanSeries::default());
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
