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
use super::limit_plan::{LimitGroup, NamedRate, PlanLimits};
use super::limit_state::Judged;
use super::paths::parameters;
use super::plan::RouteSettings;
use super::refusal::Refusal;
use crate::limits::{CounterKey, LimitId, Scope};
use crate::tokens::verified::{ACTIVE_TENANT, Caller};
use crate::wire::path;

/// How long a client should wait that has as many requests under way as it may have: nobody knows
/// when one of them ends.
const RETRY_CONCURRENT: Duration = Duration::from_secs(1);

/// Judges a request as it comes, by its address alone.
pub(super) fn arrived(
    limits: &PlanLimits,
    exchange: &mut Exchange,
    at: usize,
) -> Result<(), Refusal> {
    let Some(group) = limits.of_route(at) else { return Ok(()) };
    // The access log names the route that refuses.
    exchange.route = Some(at);
    let address = exchange.client_address();
    let by_address = group.rates.iter().filter(|own| own.rate.settings().scope == Scope::Address);
    let asked =
        by_address.map(|own| Asked { own, key: CounterKey::address(own.rate.id(), address) });
    judge(exchange, asked.collect())
}

/// Judges a request that is permitted along the route, for its caller, if it has one. `path`: the
/// normal form.
pub(super) fn permitted(
    limits: &PlanLimits,
    exchange: &mut Exchange,
    at: usize,
    route: &RouteSettings,
    path: &str,
) -> Result<(), Refusal> {
    let admitted = exchange.admitted.clone();
    let caller = admitted.as_ref().map(|admitted| &admitted.caller);
    let of_token_api = caller.and_then(|caller| limits.of_token_api(caller.token.token_api()));
    let groups: Vec<_> = limits.of_route(at).into_iter().chain(of_token_api).collect();
    if groups.is_empty() {
        return Ok(());
    }
    let tenant = || {
        let rule = route.tenant.as_ref()?;
        let (_, named) = parameters(&route.path, path).find(|(name, _)| *name == rule.parameter)?;
        path::decode_segment(named)
    };
    by_caller(exchange, &groups, caller, |caller| {
        let named = tenant()?;
        caller.tenant(&named)
    })
}

/// Judges a call of the token API of this name, by a caller that may make it. `parameters`: those
/// of the path.
pub(super) fn call(
    limits: &PlanLimits,
    exchange: &mut Exchange,
    token_api: &str,
    admitted: &Rc<Admitted>,
    parameters: &[(String, String)],
) -> Result<(), Refusal> {
    let caller = &admitted.caller;
    let own = &**caller.token.token_api();
    let of_token = if own == token_api { None } else { limits.of_token_api(own) };
    let groups: Vec<_> = limits.of_token_api(token_api).into_iter().chain(of_token).collect();
    if groups.is_empty() {
        return Ok(());
    }
    by_caller(exchange, &groups, Some(caller), |caller| {
        let (_, named) = parameters.iter().find(|(name, _)| name == crate::domain::TENANT)?;
        caller.tenant(named)
    })
}

/// Everything but the rates by address. `tenant`: the one that the path names, if it names one.
fn by_caller<'c>(
    exchange: &mut Exchange,
    groups: &[&LimitGroup],
    caller: Option<&'c Caller>,
    tenant: impl Fn(&'c Caller) -> Option<&'c str>,
) -> Result<(), Refusal> {
    // First, as a place that is left again is free at once.
    if let Some(caller) = caller {
        enter(exchange, groups, caller)?;
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
        Some(Asked { own, key })
    });
    judge(exchange, asked.collect())
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
fn enter(exchange: &mut Exchange, groups: &[&LimitGroup], caller: &Caller) -> Result<(), Refusal> {
    for limit in groups.iter().filter_map(|group| group.concurrency.as_ref()) {
        let key = CounterKey::token(limit.counts.id(), &caller.digest);
        let place = limit.counts.enter(key, limit.most);
        let state = exchange.limits.get_or_insert_default();
        state.concurrency.push((limit.name, limit.most));
        let Some(place) = place else {
            state.places.clear();
            exchange.gateway.counters.rate_limited.count("concurrent");
            return Err(Refusal::TooManyConcurrent {
                retry_after: RETRY_CONCURRENT,
                cause: format!(
                    "{} requests of the token are under way, as many as \"concurrent_requests\" \
                     allows",
                    limit.most
                ),
            });
        };
        state.places.push(place);
    }
    Ok(())
}

/// A rate that is asked for one permit.
struct Asked<'a> {
    own: &'a NamedRate,
    key: CounterKey,
}

/// Takes a permit of each, or of none.
fn judge(exchange: &mut Exchange, asked: Vec<Asked<'_>>) -> Result<(), Refusal> {
    if asked.is_empty() {
        return Ok(());
    }
    let now = exchange.now.uptime;
    let mut taken = Vec::with_capacity(asked.len());
    let mut judged = Vec::with_capacity(asked.len());
    let mut refused: Vec<&NamedRate> = Vec::new();
    let mut retry_after = Duration::ZERO;
    for Asked { own, key } in &asked {
        let quota = own.rate.settings().quota;
        let (verdict, permit) = own.rate.take(key, quota, now);
        if permit.is_none() {
            refused.push(own);
            retry_after = retry_after.max(verdict.next_after);
        }
        taken.push(permit);
        judged.push(Judged { name: Arc::clone(&own.name), quota, verdict });
    }
    let is_refused = !refused.is_empty();
    if is_refused {
        for (permit, judged) in taken.into_iter().zip(&mut judged) {
            if let Some(permit) = permit {
                permit.give_back();
                judged.verdict.remaining = judged.verdict.remaining.saturating_add(1);
            }
        }
    }
    let state = exchange.limits.get_or_insert_default();
    state.judged.append(&mut judged);
    if !is_refused {
        return Ok(());
    }
    state.places.clear();
    let counters = &exchange.gateway.counters.rate_limited;
    let words = refused.iter().map(|own| {
        let settings = own.rate.settings();
        counters.count(settings.scope.as_str());
        format!("{} per {}", settings.quota, settings.scope)
    });
    let words: Vec<_> = words.collect();
    Err(Refusal::RateLimited {
        retry_after,
        cause: format!("beyond {} (\"rate_limits\")", words.join(" and ")),
    })
}
