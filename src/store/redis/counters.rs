//! The port of counters of what failed: shared by the fleet, so that many instances are no more
//! chances than one.
//!
//! Each operation is one script. The windows are the callers', by their clocks; Redis' times to
//! live remove what is not asked about any more, and bound what there is: by the reservations of
//! one window, and by the accounts that were logged in to.

use std::time::Duration;

use redis::Value;

use super::RedisStore;
use super::announced::unknown_outcome;
use super::calls::{self, Call};
use super::failure::unexpected;
use super::layout::{BACKSTOP, hex};
use super::reply;
use crate::domain::Timestamp;
use crate::tokens::accounts::counters::{
    Allowance, CounterKey, Counters, MOST_REMEMBERED, REMEMBERED_FOR, Reservation, Settlement,
};
use crate::tokens::store::StoreFuture;

/// What to wait for what is only reserved.
const SHORTLY: Duration = Duration::from_secs(1);

/// How long Redis keeps a counter beyond its window. Not [`BACKSTOP`]: there are many, and one that
/// goes too early, because a clock is further off than that, is only a window that was cut short.
const SLACK: Duration = Duration::from_secs(60);

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Counters for RedisStore {
    fn reserve(&self, allowances: Vec<Allowance>, now: Timestamp) -> StoreFuture<Reservation> {
        self.run(async move |operations| {
            let layout = &operations.layout;
            let keys = allowances.iter().map(|allowance| layout.counter(allowance.key)).collect();
            let call = Call::new(&calls::RESERVE, keys).time(now).number(millis(SHORTLY));
            let call = allowances.iter().fold(call, |call, allowance| {
                call.argument(allowance.limit.to_string())
                    .time(now.after(allowance.window))
                    .number(millis(allowance.window.saturating_add(SLACK)))
            });
            let (outcome, wait) = operations.change(call).await?;
            match outcome.as_str() {
                "reserved" => Ok(Reservation::Reserved),
                "refused" => {
                    let retry_after = Duration::from_millis(reply::count(wait)?);
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
            let [ends_at, spent] = reply::parts::<2>(operations.executor.read(command).await?)?;
            if ends_at == Value::Nil || now.unix_millis() >= reply::number(ends_at)? {
                return Ok(0);
            }
            Ok(u32::try_from(reply::count(spent)?).unwrap_or(u32::MAX))
        })
    }

    fn remember(&self, group: CounterKey, member: CounterKey, now: Timestamp) -> StoreFuture<()> {
        self.run(async move |operations| {
            let call = Call::new(&calls::REMEMBER, vec![operations.layout.group(group)])
                .argument(hex(&member.0))
                .time(now)
                .time(now.after(REMEMBERED_FOR))
                .number(millis(REMEMBERED_FOR.saturating_add(BACKSTOP)))
                .count(MOST_REMEMBERED);
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
            command.arg(operations.layout.group(group)).arg(hex(&member.0));
            let [kept] = reply::parts::<1>(operations.executor.read(command).await?)?;
            let Some(kept) = reply::bytes(kept)? else { return Ok(false) };
            let until = std::str::from_utf8(&kept)
                .ok()
                .and_then(|kept| kept.split(' ').next()?.parse::<i64>().ok());
            Ok(now.unix_millis() < until.ok_or_else(|| unexpected("a time"))?)
        })
    }
}
