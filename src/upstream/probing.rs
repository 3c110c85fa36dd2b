//! How it is found out whether an endpoint that was put out is back: single requests try it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http_body::Body;

use super::milliseconds::in_ms;

/// A request whose body is still coming tries an endpoint only if no other one has for so much
/// longer: its answer comes when its client has sent all of it.
const WHOLE_FIRST_MS: u64 = 1000;

/// A request that tries an endpoint is given at least so long before the next one tries it, too.
const LEAST_SPACING: Duration = Duration::from_secs(1);

/// Whether a request has all of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// There is no body, or all of it is there.
    Whole,
    /// The rest of it is still to come, whenever the client sends it.
    Unfinished,
}

impl Extent {
    pub(super) fn of(body: &impl Body) -> Self {
        if body.is_end_stream() { Self::Whole } else { Self::Unfinished }
    }
}

/// Whether an endpoint is still to answer, and since when a request tries it.
///
/// A request may take long to be answered, for reasons that are its client's or its own. So it does
/// not keep others from trying for long: the next one tries, too, once the last has had the time of
/// a connection. There is no burst, and what is slow is not waited for.
#[derive(Debug)]
pub(super) struct Probing {
    /// Whether it has not answered since it was put out.
    is_unproven: AtomicBool,
    /// When the last request that tries it began; 0: that one is over.
    begun_ms: AtomicU64,
    /// How long each has before the next one.
    spacing_ms: AtomicU64,
}

/// A request that tries an endpoint: when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe(u64);

impl Default for Probing {
    fn default() -> Self {
        Self {
            is_unproven: AtomicBool::new(false),
            begun_ms: AtomicU64::new(0),
            spacing_ms: AtomicU64::new(in_ms(LEAST_SPACING)),
        }
    }
}

impl Probing {
    /// `connect_timeout`: how long a connection may take.
    pub(super) fn set_spacing(&self, connect_timeout: Duration) {
        let spacing = in_ms(connect_timeout.max(LEAST_SPACING));
        self.spacing_ms.store(spacing, Ordering::Relaxed);
    }

    pub(super) fn is_unproven(&self) -> bool {
        self.is_unproven.load(Ordering::Relaxed)
    }

    /// It is put out. What tries it now tells nothing of how it is afterwards.
    pub(super) fn begin_unproven(&self) {
        self.begun_ms.store(0, Ordering::Relaxed);
        self.is_unproven.store(true, Ordering::Relaxed);
    }

    /// It has answered.
    pub(super) fn prove(&self) {
        self.is_unproven.store(false, Ordering::Relaxed);
    }

    /// When it may be tried by a request, as far as others try it. `out_until_ms`: when it may be
    /// tried at all.
    pub(super) fn next_ms(&self, extent: Extent, out_until_ms: u64) -> u64 {
        if !self.is_unproven() {
            return 0;
        }
        let from = match self.begun_ms.load(Ordering::Relaxed) {
            0 => out_until_ms,
            begun => begun.saturating_add(self.spacing_ms.load(Ordering::Relaxed)),
        };
        match extent {
            Extent::Whole => from,
            Extent::Unfinished => from.saturating_add(WHOLE_FIRST_MS),
        }
    }

    /// Whether the request that begins tries the endpoint.
    pub(super) fn begin(&self, extent: Extent, out_until_ms: u64, now_ms: u64) -> Option<Probe> {
        let before = self.begun_ms.load(Ordering::Relaxed);
        if !self.is_unproven() || now_ms < self.next_ms(extent, out_until_ms) {
            return None;
        }
        // Of several workers one wins.
        let (one, other) = (Ordering::Relaxed, Ordering::Relaxed);
        let won = self.begun_ms.compare_exchange(before, now_ms, one, other);
        won.ok().map(|_| Probe(now_ms))
    }

    /// A request that tried it is over. The next one may try it, unless it does already.
    pub(super) fn end(&self, probe: Probe) {
        let (one, other) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.begun_ms.compare_exchange(probe.0, 0, one, other);
    }
}
