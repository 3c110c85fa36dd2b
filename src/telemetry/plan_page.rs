//! The metrics by route, upstream, token API and credential. How many lines they have is bounded by
//! the configuration: see the test.

use std::sync::Arc;

use super::Reason;
use super::configured::{
    CALL_OUTCOMES, CLASSES, CredentialCounters, PlanSeries, RouteCounters, RouteLabels,
    TokenApiCounters, TokenApiLabels, UpstreamCounters, UpstreamOutcome,
};
use super::counter::Counter;
use super::counts::RefusalCounts;
use super::histogram::Histogram;
use super::page::{Page, escaped};

/// For what a credential is refused. Shown from the start, so that the first one is an increase.
const CHECK_REASONS: [Reason; 5] = [
    Reason::BadCredential,
    Reason::Expired,
    Reason::IssuerUnavailable,
    Reason::NoRecord,
    Reason::StoreUnavailable,
];

/// The sum of one counter over all workers.
fn sum<'a, C>(counters: &'a [Arc<C>], of: impl Fn(&'a C) -> Option<&'a Counter>) -> u64 {
    counters.iter().filter_map(|worker| of(worker)).map(Counter::value).sum()
}

fn route_labels(of: &RouteLabels) -> String {
    let mut labels = format!("route=\"{}\"", escaped(&of.path));
    for (name, value) in [("host", &*of.host), ("upstream", &*of.upstream)] {
        if !value.is_empty() {
            labels.push_str(&format!(",{name}=\"{}\"", escaped(value)));
        }
    }
    labels
}

impl Page {
    pub(super) fn plan(&mut self, series: &PlanSeries) {
        let routes: Vec<_> =
            series.routes.iter().map(|(of, counters)| (route_labels(of), counters)).collect();
        self.routes(&routes);
        let upstreams: Vec<_> = series
            .upstreams
            .iter()
            .map(|(name, counters)| (format!("upstream=\"{}\"", escaped(name)), counters))
            .collect();
        self.upstream_requests(&upstreams);
        let name = "keyward_token_api_calls_total";
        self.family(("counter", name, "Calls of token APIs, by what they ask for and outcome."));
        for (token_api, counters) in series.token_apis.iter() {
            self.calls(name, token_api, counters);
        }
        let name = "keyward_token_checks_total";
        self.family(("counter", name, "Checks of credentials, by whose they are and outcome."));
        for (credential, counters) in series.credentials.iter() {
            self.checks(name, credential, counters);
        }
    }

    fn routes(&mut self, routes: &[(String, &[Arc<RouteCounters>])]) {
        let name = "keyward_route_requests_total";
        self.family(("counter", name, "Requests, by route and class of the status."));
        for (labels, counters) in routes {
            for (at, class) in CLASSES.iter().enumerate() {
                let count = sum(counters, |worker| worker.classes.get(at));
                // There is none but for switches to other protocols.
                if count > 0 || at > 0 {
                    self.line(name, &format!("{labels},class=\"{class}\""), count);
                }
            }
        }
        let name = "keyward_route_refusals_total";
        self.family((
            "counter",
            name,
            "Requests that were refused or failed, by route and reason.",
        ));
        for (labels, counters) in routes {
            // None from the start: routes times reasons are too many.
            self.refused((name, labels, "reason", &[]), counters, |worker| &worker.refusals);
        }
        let name = "keyward_route_request_duration_seconds";
        let help = "From the arrival of a request to the last byte of its response, by route.";
        self.family(("histogram", name, help));
        for (labels, counters) in routes {
            let durations = counters.iter().map(|worker| &worker.durations);
            if durations.clone().any(Histogram::is_used) {
                Histogram::render(&mut self.0, name, labels, durations);
            }
        }
    }

    fn upstream_requests(&mut self, upstreams: &[(String, &[Arc<UpstreamCounters>])]) {
        let name = "keyward_upstream_requests_total";
        let help = "Requests for an upstream, by the class of its answer or why there was none.";
        self.family(("counter", name, help));
        for (labels, counters) in upstreams {
            for (at, outcome) in UpstreamOutcome::NAMES.iter().enumerate() {
                let count = sum(counters, |worker| worker.outcomes.get(at));
                self.line(name, &format!("{labels},outcome=\"{outcome}\""), count);
            }
        }
        let name = "keyward_upstream_response_head_seconds";
        let help = "From the sending of a request to an upstream to the head of its response.";
        self.family(("histogram", name, help));
        for (labels, counters) in upstreams {
            let heads = counters.iter().map(|worker| &worker.heads);
            Histogram::render(&mut self.0, name, labels, heads);
        }
    }

    fn calls(&mut self, name: &str, of: &TokenApiLabels, counters: &[Arc<TokenApiCounters>]) {
        let token_api = escaped(&of.name);
        for &kind in &of.kinds {
            let call = kind.as_str();
            for (at, outcome) in CALL_OUTCOMES.iter().enumerate() {
                let count = sum(counters, |worker| worker.calls.get(kind as usize)?.get(at));
                let labels =
                    format!("token_api=\"{token_api}\",operation=\"{call}\",outcome=\"{outcome}\"");
                self.line(name, &labels, count);
            }
        }
    }

    fn checks(&mut self, name: &str, credential: &str, counters: &[Arc<CredentialCounters>]) {
        let labels = format!("credential=\"{}\"", escaped(credential));
        if !credential.is_empty() {
            let accepted = sum(counters, |worker| Some(&worker.accepted));
            self.line(name, &format!("{labels},outcome=\"accepted\""), accepted);
        }
        let shown = &CHECK_REASONS;
        self.refused((name, &labels, "outcome", shown), counters, |worker| &worker.refused);
    }

    /// A line for each reason that is `shown` from the start, or that there was.
    fn refused<'a, C: 'a>(
        &mut self,
        (name, labels, label, shown): (&str, &str, &str, &[Reason]),
        counters: &'a [Arc<C>],
        of: impl Fn(&'a C) -> &'a RefusalCounts,
    ) {
        for reason in Reason::ALL {
            let count = sum(counters, |worker| of(worker).0.get(reason as usize));
            if count > 0 || shown.contains(&reason) {
                self.line(name, &format!("{labels},{label}=\"{reason}\""), count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::histogram::Took;
    use crate::telemetry::series::Series;

    fn page(series: &PlanSeries) -> String {
        let mut page = Page::default();
        page.plan(series);
        page.0
    }

    #[test]
    fn labels_are_escaped_and_those_that_say_nothing_are_left_out() {
        let labels = [
            RouteLabels::default(),
            RouteLabels {
                host: "*.example.com".to_owned(),
                path: "/a\"b\\c".to_owned(),
                upstream: "app".into(),
            },
        ];
        let series =
            PlanSeries { routes: Series::new(labels, 1, &Series::default()), ..Default::default() };
        let counters = series.routes.of_worker(Some(0));
        counters[1].count(499, Took::new(Duration::from_millis(1)));
        counters[1].count_refusal(Reason::ClientGone);
        counters[0].count(404, Took::new(Duration::from_millis(1)));
        let text = page(&series);
        let labels = r#"route="/a\"b\\c",host="*.example.com",upstream="app""#;
        for line in [
            format!("keyward_route_requests_total{{{labels},class=\"4xx\"}} 1"),
            format!("keyward_route_requests_total{{{labels},class=\"2xx\"}} 0"),
            format!("keyward_route_refusals_total{{{labels},reason=\"client_gone\"}} 1"),
            format!("keyward_route_request_duration_seconds_count{{{labels}}} 1"),
            r#"keyward_route_requests_total{route="",class="4xx"} 1"#.to_owned(),
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
        assert!(!text.contains("1xx"), "{text}");
    }

    #[test]
    fn a_thousand_routes_with_all_that_can_happen_make_at_most_6_kib_each() {
        let labels = (0..1000).map(|at| RouteLabels {
            path: format!("/{at:04}/{{*rest}}"),
            upstream: "app".into(),
            ..RouteLabels::default()
        });
        let series =
            PlanSeries { routes: Series::new(labels, 2, &Series::default()), ..Default::default() };
        let unused = page(&series).len();
        for counters in &series.routes.of_worker(Some(1)) {
            for status in 100..600 {
                counters.count(status, Took::new(Duration::from_secs(u64::from(status))));
            }
            Reason::ALL.into_iter().for_each(|reason| counters.count_refusal(reason));
        }
        let used = page(&series).len();
        assert!(unused < 1000 * 512, "{unused}");
        assert!(used < 1000 * 6 * 1024, "{used}");
    }
}
