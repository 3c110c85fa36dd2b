//! Sockets: accepting, TLS, and clients' connections from their beginning to their end.
//!
//! One worker per core, each with a current-thread runtime on its own thread. A connection is
//! accepted by the control thread, handed to the worker with the fewest, and stays there to its
//! end: nothing of a request ever crosses threads.
//!
//! ```text
//! accept → worker_pool → serve ─→ http1 ─┐
//!                          │             ├─→ hyper ─→ the gateway
//!                          ├────→ http2 ─┘     ↑
//!                          └────→ socket ──────┘
//! ```
//!
//! hyper speaks HTTP. `socket` is what it reads from and writes to, and tells what it does not;
//! `http1` and `http2` drive it: deadlines, drain, and the end.

mod accept;
mod address;
mod bind;
mod connection;
mod frames;
mod handshake;
mod http1;
mod http2;
mod inherit;
mod limit;
mod lines;
mod listen;
mod listener;
mod proxy_protocol;
mod serve;
mod settings;
mod socket;
mod stream;
mod worker;
mod worker_pool;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use lines::LineGuard;

pub use accept::Acceptor;
pub use address::ListenAddress;
pub use bind::{BoundAddress, ListenError, OpenSocket, listen_all};
pub use inherit::InheritedSocket;
pub use limit::ConnectionLimit;
pub use listen::{ListeningSocket, SocketOrigin};
pub use listener::{ListenerSettings, ProxyProtocol};
pub use settings::ProcessSettings;
pub use worker::ConnectionSettings;
pub use worker_pool::{Grace, Stopper, WorkerPool, WorkerPoolSettings};

/// What clients may choose by ALPN, best first; `http/1.0` is what some old clients offer alone.
pub const ALPN: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];
