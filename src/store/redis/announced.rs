//! What the scripts answer: outcomes, announcements, and the register of instances.

use std::time::Duration;

use redis::Value;
use uuid::Uuid;

use super::failure::unexpected;
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
        let [number_and_me, instances, generation, is_new] = reply::parts::<4>(value)?;
        let number_and_me = reply::text(number_and_me)?;
        let number = number_and_me.split(' ').next().and_then(|number| number.parse().ok());
        let mut flat = reply::list(instances)?.into_iter();
        let mut instances = Vec::with_capacity(flat.len() / 2);
        while let Some(instance) = flat.next() {
            let registered = reply::text(flat.next().unwrap_or_default())?;
            instances.push(Registered::read(reply::text(instance)?, &registered)?);
        }
        Ok(Self {
            number: number.ok_or_else(|| unexpected("an announcement's number"))?,
            instances,
            generation: reply::text(generation)?,
            is_new_generation: reply::number(is_new)? == 1,
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

/// What a script answers that changes something: an outcome, what belongs to it, and maybe an
/// announcement.
pub(super) struct Answer {
    pub(super) outcome: String,
    pub(super) payload: Value,
    pub(super) announced: Option<Announced>,
}

impl Answer {
    pub(super) fn read(value: Value) -> Result<Self, StoreError> {
        let mut parts = reply::list(value)?.into_iter();
        let mut next = || parts.next().unwrap_or_default();
        let (outcome, payload) = (reply::text(next())?, next());
        match outcome.as_str() {
            "damaged" => Err(StoreError::Corrupt(reply::text(payload)?)),
            "conflict" => Err(StoreError::Conflict),
            _ => {
                let announced = Some(next()).filter(|part| *part != Value::Nil);
                Ok(Self {
                    outcome,
                    payload,
                    announced: announced.map(Announced::read).transpose()?,
                })
            }
        }
    }
}

/// The error for an outcome that the caller does not know.
pub(super) fn unknown_outcome<T>() -> Result<T, StoreError> {
    Err(unexpected("a known outcome"))
}
