//! What the tests are made of: a [`World`] (one running keyward), an [`Upstream`] behind it and a
//! [`Client`] in front of it.

mod client;
mod commands;
#[allow(dead_code, reason = "the frames of a protocol are a whole, whichever of them a test sends")]
pub(crate) mod h2;
pub(crate) mod hpack;
pub(crate) mod http2_upstream;
mod keys;
pub(crate) mod lateness;
mod login;
mod message;
mod open;
mod plan;
mod random;
#[allow(dead_code, reason = "not every part of it has its test yet")]
pub(crate) mod redis;
mod relay;
pub(crate) mod tls;
mod transport;
mod upstream;
mod wire;
mod world;

pub(crate) use client::Client;
pub(crate) use keys::{Issued, Person, TokenApi, claims, issued, json};
pub(crate) use login::Login;
pub(crate) use message::{Fault, Request, Response};
pub(crate) use open::{Kept, open};
pub(crate) use plan::Plan;
pub(crate) use random::Random;
pub(crate) use relay::{Relay, Way, Which};
pub(crate) use upstream::{Act, Gate, Reply, Upstream};
pub(crate) use wire::Wire;
pub(crate) use world::World;

use std::time::{Duration, Instant};

/// How long anything may take before a test calls it a hang. Long, because a busy machine is not a
/// bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds, and looks again and again; `false` if it does not within the
/// patience of a test.
pub(crate) fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if lateness::is_over(began, PATIENCE) {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
