//! The state of this process, for the probes, the metrics and the admin socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::memory::{MemoryBound, resident};
use super::parts::Parts;
use super::process_reader::ProcessReader;
use super::service_manager::Serving;
use crate::admin::{Component, NotReady, Status, StatusFuture};
use crate::domain::Timestamp;
use crate::gateway::Shared;
use crate::server::ConnectionLimit;
use crate::store::redis::LinkState;
use crate::telemetry::gauges::{CertificateGauges, Gauges, LastReload};
use crate::telemetry::histogram::Histogram;
use crate::telemetry::metrics::WorkerCounters;
use crate::telemetry::store_durations::StoreDurations;
use crate::tls::{OwnCertificate, Watcher};
use crate::tokens::clock;
use crate::tokens::issuer::RingHealth;
use crate::tokens::store::StoreError;

pub(super) struct OwnStatus {
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Vec<Arc<WorkerCounters>>,
    pub(super) connection_limit: Arc<ConnectionLimit>,
    pub(super) memory: MemoryBound,
    /// Watches the files of certificates.
    watcher: Watcher,
    pub(super) is_started: AtomicBool,
    pub(super) is_draining: AtomicBool,
    reloads_done: AtomicU64,
    reloads_refused: AtomicU64,
    /// The configuration.
    last_reload: ArcSwap<LastReload>,
    pub(super) revocations: Arc<Histogram>,
    durations: Arc<StoreDurations>,
    process: ProcessReader,
    /// The addresses that are listened on.
    pub(super) listening: ArcSwap<Vec<String>>,
    /// The link to the rest of the fleet, if there is one.
    pub(super) link: Option<Arc<LinkState>>,
    /// What the service manager knows of it.
    pub(super) serving: Serving,
    /// As of the last look: a scrape does not ask the store.
    was_ready: AtomicBool,
    store_is_well: AtomicBool,
}

/// How long the store may take to say that it is well.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

impl OwnStatus {
    pub(super) fn new(
        shared: Arc<Shared>,
        parts: &Parts,
        counters: Vec<Arc<WorkerCounters>>,
        connection_limit: Arc<ConnectionLimit>,
        watcher: Watcher,
    ) -> Self {
        let now = clock::read();
        let memory = MemoryBound::new(Arc::clone(&shared.load), Arc::clone(&connection_limit));
        Self {
            shared,
            memory,
            revocations: Arc::clone(&parts.revocations),
            durations: Arc::clone(&parts.durations),
            process: ProcessReader::new(now),
            last_reload: ArcSwap::from_pointee(LastReload {
                is_successful: true,
                succeeded_at: Some(now.wall),
            }),
            link: parts.store.link(),
            counters,
            connection_limit,
            watcher,
            is_started: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            reloads_done: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            listening: ArcSwap::default(),
            serving: Serving::default(),
            was_ready: AtomicBool::new(false),
            store_is_well: AtomicBool::new(true),
        }
    }

    /// Notes that a new configuration is in force, or that it was refused.
    pub(super) fn note_reload(&self, is_successful: bool) {
        let before = **self.last_reload.load();
        let (counter, succeeded_at) = if is_successful {
            (&self.reloads_done, Some(clock::read().wall))
        } else {
            (&self.reloads_refused, before.succeeded_at)
        };
        self.last_reload.store(Arc::new(LastReload { is_successful, succeeded_at }));
        // Last: whoever sees the number sees the rest.
        counter.fetch_add(1, Ordering::Release);
    }

    /// What is in force of the files of certificates. A reload of the configuration reads them,
    /// too.
    fn certificate_files(&self) -> LastReload {
        let watched = self.watcher.reloaded_at().map(Timestamp::from_system);
        LastReload {
            is_successful: !self.watcher.is_failing(),
            succeeded_at: self.last_reload.load().succeeded_at.max(watched),
        }
    }

    fn certificates(&self) -> Vec<CertificateGauges> {
        let gauges = |certificate: OwnCertificate| CertificateGauges {
            file: certificate.file.display().to_string(),
            not_before: Timestamp::from_system(certificate.not_before),
            not_after: Timestamp::from_system(certificate.not_after),
        };
        self.watcher.certificates().into_iter().map(gauges).collect()
    }

    /// Whether tokens can be judged, and why the store takes no changes, if it does not. A store
    /// that answers is not enough: without a lease, no answer of it may be used.
    async fn check_store(&self) -> Result<Option<StoreError>, StoreError> {
        let refusal = match self.shared.store.check().await {
            Ok(()) => None,
            Err(fault @ StoreError::RefusesChanges(_)) => Some(fault),
            Err(fault) => return Err(fault),
        };
        self.shared.authenticator.cache().lease().held().await?;
        Ok(refusal)
    }

    /// Why it is not ready. What has changed of the store since the last call is logged.
    pub(super) async fn observe(&self) -> Vec<NotReady> {
        let mut reasons = Vec::new();
        if !self.is_started.load(Ordering::Acquire) {
            reasons.push(NotReady::Starting);
        }
        if self.is_draining.load(Ordering::Acquire) {
            reasons.push(NotReady::Draining);
        }
        let checked = tokio::time::timeout(CHECK_DEADLINE, self.check_store()).await;
        let fault = match checked {
            // The link logs that the store takes no changes. Requests are served all the same.
            Ok(Ok(_)) => None,
            Ok(Err(fault)) => Some(fault.to_string()),
            Err(_) => Some(StoreError::TimedOut.to_string()),
        };
        match (&fault, self.store_is_well.swap(fault.is_none(), Ordering::AcqRel)) {
            (Some(fault), true) => tracing::error!(%fault, "the store is not available"),
            (None, false) => tracing::info!("the store is available again"),
            _ => {}
        }
        reasons.extend(fault.map(NotReady::StoreUnavailable));
        for (name, health) in self.shared.issuers().health(Instant::now()) {
            // Keys that have become too old are no reason: the tokens of other issuers still pass.
            if let RingHealth::Never(why) = health {
                reasons.push(NotReady::IssuerWithoutKeys { issuer: name.to_string(), why });
            }
        }
        self.was_ready.store(reasons.is_empty(), Ordering::Release);
        reasons
    }
}

impl Status for OwnStatus {
    fn reasons(&self) -> StatusFuture<'_, Vec<NotReady>> {
        Box::pin(self.observe())
    }

    fn is_started(&self) -> bool {
        self.is_started.load(Ordering::Acquire)
    }

    fn components(&self) -> StatusFuture<'_, Vec<Component>> {
        Box::pin(async move {
            let store = match self.check_store().await {
                Ok(None) => Component::well("store"),
                Ok(Some(refusal)) => Component::degraded("store", refusal.to_string()),
                Err(fault) => Component::failed("store", fault.to_string()),
            };
            let log = match self.shared.access_log.as_ref().map_or(0, |log| log.dropped()) {
                0 => Component::well("access_log"),
                lines => Component::degraded("access_log", format!("{lines} lines were dropped")),
            };
            let memory = if self.memory.is_exceeded() {
                let why = "it is more than limits.memory: new connections and requests get 503";
                Component::degraded("memory", why)
            } else {
                Component::well("memory")
            };
            let mut components = vec![store, log, memory];
            for (name, health) in self.shared.issuers().health(Instant::now()) {
                let name = format!("issuer {name}");
                components.push(match health {
                    RingHealth::Well => Component::well(name),
                    RingHealth::Stale(why) => Component::degraded(name, why),
                    RingHealth::Never(why) | RingHealth::Unusable(why) => {
                        Component::failed(name, why)
                    }
                });
            }
            components
        })
    }

    fn listening(&self) -> Vec<String> {
        self.listening.load().to_vec()
    }

    fn metrics(&self) -> String {
        let cache = self.shared.authenticator.cache();
        let gauges = Gauges {
            cache_entries: cache.len(),
            refused_fills: cache.refused_fills(),
            log_lines_dropped: self.shared.access_log.as_ref().map_or(0, |log| log.dropped()),
            connections_refused: self.connection_limit.refused(),
            requests_under_way: self.shared.load.under_way(),
            memory: resident().unwrap_or_default(),
            memory_limit: self.memory.most(),
            is_memory_exceeded: self.memory.is_exceeded(),
            memory_exceeded: self.memory.times(),
            reloads_done: self.reloads_done.load(Ordering::Relaxed),
            reloads_refused: self.reloads_refused.load(Ordering::Relaxed),
            certificate_reloads_done: self.watcher.reloads_done(),
            certificate_reloads_failed: self.watcher.reloads_failed(),
            config: **self.last_reload.load(),
            certificate_files: self.certificate_files(),
            certificates: self.certificates(),
            process: self.process.read(),
            store: Arc::clone(&self.durations),
            is_ready: self.was_ready.load(Ordering::Acquire),
            revocations: Arc::clone(&self.revocations),
            issuers: self.shared.issuers().gauges(Instant::now()),
            upstreams: self.shared.upstream_states().iter().map(|state| state.gauges()).collect(),
            fleet: self.link.as_ref().map(|link| link.gauges(cache.lease())),
        };
        self.shared.metrics(self.counters.iter().map(AsRef::as_ref), &gauges)
    }
}
