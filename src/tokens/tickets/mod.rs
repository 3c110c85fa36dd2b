//! Tickets: made for a token that opens routes, and good once, for one WebSocket or event stream.
//! They stand in the address, where a page has no other place for a credential.
//!
//! A ticket is random characters with a MAC, like an opaque token ([`super::opaque`]), so that one
//! that is made up is refused without asking the store. The store has its SHA-256, the digest of
//! the token that it was made for, and a MAC over both, so that a program that writes there cannot
//! have it open what another token opens. It has no identity of its own: the record of that token
//! is looked up when the ticket is redeemed.
//!
//! Which key made the token is not kept. So, when a key is taken away, the tickets of before are
//! refused, and what they opened ends: a page asks for another one.

#[cfg(test)]
pub(crate) mod conformance;
mod memory;
pub mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;

pub use memory::MemoryTickets;
pub use store::Tickets;

use self::store::{BOUNDS, CountedBy, OpenTicket, Opening};
use super::authenticator::Refused;
use super::keyring::KeyIds;
use super::opaque::{Alphabet, NoRandomness, OpaqueFormat, OpaqueTokens};
use super::store::StoreError;
use super::verified::{Caller, Power};
use crate::domain::{RawToken, Timestamp, TokenDigest};

/// How long a ticket can be redeemed.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// What tickets begin with.
const PREFIX: &str = "tkt_";

/// Whether a text has the form of a ticket. Says nothing of whether it is one.
#[must_use]
pub fn is_like_ticket(text: &[u8]) -> bool {
    format().has_form_of(text)
}

fn format() -> OpaqueFormat {
    OpaqueFormat { prefix: PREFIX.to_owned(), alphabet: Alphabet::Base62 }
}

/// Issues and redeems tickets.
#[derive(Clone)]
pub struct TicketService {
    tickets: Arc<dyn Tickets>,
    opaque: Arc<OpaqueTokens>,
    format: Arc<OpaqueFormat>,
    /// How long one operation of the store may take.
    deadline: Duration,
    keys: Arc<Keys>,
}

/// The keys that make and verify tokens, as far as tickets go by them.
struct Keys {
    ids: ArcSwap<KeyIds>,
    /// When one was last taken away, in Unix milliseconds.
    removed_at: AtomicI64,
}

/// Why no ticket was made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TicketError {
    /// The caller's credential opens no route, or has no record to which a ticket could be bound.
    #[error("the credential has no record that opens routes")]
    NoKey,
    /// There are as many open tickets as may be, of the token, its subject or tenant, or in all.
    #[error("there are too many open tickets")]
    TooMany {
        /// When to try again.
        retry_after: Duration,
    },
    /// A ticket could not be made.
    #[error(transparent)]
    Minting(#[from] NoRandomness),
    /// The store cannot tell or cannot do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The outcome of [`TicketService::redeem`].
#[derive(Clone, Debug)]
pub enum Redemption {
    /// It was good, and is used up: the digest of the token that it was made for.
    Redeemed(TokenDigest),
    /// It is not accepted.
    Refused(Refused),
}

impl TicketService {
    /// Keeps open tickets in `tickets`. `keys`: all that make or verify tokens.
    #[must_use]
    pub fn new(
        tickets: Arc<dyn Tickets>,
        opaque: Arc<OpaqueTokens>,
        keys: KeyIds,
        deadline: Duration,
    ) -> Self {
        let keys = Keys { ids: ArcSwap::from_pointee(keys), removed_at: AtomicI64::new(i64::MIN) };
        Self { tickets, opaque, format: Arc::new(format()), deadline, keys: Arc::new(keys) }
    }

    /// These are the keys from now on.
    pub fn replace_keys(&self, keys: KeyIds, now: Timestamp) {
        let before = self.keys.ids.swap(Arc::new(keys));
        if !self.keys.ids.load().hold_all(&before) {
            self.keys.removed_at.store(now.unix_millis(), Ordering::Release);
        }
    }

    /// Whether no key was taken away at `since` or later.
    #[must_use]
    pub fn has_all_keys_since(&self, since: Timestamp) -> bool {
        since.unix_millis() > self.keys.removed_at.load(Ordering::Acquire)
    }

    /// Makes a ticket for a caller whose token opens routes.
    ///
    /// # Errors
    ///
    /// See [`TicketError`].
    pub async fn issue(&self, caller: &Caller, now: Timestamp) -> Result<RawToken, TicketError> {
        if caller.token.power() != Power::Full {
            return Err(TicketError::NoKey);
        }
        let ticket = self.opaque.mint(&self.format)?;
        let text = ticket.expose().as_bytes();
        let (holder, ends_at) = (caller.digest, now.after(LIFETIME));
        let seal = self.opaque.seal(&sealed(text, holder, ends_at)).ok_or(NoRandomness)?;
        let open = OpenTicket { holder, ends_at, seal };
        let opening = self.tickets.open(digest_of(text), open, counted_by(caller), BOUNDS, now);
        match self.within(opening).await? {
            Opening::Opened => Ok(ticket),
            Opening::Full { retry_after } => Err(TicketError::TooMany { retry_after }),
        }
    }

    /// Uses a ticket up. What its token opens is for the caller to find out.
    ///
    /// # Errors
    ///
    /// When the store cannot tell; the ticket may be used up all the same.
    pub async fn redeem(&self, ticket: &[u8], now: Timestamp) -> Result<Redemption, StoreError> {
        if !self.opaque.verify(&self.format, ticket) {
            return Ok(Redemption::Refused(Refused::TicketMadeUp));
        }
        let Some(open) = self.within(self.tickets.take(digest_of(ticket), now)).await? else {
            return Ok(Redemption::Refused(Refused::TicketGone));
        };
        let OpenTicket { holder, ends_at, seal } = open;
        if !self.opaque.is_seal(&sealed(ticket, holder, ends_at), &seal) {
            return Err(StoreError::Corrupt("an open ticket was altered".to_owned()));
        }
        let lifetime = i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX);
        let issued_at = ends_at.unix_millis().saturating_sub(lifetime);
        if !self.has_all_keys_since(Timestamp::from_unix_millis(issued_at)) {
            return Ok(Redemption::Refused(Refused::TicketGone));
        }
        Ok(Redemption::Redeemed(holder))
    }

    async fn within<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let outcome = tokio::time::timeout(self.deadline, operation).await;
        outcome.unwrap_or(Err(StoreError::TimedOut))
    }
}

/// By what the tickets of this caller are counted besides its token. Subjects are unique within
/// what made their token.
fn counted_by(caller: &Caller) -> CountedBy {
    let token = &caller.token;
    let origin = token.origin().unwrap_or(token.token_api());
    let subject = name(&[b"subject", origin.as_bytes(), token.subject().as_bytes()]);
    let tenant = token.organization().filter(|tenant| !tenant.is_empty());
    CountedBy {
        subject,
        tenant: tenant.map_or(subject, |tenant| name(&[b"tenant", tenant.as_bytes()])),
    }
}

/// 128 bits of SHA-256 over the parts, each with its length.
fn name(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// What the store knows a ticket by. It has 131 random bits, so its hash needs no key.
fn digest_of(ticket: &[u8]) -> TokenDigest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"keyward ticket\0");
    context.update(ticket);
    TokenDigest::from_bytes(context.finish().as_ref().first_chunk().copied().unwrap_or_default())
}

/// What a seal is over. Every part but the first has a fixed length.
fn sealed(ticket: &[u8], holder: TokenDigest, ends_at: Timestamp) -> Vec<u8> {
    let ends_at = ends_at.unix_millis().to_le_bytes();
    [b"keyward open ticket\0", ticket, holder.as_bytes(), &ends_at[..]].concat()
}

#[cfg(test)]
mod tests;
