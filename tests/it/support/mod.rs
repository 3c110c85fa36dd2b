//! What the tests are made of: a [`World`] (one running keyward), an [`Upstream`] behind it and a
//! [`Client`] in front of it.

mod client;
mod commands;
#[allow(dead_code, reason = "what a server may say is a whole, and src/upstream/dns/tests uses it")]
pub(crate) mod dns_server;
#[allow(dead_code, reason = "the frames of a protocol are a whole, whichever of them a test sends")]
pub(crate) mod h2;
pub(crate) mod hpack;
pub(crate) mod http2_upstream;
pub(crate) mod lateness;
mod message;
mod open;
mod plan;
mod random;
#[allow(dead_code, reason = "not every part of it has its test yet")]
pub(crate) mod redis;
mod relay;
mod series;
mod test_issuer;
mod test_user;
pub(crate) mod tls;
mod transport;
mod upstream;
mod websocket_server;
mod wire;
mod world;

pub(crate) use client::Client;
pub(crate) use message::{Fault, Fields, Request, Response};
pub(crate) use open::{Ongoing, open, open_at};
pub(crate) use plan::Plan;
pub(crate) use random::Random;
pub(crate) use relay::{Relay, Way, Which};
pub(crate) use test_issuer::{RFC_8037_KEYS, TestIssuer};
pub(crate) use test_user::{Issued, TestUser, TokenApi, claims, issued, json};
pub(crate) use upstream::{Act, ClosedPort, Gate, Reply, Upstream};
pub(crate) use websocket_server::WebSocketServer;
pub(crate) use wire::Wire;
pub(crate) use world::World;

use std::time::{Duration, Instant};

/// After this time a test fails because something hangs. Long, because a busy machine is no fault.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// The seconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Waits until `condition` holds, and looks again and again; `false` if it does not within the
/// [`TIMEOUT`].
pub(crate) fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if lateness::is_over(began, TIMEOUT) {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
