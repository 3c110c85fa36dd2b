//! The keys of `[[upstream]]`.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use rustls_pki_types::ServerName;

use super::files::{AUTHORITIES, PEM};
use super::texts::{NAME, Name, refused};
use crate::config::endpoint::endpoint;
use crate::config::net::split_port;
use crate::settings::Settings as _;
use crate::settings::describe::{Order, Shape};
use crate::settings::key::{KindExt as _, table};
use crate::settings::kind::{Kind, Text, boolean, duration, integer, text, words};
use crate::settings::list::{filled, list};
use crate::settings::section::Given;
use crate::settings::settings;
use crate::settings::units::{hours, milliseconds, minutes, seconds};
use crate::upstream::{Endpoint, EndpointAddress, HashBy, Protocol};
use crate::wire::limits::WAIT;

settings! {
    /// A named group of servers: none or more.
    pub(crate) struct UpstreamKeys {
        /// What routes, logs and metrics call it.
        pub(crate) name: Option<Name> = NAME.required(),
        /// Its servers: `http://host:port` (without a port it is 80), `https://host:port` for TLS
        /// (443), `unix:/path` for a Unix socket. A name stands for all of its addresses: each is
        /// an endpoint of its own, with the keys of the name (see `[dns]`). A server that has other
        /// keys than its address is a table.
        pub(crate) endpoints: Option<Vec<EndpointKeys>> = filled(Server).unique().required(),
        /// Which endpoint a request goes to. `"round_robin"`: each in turn; `"least_requests"`: of
        /// two that are chosen at random, the one with fewer requests under way; `"hash"`: the same
        /// one for the same value of `hash_by`. The shares follow the weights.
        pub(crate) balance: Balance = words(BALANCES).or(Balance::RoundRobin),
        /// `"subject"`: the caller's; `"header:X-…"`: a field of the request. A request without it
        /// goes to each in turn.
        pub(crate) hash_by: Option<HashBy> = HASH_BY.required().only_with("balance", "hash"),
        /// When an endpoint that fails gets no requests for a while, where there are several. It
        /// fails when it takes no connection, breaks an exchange or sends no response in time.
        pub(crate) ejection: EjectionKeys = table(),
        /// `true`: an endpoint is left out also where it is the only one, and while all are left
        /// out, requests are answered with 503 at once, instead of being tried in vain. `share` of
        /// `ejection` plays no part then.
        pub(crate) circuit: bool = boolean().or(false),
        /// How often a request is sent again to another endpoint, when the first one fails it: only
        /// GET, HEAD, OPTIONS, PUT and DELETE without a body. A request of which nothing was sent
        /// goes to another endpoint in any case.
        pub(crate) retries: RetryKeys = table(),
        /// How each endpoint is asked whether it is well, once per process. Absent: it is not.
        pub(crate) health_check: HealthCheckKeys = table(),
        /// Requests under way, and open WebSockets, per endpoint and for all workers together; `0`:
        /// any number. What is beyond it waits in the queue.
        pub(crate) max_requests: u32 = integer(0..=1_000_000).or(0),
        /// Connections, idle ones and those of WebSockets included, per endpoint and for all
        /// workers together; `0`: any number. A request that needs one more waits in the queue.
        /// With HTTP/2, whose connections many requests share, choose at least one for each worker.
        pub(crate) max_connections: u32 = integer(0..=1_000_000).or(0),
        /// Requests that wait until an endpoint has fewer, for all workers together; what is beyond
        /// it is answered with 503. `0`: none waits.
        pub(crate) queue: u32 = integer(0..=1_000_000).or(0),
        /// How long a request waits in the queue until it is answered with 503.
        pub(crate) queue_timeout: Duration = duration(WAIT).or(seconds(1)),
        /// Which version of HTTP is spoken with them. `"http2"`: with TLS by ALPN, without TLS by
        /// prior knowledge; `"auto"`: what the server chooses by ALPN, HTTP/2 preferred, and
        /// HTTP/1.1 without TLS. WebSockets always go over HTTP/1.1.
        pub(crate) protocol: Protocol = words(PROTOCOLS).or(Protocol::Http1),
        /// TLS towards the endpoints that begin with `https://`; allowed only where there is one.
        pub(crate) tls: UpstreamTlsKeys = table(),
        /// Whether the upstream sees the client's `Host`; `false`: the name and port of the
        /// endpoint that is asked.
        pub(crate) preserve_host: bool = boolean().or(true),
        /// Whether it is sent `Via`, as RFC 9110 says. `false`: neither ours nor the client's;
        /// nginx does not compress for requests that have it, unless `gzip_proxied` says so.
        pub(crate) via: bool = boolean().or(true),
        /// Whether `Location`, `Content-Location`, `Refresh` and `Set-Cookie` in its responses are
        /// rewritten where they name an endpoint or a path that routes have changed.
        pub(crate) rewrite_location: bool = boolean().or(true),
        /// Idle connections of HTTP/1.1 that are kept, per worker and endpoint; `0`: none.
        pub(crate) idle_connections: usize = integer(0..=10_000).or(256),
        /// How long they are kept: less than the upstream itself keeps them, which is 5s in Node,
        /// uvicorn and Apache, or requests run into connections that it is closing. A
        /// `Keep-Alive: timeout` of the upstream shortens it to a second less than that.
        pub(crate) idle_timeout: Duration = duration(WAIT).or(seconds(4)),
    }
}

settings! {
    /// A server with other keys than its address.
    pub(crate) struct EndpointKeys {
        /// Its address, as above.
        pub(crate) url: Option<Endpoint> = ENDPOINT.required(),
        /// Its share of the requests, in proportion to the others.
        pub(crate) weight: u32 = integer(1..=1000).or(1),
        /// `true`: it gets no new request; those under way go on.
        pub(crate) draining: bool = boolean().or(false),
    }
}

settings! {
    /// When an endpoint that fails gets no requests for a while. It then gets a single request at a
    /// time until it has answered one, and returns slowly. Are all endpoints out, all are tried,
    /// unless there is a `circuit`.
    pub(crate) struct EjectionKeys {
        /// After so many failures in a row; `0`: never.
        pub(crate) failures: u32 = integer(0..=1000).or(5),
        /// For how long, the first time; each further time twice as long.
        pub(crate) r#for: Duration =
            duration(WAIT).or(seconds(5)).compared(Order::AtMost, "longest"),
        /// The longest time.
        pub(crate) longest: Duration = duration(WAIT).or(minutes(5)).compared(Order::AtLeast, "for"),
        /// At most so many of the endpoints, in per cent, rounded down.
        pub(crate) share: u32 = integer(0..=100).or(50),
        /// How long it takes until an endpoint that returns has its whole share; it begins with a
        /// twentieth. While it returns, one failure is enough.
        pub(crate) slow_return: Duration = duration(seconds(0)..=hours(1)).or(seconds(10)),
        /// Responses of these statuses are failures, too.
        pub(crate) statuses: Vec<u16> = list(integer(500..=599)).unique().or(Vec::new()),
    }
}

settings! {
    /// How often a request is sent again to another endpoint.
    pub(crate) struct RetryKeys {
        /// At most so many of the requests of ten seconds, in per cent, per worker.
        pub(crate) budget: u32 = integer(0..=100).or(20),
        /// So many a second are allowed in any case, per worker.
        pub(crate) floor: u32 = integer(0..=10_000).or(10),
        /// Responses of these statuses are reasons, too.
        pub(crate) statuses: Vec<u16> = list(integer(500..=599)).unique().or(Vec::new()),
    }
}

settings! {
    /// How each endpoint is asked whether it is well: by GET, on a connection of its own, with the
    /// upstream's protocol and TLS. The first answer decides alone; later ones in rows.
    pub(crate) struct HealthCheckKeys {
        /// The path that is asked for.
        pub(crate) path: Option<PathAndQuery> = CHECK_PATH.required(),
        /// The `Host` that is sent; absent: the endpoint's. The name that its certificate must be
        /// for stays the endpoint's or `tls.server_name`.
        pub(crate) host: Option<HeaderValue> = CHECK_HOST.optional(),
        /// How often.
        pub(crate) interval: Duration = duration(milliseconds(100)..=hours(1)).or(seconds(5)),
        /// How long connection and response head may take together.
        pub(crate) timeout: Duration = duration(WAIT).or(seconds(2)),
        /// So many good answers in a row make an unwell endpoint well.
        pub(crate) healthy_after: u32 = integer(1..=100).or(2),
        /// So many failures in a row make a well endpoint unwell.
        pub(crate) unhealthy_after: u32 = integer(1..=100).or(3),
        /// The statuses of good answers; absent: 200 to 299.
        pub(crate) statuses: Option<Vec<u16>> = filled(integer(200..=599)).unique().optional(),
    }
}

settings! {
    /// TLS towards an upstream.
    pub(crate) struct UpstreamTlsKeys {
        /// The authorities that are trusted, in PEM form; absent: those of the system.
        pub(crate) ca_file: Option<PathBuf> = AUTHORITIES.optional(),
        /// The name that the certificate must be for, and that is sent as SNI; absent: the host of
        /// the endpoint.
        pub(crate) server_name: Option<ServerName<'static>> = SERVER_NAME.optional(),
        /// Our certificate, where the server asks for one, in PEM form: the chain, our own
        /// certificate first.
        pub(crate) certificate: Option<PathBuf> = PEM.optional().needs(&["key"]),
        /// Its private key.
        pub(crate) key: Option<PathBuf> = PEM.optional().needs(&["certificate"]),
    }
}

const ENDPOINT: Text<Endpoint> = Text {
    what: "a server as in \"http://127.0.0.1:3000\"",
    parse: endpoint,
    show: |endpoint| match (&endpoint.address, endpoint.is_tls) {
        (EndpointAddress::Unix(_), _) => endpoint.to_string(),
        (EndpointAddress::Tcp { .. }, true) => format!("https://{endpoint}"),
        (EndpointAddress::Tcp { .. }, false) => format!("http://{endpoint}"),
    },
};

/// An address, or a table with one.
pub(crate) struct Server;

impl Kind for Server {
    type Value = EndpointKeys;

    fn shape(&self) -> Shape {
        Shape::TextOrTable(ENDPOINT.what, EndpointKeys::description())
    }

    fn read(&self, given: &Given<'_>) -> Option<EndpointKeys> {
        if let Some(keys) = given.table::<EndpointKeys>("an item of \"endpoints\"") {
            // A table without an address has been reported.
            return keys.url.is_some().then_some(keys);
        }
        let url = ENDPOINT.read(given)?;
        Some(EndpointKeys { url: Some(url), ..EndpointKeys::default() })
    }

    fn spell(&self, keys: &EndpointKeys) -> String {
        keys.url.as_ref().map(|url| ENDPOINT.spell(url)).unwrap_or_default()
    }
}

/// Which endpoint a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Balance {
    RoundRobin,
    LeastRequests,
    Hash,
}

const BALANCES: &[(&str, Balance)] = &[
    ("round_robin", Balance::RoundRobin),
    ("least_requests", Balance::LeastRequests),
    ("hash", Balance::Hash),
];

const HASH_BY: Text<HashBy> = Text {
    what: "\"subject\" or a field as in \"header:X-Session\"",
    parse: |text| match text.strip_prefix("header:") {
        None if text == "subject" => Ok(HashBy::Subject),
        None => refused(),
        Some(name) => match HeaderName::try_from(name) {
            Ok(name) => match no_key(&name) {
                Some(why) => Err(format!("{:?} {why}", name.as_str())),
                None => Ok(HashBy::Header(name)),
            },
            Err(_) => Err(format!("{name:?} is no name of a header")),
        },
    },
    show: |by| match by {
        HashBy::Subject => "subject".to_owned(),
        HashBy::Header(name) => format!("header:{name}"),
    },
};

/// Why a field cannot say which endpoint a request goes to, if it cannot.
fn no_key(name: &HeaderName) -> Option<&'static str> {
    match name.as_str() {
        "authorization" | "proxy-authorization" => {
            Some("changes with each token of a caller: write \"subject\"")
        }
        "cookie" => Some("has all cookies together, and changes with each of them"),
        "host" => Some("chooses the route, and is the same for most of its requests"),
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" | "http2-settings" => {
            Some("is about a connection, not about a caller")
        }
        "content-length" | "date" | "expect" | "max-forwards" | "range" | "via" => {
            Some("is about a message, not about a caller")
        }
        _ => None,
    }
}

const CHECK_PATH: Text<PathAndQuery> =
    text("a path as in \"/healthz\"", |text| match PathAndQuery::try_from(text) {
        Ok(path) if text.starts_with('/') && path.as_str() == text => Ok(path),
        _ => refused(),
    });

const CHECK_HOST: Text<HeaderValue> = Text {
    what: "a host as in \"app.example.com\" or \"app:3000\"",
    parse: |text| {
        split_port(text)?;
        HeaderValue::try_from(text).or_else(|_| refused())
    },
    show: |host| String::from_utf8_lossy(host.as_bytes()).into_owned(),
};

const PROTOCOLS: &[(&str, Protocol)] =
    &[("http1", Protocol::Http1), ("http2", Protocol::Http2), ("auto", Protocol::Auto)];

const SERVER_NAME: Text<ServerName<'static>> = Text {
    what: "a host name or an IP address",
    parse: |text| ServerName::try_from(text.to_owned()).or_else(|_| refused()),
    show: |name| name.to_str().into_owned(),
};
