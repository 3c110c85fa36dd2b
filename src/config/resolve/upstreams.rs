//! What the keys of `[[upstream]]` say together.

use std::sync::Arc;

use super::names::Named;
use crate::config::pairs::pair;
use crate::config::routing::{Upstream, UpstreamTls};
use crate::config::tables::{
    Balance, EndpointKeys, HealthCheckKeys, UpstreamKeys, UpstreamTlsKeys,
};
use crate::gateway::UpstreamPlan;
use crate::settings::fault::Findings;
use crate::settings::section::Row;
use crate::tls::Trust;
use crate::upstream::{
    Balancing, Ejection, Endpoint, EndpointShare, HealthCheck, Policy, RequestLimits,
    ResponseHeadLimits, Retries, UpstreamSettings,
};
use crate::wire::limits::{Limits, Timeouts};

pub(super) fn resolve(
    rows: Vec<Row<UpstreamKeys>>,
    limits: &Limits,
    timeouts: &Timeouts,
    findings: &Findings<'_>,
) -> Named<Upstream> {
    let mut named = Named::new();
    for Row { mut keys, path } in rows {
        named.add(keys.name.as_ref(), &[], findings);
        let servers = keys.endpoints.take().unwrap_or_default();
        let balancing = balancing(&keys, &servers, &path, findings);
        let endpoints: Vec<Endpoint> = servers.into_iter().filter_map(|keys| keys.url).collect();
        let spot = findings.table(&path);
        if spot.is_given("tls") && !endpoints.iter().any(|endpoint| endpoint.is_tls) {
            spot.fault("tls", "\"tls\" is of no use: no endpoint begins with \"https://\"");
        }
        let settings = UpstreamSettings {
            endpoints,
            protocol: keys.protocol,
            tls: None,
            connect_timeout: timeouts.connect,
            idle_connections: keys.idle_connections,
            idle_timeout: keys.idle_timeout,
            response_head: ResponseHeadLimits {
                bytes: limits.response_head,
                fields: limits.response_headers,
            },
            balancing,
        };
        let name = keys.name.map_or_else(|| "".into(), |name| name.value);
        let plan = UpstreamPlan {
            name,
            settings,
            preserve_host: keys.preserve_host,
            via: keys.via,
            rewrite_location: keys.rewrite_location,
        };
        let tls = tls(keys.tls, &format!("{path}.tls"), findings);
        named.objects.push(Upstream { plan, tls });
    }
    named
}

/// How requests are shared out; none, if there is one endpoint and nothing to decide.
fn balancing(
    keys: &UpstreamKeys,
    servers: &[EndpointKeys],
    path: &str,
    findings: &Findings<'_>,
) -> Option<Arc<Balancing>> {
    let spot = findings.table(path);
    if !servers.is_empty() && servers.iter().all(|server| server.draining) {
        spot.fault("endpoints", "\"endpoints\": all are \"draining\": requests could go nowhere");
    }
    let limits = RequestLimits {
        most: keys.max_requests,
        most_connections: keys.max_connections,
        queue: keys.queue,
        queue_timeout: keys.queue_timeout,
    };
    if !limits.are_set() {
        for key in ["queue", "queue_timeout"] {
            if spot.is_given(key) {
                let without = "without \"max_requests\" or \"max_connections\"";
                spot.fault(key, format!("{key:?} is of no use {without}"));
            }
        }
    }
    let health_check = health_check(&keys.health_check);
    if keys.circuit {
        if keys.ejection.failures == 0 && health_check.is_none() {
            spot.fault(
                "circuit",
                "\"circuit\" is of no use: without \"failures\" of \"ejection\" and without \
                 \"health_check\" no endpoint is left out",
            );
        }
        let below = format!("{path}.ejection");
        let ejection = findings.table(&below);
        if ejection.is_given("share") {
            let words = "\"share\" is of no use with \"circuit\": all may be left out";
            ejection.fault("share", words);
        }
    }
    // A name may have several addresses.
    let has_name = servers.iter().any(|server| server.url.as_ref().is_some_and(is_named));
    let has_rules = health_check.is_some() || limits.are_set() || keys.circuit;
    if servers.len() < 2 && !has_rules && !has_name {
        return None;
    }
    let share = |server: &EndpointKeys| EndpointShare {
        weight: server.weight,
        is_draining: server.draining,
    };
    Some(Arc::new(Balancing {
        shares: servers.iter().map(share).collect(),
        policy: match (keys.balance, &keys.hash_by) {
            (Balance::Hash, Some(by)) => Policy::Hash(by.clone()),
            (Balance::LeastRequests, _) => Policy::LeastRequests,
            (Balance::RoundRobin | Balance::Hash, _) => Policy::RoundRobin,
        },
        ejection: Ejection {
            failures: keys.ejection.failures,
            span: keys.ejection.r#for,
            longest: keys.ejection.longest,
            most_percent: keys.ejection.share,
            slow_return: keys.ejection.slow_return,
            statuses: keys.ejection.statuses.clone(),
        },
        retries: Retries {
            budget_percent: keys.retries.budget,
            floor: keys.retries.floor,
            statuses: keys.retries.statuses.clone(),
        },
        health_check,
        limits,
        has_circuit: keys.circuit,
    }))
}

fn is_named(endpoint: &Endpoint) -> bool {
    endpoint.name().is_some()
}

fn health_check(keys: &HealthCheckKeys) -> Option<HealthCheck> {
    Some(HealthCheck {
        path: keys.path.clone()?,
        host: keys.host.clone(),
        interval: keys.interval,
        timeout: keys.timeout,
        healthy_after: keys.healthy_after,
        unhealthy_after: keys.unhealthy_after,
        statuses: keys.statuses.clone().unwrap_or_default(),
    })
}

fn tls(keys: UpstreamTlsKeys, path: &str, findings: &Findings<'_>) -> UpstreamTls {
    let spot = findings.table(path);
    UpstreamTls {
        trust: keys.ca_file.map_or(Trust::System, Trust::File),
        server_name: keys.server_name,
        identity: pair(spot, ["certificate", "key"], keys.certificate, keys.key),
    }
}
