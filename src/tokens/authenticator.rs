//! From the characters of a token to a caller, or to a "no". A "no" is a value; "cannot tell" is an
//! error.

use std::sync::Arc;
use std::time::Duration;

use super::cache::{Answer, FlightOutcome, Join, Leader, TokenCache};
use super::clock;
use super::issuer::OutsideRefusal;
use super::keyring::CredentialSort;
use super::opaque::CredentialForm;
use super::parts::TokenParts;
use super::signed::{SignedClaims, SignedTokenFault};
use super::store::{Store, StoreError};
use super::verified::{Caller, Verified};
use crate::domain::{Moment, Record, TokenDigest};

/// Checks tokens.
pub struct Authenticator {
    parts: TokenParts,
}

/// The answer to "is this token good?".
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The token is good, and this is its holder.
    Passed(Caller),
    /// The token is not accepted.
    Refused(Refused),
}

/// Why a token is not accepted. For the log: a client learns only that it is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Refused by its form or its signature; the store was not asked.
    #[error(transparent)]
    Signature(#[from] SignedTokenFault),
    /// It has the prefix of a token API, and its MAC is wrong; the store was not asked.
    #[error(
        "it is unknown: it begins as tokens of this keyward do, and none of its keys has made it"
    )]
    MadeUp,
    /// Nothing follows the scheme.
    #[error("it is empty: \"Bearer\" must be followed by a token")]
    Empty,
    /// The place in which it came is malformed; the text says how.
    #[error("it cannot be read: {0}")]
    Malformed(&'static str),
    /// It came in a field for the keys of some token APIs, and has the prefix of none of them.
    #[error(
        "it is unknown: X-API-Key takes the API keys of token APIs of style \"accounts\", and it \
         does not begin with the prefix of one"
    )]
    OtherPrefix,
    /// It is of an outside issuer, and was refused by the check of that issuer's tokens.
    #[error(transparent)]
    Outside(#[from] OutsideRefusal),
    /// It is a JWT of an issuer that is not configured, which the text describes.
    #[error("its issuer is another: {0}")]
    OtherIssuer(String),
    /// Its record is of another token API than its prefix says.
    #[error("it was made for another token API")]
    OtherTokenApi,
    /// keyward made it, and it has no record: it was revoked, or recorded in another store, or
    /// under a pepper that keyward does not have.
    #[error(
        "it is revoked: it was made with a key of this keyward and has no record (unless the store \
         is another, or its pepper is gone)"
    )]
    NoRecord,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is where a ticket is, and none of the keys has made it; the store was not asked.
    #[error("its ticket is made up: none of the keys of this keyward has made it")]
    TicketMadeUp,
    /// Its ticket is not open.
    #[error(
        "its ticket is used up or more than 30s old (or of before a restart, or a key was taken \
         away since)"
    )]
    TicketGone,
}

/// How often a record is read again because a revocation in the same shard broke the fence.
const FLIGHTS: usize = 16;

/// How long a read that is not shared waits before it asks again for a turn at the store.
const TURN: Duration = Duration::from_millis(2);

impl Authenticator {
    /// An authenticator of these parts.
    #[must_use]
    pub fn new(parts: TokenParts) -> Self {
        Self { parts }
    }

    /// The digest of the token under the present pepper. If the token was made under another one,
    /// the verdict has the right digest.
    #[must_use]
    pub fn digest(&self, sort: CredentialSort, token: &[u8]) -> TokenDigest {
        self.parts.peppers.digest(sort, token)
    }

    /// Changes when the digests of tokens change: see [`Peppers::version`].
    ///
    /// [`Peppers::version`]: super::keyring::Peppers::version
    #[must_use]
    pub fn digests_version(&self) -> u64 {
        self.parts.peppers.version()
    }

    /// The `iss` of the tokens that keyward signs.
    #[must_use]
    pub fn own_issuer(&self) -> &str {
        self.parts.signed.issuer()
    }

    /// The cache, for copies of its answers that are kept under its fences.
    #[must_use]
    pub fn cache(&self) -> &TokenCache {
        &self.parts.cache
    }

    /// The answer of the cache: without a check of the signature, and without the store.
    #[must_use]
    pub fn recall(
        &self,
        form: CredentialForm<'_>,
        digest: TokenDigest,
        now: Moment,
    ) -> Option<Verdict> {
        match self.parts.cache.recall(&digest, now.uptime)? {
            // The token may have been made under another pepper.
            Answer::Absent if self.parts.peppers.are_several() => None,
            answer => Some(judge(Some(form), digest, answer, now)),
        }
    }

    /// Whether a token that once passed is still good: for connections that are open already. The
    /// token is checked as if it were presented now, because the key that made it may be gone; then
    /// the cache is asked, and then the store.
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
            // While the keys of its issuer are too old to tell, it is good until it expires.
            return Ok(outside.is_current(now).unwrap_or(true));
        }
        if self.claims(form, token, now).is_err()
            || !self.parts.peppers.know(form.sort(), token, caller.digest)
        {
            return Ok(false);
        }
        self.has_record(caller.digest, now).await
    }

    /// Whether a token that once passed still has its record, which has not expired.
    ///
    /// # Errors
    ///
    /// When the store cannot tell, or not within the deadline.
    pub async fn has_record(&self, digest: TokenDigest, now: Moment) -> Result<bool, StoreError> {
        if let Some(answer) = self.parts.cache.recall(&digest, now.uptime) {
            return Ok(!matches!(answer, Answer::Absent));
        }
        let found = self.parts.within(self.parts.store.find(digest)).await?;
        self.parts.cache.lease().held().await?;
        Ok(found.is_some_and(|record| !record.is_expired(now.wall)))
    }

    /// The whole check, for a token that is not in the cache. The signature or MAC comes first, so
    /// that a forged token costs the store nothing. Then the record is read, once for all requests
    /// that ask at the same time: under `digest`, and if there is none, under the digest of each
    /// other pepper. The returned caller has the digest that was found.
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
        let mut candidates = vec![digest];
        if self.parts.peppers.are_several() {
            let others = self.parts.peppers.digests(form.sort(), token);
            candidates.extend(others.into_iter().filter(|other| *other != digest));
        }
        self.find(Some(form), &candidates, claims.as_ref(), now).await
    }

    /// The check of a token that is known by its digest alone: a ticket was redeemed that was made
    /// for it.
    ///
    /// # Errors
    ///
    /// As [`Self::check`].
    ///
    /// # Cancel safety
    ///
    /// As [`Self::check`].
    pub async fn check_record(
        &self,
        digest: TokenDigest,
        now: Moment,
    ) -> Result<Verdict, StoreError> {
        self.find(None, &[digest], None, now).await
    }

    /// The verdict on a token that keyward made, by its record under one of `candidates`. `form`
    /// and `claims`: of the token, as far as it was seen.
    async fn find(
        &self,
        form: Option<CredentialForm<'_>>,
        candidates: &[TokenDigest],
        claims: Option<&SignedClaims>,
        now: Moment,
    ) -> Result<Verdict, StoreError> {
        let mut now = now;
        if !self.parts.cache.lease().holds(now.uptime) {
            let stale = candidates.iter().find_map(|digest| {
                let answer = self.parts.cache.recall_stale(digest, now.uptime)?;
                Some(judge(form, *digest, answer, now))
            });
            if let Some(verdict) = stale {
                return Ok(verdict);
            }
            self.parts.cache.lease().held().await?;
            now = clock::read();
        }
        for &digest in candidates {
            match self.look_up(digest, claims, now).await? {
                Answer::Absent => {}
                answer => return Ok(judge(form, digest, answer, now)),
            }
        }
        Ok(Verdict::Refused(Refused::NoRecord))
    }

    /// The answer of the store, now or a moment ago, for a token that keyward made.
    async fn look_up(
        &self,
        digest: TokenDigest,
        claims: Option<&SignedClaims>,
        now: Moment,
    ) -> Result<Answer, StoreError> {
        if self.parts.cache.lease().reads_anew() {
            return self.parts.within(self.read_alone(digest, claims)).await;
        }
        let mut flight = match self.parts.cache.join(digest, now.uptime) {
            Join::Answer(answer) => return Ok(answer),
            Join::Follower(flight) => flight,
            Join::Leader(leader) => {
                let flight = leader.subscribe();
                let store = Arc::clone(&self.parts.store);
                tokio::spawn(read(leader, store, claims.cloned(), self.parts.deadline));
                flight
            }
        };
        let landed = async {
            let outcome = flight.wait_for(Option::is_some).await.ok();
            outcome
                .and_then(|outcome| outcome.clone())
                .unwrap_or_else(|| Err(StoreError::Unavailable("a look-up was abandoned".into())))
        };
        self.parts.within(landed).await
    }

    /// The answer of the store for this request alone: a read that is under way for another one may
    /// have begun before a change by another process that this request must see.
    async fn read_alone(
        &self,
        digest: TokenDigest,
        claims: Option<&SignedClaims>,
    ) -> Result<Answer, StoreError> {
        loop {
            match self.parts.store.find(digest).await {
                Ok(Some(record)) => return matching(&record, claims),
                Ok(None) => return Ok(Answer::Absent),
                // There are as many reads as requests: they wait for their turn.
                Err(StoreError::Overloaded) => tokio::time::sleep(TURN).await,
                Err(fault) => return Err(fault),
            }
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
            CredentialForm::Opaque(api) if self.parts.opaque.verify(&api.format, token) => Ok(None),
            CredentialForm::Opaque(_) => Err(Refused::MadeUp),
            CredentialForm::Signed => {
                let token = std::str::from_utf8(token).map_err(|_| SignedTokenFault::Foreign)?;
                Ok(Some(self.parts.signed.verify(token, now.wall)?))
            }
        }
    }
}

/// Reads the record of one token, and lands with the answer.
async fn read(
    leader: Leader,
    store: Arc<dyn Store>,
    claims: Option<SignedClaims>,
    deadline: Duration,
) {
    for _ in 0..FLIGHTS {
        let fence = leader.fence();
        let found = tokio::time::timeout(deadline, store.find(leader.digest)).await;
        let outcome = match found.unwrap_or(Err(StoreError::TimedOut)) {
            Ok(Some(record)) => matching(&record, claims.as_ref()),
            Ok(None) => Ok(Answer::Absent),
            Err(fault) => Err(fault),
        };
        // The lease may have ended in between. What was read counts under the next lease if the
        // fence is still current: a removal of the record would have broken it.
        let outcome = leader.cache.lease().held().await.and(outcome);
        if leader.land(fence, outcome, clock::uptime()).is_ok() {
            return;
        }
    }
    let _ = leader.land(leader.fence(), Err(StoreError::Overloaded), clock::uptime());
}

/// The answer that a record gives. It must agree with the claims of a signed token: they were made
/// together.
fn matching(record: &Record, claims: Option<&SignedClaims>) -> FlightOutcome {
    if let Some(claims) = claims
        && (record.id != claims.id
            || record.identity != claims.identity
            || record.expires_at != claims.expires_at)
    {
        return Err(StoreError::Corrupt(format!("record and token {} differ", claims.id)));
    }
    let token = Arc::new(Verified::new(record));
    Ok(if record.is_bootstrap() { Answer::PresentOnce(token) } else { Answer::Present(token) })
}

fn judge(
    form: Option<CredentialForm<'_>>,
    digest: TokenDigest,
    answer: Answer,
    now: Moment,
) -> Verdict {
    match answer {
        Answer::Present(token) | Answer::PresentOnce(token) => {
            // The prefix may have been another token API's when the key was made.
            let is_other = matches!(
                form,
                Some(CredentialForm::Opaque(api)) if api.token_api != *token.token_api()
            );
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
