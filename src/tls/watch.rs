//! Watching: the files of every registered server and client are looked at once a second.
//!
//! Stamps are polled, not watched by inotify: that works on every file system (network mounts
//! included) and through every chain of symbolic links, for a few `stat` calls a second.

#![expect(
    clippy::disallowed_methods,
    reason = "files are compared with the time at which they were read"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;

use super::OwnCertificate;
use super::reload::Watched;

/// How often the files are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at the files of everything that is registered. Clones share what is registered and the
/// counts.
#[derive(Clone, Default)]
pub struct Watcher(Arc<Registry>);

#[derive(Default)]
struct Registry {
    /// What is dropped elsewhere is no longer watched.
    watched: Mutex<Vec<Weak<dyn Watched>>>,
    reloads_done: AtomicU64,
    reloads_failed: AtomicU64,
    reloaded_at: Mutex<Option<SystemTime>>,
}

impl Watcher {
    /// Watches the files of a server or a client from now on, until it is dropped. A second
    /// registration has no effect.
    pub fn register<W: Watched + 'static>(&self, watched: &Arc<W>) {
        let watched: Weak<dyn Watched> = Arc::downgrade(&(Arc::clone(watched) as Arc<dyn Watched>));
        let mut all = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.strong_count() > 0);
        if !all.iter().any(|known| known.ptr_eq(&watched)) {
            all.push(watched);
        }
    }

    fn watched(&self) -> Vec<Arc<dyn Watched>> {
        let all = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).collect()
    }

    fn reloaded(&self) -> MutexGuard<'_, Option<SystemTime>> {
        self.0.reloaded_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all files once. Blocks on the file system. Each change is logged and counted once,
    /// and each part of a change that cannot be used.
    pub fn refresh(&self, now: SystemTime) {
        for watched in self.watched() {
            let refreshed = watched.refresh(now);
            if refreshed.is_reloaded {
                self.0.reloads_done.fetch_add(1, Ordering::Relaxed);
                *self.reloaded() = Some(now);
                tracing::info!(files = ?watched.paths(), "the files of TLS have changed and are in \
                 force");
            }
            for fault in refreshed.faults {
                self.0.reloads_failed.fetch_add(1, Ordering::Relaxed);
                let file = fault.path().unwrap_or_else(|| std::path::Path::new(""));
                tracing::error!(
                    file = ?file,
                    %fault,
                    "files of TLS have changed and cannot be used; those from before stay in force"
                );
            }
        }
    }

    /// Looks at all files once a second, on a thread that may block. Never returns; dropping it
    /// ends the watch. Must run within a tokio runtime with time.
    pub async fn run(self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let watcher = self.clone();
            if tokio::task::spawn_blocking(move || watcher.refresh(SystemTime::now()))
                .await
                .is_err()
            {
                tracing::error!("a look at the files of TLS was broken off; it is repeated");
            }
        }
    }

    /// How often changed files were put in force, since the start.
    #[must_use]
    pub fn reloads_done(&self) -> u64 {
        self.0.reloads_done.load(Ordering::Relaxed)
    }

    /// How often changed files could not be used, since the start; each change counts once.
    #[must_use]
    pub fn reloads_failed(&self) -> u64 {
        self.0.reloads_failed.load(Ordering::Relaxed)
    }

    /// When changed files were put in force last; `None`: never.
    #[must_use]
    pub fn reloaded_at(&self) -> Option<SystemTime> {
        *self.reloaded()
    }

    /// Whether there are files that, as they were at the last look, cannot be used. Those from
    /// before are in force.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.watched().iter().any(|watched| watched.is_failing())
    }

    /// The certificates in force, each file once.
    #[must_use]
    pub fn certificates(&self) -> Vec<OwnCertificate> {
        let mut by_file = BTreeMap::new();
        for certificate in self.watched().iter().flat_map(|watched| watched.certificates()) {
            // Of two that were read at different times, the one that ends first.
            let known = by_file.entry(certificate.file.clone()).or_insert(certificate.clone());
            if certificate.not_after < known.not_after {
                *known = certificate;
            }
        }
        by_file.into_values().collect()
    }
}
