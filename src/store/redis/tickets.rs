//! The port of tickets, shared by the fleet: a ticket of one instance is redeemed at any other, and
//! at one.
//!
//! When a ticket ends is the callers', by their clocks. Redis' times to live only remove what was
//! never redeemed.

use std::time::Duration;

use super::RedisStore;
use super::calls::{self, Call};
use super::failure::{unexpected, unknown_outcome};
use super::layout::digest_from_hex;
use super::reply;
use crate::domain::{Timestamp, TokenDigest, hex};
use crate::tokens::store::{StoreError, StoreFuture};
use crate::tokens::tickets::LIFETIME;
use crate::tokens::tickets::store::{Bounds, CountedBy, OpenTicket, Opening, Tickets};

/// How long Redis keeps a ticket beyond its life: by more than clocks are off. One that goes too
/// early is only refused.
const SLACK: Duration = Duration::from_secs(60);

impl Tickets for RedisStore {
    fn open(
        &self,
        digest: TokenDigest,
        ticket: OpenTicket,
        counted_by: CountedBy,
        bounds: Bounds,
        now: Timestamp,
    ) -> StoreFuture<Opening> {
        self.run(async move |operations| {
            let layout = &operations.layout;
            let token = hex::encode(ticket.holder.as_bytes());
            let subject = hex::encode(&counted_by.subject);
            let tenant = hex::encode(&counted_by.tenant);
            let [of_token, of_subject, of_tenant] = layout.tickets_of();
            let keys = vec![
                layout.ticket(digest),
                layout.tickets(),
                of_token + &token,
                of_subject + &subject,
                of_tenant + &tenant,
            ];
            let kept = i64::try_from((LIFETIME + SLACK).as_millis()).unwrap_or(i64::MAX);
            let call = Call::new(&calls::OPEN_TICKET, keys)
                .digest(digest)
                .argument(token)
                .argument(subject)
                .argument(tenant)
                .time(ticket.ends_at)
                .argument(hex::encode(&ticket.seal))
                .time(now)
                .argument(kept)
                .argument(bounds.in_all)
                .argument(bounds.of_token)
                .argument(bounds.of_subject);
            let (outcome, wait) = operations.change(call).await?;
            match outcome.as_str() {
                "opened" => Ok(Opening::Opened),
                "full" => {
                    let retry_after = Duration::from_millis(reply::read(wait)?);
                    Ok(Opening::Full { retry_after })
                }
                _ => unknown_outcome(),
            }
        })
    }

    /// Lasting, where that is asked for: a primary that takes over must not have it still.
    fn take(&self, digest: TokenDigest, now: Timestamp) -> StoreFuture<Option<OpenTicket>> {
        self.run(async move |operations| {
            let layout = &operations.layout;
            let keys = vec![layout.ticket(digest), layout.tickets()];
            let call = Call::new(&calls::TAKE_TICKET, keys).lasting().digest(digest);
            let call = layout.tickets_of().into_iter().fold(call, Call::argument);
            let (outcome, kept) = operations.change(call).await?;
            match outcome.as_str() {
                "absent" => Ok(None),
                "taken" => Ok(Some(open(reply::read(kept)?)?).filter(|kept| now < kept.ends_at)),
                _ => unknown_outcome(),
            }
        })
    }
}

fn open(
    (holder, ends_at, seal): (Vec<u8>, Option<i64>, Vec<u8>),
) -> Result<OpenTicket, StoreError> {
    Ok(OpenTicket {
        holder: digest_from_hex(&holder).ok_or_else(|| unexpected("a digest"))?,
        ends_at: Timestamp::from_unix_millis(ends_at.ok_or_else(|| unexpected("a time"))?),
        seal: bytes(&seal).ok_or_else(|| unexpected("a seal"))?,
    })
}

/// 16 bytes from their 32 hexadecimal digits.
fn bytes(digits: &[u8]) -> Option<[u8; 16]> {
    let (pairs, rest) = digits.as_chunks::<2>();
    let mut bytes = [0; 16];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = hex::value(*high)? << 4 | hex::value(*low)?;
    }
    Some(bytes)
}
