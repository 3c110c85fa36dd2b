//! What `keyward explain` is told: by the plan of a running keyward, or by one that is made for the
//! question.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;

use super::assemble;
use super::control::runtime;
use super::issuers::Issuers;
use super::parts::Parts;
use crate::admin::AdminError;
use crate::config::{Config, Faults};
use crate::gateway::{self, ClientOrigin, PeerAddress, Scheme, Shared};
use crate::telemetry::Explanation;
use crate::tls::Watcher;
use crate::tokens::issuer::IssuerSet;

/// How long keys of issuers that have to be fetched are waited for: longer than one fetch may take.
const KEYS_WITHIN: Duration = Duration::from_secs(6);
/// How often it is looked whether they have come.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Explains a request from a client at this address. `running`: what the workers share, where there
/// are any. Blocks for as long as the store and issuers may take.
pub(super) fn explain(
    config: &Config,
    parts: &Parts,
    running: Option<Arc<Shared>>,
    from: IpAddr,
    request: Request<()>,
) -> Result<Explanation, AdminError> {
    let runtime = runtime().map_err(AdminError::Unavailable)?;
    let address = PeerAddress::Ip(SocketAddr::new(from, 0));
    // The listener is not known: that of the configuration, or the first of several.
    let trusted_proxies = config.listeners.first().map(assemble::trusted_proxies);
    let trusted_proxies = trusted_proxies.filter(|proxies| proxies.trusts(address.ip()));
    let origin =
        ClientOrigin { peer: address.clone(), address, scheme: Scheme::Http, trusted_proxies };
    let limits = assemble::connection_settings(config).head_limits();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut issuers = Issuers::new(Watcher::default());
        let shared = match running {
            Some(shared) => shared,
            None => alone(config, parts, &mut issuers)
                .await
                .map_err(|faults| AdminError::Refused(faults.to_string()))?,
        };
        Ok(gateway::explain(&shared, limits, origin, request).await)
    })
}

/// What workers would share if there were any. Issuers' keys are fetched, as by a start.
async fn alone(
    config: &Config,
    parts: &Parts,
    issuers: &mut Issuers,
) -> Result<Arc<Shared>, Faults> {
    let fault = |key: &str, words: String| config.places.one(key, words);
    let watcher = Watcher::default();
    let upstreams = config.upstreams.iter().enumerate().map(|(at, upstream)| {
        assemble::upstream(upstream, &watcher).map_err(|words| {
            fault(
                &format!("upstream[{at}].tls"),
                format!("[[upstream]] {:?}: {words}", upstream.plan.name),
            )
        })
    });
    let upstreams = upstreams.collect::<Result<Vec<_>, _>>()?;
    let prepared = issuers.prepare(config, &parts.peppers).map_err(|faults| {
        let concluded = config.places.conclude(faults);
        concluded.err().unwrap_or_else(|| fault("issuer", "is wrong".to_owned()))
    })?;
    let set = prepared.set();
    let plan = assemble::plan(config, &parts.signed, Arc::clone(&set), upstreams);
    let plan = plan.map_err(|words| fault("route", words))?;
    issuers.replace(prepared);
    keys_have_come(&set).await;
    let shared = Shared::new(parts.services(), None, plan, 0);
    shared.load.bound(config.limits.requests);
    Ok(Arc::new(shared))
}

/// Waits until the keys of every issuer are fetched or have failed to be.
async fn keys_have_come(issuers: &IssuerSet) {
    let begun = Instant::now();
    let is_awaited = || {
        let gauges = issuers.gauges(Instant::now());
        gauges.iter().any(|of| of.keys == 0 && of.fetched + of.failed == 0)
    };
    while is_awaited() && begun.elapsed() < KEYS_WITHIN {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
