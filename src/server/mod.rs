//! Sockets: accepting, TLS, and the life of a client's connection around the gateway.
//!
//! One worker per core, each with a current-thread runtime on its own thread. A connection is
//! accepted by the control thread, handed to the worker with the fewest, and stays there to its
//! end: nothing of a request ever crosses threads.
//!
//! ```text
//! accept → worker → connection ─→ http1 ─┐
//!                        │               ├─→ hyper ─→ the gateway
//!                        ├──────→ http2 ─┘     ↑
//!                        └──────→ socket ──────┘
//! ```
//!
//! hyper speaks HTTP. `socket` is what it reads from and writes to, and tells what it does not;
//! `http1` and `http2` drive it: deadlines, drain, and the end.

mod accept;
mod address;
mod connection;
mod http1;
mod http2;
mod limit;
mod lines;
mod listen;
mod proxy_protocol;
mod socket;
mod stream;
mod worker;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use lines::LineGuard;

pub use accept::{Acceptor, ListenerSettings, ProxyProtocol};
pub use address::ListenAddress;
pub use limit::ConnectionLimit;
pub use listen::{BoundAddress, ListenError, ListeningSocket, listen_all};
pub use worker::{ConnectionSettings, Grace, Stopper, WorkerPool, WorkerPoolSettings};
