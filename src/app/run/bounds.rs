//! How many workers and connections the machine can have.

/// How many file descriptors are kept for what is no connection: the store, the logs, the admin
/// listener.
const SPARE_DESCRIPTORS: u64 = 64;

/// As configured, or one for each core.
pub(super) fn workers(configured: usize) -> usize {
    if configured > 0 {
        return configured;
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Raises the limit of file descriptors as far as the system allows, and returns how many
/// connections that is enough for: each may need a second one, to its upstream.
pub(super) fn connection_limit(configured: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let available =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let affordable = available
        .map_or(usize::MAX, |all| {
            usize::try_from(all.saturating_sub(SPARE_DESCRIPTORS) / 2).unwrap_or(usize::MAX)
        })
        .max(1);
    match configured {
        0 => affordable,
        more if more > affordable => {
            tracing::warn!(
                configured = more,
                affordable,
                "limits.connections is more than the file descriptors are good for"
            );
            affordable
        }
        fits => fits,
    }
}
