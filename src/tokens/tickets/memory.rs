//! Open tickets in memory, for a single instance. They are lost with the process.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::store::{Bounds, CountedBy, OpenTicket, Opening, Tickets};
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
    open: HashMap<TokenDigest, (OpenTicket, CountedBy)>,
    all: ByEnd,
    /// Those of each holder that has some.
    of_holders: HashMap<Holder, ByEnd>,
}

/// By whom open tickets are counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Token(TokenDigest),
    Subject([u8; 16]),
    Tenant([u8; 16]),
}

/// The three holders of a ticket.
const fn holders(ticket: &OpenTicket, counted_by: CountedBy) -> [Holder; 3] {
    let CountedBy { subject, tenant } = counted_by;
    [Holder::Token(ticket.holder), Holder::Subject(subject), Holder::Tenant(tenant)]
}

impl Tables {
    fn open(
        &mut self,
        digest: TokenDigest,
        ticket: OpenTicket,
        counted_by: CountedBy,
        bounds: Bounds,
        now: Timestamp,
    ) -> Opening {
        while let Some(&(ends_at, oldest)) = self.all.first()
            && ends_at <= now
        {
            self.remove(oldest);
        }
        let is_full = |tickets: &ByEnd, most: usize| {
            let oldest = tickets.first().filter(|_| tickets.len() >= most);
            oldest.map(|&(ends_at, _)| until(ends_at, now))
        };
        let free = bounds.in_all.saturating_sub(self.all.len());
        let waits = holders(&ticket, counted_by).into_iter().filter_map(|holder| {
            let most = match holder {
                Holder::Token(_) => bounds.of_token,
                Holder::Subject(_) => bounds.of_subject,
                Holder::Tenant(_) => bounds.in_all,
            };
            is_full(self.of_holders.get(&holder)?, most.min(free))
        });
        if let Some(retry_after) = waits.chain(is_full(&self.all, bounds.in_all)).max() {
            return Opening::Full { retry_after };
        }
        let entry = (ticket.ends_at, digest);
        self.open.insert(digest, (ticket, counted_by));
        self.all.insert(entry);
        for holder in holders(&ticket, counted_by) {
            self.of_holders.entry(holder).or_default().insert(entry);
        }
        Opening::Opened
    }

    fn remove(&mut self, digest: TokenDigest) -> Option<OpenTicket> {
        let (ticket, counted_by) = self.open.remove(&digest)?;
        let entry = (ticket.ends_at, digest);
        self.all.remove(&entry);
        for holder in holders(&ticket, counted_by) {
            if let Some(of_holder) = self.of_holders.get_mut(&holder) {
                of_holder.remove(&entry);
                if of_holder.is_empty() {
                    self.of_holders.remove(&holder);
                }
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
        counted_by: CountedBy,
        bounds: Bounds,
        now: Timestamp,
    ) -> StoreFuture<Opening> {
        let opening = self.tables().open(digest, ticket, counted_by, bounds, now);
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
    use crate::tokens::tickets::conformance::{alone, at, conforms_tickets, digest, ticket};
    use crate::tokens::tickets::store::BOUNDS;

    async fn fresh() -> ((), Arc<dyn Tickets>) {
        ((), Arc::new(MemoryTickets::default()))
    }

    mod conforms {
        use super::*;
        conforms_tickets! { fresh }
    }

    /// One of a token whose holder has no other one.
    fn open(tables: &mut Tables, number: u64, holder: u64, ends_at: i64, now: i64) -> Opening {
        let ticket = ticket(holder, ends_at);
        tables.open(digest(number), ticket, alone(holder), BOUNDS, at(now))
    }

    #[test]
    fn tickets_that_come_and_go_leave_nothing_behind() {
        let mut tables = Tables::default();
        for number in 0..1000 {
            assert_eq!(open(&mut tables, number, 7, 30, 0), Opening::Opened);
            assert!(tables.remove(digest(number)).is_some());
        }
        assert!(tables.open.is_empty() && tables.all.is_empty() && tables.of_holders.is_empty());
        open(&mut tables, 1, 7, 30, 0);
        open(&mut tables, 2, 8, 60, 30);
        assert_eq!((tables.open.len(), tables.all.len(), tables.of_holders.len()), (1, 1, 3));
    }

    #[test]
    fn in_all_there_are_no_more_than_the_bound() {
        let mut tables = Tables::default();
        for number in 0..BOUNDS.in_all as u64 {
            assert_eq!(open(&mut tables, number, number, 30, 0), Opening::Opened);
        }
        let full = Opening::Full { retry_after: Duration::from_secs(20) };
        assert_eq!(open(&mut tables, u64::MAX, u64::MAX, 40, 10), full);
        assert_eq!(tables.open.len(), BOUNDS.in_all);
        assert_eq!(open(&mut tables, u64::MAX, u64::MAX, 60, 30), Opening::Opened);
        assert_eq!(tables.open.len(), 1);
    }
}
