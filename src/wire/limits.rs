//! The bounds of what clients and upstreams can make keyward hold, and of how long it waits for
//! them.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::settings::key::KindExt as _;
use crate::settings::kind::{duration, integer, size};
use crate::settings::settings;
use crate::settings::units::{KIB, MIB, hours, milliseconds, seconds};

/// In bytes: what `http::Uri` holds, and hyper reads.
const LONGEST_URI: usize = 65_534;

/// How long keyward may wait for others.
pub(crate) const WAIT: RangeInclusive<Duration> = milliseconds(10)..=hours(1);

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
        /// Concurrent streams of one HTTP/2 connection of a client.
        pub streams: u32 = integer(1..=1000).or(100),
        /// The status line and headers of an upstream's response together. A larger one is
        /// answered with 502.
        pub response_head: usize = size(KIB..=MIB).or(64 * KIB),
        // Some servers send more than a hundred (FIELD.md, F28), and of this number hyper's tables
        // have a size that is quick to allocate.
        /// Header fields of an upstream's response.
        pub response_headers: usize = integer(1..=1000).or(256),
        /// Verified tokens that are kept in memory; `0`: none.
        pub cached_tokens: usize = integer(0..=100_000_000).or(1_000_000),
    }
}

settings! {
    /// How long keyward waits for others.
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
        /// Between two pieces of a body, in either direction. Event streams
        /// (`text/event-stream`), gRPC and WebSocket may be silent for any time.
        pub body: Duration = duration(WAIT).or(seconds(30)),
        /// Connecting to an endpoint: its name, its addresses and TLS together.
        pub connect: Duration = duration(WAIT).or(seconds(2)),
        /// From the end of a forwarded request to the headers of the response. A gRPC call has its
        /// own `grpc-timeout` instead, or no limit.
        pub response_head: Duration = duration(WAIT).or(seconds(30)),
    }
}
