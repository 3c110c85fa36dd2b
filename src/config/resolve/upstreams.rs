//! What the keys of `[[upstream]]` say together.

use super::names::Named;
use crate::config::pairs::pair;
use crate::config::routing::{Upstream, UpstreamTls};
use crate::config::tables::{UpstreamKeys, UpstreamTlsKeys};
use crate::gateway::UpstreamPlan;
use crate::settings::fault::Findings;
use crate::settings::section::Row;
use crate::tls::Trust;
use crate::upstream::{ResponseHeadLimits, UpstreamSettings};
use crate::wire::limits::{Limits, Timeouts};

pub(super) fn resolve(
    rows: Vec<Row<UpstreamKeys>>,
    limits: &Limits,
    timeouts: &Timeouts,
    findings: &Findings<'_>,
) -> Named<Upstream> {
    let mut named = Named::new();
    for Row { keys, path } in rows {
        named.add(keys.name.as_ref(), &[], findings);
        let endpoints = keys.endpoints.unwrap_or_default();
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

fn tls(keys: UpstreamTlsKeys, path: &str, findings: &Findings<'_>) -> UpstreamTls {
    let spot = findings.table(path);
    UpstreamTls {
        trust: keys.ca_file.map_or(Trust::System, Trust::File),
        server_name: keys.server_name,
        identity: pair(spot, ["certificate", "key"], keys.certificate, keys.key),
    }
}
