//! The port of counters of failures, shared by the fleet: more instances allow no more attempts.
//!
//! The windows are the callers', by their clocks. Redis' times to live only remove what is not
//! asked about any more.

use std::time::Duration;

use super::RedisStore;
use super::calls::{self, Call};
use super::failure::{unexpected, unknown_outcome};
use super::layout::BACKSTOP;
use super::reply;
use crate::domain::{Timestamp, hex};
use crate::tokens::accounts::counters::{
    Allowance, CounterKey, Counters, MOST_REMEMBERED, REMEMBERED_FOR, Reservation, Settlement,
};
use crate::tokens::store::StoreFuture;

/// What to wait for what is only reserved.
const SHORTLY: Duration = Duration::from_secs(1);

/// How long Redis keeps a counter beyond its window. Not [`BACKSTOP`]: there are many counters, and
/// one that goes too early is only a window that was cut short.
const SLACK: Duration = Duration::from_secs(60);

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Counters for RedisStore {
    fn reserve(&self, allowances: Vec<Allowance>, now: Timestamp) -> StoreFuture<Reservation> {
        self.run(async move |operations| {
            let layout = &operations.layout;
            let keys = allowances.iter().map(|allowance| layout.counter(allowance.key)).collect();
            let call = Call::new(&calls::RESERVE, keys).time(now).argument(millis(SHORTLY));
            let call = allowances.iter().fold(call, |call, allowance| {
                call.argument(allowance.limit)
                    .time(now.after(allowance.window))
                    .argument(millis(allowance.window.saturating_add(SLACK)))
            });
            let (outcome, wait) = operations.change(call).await?;
            match outcome.as_str() {
                "reserved" => Ok(Reservation::Reserved),
                "refused" => {
                    let retry_after = Duration::from_millis(reply::read(wait)?);
                    Ok(Reservation::Refused { retry_after })
                }
                _ => unknown_outcome(),
            }
        })
    }

    fn settle(
        &self,
        settlements: Vec<(CounterKey, Settlement)>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        self.run(async move |operations| {
            let layout = &operations.layout;
            let keys = settlements.iter().map(|&(key, _)| layout.counter(key)).collect();
            let call = Call::new(&calls::SETTLE_COUNTERS, keys).time(now);
            let call = settlements.iter().fold(call, |call, (_, settlement)| {
                call.argument(match settlement {
                    Settlement::Spent => "spent",
                    Settlement::Returned => "returned",
                    Settlement::Cleared => "cleared",
                })
            });
            operations.executor.run(call).await.map(|_| ())
        })
    }

    fn spent(&self, key: CounterKey, now: Timestamp) -> StoreFuture<u32> {
        self.run(async move |operations| {
            let mut command = redis::cmd("HMGET");
            command.arg(operations.layout.counter(key)).arg(&["e", "s"]);
            let (ends_at, spent): (Option<i64>, Option<u64>) =
                reply::read(operations.executor.read(command).await?)?;
            if ends_at.is_none_or(|ends_at| now.unix_millis() >= ends_at) {
                return Ok(0);
            }
            let spent = spent.ok_or_else(|| unexpected("a count"))?;
            Ok(u32::try_from(spent).unwrap_or(u32::MAX))
        })
    }

    fn remember(&self, group: CounterKey, member: CounterKey, now: Timestamp) -> StoreFuture<()> {
        self.run(async move |operations| {
            let call = Call::new(&calls::REMEMBER, vec![operations.layout.group(group)])
                .argument(hex::encode(&member.0))
                .time(now)
                .time(now.after(REMEMBERED_FOR))
                .argument(millis(REMEMBERED_FOR.saturating_add(BACKSTOP)))
                .argument(MOST_REMEMBERED);
            operations.executor.run(call).await.map(|_| ())
        })
    }

    fn remembers(
        &self,
        group: CounterKey,
        member: CounterKey,
        now: Timestamp,
    ) -> StoreFuture<bool> {
        self.run(async move |operations| {
            let mut command = redis::cmd("HMGET");
            command.arg(operations.layout.group(group)).arg(hex::encode(&member.0));
            let (kept,): (Option<String>,) = reply::read(operations.executor.read(command).await?)?;
            let Some(kept) = kept else { return Ok(false) };
            let until = kept.split(' ').next().and_then(|until| until.parse::<i64>().ok());
            Ok(now.unix_millis() < until.ok_or_else(|| unexpected("a time"))?)
        })
    }
}
