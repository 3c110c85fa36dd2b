//! The store of a fleet: Redis.
//!
//! Every operation is one script and so one step (`calls.rs`, `scripts/`); the keys are in
//! `layout.rs`. Two readings are not: a list of more than 512 records is read on in parts, so a key
//! that is removed meanwhile is missing, and [`browse`](crate::tokens::store::Store::browse) and
//! the list of accounts read everything in parts, so what they show need not have been there at one
//! moment. [`find`](crate::tokens::store::Store::find) is one command, and so leaves out
//! [`last_used_at`](crate::domain::Record::last_used_at), which is kept beside the records. A
//! change of an account reads it first, and is made only if the account is still what was read.
//!
//! Records are sealed ([`crate::store::record_codec`]), and what is beside the seal is compared
//! with it: with access to Redis but no key, records can be destroyed, but not made or changed. Two
//! things remain unnoticed: when a whole record or account that was there before is put back, and
//! when the end that stands beside a record that authorizes a change is moved.
//!
//! # Coherence
//!
//! Each instance remembers what it has read. When an operation that removes something has returned,
//! no instance of the fleet uses it any more, the calling one apart, which tells its own cache.
//! How:
//!
//! * `link.rs`: one connection per instance on which it learns of removals (`pushes.rs`: broadcast
//!   tracking of all records, and the fleet's announcements), and on which it earns its **lease**
//!   with heartbeats (`heartbeat.rs`). What Redis has said counts only under the lease.
//! * `fleet.rs`: a script that removes something announces it, and the instance waits until every
//!   other registered instance has confirmed that it dropped its copy, or until the leases of those
//!   that did not are over for certain.
//! * `opening.rs`: starts and ends all of this, with the thread of the link.
//! * `data.rs`: look-ups and changes go to the server of the link, and to no other. What was read
//!   in one **term** of the link counts for nothing in the next; the cache's fences cover what was
//!   removed while it was being read.
//! * `discover.rs` finds that server, `dial.rs` makes a connection to one, and `node.rs` checks
//!   what it says about itself.
//!
//! When the link is cut, the lease ends, and with it the use of everything that was remembered: the
//! bound of the promise is the lease, and where a primary may be cut off from its replicas, the
//! time after which it refuses the heartbeat, which is a write (`min-replicas-max-lag`; in a
//! Cluster `cluster-node-timeout`). Only where a single server refuses all changes because it
//! cannot save, and no other can be the primary, a look takes the place of one (`heartbeat.rs`).
//! `tests/coherence` is a model of all this, with a counterexample for each rule that is left out,
//! or for two that guard the same place.
//!
//! "Primary" is the server that takes changes; Redis' own words for it are "master" and "primary".

mod accounts;
mod calls;
pub mod connection;
mod connection_slot;
mod counters;
pub mod data;
mod dial;
pub mod discover;
pub mod discovery_error;
mod failure;
mod fleet;
mod heartbeat;
pub mod inspect;
mod layout;
mod link;
mod link_state;
mod membership;
pub mod node;
mod open_error;
mod opening;
mod operations;
mod pace;
mod permits;
pub mod presence;
pub mod primary;
mod pushes;
mod records;
mod reply;
pub mod settings;
mod tickets;

#[cfg(test)]
#[allow(
    dead_code,
    reason = "the tests here and those through the socket use different parts of it"
)]
#[path = "../../../tests/it/support/redis.rs"]
mod server;
#[cfg(test)]
mod tests;

pub use link_state::LinkState;
pub use open_error::RedisOpenError;
pub use opening::RedisStore;
pub use settings::RedisOptions;
