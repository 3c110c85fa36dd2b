//! Announcements and the register of instances, as they stand in the answers of the scripts.

use std::time::Duration;

use redis::Value;
use uuid::Uuid;

use super::fault::unexpected;
use super::reply;
use crate::tokens::store::StoreError;

/// An announcement, and who is to heed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// Its number.
    pub(super) number: u64,
    /// Who was registered at that moment; this instance should be among them.
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

/// An announcement as `announce.lua` returns it.
pub(super) fn announced(value: Value) -> Result<Announced, StoreError> {
    let [number_and_me, instances, generation, is_new] = reply::parts::<4>(value)?;
    let number_and_me = reply::text(number_and_me)?;
    let number = number_and_me.split(' ').next().and_then(|number| number.parse().ok());
    let mut flat = reply::list(instances)?.into_iter();
    let mut instances = Vec::with_capacity(flat.len() / 2);
    while let Some(instance) = flat.next() {
        let (instance, registered) =
            (reply::text(instance)?, reply::text(flat.next().unwrap_or_default())?);
        instances.push(
            Registered::read(instance, &registered)
                .ok_or_else(|| unexpected("a readable register"))?,
        );
    }
    Ok(Announced {
        number: number.ok_or_else(|| unexpected("an announcement's number"))?,
        instances,
        generation: reply::text(generation)?,
        is_new_generation: reply::number(is_new)? == 1,
    })
}

impl Registered {
    pub(super) fn read(instance: String, registered: &str) -> Option<Self> {
        let (beat, bound) = registered.split_once(' ')?;
        Some(Self {
            instance,
            beat: beat.parse().ok()?,
            bound: Duration::from_millis(bound.parse().ok()?),
        })
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

/// An answer that begins with its outcome and may end with an announcement.
pub(super) struct Outcome {
    pub(super) outcome: String,
    rest: std::vec::IntoIter<Value>,
}

pub(super) fn outcome(value: Value) -> Result<Outcome, StoreError> {
    let mut rest = reply::list(value)?.into_iter();
    let outcome = reply::text(rest.next().unwrap_or_default())?;
    let mut parts = Outcome { outcome, rest };
    if parts.outcome == "damaged" {
        return Err(StoreError::Corrupt(reply::text(parts.next()?)?));
    }
    Ok(parts)
}

impl Outcome {
    /// The next part, where there may be none.
    pub(super) fn next_if_any(&mut self) -> Option<Value> {
        self.rest.next()
    }

    pub(super) fn next(&mut self) -> Result<Value, StoreError> {
        self.rest.next().ok_or_else(|| unexpected("all parts of a list"))
    }

    pub(super) fn announced(mut self) -> Result<Option<Announced>, StoreError> {
        self.rest.next().filter(|part| *part != Value::Nil).map(announced).transpose()
    }
}
