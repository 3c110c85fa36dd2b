//! The counters of what a plan names, for each worker: routes, upstreams, token APIs, credentials.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::plan::{Plan, RouteSettings};
use super::route_table::HostRule;
use crate::api::Face;
use crate::telemetry::configured::{
    CallKind, CredentialCounters, PlanSeries, RouteCounters, RouteLabels, TokenApiCounters,
    TokenApiLabels, UpstreamCounters,
};
use crate::telemetry::series::Series;

/// The counters of one worker that belong to a plan. Each list is in the order of the plan.
pub(super) struct PlanCounters {
    /// The first is of requests that no route takes.
    routes: Box<[Arc<RouteCounters>]>,
    upstreams: Box<[Arc<UpstreamCounters>]>,
    token_apis: Box<[Arc<TokenApiCounters>]>,
    /// By the name of the token API or issuer.
    credentials: HashMap<Arc<str>, Arc<CredentialCounters>>,
}

impl PlanCounters {
    /// Those of one worker. `None`: of none, which are in no metric.
    pub(super) fn of_worker(series: &PlanSeries, worker: Option<usize>) -> Self {
        Self {
            routes: series.routes.of_worker(worker),
            upstreams: series.upstreams.of_worker(worker),
            token_apis: series.token_apis.of_worker(worker),
            credentials: series.credentials.of_worker_by_label(worker),
        }
    }

    /// Of the route at this place in the plan, or of requests that no route takes.
    pub(super) fn route(&self, at: Option<usize>) -> Option<&RouteCounters> {
        self.routes.get(at.map_or(0, |at| at + 1)).map(|counters| &**counters)
    }

    pub(super) fn upstream(&self, at: usize) -> Option<&UpstreamCounters> {
        self.upstreams.get(at).map(|counters| &**counters)
    }

    pub(super) fn token_api(&self, at: usize) -> Option<&TokenApiCounters> {
        self.token_apis.get(at).map(|counters| &**counters)
    }

    /// Of the credentials of the token API or issuer of this name; empty: it is not known.
    pub(super) fn credential(&self, name: &str) -> Arc<CredentialCounters> {
        self.credentials.get(name).map(Arc::clone).unwrap_or_default()
    }
}

/// The series of what a plan names. What was counted `before` under the same labels goes on.
pub(super) fn series(plan: &Plan, workers: usize, before: &PlanSeries) -> PlanSeries {
    let upstream_name = |at: usize| Some(Arc::clone(&plan.upstreams.get(at)?.name));
    let route = |route: &RouteSettings| RouteLabels {
        host: match &route.host {
            HostRule::Any => String::new(),
            HostRule::Exact(host) => host.clone(),
            HostRule::Suffix(suffix) => format!("*{suffix}"),
        },
        path: route.path.clone(),
        upstream: route.target.upstream().and_then(upstream_name).unwrap_or_default(),
    };
    let routes = std::iter::once(RouteLabels::default()).chain(plan.routes.iter().map(route));
    let upstreams = plan.upstreams.iter().map(|upstream| Arc::clone(&upstream.name));
    let token_apis = plan.token_apis.iter().map(|token_api| TokenApiLabels {
        name: Arc::clone(&token_api.name),
        kinds: kinds(&*token_api.face),
    });
    let own = plan.token_apis.iter().map(|token_api| Arc::clone(&token_api.name));
    let issuers = plan.issuers.issuers().iter().map(|issuer| Arc::clone(issuer.name()));
    let credentials = std::iter::once(Arc::default()).chain(own).chain(issuers);
    PlanSeries {
        routes: Series::new(routes, workers, &before.routes),
        upstreams: Series::new(upstreams, workers, &before.upstreams),
        token_apis: Series::new(token_apis, workers, &before.token_apis),
        credentials: Series::new(credentials, workers, &before.credentials),
    }
}

/// What the calls of a style can ask for, in the order of [`CallKind::ALL`].
fn kinds(face: &dyn Face) -> Vec<CallKind> {
    let calls = face.paths().iter().flat_map(|(path, methods)| {
        methods.split(", ").filter_map(|method| {
            let method = Method::from_bytes(method.as_bytes()).ok()?;
            Some(face.call_kind(&method, path))
        })
    });
    let found: Vec<_> = calls.chain([CallKind::Other]).collect();
    CallKind::ALL.into_iter().filter(|kind| found.contains(kind)).collect()
}
