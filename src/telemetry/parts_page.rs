//! The metrics of issuers, upstreams and the fleet: what is known of them at the moment.

use super::gauges::{EndpointGauges, FleetGauges, IssuerGauges, UpstreamGauges};
use super::histogram::seconds;
use super::page::{Family, Page, escaped};

impl Page {
    pub(super) fn issuers(&mut self, issuers: &[IssuerGauges]) {
        let name = "keyward_issuer_key_fetches_total";
        self.family(("counter", name, "Fetches of an issuer's keys, by outcome."));
        for IssuerGauges { name: issuer, fetched, failed, .. } in issuers {
            for (outcome, count) in [("done", fetched), ("failed", failed)] {
                self.line(name, &format!("issuer=\"{issuer}\",outcome=\"{outcome}\""), count);
            }
        }
        let name = "keyward_issuer_keys";
        self.family(("gauge", name, "Keys of an issuer that are here and can be used."));
        for issuer in issuers {
            self.labelled(name, "issuer", &issuer.name, issuer.keys as u64);
        }
        let name = "keyward_issuer_keys_age_seconds";
        self.family(("gauge", name, "Since when an issuer's keys have not been fetched anew."));
        for IssuerGauges { name: issuer, age, .. } in issuers {
            if let Some(age) = age {
                self.line(name, &format!("issuer=\"{issuer}\""), seconds(*age));
            }
        }
        let name = "keyward_issuer_keys_refresh_seconds";
        self.family(("gauge", name, "The age at which an issuer's keys are fetched anew."));
        for IssuerGauges { name: issuer, refresh, .. } in issuers {
            if let Some(refresh) = refresh {
                self.line(name, &format!("issuer=\"{issuer}\""), seconds(*refresh));
            }
        }
    }

    pub(super) fn upstreams(&mut self, upstreams: &[UpstreamGauges]) {
        let name = "keyward_upstream_retries_total";
        self.family(("counter", name, "Requests that were sent to an upstream again."));
        for upstream in upstreams {
            self.labelled(name, "upstream", &upstream.name, upstream.retries);
        }
        let name = "keyward_upstream_waiting";
        self.family(("gauge", name, "Requests that wait for a place at an upstream."));
        for upstream in upstreams {
            self.labelled(name, "upstream", &upstream.name, u64::from(upstream.waiting));
        }
        self.endpoints(
            upstreams,
            ("gauge", "keyward_upstream_endpoint_up", "Whether an endpoint gets requests."),
            |endpoint| Some(u64::from(endpoint.is_up)),
        );
        let help = "Whether an endpoint gets no requests for a while because it failed.";
        self.endpoints(
            upstreams,
            ("gauge", "keyward_upstream_endpoint_ejected", help),
            |endpoint| Some(u64::from(endpoint.is_ejected)),
        );
        let help = "How often an endpoint was left out because it failed.";
        self.endpoints(
            upstreams,
            ("counter", "keyward_upstream_ejections_total", help),
            |endpoint| Some(endpoint.ejections),
        );
        let help = "Requests that were sent to an endpoint, those sent again each time.";
        self.endpoints(
            upstreams,
            ("counter", "keyward_upstream_endpoint_requests_total", help),
            |endpoint| Some(endpoint.requests),
        );
        let help = "Requests that an endpoint failed, or to which it took no connection.";
        self.endpoints(
            upstreams,
            ("counter", "keyward_upstream_endpoint_failures_total", help),
            |endpoint| Some(endpoint.failed),
        );
        let help = "Connections to an endpoint, where they are limited.";
        self.endpoints(upstreams, ("gauge", "keyward_upstream_connections", help), |endpoint| {
            endpoint.connections.map(u64::from)
        });
    }

    /// A family with a line for each endpoint that has a value.
    fn endpoints(
        &mut self,
        upstreams: &[UpstreamGauges],
        family: Family<'_>,
        value: impl Fn(&EndpointGauges) -> Option<u64>,
    ) {
        self.family(family);
        let (_, name, _) = family;
        for UpstreamGauges { name: upstream, endpoints, .. } in upstreams {
            for endpoint in endpoints {
                let Some(value) = value(endpoint) else { continue };
                // The path of a socket may hold what ends a label.
                let label = escaped(&endpoint.name);
                self.line(name, &format!("upstream=\"{upstream}\",endpoint=\"{label}\""), value);
            }
        }
    }

    pub(super) fn fleet(&mut self, fleet: &FleetGauges) {
        self.gauge(
            "keyward_coherence_lease_seconds_left",
            "How long what the store has said may still be used; 0: nothing is accepted that needs \
             it.",
            seconds(fleet.lease_left),
        );
        self.gauge(
            "keyward_coherence_lease_seconds",
            "How long what the store has said may be used from each heartbeat on.",
            seconds(fleet.lease),
        );
        self.gauge(
            "keyward_coherence_bound_seconds",
            "How long an instance that is cut off may accept a token after it was revoked, beside \
             the time in which an isolated master refuses writes.",
            seconds(fleet.bound),
        );
        self.counter(
            "keyward_coherence_links_total",
            "How often the link to the store was established.",
            fleet.links,
        );
        self.counter(
            "keyward_coherence_drops_total",
            "How often everything that was remembered was dropped.",
            fleet.drops,
        );
        self.counter(
            "keyward_store_generation_changes_total",
            "How often the store's data was found lost or replaced.",
            fleet.generations_lost,
        );
        self.counter(
            "keyward_revocation_unconfirmed_instances_total",
            "Instances that did not confirm a removal and were waited for until their lease was \
             over.",
            fleet.unconfirmed,
        );
    }
}
