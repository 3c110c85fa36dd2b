//! The lease of an instance on its cache, as it is configured.

use std::time::Duration;

use crate::config::Config;
use crate::tokens::lease::{Lease, LeaseTerms};

/// How long WebSockets, event streams and long transfers may go on without an answer of the store.
const OPEN_WITHOUT_STORE: Duration = Duration::from_secs(30);

/// How long an instance that is cut off from the store may use its cache.
pub(super) fn lease(config: &Config) -> Lease {
    let Some(redis) = &config.store.redis else { return Lease::endless() };
    Lease::pending(LeaseTerms {
        span: redis.coherence_lease,
        staleness: redis.max_staleness,
        open: OPEN_WITHOUT_STORE.max(redis.max_staleness),
        timeout: redis.options.settings.timeouts.read,
    })
}
