//! The heartbeat on the link, and the look that stands in for it.
//!
//! The heartbeat is a write, so an isolated primary refuses it (`min-replicas-to-write`). The
//! **proof** is a `PING` that is sent when the heartbeat has been answered. Redis writes broadcast
//! invalidations at the end of the turn of its event loop: the heartbeat's answer may overtake
//! those of its own turn, the answer of the proof comes behind them. Then everything that was
//! removed before the heartbeat was executed has been dropped, and the lease counts from the moment
//! before the heartbeat was sent.
//!
//! A server whose background save has failed refuses every change (`MISCONF`), so it refuses
//! heartbeats, although nothing is wrong with what it says. There, a heartbeat may be replaced by a
//! **look**: it asks whether this instance is registered, and is proved as a heartbeat is. It
//! brings a lease only where
//!
//! * the instance is registered, on the same data: what is removed afterwards waits for its
//!   confirmation;
//! * nothing was announced since the latest heartbeat that was answered: otherwise the instance
//!   that announced it may have waited in vain for a confirmation, and may take this instance off
//!   the register without knowing of the look (unless the register is deleted by hand, this implies
//!   that the instance is registered);
//! * the topology is a single server, and the server itself says that it is a primary that no
//!   replica follows and that needs none (`min-replicas-to-write`): a look would prove nothing
//!   about a primary that is cut off.
//!
//! `tests/coherence` has looks in it, with a counterexample without the second rule and one without
//! the third.

use super::connection::Connection;
use super::discovery_error::words_of;
use super::failure::{FailureKind, RedisFailure, Retry};
use super::fleet::Fleet;
use super::layout::Layout;
use super::membership;
use super::node::field;
use super::reply;
use crate::tokens::store::StoreError;

/// What a heartbeat brought.
pub(super) struct Beaten {
    /// The generation of the data.
    pub(super) generation: String,
    /// The heartbeat was refused with these words, and a look stood in for it.
    pub(super) refused: Option<String>,
}

/// A heartbeat, or a look if it is refused and `allows_look`.
pub(super) async fn beat_or_look(
    layout: &Layout,
    fleet: &Fleet,
    connection: Connection,
    allows_look: bool,
) -> Result<Beaten, RedisFailure> {
    let failure = match beat(layout, fleet, connection.clone()).await {
        Ok(generation) => return Ok(Beaten { generation, refused: None }),
        Err(failure) => failure,
    };
    // That it cannot save says nothing against what it answers.
    if !allows_look || failure.kind != FailureKind::CannotSave {
        return Err(failure);
    }
    match look(layout, fleet, connection).await {
        Ok(generation) => Ok(Beaten { generation, refused: Some(failure.to_string()) }),
        // Why there is no heartbeat, and why there is no lease.
        Err(why) => Err(RedisFailure::unavailable(failure.retry, format!("{failure}; {why}"))),
    }
}

/// A heartbeat and its proof. Returns the generation of the data.
pub(super) async fn beat(
    layout: &Layout,
    fleet: &Fleet,
    mut connection: Connection,
) -> Result<String, RedisFailure> {
    let (next, announcements) = fleet.next_beat();
    let answer = membership::heartbeat(layout, &next).run(&mut connection.inner).await?;
    let unreadable = |error: StoreError| RedisFailure::unavailable(Retry::Never, error.to_string());
    let (generation, _): (String, i64) = reply::read(answer).map_err(unreadable)?;
    fleet.beat_answered(next.beat, announcements);
    redis::cmd("PING").exec_async(&mut connection.inner).await?;
    Ok(generation)
}

/// Whether the register still has this instance, without a change, and its proof. Returns the
/// generation of the data, or why this brings no lease.
async fn look(
    layout: &Layout,
    fleet: &Fleet,
    mut connection: Connection,
) -> Result<String, String> {
    let explain = |error: redis::RedisError| words_of(&error);
    let mut info = redis::cmd("INFO");
    let replication: String =
        info.arg("replication").query_async(&mut connection.inner).await.map_err(explain)?;
    if !is_alone(&replication) {
        return Err("and it has replicas, or needs some: another may be the master".to_owned());
    }
    let registered = membership::registered(layout, fleet.me());
    let answer = registered.run(&mut connection.inner).await.map_err(explain)?;
    let found = membership::registered_in(answer).map_err(|error| error.to_string())?;
    let generation = found.ok_or("and this instance is not registered")?;
    // PING is refused where changes are (`MISCONF`).
    redis::cmd("ECHO").arg("").exec_async(&mut connection.inner).await.map_err(explain)?;
    if !fleet.is_known(&generation) {
        return Err("and its data is other data than before".to_owned());
    }
    if !fleet.is_quiet() {
        return Err("and something was revoked since the latest heartbeat".to_owned());
    }
    Ok(generation)
}

/// Whether a server says in `INFO replication` that it is a primary that no replica follows, and
/// that needs none for a change.
fn is_alone(replication: &str) -> bool {
    field(replication, "role") == Some("master")
        && field(replication, "connected_slaves") == Some("0")
        // Only there where min-replicas-to-write and min-replicas-max-lag are set.
        && field(replication, "min_slaves_good_slaves").is_none()
}
