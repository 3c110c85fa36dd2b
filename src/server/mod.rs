//! Sockets: accepting, TLS, and the life of a client's connection around the gateway.
//!
//! One worker per core, each with a current-thread runtime on its own thread. A connection is accepted by the control
//! thread, handed to the worker with the fewest, and stays there to its end: nothing of a request ever crosses threads.
//!
//! ```text
//! accept → worker → connection ─→ socket (heads, bodies) → request → the gateway
//!                        ↑ └────→ tunnel                                 │
//!                        └─────── wire::sending ← response ←─────────────┘
//! ```
//!
//! HTTP/1.1 is spoken here and not by hyper's server, as it is towards upstreams, and for the same reason: a request that was
//! judged would be read a second time, and its response handed over by a state machine that is made for any service. Both sides
//! share what is easily got wrong: [`wire::head`](crate::wire::head) judges a head in the pass that reads it,
//! [`wire::body`](crate::wire::body) and [`wire::sending`](crate::wire::sending) take bodies out of their framing and put them
//! into it.

mod accept;
mod connection;
mod date;
mod proxy_protocol;
mod request;
mod response;
mod socket;
mod stream;
mod tls;
mod tunnel;
mod worker;

pub use accept::{Acceptor, ListenerSettings, ProxyProtocol};
pub use tls::{CertificateFiles, TlsError, load as load_tls};
pub use worker::{ConnectionSettings, WorkerPool, WorkerPoolSettings};
