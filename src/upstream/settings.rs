//! What is configured of one upstream.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::{Endpoint, Protocol};
use crate::tls;

/// One upstream, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its servers, at least one.
    pub endpoints: Vec<Endpoint>,
    /// Which version of HTTP is spoken with them.
    pub protocol: Protocol,
    /// TLS; there, if an endpoint has it.
    pub tls: Option<UpstreamTls>,
    /// How long connecting may take, per endpoint: the name, all of its addresses and TLS together.
    pub connect_timeout: Duration,
    /// How many idle connections each worker keeps to each endpoint.
    pub idle_connections: usize,
    /// How long a connection is kept idle: less than the server keeps it.
    pub idle_timeout: Duration,
    /// How large the head of a response may be.
    pub response_head: ResponseHeadLimits,
}

/// How large the head of a response may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeadLimits {
    /// Status line and fields together, in bytes; for HTTP/2, the size of the field section (RFC
    /// 9113, section 6.5.2).
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

/// TLS towards the endpoints of an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// Trust and identity. ALPN is set per connection, by [`Protocol`]: that of the client is not
    /// used.
    pub client: Arc<tls::Client>,
    /// The name that the server's certificate must be for, and that is sent as SNI; `None`: the
    /// endpoint's host.
    pub server_name: Option<ServerName<'static>>,
}

impl PartialEq for UpstreamTls {
    /// Equal only with the very same client: another one may have been made from other files.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client, &other.client) && self.server_name == other.server_name
    }
}

impl Eq for UpstreamTls {}
