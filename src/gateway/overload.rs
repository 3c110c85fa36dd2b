//! Overload: whether keyward as a whole can bear one request more, and whether its holder may have
//! one more at the moment. Judged before anything is asked of the store, and again when the holder
//! is known. What is under way goes on.

use super::exchange::Exchange;
use super::refusal::Refusal;
use crate::limits::CounterKey;
use crate::wire::retry_after::SHORTLY;

/// Takes a place among all requests that are under way, where these are bounded. It is free again
/// when the exchange ends, or is refused.
pub(super) fn enter(exchange: &mut Exchange) -> Result<(), Refusal> {
    exchange.under_way = exchange.gateway.shared.load.enter().map_err(Refusal::Overloaded)?;
    Ok(())
}

/// Whether the token of the request, or without one its client's address, has no more than its
/// share of the places.
pub(super) fn share(exchange: &mut Exchange) -> Result<(), Refusal> {
    let Some(mut under_way) = exchange.under_way.take() else { return Ok(()) };
    let shared = under_way.belongs_to(|limit| match &exchange.admitted {
        Some(admitted) => CounterKey::token(limit, &admitted.caller.digest),
        None => CounterKey::address(limit, exchange.client_address()),
    });
    let Err(most) = shared else {
        exchange.under_way = Some(under_way);
        return Ok(());
    };
    let holder = if exchange.admitted.is_some() { "the token" } else { "the address" };
    Err(Refusal::TooManyConcurrent {
        retry_after: SHORTLY,
        cause: format!(
            "{holder} has its share of limits.requests under way, which is {most} at the moment"
        ),
    })
}
