//! Connecting to one of several addresses (RFC 8305, "Happy Eyeballs").
//!
//! The addresses are tried one after the other, each a quarter of a second after the one before or
//! as soon as one has failed. Earlier attempts go on meanwhile, and the first that connects wins.
//! So a name whose first address swallows packets can be reached all the same.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long one attempt is waited for before the next address is tried beside it (RFC 8305, section
/// 8: "Connection Attempt Delay"). Less where the last of many addresses would get no turn in time.
const SHARE: Duration = Duration::from_millis(250);

/// So many addresses of one name are tried; the resolver has put the best first.
const MOST_ADDRESSES: usize = 16;

/// How long an address is tried last after it has failed.
pub(super) const REST: Duration = Duration::from_secs(30);

/// So many failed addresses are remembered, the latest ones: those of a name may come and go.
const MOST_REMEMBERED: usize = 32;

/// Addresses that have failed, or have not answered within their share of the time.
#[derive(Default)]
pub(super) struct FailedAddresses(RefCell<Vec<(SocketAddr, Instant)>>);

/// Why none of the addresses could be connected to.
#[derive(Debug)]
pub(super) enum RaceError {
    NoAddress,
    /// Every address refused; this is what the system said of the first one.
    Refused(SocketAddr, io::Error),
    TimedOut,
}

/// Connects to the first address that answers. Dropping it closes all attempts; addresses that were
/// silent for their share are remembered all the same.
pub(super) async fn connect(
    addresses: Vec<SocketAddr>,
    failed: &FailedAddresses,
    deadline: Instant,
) -> Result<(SocketAddr, TcpStream), RaceError> {
    let begun = Instant::now();
    let mut waiting = failed.order(addresses, begun).into_iter();
    let turns = u32::try_from(waiting.len()).unwrap_or(u32::MAX).max(1);
    let share = SHARE.min(deadline.saturating_duration_since(begun) / turns);
    let first = waiting.next().ok_or(RaceError::NoAddress)?;
    let mut attempts = JoinSet::from_iter([attempt(first)]);
    let mut pending = vec![first];
    let mut refused = None;
    let mut share_ends = begun + share;
    loop {
        let wake = if waiting.len() == 0 { deadline } else { share_ends.min(deadline) };
        let address = tokio::select! {
            biased;
            Some(Ok((address, outcome))) = attempts.join_next() => match outcome {
                Ok(stream) => {
                    failed.forget(address);
                    return Ok((address, stream));
                }
                Err(fault) => {
                    failed.note(address, Instant::now());
                    pending.retain(|other| *other != address);
                    let first = refused.take().unwrap_or((address, fault));
                    let next = waiting.next();
                    if next.is_none() && attempts.is_empty() {
                        return Err(RaceError::Refused(first.0, first.1));
                    }
                    refused = Some(first);
                    next
                }
            },
            () = tokio::time::sleep_until(wake) => {
                pending.iter().for_each(|address| failed.note(*address, wake));
                if wake == deadline {
                    return Err(RaceError::TimedOut);
                }
                waiting.next()
            }
        };
        if let Some(address) = address {
            attempts.spawn(attempt(address));
            pending.push(address);
            share_ends = Instant::now() + share;
        }
    }
}

async fn attempt(address: SocketAddr) -> (SocketAddr, io::Result<TcpStream>) {
    (address, TcpStream::connect(address).await)
}

impl FailedAddresses {
    /// The addresses in the order in which they are tried: as the resolver sorted them, with the
    /// families taking turns (RFC 8305, section 4); those that have failed come last, the one whose
    /// failure is the oldest first.
    pub(super) fn order(&self, mut addresses: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        addresses.truncate(MOST_ADDRESSES);
        let remembered = self.0.borrow();
        let failed_at = |address: &SocketAddr| {
            let found = remembered.iter().find(|(known, _)| known == address);
            found.map(|(_, at)| *at).filter(|at| now.saturating_duration_since(*at) < REST)
        };
        let (mut failed, good): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|address| failed_at(address).is_some());
        failed.sort_by_key(failed_at);
        let mut ordered = interleaved(good);
        ordered.extend(failed);
        ordered
    }

    pub(super) fn note(&self, address: SocketAddr, now: Instant) {
        let mut remembered = self.0.borrow_mut();
        // In the order of time: the oldest are first.
        remembered
            .retain(|(known, at)| *known != address && now.saturating_duration_since(*at) < REST);
        if remembered.len() >= MOST_REMEMBERED {
            remembered.remove(0);
        }
        remembered.push((address, now));
    }

    fn forget(&self, address: SocketAddr) {
        self.0.borrow_mut().retain(|(known, _)| *known != address);
    }
}

/// The families by turns, beginning with that of the first address; within each the order stays.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let begins_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == begins_with_v6);
    let turns = 0..first.len().max(second.len());
    turns.flat_map(|at| [first.get(at), second.get(at)]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn the_families_take_turns_and_keep_their_order() {
        for (given, expected) in [
            (
                &["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1"][..],
                &["[::1]:1", "1.0.0.1:1", "[::2]:1", "[::3]:1"][..],
            ),
            (&["1.0.0.1:1", "1.0.0.2:1", "[::1]:1"], &["1.0.0.1:1", "[::1]:1", "1.0.0.2:1"]),
            (&["1.0.0.2:1", "1.0.0.1:1"], &["1.0.0.2:1", "1.0.0.1:1"]),
            (&[], &[]),
        ] {
            assert_eq!(
                FailedAddresses::default().order(addresses(given), Instant::now()),
                addresses(expected)
            );
        }
    }

    #[test]
    fn an_address_that_failed_is_tried_last_for_as_long_as_it_rests() {
        let failed = FailedAddresses::default();
        let all = addresses(&["1.0.0.1:1", "1.0.0.2:1", "1.0.0.3:1"]);
        let now = Instant::now();
        failed.note(all[1], now);
        failed.note(all[0], now + Duration::from_secs(1));
        let order = |after| failed.order(all.clone(), now + after);
        assert_eq!(order(Duration::from_secs(1)), [all[2], all[1], all[0]]);
        assert_eq!(order(REST - Duration::from_millis(1)), [all[2], all[1], all[0]]);
        assert_eq!(order(REST), [all[1], all[2], all[0]]);
        assert_eq!(order(REST + Duration::from_secs(1)), all);
        failed.forget(all[1]);
        assert_eq!(order(Duration::from_secs(1)), [all[1], all[2], all[0]]);
    }

    #[test]
    fn only_so_many_addresses_are_tried_and_remembered() {
        let failed = FailedAddresses::default();
        let many: Vec<_> = (0..1000).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let now = Instant::now();
        many.iter().for_each(|address| failed.note(*address, now));
        assert_eq!(failed.0.borrow().len(), MOST_REMEMBERED);
        assert_eq!(failed.0.borrow().last().map(|(address, _)| *address), many.last().copied());
        assert_eq!(failed.order(many, now).len(), MOST_ADDRESSES);
    }
}
