//! Sockets: accepting, TLS, and the life of a client's connection around the gateway.
//!
//! One worker per core, each with a current-thread runtime on its own thread. A connection is accepted by the control
//! thread, handed to the worker with the fewest, and stays there to its end: nothing of a request ever crosses threads.

mod accept;
mod connection;
mod guard;
mod proxy_protocol;
mod stream;
mod tls;
mod worker;

pub use accept::{Acceptor, ListenerSettings, ProxyProtocol};
pub use tls::{CertificateFiles, TlsError, load as load_tls};
pub use worker::{ConnectionSettings, WorkerPool, WorkerPoolSettings};
