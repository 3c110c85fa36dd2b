//! What is configured of one upstream.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
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
    /// How requests are shared out among its servers; `None`: there is one server, and nothing to
    /// decide.
    pub balancing: Option<Arc<Balancing>>,
}

impl RequestLimits {
    /// Whether requests may have to wait.
    #[must_use]
    pub fn are_set(&self) -> bool {
        self.most > 0 || self.most_connections > 0
    }
}

impl UpstreamSettings {
    /// Whether connections to an endpoint that both have are made and kept alike.
    pub(super) fn connects_like(&self, other: &Self) -> bool {
        let Self {
            endpoints: _,
            protocol,
            tls,
            connect_timeout,
            idle_connections,
            idle_timeout,
            response_head,
            balancing: _,
        } = self;
        *protocol == other.protocol
            && *tls == other.tls
            && *connect_timeout == other.connect_timeout
            && *idle_connections == other.idle_connections
            && *idle_timeout == other.idle_timeout
            && *response_head == other.response_head
    }
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

/// How requests are shared out among the servers of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancing {
    /// Of each server, in the order of the endpoints.
    pub shares: Vec<EndpointShare>,
    /// Which server is asked.
    pub policy: Policy,
    /// When a server that fails is left out.
    pub ejection: Ejection,
    /// How often a request is sent again.
    pub retries: Retries,
    /// How servers are asked how they are; `None`: they are not.
    pub health_check: Option<HealthCheck>,
    /// How many requests and connections a server has at a time.
    pub limits: RequestLimits,
    /// Whether requests are refused at once while all servers are out. Then all may be put out.
    pub has_circuit: bool,
}

/// How much of the requests a server gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointShare {
    /// In proportion to the others; at least 1.
    pub weight: u32,
    /// Whether it gets no request.
    pub is_draining: bool,
}

/// Which server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// One after the other.
    RoundRobin,
    /// Of two that are chosen at random, the one with fewer requests under way.
    LeastRequests,
    /// The same one for the same value of this.
    Hash(HashBy),
}

/// What decides which server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The caller's subject.
    Subject,
    /// The first value of a field of the request.
    Header(HeaderName),
}

/// When a server that fails is left out, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// After so many failures in a row; 0: never.
    pub failures: u32,
    /// For so long, the first time; each further time twice as long.
    pub span: Duration,
    /// At most for so long.
    pub longest: Duration,
    /// At most so many of the servers, in per cent.
    pub most_percent: u32,
    /// How long it takes until a server that returns has its whole share.
    pub slow_return: Duration,
    /// Responses of these statuses are failures, too.
    pub statuses: Vec<u16>,
}

/// How often a request is sent again to another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// At most so many of the requests of the last ten seconds, in per cent, per worker.
    pub budget_percent: u32,
    /// So many a second are allowed in any case, per worker.
    pub floor: u32,
    /// Responses of these statuses are reasons, too.
    pub statuses: Vec<u16>,
}

/// How a server is asked how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for, by GET.
    pub path: PathAndQuery,
    /// `Host` and `:authority`; `None`: the endpoint's.
    pub host: Option<HeaderValue>,
    /// How often.
    pub interval: Duration,
    /// How long the answer may take, the connection included.
    pub timeout: Duration,
    /// So many good answers in a row make it well.
    pub healthy_after: u32,
    /// So many failures in a row make it unwell.
    pub unhealthy_after: u32,
    /// The statuses of good answers; empty: 200 to 299.
    pub statuses: Vec<u16>,
}

/// How many requests and connections a server has at a time, and how many requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests under way, per server and for all workers together; 0: any number.
    pub most: u32,
    /// Connections, idle ones included, per server and for all workers together; 0: any number.
    pub most_connections: u32,
    /// Requests that wait until a server has fewer.
    pub queue: u32,
    /// How long one waits.
    pub queue_timeout: Duration,
}
