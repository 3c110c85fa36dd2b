//! Authenticate: from the credential that a request carries to a caller.
//!
//! The first characters of a credential decide what it is: a JWT, or a key with a prefix. It is
//! checked as that alone; nothing else is tried after the check has failed.
//!
//! Nearly every request is answered from the worker's own table. An entry is used only while its
//! fence is current, so it is as fresh as the cache that it was copied from.

use std::rc::Rc;

use http::request::Parts;

use super::admitted::Admitted;
use super::control::{Holder, Shown};
use super::credential::{CredentialField, CredentialSource, presented};
use super::credential_places::CredentialPlaces;
use super::exchange::Exchange;
use super::plan::RouteSettings;
use super::refusal::Refusal;
use super::upgrades::Asked;
use super::worker::{Local, WorkerGateway};
use crate::domain::{Moment, TokenDigest};
use crate::tokens::authenticator::{Refused, Verdict};
use crate::tokens::cache::Fence;
use crate::tokens::issuer::set::OutsideVerdict;
use crate::tokens::opaque::CredentialForm;
use crate::tokens::signed::SignedTokenFault;
use crate::tokens::tickets::Redemption;
use crate::tokens::verified::Caller;

/// The caller that a route asks for; `None` on a public route.
pub(super) async fn caller(
    local: &Local,
    exchange: &mut Exchange,
    route: &RouteSettings,
    source: CredentialSource,
    head: &Parts,
    upgrade: Option<&Asked>,
) -> Result<Option<Rc<Admitted>>, Refusal> {
    if route.accept.is_empty() {
        return Ok(None);
    }
    let admitted = match &route.credentials {
        None => {
            let (token, field) = presented(&head.headers, source)?;
            let admitted = admit(local, exchange, token, field).await;
            admitted.inspect_err(|refusal| note_refused(local, token, refusal))?
        }
        // Boxed, as most routes have none, and every connection reserves memory for the futures of
        // its requests.
        Some(places) => {
            Box::pin(admit_from(local, exchange, places, source, head, upgrade)).await?
        }
    };
    if !admitted.caller.token.power().opens_routes() {
        let cause = "it is a login or a bootstrap token, which makes calls of token APIs and opens \
                     no route";
        return Err(Refusal::forbidden(cause.to_owned()));
    }
    Ok(Some(admitted))
}

/// Finds the credential of a request in the places that its route names, and checks it.
async fn admit_from(
    local: &Local,
    exchange: &mut Exchange,
    places: &CredentialPlaces,
    source: CredentialSource,
    head: &Parts,
    upgrade: Option<&Asked>,
) -> Result<Rc<Admitted>, Refusal> {
    let is_websocket = matches!(upgrade, Some(Asked::WebSocket(_)));
    let presented = places.presented(head, &local.plan.reading(source, is_websocket))?;
    let (client, chain) = (&exchange.client, exchange.chain.as_deref());
    places.judge_page(presented.field, head, upgrade.is_some(), client, chain)?;
    exchange.credential_field = presented.field;
    let token = &presented.token;
    let admitted = if presented.field == CredentialField::Ticket {
        redeem(local, exchange, token).await
    } else {
        admit(local, exchange, token, presented.field).await
    };
    admitted.inspect_err(|refusal| note_refused(local, token, refusal))
}

/// Counts a credential that was refused, as one of the token API or issuer that it says it is of,
/// as far as that is known.
#[cold]
pub(super) fn note_refused(local: &Local, token: &[u8], refusal: &Refusal) {
    let issuer = match refusal {
        Refusal::BadCredential(Refused::Outside(refused)) => refused.issuer.as_deref(),
        Refusal::KeysMissing(unavailable) => Some(&*unavailable.issuer),
        _ => None,
    };
    let of = match local.plan.opaque.form_of(token) {
        CredentialForm::Opaque(api) => Some(&*api.token_api),
        CredentialForm::Signed => issuer,
    };
    local.counters.credential(of.unwrap_or_default()).refused.count(refusal.reason());
}

/// Uses a ticket up, and admits the holder of the token that it was made for.
async fn redeem(
    local: &Local,
    exchange: &mut Exchange,
    ticket: &[u8],
) -> Result<Rc<Admitted>, Refusal> {
    let gateway = Rc::clone(&exchange.gateway);
    let (shared, now) = (&gateway.shared, exchange.now);
    if gateway.is_silent {
        let cause = "a ticket is good once, and is not used up to explain";
        return Err(Refusal::BadCredential(Refused::Malformed(cause)));
    }
    let digest = match shared.tickets.redeem(ticket, now.wall).await? {
        Redemption::Redeemed(digest) => digest,
        Redemption::Refused(refused) => return Err(Refusal::BadCredential(refused)),
    };
    let authenticator = &shared.authenticator;
    // Taken before the record is read: a later revocation breaks it.
    let fence = authenticator.cache().fence(&digest);
    let caller = passed(authenticator.check_record(digest, now).await?)?;
    let admitted = admitted(local, caller);
    let shown = Shown::Ticket { redeemed_at: now.wall };
    Ok(admit_known(&gateway, exchange, shown, admitted, fence))
}

/// Checks the credential of a request.
pub(super) async fn admit(
    local: &Local,
    exchange: &mut Exchange,
    token: &[u8],
    field: CredentialField,
) -> Result<Rc<Admitted>, Refusal> {
    let gateway = Rc::clone(&exchange.gateway);
    let gateway = &*gateway;
    let (length, limit) = (token.len(), local.plan.token_limit);
    if length > limit {
        return Err(Refusal::CredentialTooLong { length, limit });
    }
    let form = local.plan.opaque.form_of(token);
    if field == CredentialField::ApiKey && !form.may_come_in_api_key_field() {
        return Err(Refusal::BadCredential(Refused::OtherPrefix));
    }
    let authenticator = &gateway.shared.authenticator;
    let version = authenticator.digests_version();
    let credential = exchange
        .client
        .credential(form.sort(), token, version, |token| authenticator.digest(form.sort(), token));
    let digest = credential.digest.get();
    let now = exchange.now;
    // Taken before the answer is read: a later invalidation breaks it.
    let fence = authenticator.cache().fence(&digest);
    let is_certain = authenticator.cache().lease().holds(now.uptime);
    if is_certain && let Some(admitted) = gateway.remembered.borrow_mut().recall(&digest, fence) {
        if admitted.caller.token.is_expired(now.wall) {
            gateway.counters.cache_hits.add(1);
            return Err(Refusal::BadCredential(Refused::Expired));
        }
        let is_current = match &admitted.caller.outside {
            // Where its issuer took the key back, or published it again, it is judged anew.
            Some(outside) => outside.is_current(now)?,
            None => true,
        };
        if is_current {
            gateway.counters.cache_hits.add(1);
            let shown = Shown::Token(credential);
            return Ok(admit_known(gateway, exchange, shown, admitted, fence));
        }
    }
    let recalled = match (authenticator.recall(form, digest, now), form) {
        (None, CredentialForm::Signed) => {
            let outside = local.plan.issuers.recall(&digest, now)?;
            outside.map(|outside| Verdict::Passed(Caller::of_outside(digest, outside)))
        }
        (recalled, _) => recalled,
    };
    let is_hit = recalled.is_some();
    let verdict = match recalled {
        Some(verdict) => {
            gateway.counters.cache_hits.add(1);
            verdict
        }
        None => {
            gateway.counters.cache_misses.add(1);
            // Boxed, as it is rare and large: every connection reserves memory for the futures of
            // its requests.
            Box::pin(check(gateway, local, form, token, digest, now)).await?
        }
    };
    let (mut caller, mut fence) = (passed(verdict)?, fence);
    if caller.digest != digest {
        // Made under another pepper. What is remembered of it must be read under its own fence.
        let known_by = caller.digest;
        credential.digest.set(known_by);
        fence = authenticator.cache().fence(&known_by);
        caller = passed(Box::pin(check(gateway, local, form, token, known_by, now)).await?)?;
    }
    let admitted = admitted(local, caller);
    if is_hit {
        gateway.remembered.borrow_mut().remember(fence, &admitted);
    }
    Ok(admit_known(gateway, exchange, Shown::Token(credential), admitted, fence))
}

/// The whole check of a credential that is not remembered. The `iss` of a JWT is not verified yet:
/// it only says which issuer is to judge the token, one of the configuration or keyward itself.
async fn check(
    gateway: &WorkerGateway,
    local: &Local,
    form: CredentialForm<'_>,
    token: &[u8],
    digest: TokenDigest,
    now: Moment,
) -> Result<Verdict, Refusal> {
    let issuers = &local.plan.issuers;
    if form == CredentialForm::Signed && !issuers.issuers().is_empty() {
        match issuers.check(token, digest, now).await? {
            OutsideVerdict::Passed(outside) => {
                return Ok(Verdict::Passed(Caller::of_outside(digest, outside)));
            }
            OutsideVerdict::Refused(fault) => return Ok(Verdict::Refused(Refused::Outside(fault))),
            OutsideVerdict::Foreign => {}
        }
    }
    let verdict = gateway.shared.authenticator.check(form, token, digest, now).await?;
    if let Verdict::Refused(Refused::Signature(
        SignedTokenFault::Foreign | SignedTokenFault::UnknownKey,
    )) = verdict
        && let Some(whose) =
            issuers.foreign_issuer(token, gateway.shared.authenticator.own_issuer())
    {
        return Ok(Verdict::Refused(Refused::OtherIssuer(whose)));
    }
    Ok(verdict)
}

fn passed(verdict: Verdict) -> Result<Caller, Refusal> {
    match verdict {
        Verdict::Passed(caller) => Ok(caller),
        Verdict::Refused(refused) => Err(Refusal::BadCredential(refused)),
    }
}

fn admitted(local: &Local, caller: Caller) -> Rc<Admitted> {
    let checks = local.counters.credential(caller.token.token_api());
    Rc::new(Admitted::new(caller, &local.plan.identity, checks))
}

fn admit_known(
    gateway: &WorkerGateway,
    exchange: &mut Exchange,
    shown: Shown,
    admitted: Rc<Admitted>,
    fence: Fence,
) -> Rc<Admitted> {
    admitted.checks.accepted.add(1);
    let now = exchange.now.wall;
    if !gateway.is_silent && admitted.caller.token.note_use(now) {
        gateway.note_use(admitted.caller.digest, now);
    }
    *exchange.control.holder.borrow_mut() =
        Some(Holder { admitted: Rc::clone(&admitted), shown, fence });
    exchange.admitted = Some(Rc::clone(&admitted));
    admitted
}
