//! Connecting to one of several addresses (RFC 8305, "Happy Eyeballs").
//!
//! The addresses are tried one after the other, each a quarter of a second after the one before or
//! as soon as one has failed. Earlier attempts go on meanwhile, and the first that connects wins.
//! Without this, a name whose first address swallows packets cannot be reached at all: the first
//! attempt takes the whole time there is.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long one attempt is waited for before the next address is tried beside it (RFC 8305, section
/// 8: "Connection Attempt Delay"). Less, where there are so many addresses that the last ones would
/// get no turn in time.
const SHARE: Duration = Duration::from_millis(250);

/// So many addresses of one name are tried; the resolver has put the best first.
const MOST_ADDRESSES: usize = 16;

/// How long an address is tried last after it has failed.
pub(super) const REST: Duration = Duration::from_secs(30);

/// So many failed addresses are remembered, the latest ones: names behind which addresses come and
/// go must not fill the memory.
const MOST_REMEMBERED: usize = 32;

/// Addresses that have failed, or have not answered within their share of the time.
#[derive(Default)]
pub(super) struct FailedAddresses(RefCell<Vec<(SocketAddr, Instant)>>);

/// Why none of the addresses could be connected to.
#[derive(Debug)]
pub(super) enum RaceError {
    /// There is no address.
    NoAddress,
    /// Every address refused; this is what the system said of the first one.
    Refused(SocketAddr, io::Error),
    /// The deadline came first.
    TimedOut,
}

/// Connects to the first address that answers.
///
/// # Errors
///
/// When every address has failed, or none has answered at the deadline.
///
/// # Cancel safety
///
/// Dropping it closes all attempts. Addresses that were silent for their share are remembered all
/// the same.
pub(super) async fn connect(
    addresses: Vec<SocketAddr>,
    failed: &FailedAddresses,
    deadline: Instant,
) -> Result<(SocketAddr, TcpStream), RaceError> {
    let begun = Instant::now();
    let mut waiting = failed.order(addresses, begun).into_iter();
    let turns = u32::try_from(waiting.len()).unwrap_or(u32::MAX).max(1);
    let share = SHARE.min(deadline.saturating_duration_since(begun) / turns);
    let mut attempts = Attempts::default();
    attempts.begin(waiting.next().ok_or(RaceError::NoAddress)?);
    let mut refused = None;
    let mut share_ends = begun + share;
    loop {
        let wake = if waiting.len() == 0 { deadline } else { share_ends.min(deadline) };
        let address = tokio::select! {
            biased;
            (address, outcome) = attempts.next() => match outcome {
                Ok(stream) => {
                    failed.forget(address);
                    return Ok((address, stream));
                }
                Err(fault) => {
                    failed.note(address, Instant::now());
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
                attempts.addresses().for_each(|address| failed.note(address, wake));
                if wake == deadline {
                    return Err(RaceError::TimedOut);
                }
                waiting.next()
            }
        };
        if let Some(address) = address {
            attempts.begin(address);
            share_ends = Instant::now() + share;
        }
    }
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// The attempts under way.
#[derive(Default)]
struct Attempts(Vec<(SocketAddr, Attempt)>);

impl Attempts {
    fn begin(&mut self, address: SocketAddr) {
        self.0.push((address, Box::pin(TcpStream::connect(address))));
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|(address, _)| *address)
    }

    /// The next attempt that ends; it is removed. Never, if there is none.
    async fn next(&mut self) -> (SocketAddr, io::Result<TcpStream>) {
        std::future::poll_fn(|cx| {
            let ended = self.0.iter_mut().enumerate().find_map(|(at, (address, attempt))| {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(outcome) => Some((at, *address, outcome)),
                    Poll::Pending => None,
                }
            });
            match ended {
                Some((at, address, outcome)) => {
                    drop(self.0.remove(at));
                    Poll::Ready((address, outcome))
                }
                None => Poll::Pending,
            }
        })
        .await
    }
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

    /// Puts an address last for a while.
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
    let Some(begins_with_v6) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let mut ordered = Vec::with_capacity(addresses.len());
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == begins_with_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let before = ordered.len();
        ordered.extend(first.next());
        ordered.extend(second.next());
        if ordered.len() == before {
            return ordered;
        }
    }
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
