//! From the characters of a token to a caller, or to a "no". A "no" is a value; "cannot tell" is an
//! error.

use std::sync::Arc;
use std::time::Duration;

use super::cache::{Answer, FlightOutcome, Join, Leader, TokenCache};
use super::clock;
use super::issuer::OutsideRefusal;
use super::keyring::{CredentialSort, Peppers};
use super::opaque::{CredentialForm, OpaqueTokens};
use super::signed::{SignedClaims, SignedTokenFault, SignedTokens};
use super::store::{Store, StoreError};
use super::verified::{Caller, Verified};
use crate::domain::{Moment, Record, TokenDigest};

/// Checks tokens.
pub struct Authenticator {
    cache: Arc<TokenCache>,
    store: Arc<dyn Store>,
    signed: Arc<SignedTokens>,
    opaque: Arc<OpaqueTokens>,
    peppers: Arc<Peppers>,
    deadline: Duration,
}

/// The answer to "is this token good?".
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The token is good, and this is its holder.
    Passed(Caller),
    /// No.
    Refused(Refused),
}

/// Why not. For the log: a client learns only that the token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Refused by its form or its signature; the store was not asked.
    #[error(transparent)]
    Signature(#[from] SignedTokenFault),
    /// It has the prefix of one of our token APIs, and its MAC is wrong; the store was not asked.
    #[error(
        "it is unknown: it begins as tokens of this keyward do, and none of its keys has made it"
    )]
    MadeUp,
    /// Nothing follows the scheme.
    #[error("it is empty: \"Bearer\" must be followed by a token")]
    Empty,
    /// It came where only the keys of some token APIs come, and has the prefix of none of them.
    #[error(
        "it is unknown: X-API-Key takes the API keys of token APIs of style \"accounts\", and it \
         does not begin with the prefix of one"
    )]
    OtherPrefix,
    /// It is of an outside issuer, and the check of that issuer refused it.
    #[error(transparent)]
    Outside(#[from] OutsideRefusal),
    /// It is a JWT of an issuer that the configuration does not know; whose, in words.
    #[error("its issuer is another: {0}")]
    OtherIssuer(String),
    /// Its record is of another token API than its prefix says.
    #[error("it was made for another token API")]
    OtherTokenApi,
    /// keyward made it, and there is no record of it: it was revoked, or recorded in another store,
    /// or under a pepper that keyward does not have.
    #[error(
        "it is revoked: it was made with a key of this keyward and has no record (unless the store \
         is another, or its pepper is gone)"
    )]
    NoRecord,
    /// It is over.
    #[error("it has expired")]
    Expired,
}

/// A revocation in the same shard breaks a fence by bad luck; so many in a row is no luck any more.
const FLIGHTS: usize = 16;

impl Authenticator {
    /// `deadline`: how long one look-up may take before the answer is "cannot tell".
    #[must_use]
    pub fn new(
        cache: Arc<TokenCache>,
        store: Arc<dyn Store>,
        signed: Arc<SignedTokens>,
        opaque: Arc<OpaqueTokens>,
        peppers: Arc<Peppers>,
        deadline: Duration,
    ) -> Self {
        Self { cache, store, signed, opaque, peppers, deadline }
    }

    /// What the token is known by, if it was made under the present pepper. If it was not, the
    /// verdict says what it is known by.
    #[must_use]
    pub fn digest(&self, sort: CredentialSort, token: &[u8]) -> TokenDigest {
        self.peppers.digest(sort, token)
    }

    /// Another number when tokens may be known by something else: see [`Peppers::version`].
    #[must_use]
    pub fn digests_version(&self) -> u64 {
        self.peppers.version()
    }

    /// The `iss` of the tokens that keyward signs.
    #[must_use]
    pub fn own_issuer(&self) -> &str {
        self.signed.issuer()
    }

    /// The cache, for copies of its answers that are kept behind its fences.
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        &self.cache
    }

    /// What the cache says: the hit path, without a signature check and without the store.
    #[must_use]
    pub fn recall(
        &self,
        form: CredentialForm<'_>,
        digest: TokenDigest,
        now: Moment,
    ) -> Option<Verdict> {
        match self.cache.recall(&digest, now.uptime)? {
            // It may have been made under another pepper.
            Answer::Absent if self.peppers.are_several() => None,
            answer => Some(judge(form, digest, answer, now)),
        }
    }

    /// Whether a token that once passed is still good: for what is open already. The key that made
    /// it may be gone, so it is looked at as if it were presented now; then the cache is asked, and
    /// then the store.
    ///
    /// # Errors
    ///
    /// When the store cannot tell, or not within the deadline.
    pub async fn is_still_good(
        &self,
        caller: &Caller,
        form: CredentialForm<'_>,
        token: &[u8],
        now: Moment,
    ) -> Result<bool, StoreError> {
        if caller.token.is_expired(now.wall) {
            return Ok(false);
        }
        if let Some(outside) = &caller.outside {
            // While its issuer's keys are too old to say, it goes on: until it expires, at most.
            return Ok(outside.is_current(now).unwrap_or(true));
        }
        if self.claims(form, token, now).is_err()
            || !self.peppers.know(form.sort(), token, caller.digest)
        {
            return Ok(false);
        }
        match self.cache.recall(&caller.digest, now.uptime) {
            Some(Answer::Present(_) | Answer::PresentOnce(_)) => return Ok(true),
            Some(Answer::Absent) => return Ok(false),
            None => {}
        }
        let found = tokio::time::timeout(self.deadline, self.store.find(caller.digest)).await;
        let found = found.unwrap_or(Err(StoreError::TimedOut))?;
        self.cache.lease().held().await?;
        Ok(found.is_some_and(|record| !record.is_expired(now.wall)))
    }

    /// The whole check, for a token of ours that the cache does not know. The signature or MAC
    /// comes first, so that a forged one costs the store nothing. Then its record is read, once for
    /// all requests that ask at the same time: under `digest`, and if there is none, under the
    /// digest that each other pepper makes of the token. The returned caller has the digest that
    /// was found.
    ///
    /// # Errors
    ///
    /// When the store cannot tell, or not within the deadline; when there is no lease, and what is
    /// remembered may not be used without one.
    ///
    /// # Cancel safety
    ///
    /// A read that has begun goes on for the other requests that wait for it.
    pub async fn check(
        &self,
        form: CredentialForm<'_>,
        token: &[u8],
        digest: TokenDigest,
        now: Moment,
    ) -> Result<Verdict, StoreError> {
        let claims = match self.claims(form, token, now) {
            Ok(claims) => claims,
            Err(refused) => return Ok(Verdict::Refused(refused)),
        };
        let candidates = self.digests(form.sort(), token, digest);
        let mut now = now;
        if !self.cache.lease().holds(now.uptime) {
            let stale = candidates.iter().find_map(|digest| {
                let answer = self.cache.recall_stale(digest, now.uptime)?;
                Some(judge(form, *digest, answer, now))
            });
            if let Some(verdict) = stale {
                return Ok(verdict);
            }
            self.cache.lease().held().await?;
            now = clock::read();
        }
        for digest in candidates {
            match self.look_up(digest, claims.as_ref(), now).await? {
                Answer::Absent => {}
                answer => return Ok(judge(form, digest, answer, now)),
            }
        }
        Ok(Verdict::Refused(Refused::NoRecord))
    }
}

impl Authenticator {
    /// What the token may be known by, the likeliest first.
    fn digests(
        &self,
        sort: CredentialSort,
        token: &[u8],
        likeliest: TokenDigest,
    ) -> Vec<TokenDigest> {
        let mut digests = vec![likeliest];
        if self.peppers.are_several() {
            let others =
                [vec![self.peppers.digest(sort, token)], self.peppers.other_digests(sort, token)]
                    .concat();
            digests.extend(others.into_iter().filter(|digest| *digest != likeliest));
        }
        digests
    }

    /// What the store says, or said a moment ago, of a token that we have made.
    async fn look_up(
        &self,
        digest: TokenDigest,
        claims: Option<&SignedClaims>,
        now: Moment,
    ) -> Result<Answer, StoreError> {
        let mut flight = match self.cache.join(digest, now.uptime) {
            Join::Answer(answer) => return Ok(answer),
            Join::Follower(flight) => flight,
            Join::Leader(leader) => {
                let flight = leader.subscribe();
                let read = read(leader, Arc::clone(&self.store), claims.cloned(), self.deadline);
                tokio::spawn(read);
                flight
            }
        };
        let landed = tokio::time::timeout(self.deadline, flight.wait_for(Option::is_some)).await;
        match landed {
            Ok(Ok(outcome)) => match outcome.as_ref() {
                Some(outcome) => outcome.clone(),
                None => Err(StoreError::Unavailable("a look-up ended without an answer".into())),
            },
            Ok(Err(_)) => Err(StoreError::Unavailable("a look-up was abandoned".into())),
            Err(_) => Err(StoreError::TimedOut),
        }
    }

    /// The claims of a token, if keyward made it; `None` for an opaque one.
    fn claims(
        &self,
        form: CredentialForm<'_>,
        token: &[u8],
        now: Moment,
    ) -> Result<Option<SignedClaims>, Refused> {
        match form {
            CredentialForm::Opaque(api) if self.opaque.verify(&api.format, token) => Ok(None),
            CredentialForm::Opaque(_) => Err(Refused::MadeUp),
            CredentialForm::Signed => {
                let token = std::str::from_utf8(token).map_err(|_| SignedTokenFault::Foreign)?;
                Ok(Some(self.signed.verify(token, now.wall)?))
            }
        }
    }
}

/// Reads the record of one token and lands with it.
async fn read(
    leader: Leader,
    store: Arc<dyn Store>,
    claims: Option<SignedClaims>,
    deadline: Duration,
) {
    for _ in 0..FLIGHTS {
        let fence = leader.fence();
        let found = tokio::time::timeout(deadline, store.find(leader.digest())).await;
        let outcome: FlightOutcome = match found {
            Ok(Ok(Some(record))) => matching(&record, claims.as_ref()),
            Ok(Ok(None)) => Ok(Answer::Absent),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(StoreError::TimedOut),
        };
        // The lease may have ended in between. What was read counts under the next lease if the
        // fence is still current: a removal of the record would have broken it.
        let outcome = match leader.lease().held().await {
            Ok(()) => outcome,
            Err(fault) => Err(fault),
        };
        if leader.land(fence, outcome, clock::uptime()).is_ok() {
            return;
        }
    }
    let _ = leader.land(leader.fence(), Err(StoreError::Overloaded), clock::uptime());
}

/// The record must say what the token says: they were made together. An opaque token says nothing
/// of itself.
fn matching(record: &Record, claims: Option<&SignedClaims>) -> FlightOutcome {
    if let Some(claims) = claims
        && (record.id != claims.id
            || record.identity != claims.identity
            || record.expires_at != claims.expires_at)
    {
        return Err(StoreError::Corrupt(format!("record and token {} differ", claims.id)));
    }
    let token = Arc::new(Verified::new(record, record.token_api.as_str().into()));
    Ok(if record.is_bootstrap() { Answer::PresentOnce(token) } else { Answer::Present(token) })
}

fn judge(form: CredentialForm<'_>, digest: TokenDigest, answer: Answer, now: Moment) -> Verdict {
    match answer {
        Answer::Present(token) | Answer::PresentOnce(token) => {
            // The prefix is the configuration's, and may have been another token API's when the key
            // was made.
            let is_other =
                matches!(form, CredentialForm::Opaque(api) if api.token_api != *token.token_api());
            if is_other {
                Verdict::Refused(Refused::OtherTokenApi)
            } else if token.is_expired(now.wall) {
                Verdict::Refused(Refused::Expired)
            } else {
                Verdict::Passed(Caller { digest, token, outside: None })
            }
        }
        Answer::Absent => Verdict::Refused(Refused::NoRecord),
    }
}

#[cfg(test)]
mod tests;
