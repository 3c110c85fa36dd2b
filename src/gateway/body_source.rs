//! The source of a response's body.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;

use super::compression::CompressedBody;
use crate::upstream::{ReplyBody, UpstreamTunnel};

#[derive(Default)]
pub(super) enum BodySource {
    #[default]
    Empty,
    Bytes(Bytes),
    /// An upstream. `silence`: how long it may send nothing, and the client take nothing; `None`:
    /// for ever.
    Upstream {
        body: ReplyBody,
        silence: Option<Duration>,
    },
    /// An upstream, through an encoder.
    Compressed(Box<CompressedBody>),
    /// A switch of protocols. `stream`: the client's, on HTTP/2; on HTTP/1 it is the connection
    /// itself. `closing`: the time that one side has to close after the other.
    Tunnel {
        upstream: UpstreamTunnel,
        stream: Option<OnUpgrade>,
        closing: Duration,
    },
}

impl BodySource {
    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Tunnel { .. } => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Upstream { body, .. } => body.is_end_stream(),
            Self::Compressed(body) => body.is_end_stream(),
        }
    }
}
