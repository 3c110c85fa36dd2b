//! The port of the counters of limits, shared by the fleet: one script takes permits in a bundle,
//! at Redis' own time, so that the clocks of the instances do not count.
//!
//! It goes the way of look-ups: on the connection of the thread that asks, with their deadline, and
//! without waiting for replicas or for a primary. Permits that were taken are lost where the answer
//! is; those that a failover forgets are there again.

use std::num::NonZeroU32;
use std::time::Duration;

use super::RedisStore;
use super::calls::{self, Call};
use super::reply;
use crate::limits::{CounterKey, CountersError, CountersFuture, Grant, Quota, SharedCounters};
use crate::tokens::store::StoreError;

impl SharedCounters for RedisStore {
    fn take(&self, key: CounterKey, quota: Quota, wanted: NonZeroU32) -> CountersFuture<Grant> {
        let taken = self.run(async move |operations| {
            let call = Call::new(&calls::TAKE_PERMITS, vec![operations.layout.permits(key)])
                .argument(quota.interval_nanos())
                .argument(quota.burst.get())
                .argument(wanted.get());
            let (granted, remaining, next_after, full_after): (u64, u64, u64, u64) =
                reply::read(operations.executor.ask(call).await?)?;
            let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
            Ok(Grant {
                granted: number(granted).min(wanted.get()),
                remaining: number(remaining),
                next_after: Duration::from_nanos(next_after),
                full_after: Duration::from_nanos(full_after),
            })
        });
        Box::pin(async move {
            taken.await.map_err(|fault| match fault {
                StoreError::TimedOut => CountersError::TimedOut,
                other => CountersError::Unavailable(other.to_string()),
            })
        })
    }
}
