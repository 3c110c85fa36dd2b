//! Open tickets in memory, for a single instance. They are lost with the process.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::store::{MOST_OPEN, MOST_OPEN_OF_TOKEN, OpenTicket, Opening, Tickets};
use crate::domain::{Timestamp, TokenDigest};
use crate::tokens::store::StoreFuture;

/// See the module.
#[derive(Default)]
pub struct MemoryTickets {
    /// Held for a few instructions.
    tables: Mutex<Tables>,
}

/// Digests of tickets, by their end.
type ByEnd = BTreeSet<(Timestamp, TokenDigest)>;

#[derive(Default)]
struct Tables {
    open: HashMap<TokenDigest, OpenTicket>,
    all: ByEnd,
    /// Those of each token that has some.
    of_tokens: HashMap<TokenDigest, ByEnd>,
}

impl Tables {
    fn open(&mut self, digest: TokenDigest, ticket: OpenTicket, now: Timestamp) -> Opening {
        while let Some(&(ends_at, oldest)) = self.all.first()
            && ends_at <= now
        {
            self.remove(oldest);
        }
        let of_token = self.of_tokens.get(&ticket.holder);
        let is_full = |tickets: &ByEnd, most: usize| {
            let oldest = tickets.first().filter(|_| tickets.len() >= most);
            oldest.map(|&(ends_at, _)| until(ends_at, now))
        };
        let waits = [
            of_token.and_then(|tickets| is_full(tickets, MOST_OPEN_OF_TOKEN)),
            is_full(&self.all, MOST_OPEN),
        ];
        if let Some(retry_after) = waits.into_iter().flatten().max() {
            return Opening::Full { retry_after };
        }
        self.open.insert(digest, ticket);
        self.all.insert((ticket.ends_at, digest));
        self.of_tokens.entry(ticket.holder).or_default().insert((ticket.ends_at, digest));
        Opening::Opened
    }

    fn remove(&mut self, digest: TokenDigest) -> Option<OpenTicket> {
        let ticket = self.open.remove(&digest)?;
        let entry = (ticket.ends_at, digest);
        self.all.remove(&entry);
        if let Some(of_token) = self.of_tokens.get_mut(&ticket.holder) {
            of_token.remove(&entry);
            if of_token.is_empty() {
                self.of_tokens.remove(&ticket.holder);
            }
        }
        Some(ticket)
    }
}

fn until(ends_at: Timestamp, now: Timestamp) -> Duration {
    let millis = ends_at.unix_millis().saturating_sub(now.unix_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

impl MemoryTickets {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        // After a panic under the lock, at most one ticket is wrong.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tickets for MemoryTickets {
    fn open(
        &self,
        digest: TokenDigest,
        ticket: OpenTicket,
        now: Timestamp,
    ) -> StoreFuture<Opening> {
        let opening = self.tables().open(digest, ticket, now);
        Box::pin(std::future::ready(Ok(opening)))
    }

    fn take(&self, digest: TokenDigest, now: Timestamp) -> StoreFuture<Option<OpenTicket>> {
        let taken = self.tables().remove(digest).filter(|ticket| now < ticket.ends_at);
        Box::pin(std::future::ready(Ok(taken)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tokens::tickets::conformance::{at, conforms_tickets, digest, ticket};

    async fn fresh() -> ((), Arc<dyn Tickets>) {
        ((), Arc::new(MemoryTickets::default()))
    }

    mod conforms {
        use super::*;
        conforms_tickets! { fresh }
    }

    #[test]
    fn tickets_that_come_and_go_leave_nothing_behind() {
        let mut tables = Tables::default();
        for number in 0..1000 {
            assert_eq!(tables.open(digest(number), ticket(7, 30), at(0)), Opening::Opened);
            assert!(tables.remove(digest(number)).is_some());
        }
        assert!(tables.open.is_empty() && tables.all.is_empty() && tables.of_tokens.is_empty());
        tables.open(digest(1), ticket(7, 30), at(0));
        tables.open(digest(2), ticket(8, 60), at(30));
        assert_eq!((tables.open.len(), tables.all.len(), tables.of_tokens.len()), (1, 1, 1));
    }

    #[test]
    fn in_all_there_are_no_more_than_the_bound() {
        let mut tables = Tables::default();
        for number in 0..MOST_OPEN as u64 {
            let ticket = ticket(number, 30);
            assert_eq!(tables.open(digest(number), ticket, at(0)), Opening::Opened);
        }
        let full = Opening::Full { retry_after: Duration::from_secs(20) };
        assert_eq!(tables.open(digest(u64::MAX), ticket(1, 40), at(10)), full);
        assert_eq!(tables.open.len(), MOST_OPEN);
        assert_eq!(tables.open(digest(u64::MAX), ticket(1, 60), at(30)), Opening::Opened);
        assert_eq!(tables.open.len(), 1);
    }
}
