//! The scripts by which an instance belongs to the fleet, and what scripts say of the fleet: the
//! register of instances, announcements. Nothing in this module talks to Redis.

use std::time::Duration;

use redis::Value;
use uuid::Uuid;

use super::calls::{self, Call};
use super::failure::{unexpected, unknown_outcome};
use super::layout::{LAYOUT, Layout};
use super::open_error::RedisOpenError;
use super::reply;
use crate::tokens::store::StoreError;

/// An announcement, and the instances that are to acknowledge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// Its number.
    pub(super) number: u64,
    /// The instances that were registered at that moment; this one should be among them.
    pub(super) instances: Vec<Registered>,
    /// The generation of the data.
    pub(super) generation: String,
    /// The generation was made by this very call: the data was lost, and so was the register.
    pub(super) is_new_generation: bool,
}

/// An instance, as it is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) instance: String,
    /// How often it had beaten, by its own count.
    pub(super) beat: u64,
    /// For how long after a beat it may use what it remembers.
    pub(super) bound: Duration,
}

/// An id for a generation, should there be none: never twice the same, or the loss of the data
/// would go unnoticed.
pub(super) fn fresh_generation() -> String {
    Uuid::new_v4().simple().to_string()
}

impl Announced {
    /// As `announce.lua` returns it.
    pub(super) fn read(value: Value) -> Result<Self, StoreError> {
        type Parts = (String, Vec<(String, String)>, String, i64);
        let (number_and_me, instances, generation, is_new): Parts = reply::read(value)?;
        let number = number_and_me.split(' ').next().and_then(|number| number.parse().ok());
        let registered = |(instance, read): (String, String)| Registered::read(instance, &read);
        Ok(Self {
            number: number.ok_or_else(|| unexpected("an announcement's number"))?,
            instances: instances.into_iter().map(registered).collect::<Result<_, _>>()?,
            generation,
            is_new_generation: is_new == 1,
        })
    }
}

impl Registered {
    pub(super) fn read(instance: String, registered: &str) -> Result<Self, StoreError> {
        let read = || {
            let (beat, bound) = registered.split_once(' ')?;
            Some((beat.parse().ok()?, Duration::from_millis(bound.parse().ok()?)))
        };
        let (beat, bound) = read().ok_or_else(|| unexpected("a readable register"))?;
        Ok(Self { instance, beat, bound })
    }

    /// As it was read from the register.
    pub(super) fn as_read(&self) -> String {
        format!("{} {}", self.beat, self.bound.as_millis())
    }

    /// As it is written into the register.
    pub(super) fn written(&self) -> String {
        // Rounded up: others wait for that long.
        format!("{} {}", self.beat, self.bound.as_millis().saturating_add(1))
    }
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

/// Registers an instance, or renews its registration. Answered with the generation of the data, and
/// 1 if this call made it: the data was lost.
pub(super) fn heartbeat(layout: &Layout, me: &Registered) -> Call {
    Call::new(&calls::HEARTBEAT, vec![layout.meta(), layout.instances()])
        .argument(&layout.prefix)
        .argument("")
        .argument(fresh_generation())
        .argument(&me.instance)
        .argument(me.written())
}

/// Asks whether `instance` is registered, without changing anything.
pub(super) fn registered(layout: &Layout, instance: &str) -> Call {
    Call::new(&calls::REGISTERED, vec![layout.meta(), layout.instances()]).argument(instance)
}

/// The generation, if [`registered`] has found the instance.
pub(super) fn registered_in(value: Value) -> Result<Option<String>, StoreError> {
    let (generation, entry): (String, String) = reply::read(value)?;
    Ok((!generation.is_empty() && !entry.is_empty()).then_some(generation))
}

/// Takes the instances off the register for which it still says the same.
pub(super) fn forget_instances(layout: &Layout, silent: &[Registered]) -> Call {
    let call = Call::new(&calls::FORGET_INSTANCES, vec![layout.instances()]);
    silent
        .iter()
        .fold(call, |call, silent| call.argument(&silent.instance).argument(silent.as_read()))
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
        .argument(LAYOUT)
}

/// What [`bind_keys`] returned.
pub(super) fn binding(value: Value) -> Result<Binding, StoreError> {
    let mut parts = reply::read::<Vec<String>>(value)?.into_iter();
    match (parts.next().as_deref(), parts.next()) {
        (Some("bound"), _) => Ok(Binding::Bound),
        (Some("other keys"), _) => Ok(Binding::OtherKeys),
        (Some("newer"), Some(layout)) => Ok(Binding::Newer(layout)),
        _ => unknown_outcome(),
    }
}
