//! The keys of `[[upstream]]`.

use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::files::{AUTHORITIES, PEM};
use super::texts::{NAME, Name, refused};
use crate::config::endpoint::endpoint;
use crate::settings::key::{KindExt as _, table};
use crate::settings::kind::{Text, boolean, duration, integer, words};
use crate::settings::list::filled;
use crate::settings::settings;
use crate::settings::units::seconds;
use crate::upstream::{Endpoint, EndpointAddress, Protocol};
use crate::wire::limits::WAIT;

settings! {
    /// A named group of servers: none or more.
    pub(crate) struct UpstreamKeys {
        /// What routes, logs and metrics call it.
        pub(crate) name: Option<Name> = NAME.required(),
        /// Its servers: `http://host:port` (without a port it is 80), `https://host:port` for TLS
        /// (443), `unix:/path` for a Unix socket. Of a name with several addresses the first that
        /// answers is used (RFC 8305).
        pub(crate) endpoints: Option<Vec<Endpoint>> = filled(ENDPOINT).unique().required(),
        /// Which version of HTTP is spoken with them. `"http2"`: with TLS by ALPN, without TLS by
        /// prior knowledge; `"auto"`: what the server chooses by ALPN, HTTP/2 preferred, and
        /// HTTP/1.1 without TLS. WebSockets always go over HTTP/1.1.
        pub(crate) protocol: Protocol = words(PROTOCOLS).or(Protocol::Http1),
        /// TLS towards the endpoints that begin with `https://`; allowed only where there is one.
        pub(crate) tls: UpstreamTlsKeys = table(),
        /// Whether the upstream sees the client's `Host`; `false`: the endpoint's.
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

const PROTOCOLS: &[(&str, Protocol)] =
    &[("http1", Protocol::Http1), ("http2", Protocol::Http2), ("auto", Protocol::Auto)];

const SERVER_NAME: Text<ServerName<'static>> = Text {
    what: "a host name or an IP address",
    parse: |text| ServerName::try_from(text.to_owned()).or_else(|_| refused()),
    show: |name| name.to_str().into_owned(),
};
