//! Behaviour through the socket: the real binary, raw bytes in, raw bytes out.
//!
//! `support` has the three nouns of every test: a [`World`](support::World) (one running keyward in
//! a folder of its own), an [`Upstream`](support::Upstream) (a scripted server behind it) and a
//! [`Client`](support::Client) (literal bytes in front of it). Nothing here shares code with
//! keyward: the parser is written anew, so that both would have to be wrong in the same way. (The
//! table of hostile tokens is that of the unit tests.) The name of a test is the guarantee that it
//! holds.

#![expect(
    clippy::disallowed_methods,
    reason = "tests measure what takes real time, and wait for other processes"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and a panic with its message is how a test says \
              so"
)]

mod api;
mod backup;
mod balancing;
mod blameless;
mod body_limits;
mod canary;
mod change_without_loss;
mod circuit;
mod cli;
mod client_address;
mod client_fields;
mod compression;
mod concurrency;
mod conditions;
mod connection_bounds;
mod connection_limit;
mod cors;
mod credentials;
mod credentials_elsewhere;
mod drain;
mod durability;
mod early_answers;
mod explain;
mod fleet;
mod hand_over;
mod header_changes;
mod health;
mod hostile;
mod hostile_h2;
mod http2;
mod http2_upstreams;
mod identity_providers;
mod idle_upstreams;
mod issuers;
mod key_limits;
mod listeners;
mod metrics;
mod metrics_page;
mod migrate;
mod mounts;
mod names;
mod outside_jwts;
mod overload;
mod own_answers;
mod own_metrics;
mod paths;
mod proxy;
mod queue;
mod rate_limits;
mod records;
mod redirect_loops;
mod reload;
mod returning;
mod revocation;
mod route_timeouts;
mod service_manager;
mod signals;
mod starting;
mod support;
mod tickets;
mod timeouts;
mod tls;
mod token_metrics;
mod trace_context;
mod unix;
mod until_close;
mod upgrades;
mod validate;
