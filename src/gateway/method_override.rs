//! `X-HTTP-Method-Override` and its kin: a client that can send only GET and POST asks the upstream
//! to take the request for one of another method. Some frameworks do so by default, so the request
//! must have that method's route, too. Then the field goes on, as real clients mean it.

use http::Method;
use http::request::Parts;

use super::dav_destination::DESTINATION;
use super::exchange::Exchange;
use super::plan::Plan;
use super::refusal::Refusal;
use super::route::{self, Destination};
use crate::wire::fields::tokens;

/// `found`, unless it is a route to an upstream, and the request would have another one or none by
/// a method that one of its fields names.
#[cold]
pub(super) fn judge<'a>(
    plan: &'a Plan,
    exchange: &Exchange,
    head: &Parts,
    found: Result<Destination<'a>, Refusal>,
) -> Result<Destination<'a>, Refusal> {
    let Ok(Destination::Route(at)) = found else { return found };
    if plan.route(at)?.target.upstream().is_none() {
        return found;
    }
    let names = &plan.identity.of_the_method;
    let fields = head.headers.iter().filter(|(name, _)| names.matches(name.as_str()));
    for (name, word) in fields.flat_map(|(name, value)| tokens(value).map(move |word| (name, word)))
    {
        // Those who heed it do not ask for its case.
        let method = Method::from_bytes(&word.to_ascii_uppercase());
        let leads_there = method.as_ref().is_ok_and(|method| {
            let is_moving = matches!(method.as_str(), "MOVE" | "COPY");
            let found = route::find(plan, exchange, method, head);
            // What a MOVE would write to has not been judged.
            !(is_moving && head.headers.contains_key(DESTINATION))
                && matches!(found, Ok(Destination::Route(other)) if other == at)
        });
        if !leads_there {
            let method = String::from_utf8_lossy(word);
            let cause = format!("{name} names {method:?}, which this route is not for");
            return Err(Refusal::MethodOverridden { cause });
        }
    }
    found
}
