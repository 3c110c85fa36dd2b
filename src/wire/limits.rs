//! The bounds of what clients and upstreams can make keyward hold, and of how long it waits for
//! them.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::settings::key::KindExt as _;
use crate::settings::kind::{duration, integer, or_off, size};
use crate::settings::settings;
use crate::settings::units::{ByteSize, KIB, MIB, TimeSpan, hours, milliseconds, seconds};

/// In bytes: what `http::Uri` holds, and hyper reads.
const LONGEST_URI: usize = 65_534;

/// How long keyward may wait for others.
pub(crate) const WAIT: RangeInclusive<Duration> = milliseconds(10)..=hours(1);

/// How long forwarded requests may take.
pub(crate) const EXCHANGE_WAIT: RangeInclusive<Duration> = milliseconds(10)..=hours(24);

/// How large the body of a forwarded request may be: a TiB at most, in bytes.
pub(crate) const BODY_SIZE: RangeInclusive<usize> = 0..=MIB * MIB;

settings! {
    /// The bounds of what clients and upstreams can make keyward hold.
    #[derive(Copy)]
    pub struct Limits {
        /// The request line and headers together; for HTTP/2, the field section.
        pub head: usize = size(KIB..=MIB).or(32 * KIB),
        /// Header fields of a request.
        pub headers: usize = integer(1..=1000).or(100),
        /// The request target. `head` bounds it, too.
        pub target: usize =
            size(256..=LONGEST_URI).because(" (no longer URI can be read)").or(16 * KIB),
        /// The credential. `head` bounds it, too.
        pub token: usize = size(256..=MIB).or(8 * KIB),
        /// Client connections that are open at the same time in the whole process; `0`: half of
        /// what the limit of file descriptors allows, less 64 that are kept spare, since each
        /// connection may need one more to its upstream.
        pub connections: usize = integer(0..=10_000_000).or(0),
        /// Requests that are under way at the same time in the whole process, forwarded ones and
        /// calls of token APIs, WebSockets and event streams included; `0`: any number. One beyond
        /// it is answered with 503. No token, and no address without one, has more of them than
        /// there are places left free, but one in any case; one beyond that is answered with 429.
        pub requests: u32 = integer(0..=10_000_000).or(0),
        /// The memory that the process may take (its resident set). Beyond it, new connections and
        /// requests are answered with 503 until it is below 95 % of it. Absent: nine tenths of what
        /// the control group (cgroup v2) of the process may take, or `"off"` where it may take any
        /// amount. The system's socket buffers are not in it.
        pub memory: Option<Option<usize>> = or_off(size(MIB..=MIB * MIB)).optional(),
        /// Concurrent streams of one HTTP/2 connection of a client.
        pub streams: u32 = integer(1..=1000).or(100),
        /// The status line and headers of an upstream's response together. A larger one is
        /// answered with 502.
        pub response_head: usize = size(KIB..=MIB).or(64 * KIB),
        // Some servers send more than a hundred (FIELD.md, F28), and of this number hyper's tables
        // have a size that is quick to allocate.
        /// Header fields of an upstream's response.
        pub response_headers: usize = integer(1..=1000).or(256),
        /// The body of a forwarded request, unless the route's `max_body` says otherwise. A larger
        /// one is answered with 413. Calls of token APIs have a limit of their own, 64 KiB.
        pub body: Option<usize> = or_off(size(BODY_SIZE)).or(None),
        /// Verified tokens that are kept in memory; `0`: none.
        pub cached_tokens: usize = integer(0..=100_000_000).or(1_000_000),
    }
}

settings! {
    /// How long keyward waits for others. A route's `timeouts` can say otherwise for its requests.
    ///
    /// For gRPC, event streams (`text/event-stream`) and WebSocket, which may be silent for any
    /// time, `request`, `request_body` and `response_body` hold only where the route sets them.
    #[derive(Copy)]
    pub struct Timeouts {
        /// From a new connection to its first byte.
        pub first_byte: Duration = duration(WAIT).or(seconds(10)),
        /// From the first byte of a request to the end of its headers.
        pub head: Duration = duration(WAIT).or(seconds(10)),
        /// A TLS handshake as a whole.
        pub tls_handshake: Duration = duration(WAIT).or(seconds(10)),
        /// A kept connection without a request.
        pub idle: Duration = duration(WAIT).or(seconds(60)),
        /// Between two pieces of a body, in either direction: of what keyward answers itself, and
        /// of what it forwards, where `request_body` or `response_body` does not say otherwise. For
        /// the body of a call of a token API as a whole.
        pub body: Duration = duration(WAIT).or(seconds(30)),
        /// Connecting to an endpoint: TCP and TLS together.
        pub connect: Duration = duration(WAIT).or(seconds(2)),
        /// From the end of a forwarded request to the headers of the response. A gRPC call has its
        /// own `grpc-timeout` instead, or no limit, unless the route sets this.
        pub response_head: Option<Duration> = or_off(duration(EXCHANGE_WAIT)).or(Some(seconds(60))),
        /// Between two pieces of the body of a forwarded request. Absent: `body`.
        pub request_body: Option<Option<Duration>> = or_off(duration(EXCHANGE_WAIT)).optional(),
        /// Between two pieces of the body of its response. Absent: `body`.
        pub response_body: Option<Option<Duration>> = or_off(duration(EXCHANGE_WAIT)).optional(),
        /// A forwarded request as a whole: from the end of its headers to the end of its response.
        /// It alone ends a body that drips.
        pub request: Option<Duration> = or_off(duration(EXCHANGE_WAIT)).or(None),
    }
}

/// A time as it is written in the configuration.
pub(crate) fn time_text(time: Duration) -> String {
    TimeSpan(time).to_string()
}

/// A number of bytes as it is written in the configuration.
pub(crate) fn size_text(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}
