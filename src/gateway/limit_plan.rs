//! The limits of a plan: which rates hold for a route and for a token API, with their counters.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::conditions::Conditions;
use super::connection::Scheme;
use super::route_table::HostRule;
use crate::domain::{KeyLimits, Uptime};
use crate::limits::{
    Concurrency, FleetCounters, LimitId, LimitSettings, Quota, Rate, RateSettings, Scope,
};

/// The limits of all routes and token APIs.
pub(super) struct PlanLimits {
    /// By the place of the route.
    routes: Vec<Option<LimitGroup>>,
    token_apis: Vec<(Arc<str>, LimitGroup)>,
}

/// The limits of one route or token API.
pub(super) struct LimitGroup {
    pub(super) rates: Vec<NamedRate>,
    pub(super) concurrency: Option<NamedConcurrency>,
}

/// A rate with the name that clients see.
#[derive(Clone)]
pub(super) struct NamedRate {
    pub(super) name: Arc<str>,
    pub(super) rate: Arc<Rate>,
}

/// How many requests of a token may be under way, with the name that clients see.
pub(super) struct NamedConcurrency {
    pub(super) name: &'static str,
    pub(super) most: NonZeroU32,
    pub(super) counts: Arc<Concurrency>,
}

/// Whose limits they are.
#[derive(Clone, Copy)]
pub(super) enum LimitOwner<'a> {
    /// A route, by what a request has that takes it. Its methods are not among it: a route that
    /// takes another one is still the same.
    Route {
        scheme: Option<Scheme>,
        host: &'a HostRule,
        path: &'a str,
        when: Option<&'a Conditions>,
    },
    /// A token API, by its name.
    TokenApi(&'a Arc<str>),
}

impl PlanLimits {
    /// All owners, in the order of the configuration. `None`: none of them has a limit.
    pub(super) fn new<'a>(
        owners: impl IntoIterator<Item = (LimitOwner<'a>, Option<&'a LimitSettings>)>,
    ) -> Option<Box<Self>> {
        let (mut routes, mut token_apis) = (Vec::new(), Vec::new());
        let mut alike = HashMap::new();
        for (owner, settings) in owners {
            let group = settings.map(|settings| {
                let number = alike.entry(owner.id(&[])).or_insert(0);
                *number += 1;
                LimitGroup::new(owner, *number, settings)
            });
            match (owner, group) {
                (LimitOwner::Route { .. }, group) => routes.push(group),
                (LimitOwner::TokenApi(name), Some(group)) => {
                    token_apis.push((Arc::clone(name), group));
                }
                (LimitOwner::TokenApi(_), None) => {}
            }
        }
        let has_one = routes.iter().any(Option::is_some) || !token_apis.is_empty();
        has_one.then(|| Box::new(Self { routes, token_apis }))
    }

    pub(super) fn of_route(&self, at: usize) -> Option<&LimitGroup> {
        self.routes.get(at)?.as_ref()
    }

    pub(super) fn of_token_api(&self, name: &str) -> Option<&LimitGroup> {
        self.token_apis.iter().find(|(known, _)| **known == *name).map(|(_, group)| group)
    }

    /// Lets the fleet count the rates that are shared.
    pub(super) fn share(&mut self, fleet: &Arc<FleetCounters>) {
        self.groups_mut().flat_map(|group| &mut group.rates).for_each(|own| own.share(fleet));
    }

    /// Takes over the counters of limits that were there before, also where they let through
    /// another number of requests now.
    pub(super) fn inherit(&mut self, before: &Self, now: Uptime) {
        let rates: HashMap<_, _> = before
            .groups()
            .flat_map(|group| &group.rates)
            .map(|known| (known.rate.id(), &known.rate))
            .collect();
        let counts: HashMap<_, _> = before
            .groups()
            .filter_map(|group| group.concurrency.as_ref())
            .map(|known| (known.counts.id(), &known.counts))
            .collect();
        for group in self.groups_mut() {
            for own in &mut group.rates {
                let Some(known) = rates.get(&own.rate.id()) else { continue };
                if own.rate.settings() == known.settings() {
                    own.rate = Arc::clone(known);
                } else if !own.rate.is_of_fleet() {
                    own.rate = Arc::new(known.with(*own.rate.settings(), now));
                }
            }
            if let Some(own) = &mut group.concurrency
                && let Some(known) = counts.get(&own.counts.id())
            {
                own.counts = Arc::clone(known);
            }
        }
    }

    /// What holds for the route at this place and for the tokens that it accepts, in words.
    pub(super) fn explained_route(&self, at: usize, accept: &[Arc<str>]) -> Vec<String> {
        let own = self.of_route(at).map(|group| group.explained("the route"));
        let of_tokens = accept.iter().flat_map(|name| self.explained_token_api(name));
        own.into_iter().flatten().chain(of_tokens).collect()
    }

    /// What holds for the tokens of this token API, in words.
    pub(super) fn explained_token_api(&self, name: &str) -> Vec<String> {
        let group = self.of_token_api(name);
        group.map(|group| group.explained(&format!("{name:?}"))).unwrap_or_default()
    }

    fn groups(&self) -> impl Iterator<Item = &LimitGroup> {
        self.routes.iter().flatten().chain(self.token_apis.iter().map(|(_, group)| group))
    }

    fn groups_mut(&mut self) -> impl Iterator<Item = &mut LimitGroup> {
        let token_apis = self.token_apis.iter_mut().map(|(_, group)| group);
        self.routes.iter_mut().flatten().chain(token_apis)
    }
}

impl LimitGroup {
    /// `number`: among the owners that are alike, in the order of the configuration. Routes that
    /// differ by nothing but their methods are.
    fn new(of: LimitOwner<'_>, number: u32, settings: &LimitSettings) -> Self {
        let number = number.to_string();
        let rates = settings.rates.iter().enumerate().map(|(at, rate)| {
            let scope = rate.scope;
            let earlier = settings.rates.iter().take(at).filter(|other| other.scope == scope);
            // Two with the same period are told apart by their order.
            let alike = earlier.clone().filter(|other| other.quota.period == rate.quota.period);
            let period = rate.quota.period.as_nanos().to_string();
            let parts = [&number, scope.as_str(), &period, &alike.count().to_string()];
            let place = earlier.count() + 1;
            let end = if place == 1 { String::new() } else { format!("-{place}") };
            NamedRate {
                name: format!("{}{scope}{end}", of.prefix()).into(),
                rate: Arc::new(Rate::new(of.id(&parts), *rate)),
            }
        });
        Self {
            rates: rates.collect(),
            concurrency: settings.concurrent_requests.map(|most| NamedConcurrency {
                name: match of {
                    LimitOwner::Route { .. } => "concurrent",
                    LimitOwner::TokenApi(_) => "api-concurrent",
                },
                most,
                // Without the number: a reload that changes it must not forget what is under way.
                counts: Arc::new(Concurrency::new(of.id(&[&number, "concurrent"]))),
            }),
        }
    }
}

impl LimitGroup {
    /// Each limit with the key that sets it, as in `100/s, 200 at once, per token ("rate_limits" of
    /// the route)`.
    fn explained(&self, whose: &str) -> Vec<String> {
        let rates = self.rates.iter().map(|own| {
            let settings = own.rate.settings();
            format!("{}, per {} (\"rate_limits\" of {whose})", settings.quota, settings.scope)
        });
        let concurrent = self.concurrency.iter().map(|own| {
            let most = own.most;
            format!("{most} under way per token (\"concurrent_requests\" of {whose})")
        });
        rates.chain(concurrent).collect()
    }
}

/// What keys with limits of their own have used. Each brings its own numbers.
#[derive(Clone)]
pub(super) struct KeyCounts {
    pub(super) rate: NamedRate,
    pub(super) concurrency: Arc<Concurrency>,
}

impl KeyCounts {
    /// The name of the rate.
    pub(super) const NAME: &'static str = "key";
    /// The name of the bound of requests that are under way.
    pub(super) const CONCURRENT: &'static str = "key-concurrent";

    pub(super) fn new() -> Self {
        // In its place each key has its own.
        let quota = Quota {
            count: NonZeroU32::MIN,
            period: Duration::from_secs(1),
            burst: NonZeroU32::MIN,
        };
        let settings = RateSettings { scope: Scope::Token, quota, is_shared: true };
        let rate = Arc::new(Rate::new(LimitId::of(&["key"]), settings));
        let concurrency = Arc::new(Concurrency::new(LimitId::of(&["key", "concurrent"])));
        Self { rate: NamedRate { name: Self::NAME.into(), rate }, concurrency }
    }

    /// Lets the fleet count.
    pub(super) fn share(&mut self, fleet: &Arc<FleetCounters>) {
        self.rate.share(fleet);
    }

    /// The rate of a key, if it has one.
    pub(super) fn quota(limits: &KeyLimits) -> Option<Quota> {
        let own = limits.rate()?;
        let (rate, burst) = (own.rate, own.burst);
        Some(Quota { count: rate.permits(), period: rate.unit().period(), burst })
    }
}

impl NamedRate {
    fn share(&mut self, fleet: &Arc<FleetCounters>) {
        if self.rate.settings().is_shared {
            self.rate = Arc::new(self.rate.of_fleet(fleet));
        }
    }
}

impl LimitOwner<'_> {
    /// What the names begin with that clients see: they tell nothing of the configuration.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Route { .. } => "",
            Self::TokenApi(_) => "api-",
        }
    }

    /// By what a request has that it holds for, not by the place in the file: what parameters of the
    /// path are called, and the order of conditions, make no difference.
    fn id(self, parts: &[&str]) -> LimitId {
        match self {
            Self::Route { scheme, host, path, when } => {
                let host = match host {
                    HostRule::Any => String::new(),
                    HostRule::Exact(host) => host.clone(),
                    HostRule::Suffix(suffix) => format!("*{suffix}"),
                };
                let scheme = scheme.map_or("", Scheme::name);
                let mut when = when.map(Conditions::described).unwrap_or_default();
                when.sort_unstable();
                let own = ["route", scheme, &host, &nameless(path), &when.join("\n")];
                LimitId::of(&[&own, parts].concat())
            }
            Self::TokenApi(name) => LimitId::of(&[&["token_api", name], parts].concat()),
        }
    }
}

/// A pattern without the names of its parameters.
fn nameless(pattern: &str) -> String {
    let segments = pattern.split('/').map(|segment| match segment {
        rest if rest.starts_with("{*") => "{*}",
        parameter if parameter.starts_with('{') => "{}",
        literal => literal,
    });
    segments.collect::<Vec<_>>().join("/")
}
