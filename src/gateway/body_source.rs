//! The source of a response's body.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
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
    /// itself. `closing`: the time that one side has to close after the other; `None`: any.
    Tunnel {
        upstream: UpstreamTunnel,
        stream: Option<OnUpgrade>,
        closing: Option<Duration>,
    },
}

impl BodySource {
    /// Leaves nothing of it, where nothing is to be sent: in answer to HEAD, and with 204 and 304
    /// (RFC 9110, section 6.4.1). hyper sends whatever there is over HTTP/2, and over HTTP/1 where
    /// the length is not known. The answer to HEAD says the length of what GET would get.
    pub(super) fn empty(&mut self, is_head: bool, headers: &mut HeaderMap) {
        match self {
            Self::Tunnel { .. } => return,
            Self::Bytes(bytes) if is_head => {
                let length = || HeaderValue::from(bytes.len());
                headers.entry(header::CONTENT_LENGTH).or_insert_with(length);
            }
            _ => {}
        }
        *self = Self::Empty;
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Tunnel { .. } => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Upstream { body, .. } => body.is_end_stream(),
            Self::Compressed(body) => body.is_end_stream(),
        }
    }
}
