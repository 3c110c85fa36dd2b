//! Limit: whether there are too many requests.
//!
//! It stands between authorize and forward, and before a call of a token API is carried out. So
//! only what is permitted counts, and nobody without a good credential can use up what others may
//! have. Only rates by address are judged before the credential is looked at: they count every
//! request of the route, so that guessing is bounded and costs the store nothing.
//!
//! All limits must let a request pass. They are judged together: where one refuses, the others give
//! back what they had counted, so a request that does not pass uses up nothing. Two exceptions:
//! what was counted by address stays, as the request was made; and while a permit is out that will
//! be given back, another request may be refused for it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::admitted::Admitted;
use super::exchange::Exchange;
use super::limit_plan::{KeyCounts, LimitGroup, NamedRate, PlanLimits};
use super::limit_state::Judged;
use super::paths::parameters;
use super::plan::{Plan, RouteSettings};
use super::refusal::Refusal;
use crate::domain::KeyLimits;
use crate::limits::{Asked, CounterKey, LimitId, Quota, Scope, Taken, Verdict};
use crate::tokens::verified::{ACTIVE_TENANT, Caller};
use crate::wire::path;
use crate::wire::retry_after::SHORTLY;

/// What a request as it comes asks of the limits of its route, by its address alone.
pub(super) fn arrived<'p>(
    limits: &'p PlanLimits,
    exchange: &Exchange,
    at: usize,
) -> Vec<Question<'p>> {
    let Some(group) = limits.of_route(at) else { return Vec::new() };
    let address = exchange.client_address();
    let by_address = group.rates.iter().filter(|own| own.rate.settings().scope == Scope::Address);
    by_address.map(|own| own.asked(CounterKey::address(own.rate.id(), address))).collect()
}

/// Whether a request with this caller, or none, may be limited along the route at this place by
/// more than its address.
pub(super) fn is_limited(plan: &Plan, exchange: &Exchange) -> bool {
    let caller = exchange.admitted.as_ref().map(|admitted| &admitted.caller);
    plan.limits.is_some() || caller.is_some_and(|caller| key_limits(caller).is_some())
}

/// The limits of the key that makes a request. Those of a bootstrap token are for the keys that it
/// makes.
fn key_limits(caller: &Caller) -> Option<&KeyLimits> {
    caller.token.limits().filter(|_| caller.token.power().opens_routes())
}

/// What a request that is permitted along the route asks of limits, for its caller, if it has one.
/// `path`: the normal form.
///
/// # Errors
///
/// Too many requests of the token are under way.
pub(super) fn permitted<'p>(
    plan: &'p Plan,
    exchange: &mut Exchange,
    at: usize,
    route: &RouteSettings,
    path: &str,
) -> Result<Vec<Question<'p>>, Refusal> {
    let admitted = exchange.admitted.clone();
    let caller = admitted.as_ref().map(|admitted| &admitted.caller);
    let groups = plan.limits.as_deref().map(|limits| {
        let of_token_api = caller.and_then(|caller| limits.of_token_api(caller.token.token_api()));
        limits.of_route(at).into_iter().chain(of_token_api).collect::<Vec<_>>()
    });
    let tenant = || {
        let rule = route.tenant.as_ref()?;
        let (_, named) = parameters(&route.path, path).find(|(name, _)| *name == rule.parameter)?;
        path::decode_segment(named)
    };
    by_caller(exchange, &plan.key_counts, &groups.unwrap_or_default(), caller, |caller| {
        let named = tenant()?;
        caller.tenant(&named)
    })
}

/// What a call of the token API of this name asks of limits, by a caller that may make it.
/// `parameters`: those of the path.
///
/// # Errors
///
/// Too many requests of the token are under way.
pub(super) fn call<'p>(
    plan: &'p Plan,
    exchange: &mut Exchange,
    token_api: &str,
    admitted: &Rc<Admitted>,
    parameters: &[(String, String)],
) -> Result<Vec<Question<'p>>, Refusal> {
    let caller = &admitted.caller;
    let own = &**caller.token.token_api();
    let groups = plan.limits.as_deref().map(|limits| {
        let of_token = if own == token_api { None } else { limits.of_token_api(own) };
        limits.of_token_api(token_api).into_iter().chain(of_token).collect::<Vec<_>>()
    });
    by_caller(exchange, &plan.key_counts, &groups.unwrap_or_default(), Some(caller), |caller| {
        let (_, named) = parameters.iter().find(|(name, _)| name == crate::domain::TENANT)?;
        caller.tenant(named)
    })
}

/// Everything but the rates by address. `tenant`: the one that the path names, if it names one.
fn by_caller<'c, 'p>(
    exchange: &mut Exchange,
    keys: &'p KeyCounts,
    groups: &[&'p LimitGroup],
    caller: Option<&'c Caller>,
    tenant: impl Fn(&'c Caller) -> Option<&'c str>,
) -> Result<Vec<Question<'p>>, Refusal> {
    // First, as a place that is left again is free at once.
    if let Some(caller) = caller {
        enter(exchange, keys, groups, caller)?;
    }
    let key = |id: LimitId, scope| match (scope, caller) {
        (Scope::Route, _) => Some(CounterKey::route(id)),
        (Scope::Token, Some(caller)) => Some(CounterKey::token(id, &caller.digest)),
        (Scope::Subject, Some(caller)) => Some(subject(id, caller)),
        (Scope::Tenant, Some(caller)) => {
            let active = || caller.tenant(ACTIVE_TENANT).or(caller.token.organization());
            // A holder that belongs to no tenant is one of its own.
            let tenant = tenant(caller).or_else(active).filter(|tenant| !tenant.is_empty());
            Some(tenant.map_or_else(|| subject(id, caller), |name| CounterKey::tenant(id, name)))
        }
        // A rate by address has been judged; the others need a caller, and a public route has none.
        (Scope::Address, _) | (_, None) => None,
    };
    let rates = groups.iter().flat_map(|group| &group.rates);
    let asked = rates.filter_map(|own| {
        let key = key(own.rate.id(), own.rate.settings().scope)?;
        Some(own.asked(key))
    });
    let of_key = caller.and_then(|caller| {
        let quota = KeyCounts::quota(key_limits(caller)?)?;
        let key = CounterKey::token(keys.rate.rate.id(), &caller.digest);
        Some(Question { own: &keys.rate, key, quota })
    });
    Ok(asked.chain(of_key).collect())
}

/// Subjects are unique within the issuer or token API that they come from.
fn subject(id: LimitId, caller: &Caller) -> CounterKey {
    let origin = match &caller.outside {
        Some(outside) => outside.origin(),
        None => caller.token.origin().unwrap_or(caller.token.token_api()),
    };
    CounterKey::subject(id, origin, caller.token.subject())
}

/// Takes the places of a request among those of its token that are under way.
fn enter(
    exchange: &mut Exchange,
    keys: &KeyCounts,
    groups: &[&LimitGroup],
    caller: &Caller,
) -> Result<(), Refusal> {
    let configured = groups.iter().filter_map(|group| group.concurrency.as_ref());
    let configured = configured.map(|limit| (limit.name, limit.most, &limit.counts));
    let of_key = key_limits(caller).and_then(KeyLimits::concurrent_requests);
    let of_key = of_key.map(|most| (KeyCounts::CONCURRENT, most, &keys.concurrency));
    for (name, most, counts) in configured.chain(of_key) {
        let key = CounterKey::token(counts.id(), &caller.digest);
        let place = counts.enter(key, most);
        let state = exchange.limits.get_or_insert_default();
        state.concurrency.push((name, most));
        let Some(place) = place else {
            state.places.clear();
            exchange.gateway.counters.rate_limited.count("concurrent");
            return Err(Refusal::TooManyConcurrent {
                retry_after: SHORTLY,
                cause: format!(
                    "{most} requests of the token are under way, as many as \"concurrent_requests\" \
                     allows"
                ),
            });
        };
        state.places.push(place);
    }
    Ok(())
}

/// A rate that is asked for one permit.
pub(super) struct Question<'a> {
    own: &'a NamedRate,
    key: CounterKey,
    quota: Quota,
}

impl NamedRate {
    fn asked(&self, key: CounterKey) -> Question<'_> {
        Question { own: self, key, quota: self.rate.settings().quota }
    }
}

impl Question<'_> {
    async fn answer(asked: Asked) -> (Verdict, Option<Taken>) {
        match asked {
            Asked::Now(verdict, permit) => (verdict, permit),
            Asked::Later(waiting) => waiting.outcome().await,
        }
    }
}

/// Takes a permit of each, or of none. The counters of the fleet are asked only where those of this
/// instance let the request pass, and all of them at once.
pub(super) async fn judge(
    exchange: &mut Exchange,
    asked: Vec<Question<'_>>,
) -> Result<(), Refusal> {
    if asked.is_empty() {
        return Ok(());
    }
    let now = exchange.now.uptime;
    let (of_fleet, own): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|asked| asked.own.rate.is_of_fleet());
    let mut answers = Vec::with_capacity(own.len() + of_fleet.len());
    for questions in [own, of_fleet] {
        let begun: Vec<_> = questions
            .into_iter()
            .map(|asked| (asked.own.rate.take(&asked.key, asked.quota, now), asked))
            .collect();
        for (answer, asked) in begun {
            answers.push((asked, Question::answer(answer).await));
        }
        if answers.iter().any(|(_, (verdict, _))| !verdict.is_allowed) {
            break;
        }
    }
    conclude(exchange, answers)
}

fn conclude(
    exchange: &mut Exchange,
    answers: Vec<(Question<'_>, (Verdict, Option<Taken>))>,
) -> Result<(), Refusal> {
    let is_refused = answers.iter().any(|(_, (verdict, _))| !verdict.is_allowed);
    let counters = &exchange.gateway.counters.rate_limited;
    let mut words = Vec::new();
    let mut retry_after = Duration::ZERO;
    let mut judged = Vec::with_capacity(answers.len());
    for (Question { own, quota, .. }, (mut verdict, permit)) in answers {
        match permit {
            Some(permit) if is_refused => {
                permit.give_back();
                verdict.remaining = verdict.remaining.saturating_add(1);
            }
            Some(_) => {}
            None => {
                let scope = own.rate.settings().scope;
                counters.count(scope.as_str());
                words.push(match &*own.name {
                    KeyCounts::NAME => format!("{quota}, which the key has of its own"),
                    _ => format!("{quota} per {scope} (\"rate_limits\")"),
                });
                retry_after = retry_after.max(verdict.next_after);
            }
        }
        judged.push(Judged { name: Arc::clone(&own.name), quota, verdict });
    }
    let state = exchange.limits.get_or_insert_default();
    state.judged.append(&mut judged);
    if !is_refused {
        return Ok(());
    }
    state.places.clear();
    Err(Refusal::RateLimited { retry_after, cause: format!("beyond {}", words.join(" and ")) })
}
