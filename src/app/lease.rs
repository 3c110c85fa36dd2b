//! The lease that an instance has on what it remembers, as it is configured.

use std::time::Duration;

use crate::config::Config;
use crate::tokens::lease::{Lease, LeaseTerms};

/// How long what is open may go on without an answer of the store: WebSockets, event streams, long
/// transfers.
const OPEN_WITHOUT_STORE: Duration = Duration::from_secs(30);

/// For how long an instance that is cut off may use what it remembers, and from when on.
pub(super) fn lease(config: &Config) -> Lease {
    let Some(redis) = &config.store.redis else { return Lease::endless() };
    Lease::pending(LeaseTerms {
        span: redis.coherence_lease,
        staleness: redis.max_staleness,
        open: OPEN_WITHOUT_STORE.max(redis.max_staleness),
        timeout: redis.options.settings.timeouts.read,
    })
}
