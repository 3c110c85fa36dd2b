//! The calls by which an instance belongs to the fleet, as scripts, and what their answers mean.
//! Nothing in this module talks to Redis.

use redis::Value;

use super::announced::{Registered, fresh_generation};
use super::calls::{self, Call};
use super::failure::unexpected;
use super::layout::{LAYOUT, Layout};
use super::open_error::RedisOpenError;
use super::reply;
use crate::tokens::store::StoreError;

/// What a heartbeat is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeartbeatAnswer {
    /// The generation of the data.
    pub(super) generation: String,
    /// The generation was made by this very call: the data was lost.
    pub(super) is_new_generation: bool,
}

/// Whether the store is for our keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// It is, or has been tied to them by this call.
    Bound,
    /// It is tied to others.
    OtherKeys,
    /// A newer keyward has changed the layout to this one.
    Newer(String),
}

impl Binding {
    /// # Errors
    ///
    /// The store is not for our keys.
    pub(super) fn accepted(self) -> Result<(), RedisOpenError> {
        match self {
            Self::Bound => Ok(()),
            Self::OtherKeys => Err(RedisOpenError::OtherKeys),
            Self::Newer(layout) => Err(RedisOpenError::Newer(layout)),
        }
    }
}

/// Registers an instance, or renews its registration.
pub(super) fn heartbeat(layout: &Layout, me: &Registered) -> Call {
    Call::new(&calls::HEARTBEAT, vec![layout.meta(), layout.instances()])
        .argument(layout.prefix.as_str())
        .argument("")
        .argument(fresh_generation())
        .argument(me.instance.as_str())
        .argument(me.written())
}

/// What [`heartbeat`] returned.
pub(super) fn heartbeat_answer(value: Value) -> Result<HeartbeatAnswer, StoreError> {
    let [generation, is_new] = reply::parts::<2>(value)?;
    Ok(HeartbeatAnswer {
        generation: reply::text(generation)?,
        is_new_generation: reply::number(is_new)? == 1,
    })
}

/// Asks whether `instance` is registered, without changing anything.
pub(super) fn registered(layout: &Layout, instance: &str) -> Call {
    Call::new(&calls::REGISTERED, vec![layout.meta(), layout.instances()]).argument(instance)
}

/// The generation, if [`registered`] has found the instance.
pub(super) fn registered_in(value: Value) -> Result<Option<String>, StoreError> {
    let [generation, entry] = reply::parts::<2>(value)?;
    let (generation, entry) = (reply::text(generation)?, reply::text(entry)?);
    Ok((!generation.is_empty() && !entry.is_empty()).then_some(generation))
}

/// Takes the instances off the register for which it still says the same.
pub(super) fn forget_instances(layout: &Layout, silent: &[Registered]) -> Call {
    let call = Call::new(&calls::FORGET_INSTANCES, vec![layout.instances()]);
    silent.iter().fold(call, |call, silent| {
        call.argument(silent.instance.as_str()).argument(silent.as_read())
    })
}

/// Takes `instance` off the register: it is stopping.
pub(super) fn goodbye(layout: &Layout, instance: &str) -> Call {
    Call::new(&calls::GOODBYE, vec![layout.instances()]).argument(instance)
}

/// Ties the store to the keys with this fingerprint at first use, and compares them afterwards.
pub(super) fn bind_keys(layout: &Layout, fingerprint: &[u8]) -> Call {
    Call::new(&calls::BIND_KEYS, vec![layout.meta()])
        .lasting()
        .argument(fingerprint)
        .argument(LAYOUT.to_string())
}

/// What [`bind_keys`] returned.
pub(super) fn binding(value: Value) -> Result<Binding, StoreError> {
    let mut parts = reply::list(value)?.into_iter();
    let mut next = || reply::text(parts.next().unwrap_or_default());
    match next()?.as_str() {
        "bound" => Ok(Binding::Bound),
        "other keys" => Ok(Binding::OtherKeys),
        "newer" => Ok(Binding::Newer(next()?)),
        _ => Err(unexpected("a known outcome")),
    }
}
