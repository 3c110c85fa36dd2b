//! Authenticate: from the credential that a request carries to a caller.
//!
//! A credential comes in `Authorization: Bearer`. On routes that accept a token API of style
//! `accounts` its keys also come in `X-API-Key`; everywhere else that field is not ours and is not
//! looked at. What a credential is, a JWT or a key with a prefix, its first characters say, once
//! and for all: nothing is tried after something else has failed.
//!
//! Nearly every request ends here at the worker's own small table: no lock, no store, no signature
//! check. An entry of it is used only while its fence stands, so it is no staler than the cache
//! that it was copied from.

use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderName};

use super::connection::Credential;
use super::control::Holder;
use super::exchange::Exchange;
use super::identity_headers::IdentityFields;
use super::plan::RouteSettings;
use super::refusal::Refusal;
use super::worker::{Local, WorkerGateway};
use crate::domain::{Moment, TokenDigest};
use crate::tokens::authenticator::{Refused, Verdict};
use crate::tokens::cache::Fence;
use crate::tokens::issuer::set::OutsideVerdict;
use crate::tokens::opaque::{Form, JWT_BEGINS};
use crate::tokens::signed::SignedTokenFault;
use crate::tokens::verified::Caller;

/// A caller whose token is good, with all that is made once per token and not once per request.
pub(super) struct Admitted {
    pub(super) caller: Caller,
    /// The identity headers.
    pub(super) identity: IdentityFields,
    /// Subject and token id as members of a JSON log line.
    pub(super) log_members: Box<str>,
}

/// The worker's own table: direct-mapped, so that a look-up is one comparison.
pub(super) struct Remembered {
    slots: Box<[Option<Slot>]>,
}

struct Slot {
    digest: TokenDigest,
    fence: Fence,
    admitted: Rc<Admitted>,
}

const SLOTS: usize = 4096;

/// Where a credential may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// `Authorization: Bearer`.
    Bearer,
    /// That, or `X-API-Key`.
    BearerOrApiKey,
}

/// Where keys of style `accounts` come.
pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

impl Remembered {
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| None).collect() }
    }

    fn slot(&mut self, digest: &TokenDigest) -> Option<&mut Option<Slot>> {
        // Other bits than the cache's shards are chosen by.
        let at = usize::try_from(digest.prefix() >> 40).unwrap_or_default() % SLOTS;
        self.slots.get_mut(at)
    }

    fn recall(&mut self, digest: &TokenDigest, fence: Fence) -> Option<Rc<Admitted>> {
        match self.slot(digest)? {
            Some(slot) if slot.digest == *digest && slot.fence == fence => {
                Some(Rc::clone(&slot.admitted))
            }
            _ => None,
        }
    }

    fn remember(&mut self, fence: Fence, admitted: &Rc<Admitted>) {
        let digest = admitted.caller.digest;
        if let Some(slot) = self.slot(&digest) {
            *slot = Some(Slot { digest, fence, admitted: Rc::clone(admitted) });
        }
    }
}

/// The caller that a route asks for; nobody, on a public route.
pub(super) async fn caller(
    local: &Local,
    exchange: &mut Exchange,
    route: &RouteSettings,
    door: Door,
    headers: &HeaderMap,
) -> Result<Option<Rc<Admitted>>, Refusal> {
    if route.accept.is_empty() {
        return Ok(None);
    }
    let admitted = admit(local, exchange, door, headers).await?;
    if !admitted.caller.token.power().opens_routes() {
        let cause =
            "it is a login or a bootstrap token, which makes calls of token APIs and opens \
                     no route"
                .to_owned();
        return Err(Refusal::Forbidden { cause, scope: None });
    }
    Ok(Some(admitted))
}

/// Checks the credential of a request.
pub(super) async fn admit(
    local: &Local,
    exchange: &mut Exchange,
    door: Door,
    headers: &HeaderMap,
) -> Result<Rc<Admitted>, Refusal> {
    let gateway = Rc::clone(exchange.gateway());
    let gateway = &*gateway;
    let (token, source) = presented(headers, door)?;
    let (length, limit) = (token.len(), local.plan.token_limit);
    if length > limit {
        return Err(Refusal::CredentialTooLong { length, limit });
    }
    let form = local.plan.opaque.form_of(token);
    if source == Source::ApiKeyField
        && !matches!(form, Form::Opaque(api) if api.takes_api_key_field)
    {
        return Err(Refusal::BadCredential(Refused::OtherPrefix));
    }
    let authenticator = &gateway.shared.authenticator;
    let version = authenticator.digests_version();
    let credential = exchange
        .client()
        .credential(form.sort(), token, version, |token| authenticator.digest(form.sort(), token));
    let digest = credential.digest();
    let now = exchange.now();
    // Taken before the answer is looked for: what is invalidated later is then noticed.
    let fence = authenticator.cache().fence(&digest);
    let is_certain = authenticator.cache().lease().holds(now.uptime);
    if is_certain && let Some(admitted) = gateway.remembered.borrow_mut().recall(&digest, fence) {
        if admitted.caller.token.is_expired(now.wall) {
            gateway.counters.cache_hits.add(1);
            return Err(Refusal::BadCredential(Refused::Expired));
        }
        let stands = match &admitted.caller.outside {
            // Its issuer may have taken its key back, and may have published it again: then it is
            // judged anew.
            Some(outside) => outside.stands(now)?,
            None => true,
        };
        if stands {
            gateway.counters.cache_hits.add(1);
            return Ok(admit_known(gateway, exchange, credential, admitted, fence));
        }
    }
    let recalled = match (authenticator.recall(form, digest, now), form) {
        (None, Form::Signed) => {
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
            // Boxed, as it is rare and large: every connection holds room for what its requests may
            // await.
            Box::pin(check(gateway, local, form, token, digest, now)).await?
        }
    };
    let (mut caller, mut fence) = (passed(verdict)?, fence);
    if caller.digest != digest {
        // Made under another pepper. What is kept of it must have been looked for behind its own
        // fence.
        let known_by = caller.digest;
        credential.correct_digest(known_by);
        fence = authenticator.cache().fence(&known_by);
        caller = passed(Box::pin(check(gateway, local, form, token, known_by, now)).await?)?;
    }
    let admitted = Rc::new(Admitted {
        identity: local.plan.identity.of(&caller, None),
        log_members: log_members(&caller),
        caller,
    });
    if is_hit {
        gateway.remembered.borrow_mut().remember(fence, &admitted);
    }
    Ok(admit_known(gateway, exchange, credential, admitted, fence))
}

/// The whole check of a credential that is not remembered. A JWT's `iss`, which nobody has verified
/// yet, only says who is to judge it: an issuer that the configuration knows, or we.
async fn check(
    gateway: &WorkerGateway,
    local: &Local,
    form: Form<'_>,
    token: &[u8],
    digest: TokenDigest,
    now: Moment,
) -> Result<Verdict, Refusal> {
    let issuers = &local.plan.issuers;
    if form == Form::Signed && !issuers.issuers().is_empty() {
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
        && let Some(whose) = issuers.stranger(token, gateway.shared.authenticator.own_issuer())
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

fn admit_known(
    gateway: &WorkerGateway,
    exchange: &mut Exchange,
    credential: Rc<Credential>,
    admitted: Rc<Admitted>,
    fence: Fence,
) -> Rc<Admitted> {
    let now = exchange.now().wall;
    if !gateway.is_silent() && admitted.caller.token.note_use(now) {
        gateway.note_use(admitted.caller.digest, now);
    }
    exchange.control().hold(Holder { admitted: Rc::clone(&admitted), credential, fence });
    exchange.admitted(&admitted);
    admitted
}

/// Where a credential came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Bearer,
    ApiKeyField,
}

/// Where the credential of a request came from and what it claims to be, in words; `None`: there is
/// no one credential.
pub(super) fn described(
    local: &Local,
    door: Door,
    headers: &HeaderMap,
) -> Option<(&'static str, String)> {
    let (token, source) = presented(headers, door).ok()?;
    let source = match source {
        Source::Bearer => "Authorization: Bearer",
        Source::ApiKeyField => "X-API-Key",
    };
    let form = match local.plan.opaque.form_of(token) {
        Form::Opaque(api) => format!("a key with the prefix of {:?}", api.token_api),
        Form::Signed if token.starts_with(JWT_BEGINS.as_bytes()) => "a JWT".to_owned(),
        Form::Signed => "neither a JWT nor a key with a configured prefix".to_owned(),
    };
    Some((source, form))
}

/// The one credential of a request. Two that could count are none: who would say which of them the
/// upstream, or the next version, goes by?
fn presented(headers: &HeaderMap, door: Door) -> Result<(&[u8], Source), Refusal> {
    let mut keys = match door {
        Door::Bearer => None,
        Door::BearerOrApiKey => Some(headers.get_all(X_API_KEY).iter()),
    };
    let Some(key) = keys.as_mut().and_then(Iterator::next) else {
        return match bearer(headers) {
            Err(Refusal::NoCredential { .. })
                if door == Door::Bearer && headers.contains_key(X_API_KEY) =>
            {
                let cause = "it has X-API-Key, which is read only on routes that accept a token \
                             API of style \"accounts\"";
                Err(Refusal::NoCredential { cause: Some(cause) })
            }
            token => token.map(|token| (token, Source::Bearer)),
        };
    };
    if keys.is_some_and(|mut keys| keys.next().is_some()) {
        return Err(Refusal::AmbiguousCredential { cause: "it has X-API-Key more than once" });
    }
    match bearer(headers) {
        // No field, or one of another scheme, which is not ours.
        Err(Refusal::NoCredential { .. }) => Ok((key.as_bytes().trim_ascii(), Source::ApiKeyField)),
        Ok(_) | Err(_) => {
            let cause = "it has both X-API-Key and Authorization: Bearer";
            Err(Refusal::AmbiguousCredential { cause })
        }
    }
}

/// The token of the one `Authorization` field (RFC 6750, section 2.1; the scheme's case does not
/// matter, RFC 9110, section 11.1). Whether its characters are a token's is not looked at: what is
/// none has no entry in a cache and no signature.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Err(Refusal::NoCredential { cause: None }) };
    if fields.next().is_some() {
        return Err(Refusal::AmbiguousCredential { cause: "it has Authorization more than once" });
    }
    let field = field.as_bytes();
    let (scheme, token) = match field.iter().position(|&byte| byte == b' ') {
        Some(space) => field.split_at(space),
        None => (field, &[][..]),
    };
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        // The field is not repeated: without a scheme, it may be the token.
        let cause = "its Authorization field does not begin with \"Bearer \"";
        return Err(Refusal::NoCredential { cause: Some(cause) });
    }
    let token = token.trim_ascii();
    if token.is_empty() {
        return Err(Refusal::BadCredential(Refused::Empty));
    }
    Ok(token)
}

fn log_members(caller: &Caller) -> Box<str> {
    let text = |text: &str| serde_json::Value::from(text);
    let subject = text(caller.token.subject());
    let credential = text(caller.token.token_api());
    match caller.token_id() {
        Some(id) => {
            format!(r#","subject":{subject},"token_id":{},"credential":{credential}"#, text(&id))
                .into()
        }
        None => format!(r#","subject":{subject},"credential":{credential}"#).into(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(fields: &[&[u8]]) -> Result<Vec<u8>, &'static str> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(field).expect("a value"));
        }
        bearer(&headers).map(<[u8]>::to_vec).map_err(|refusal| refusal.reason().as_str())
    }

    #[test]
    fn an_api_key_counts_only_where_it_may_and_never_beside_another_credential() {
        let read = |door, fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let read = presented(&headers, door).map(|(token, source)| (token.to_vec(), source));
            read.map_err(|refusal| refusal.reason().as_str())
        };
        let bearer = |token: &str| Ok((token.as_bytes().to_vec(), Source::Bearer));
        let key = |token: &str| Ok((token.as_bytes().to_vec(), Source::ApiKeyField));
        let ambiguous = || Err("ambiguous_credential");
        let (authorization, api_key) = (("authorization", "Bearer a"), ("x-api-key", "k"));
        assert_eq!(read(Door::Bearer, &[authorization, api_key]), bearer("a"));
        assert_eq!(read(Door::Bearer, &[api_key]), Err("no_credential"));
        assert_eq!(read(Door::Bearer, &[authorization, api_key, api_key]), bearer("a"));
        assert_eq!(read(Door::BearerOrApiKey, &[authorization]), bearer("a"));
        assert_eq!(read(Door::BearerOrApiKey, &[api_key]), key("k"));
        assert_eq!(read(Door::BearerOrApiKey, &[("x-api-key", " k ")]), key("k"));
        assert_eq!(read(Door::BearerOrApiKey, &[("authorization", "Basic x"), api_key]), key("k"));
        assert_eq!(read(Door::BearerOrApiKey, &[]), Err("no_credential"));
        assert_eq!(read(Door::BearerOrApiKey, &[authorization, api_key]), ambiguous());
        assert_eq!(
            read(Door::BearerOrApiKey, &[("authorization", "Bearer"), api_key]),
            ambiguous()
        );
        assert_eq!(read(Door::BearerOrApiKey, &[api_key, api_key]), ambiguous());
        assert_eq!(read(Door::BearerOrApiKey, &[authorization, authorization]), ambiguous());
        assert_eq!(
            read(Door::BearerOrApiKey, &[("authorization", "Basic x"), authorization, api_key]),
            ambiguous()
        );
    }

    #[test]
    fn one_bearer_token_is_read_and_nothing_else() {
        assert_eq!(read(&[b"Bearer a.b-c_d~e+f/g="]), Ok(b"a.b-c_d~e+f/g=".to_vec()));
        assert_eq!(read(&[b"bEARER   x"]), Ok(b"x".to_vec()));
        assert_eq!(read(&[]), Err("no_credential"));
        assert_eq!(read(&[b"Basic x"]), Err("no_credential"));
        assert_eq!(read(&[b""]), Err("no_credential"));
        assert_eq!(read(&[b"Bearer x", b"Bearer x"]), Err("ambiguous_credential"));
        for bad in [&b"Bearer"[..], b"Bearer ", b"Bearer \t "] {
            assert_eq!(read(&[bad]), Err("bad_credential"), "{bad:?}");
        }
        assert_eq!(read(&[b"Bearer\ta"]), Err("no_credential"));
    }
}
