//! Outgoing HTTP: connections to the servers behind keyward, one pool per worker.
//!
//! hyper's connection type is used as it is, without its pooling client: a request takes an idle connection from its own
//! worker's stack, and gives it back when the response's body has ended.

mod connection;
pub mod document;
mod pool;
mod reply;

pub use connection::{Tunnel, TunnelIo};
pub use pool::{SWEEP_EVERY, Upstream, UpstreamSettings};
pub use reply::{Reply, ReplyBody};

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a request got no response. Nothing of it is told to a client but that the upstream failed.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No endpoint took the connection: the request was not sent.
    #[error("cannot connect to {endpoint}: {reason}")]
    Connect {
        /// Where to.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// The connection was accepted by nobody in time: the request was not sent.
    #[error("connecting to {endpoint} took too long")]
    ConnectTimeout {
        /// Where to.
        endpoint: String,
    },
    /// The connection broke, or what came back is no HTTP. The request may have been acted on.
    #[error("the exchange with {endpoint} failed: {cause}")]
    Broken {
        /// Where to.
        endpoint: String,
        /// What hyper said.
        #[source]
        cause: hyper::Error,
    },
}

/// What a request can carry.
pub trait RequestBody: http_body::Body<Data = bytes::Bytes> + Unpin + 'static {}

impl<B: http_body::Body<Data = bytes::Bytes> + Unpin + 'static> RequestBody for B {}
