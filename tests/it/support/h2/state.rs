//! What a client has received.

use std::collections::BTreeMap;

use super::super::message::{Fields, Response};
use super::frames::code;

/// What came on one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    /// The statuses of interim responses.
    pub(crate) interim: Vec<u16>,
    /// The final response.
    pub(crate) status: Option<u16>,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// The response is whole.
    pub(crate) is_ended: bool,
    /// The response ended with its head.
    pub(crate) is_head_only: bool,
    /// The code of RST_STREAM.
    pub(crate) reset: Option<u32>,
}

impl Stream {
    /// Nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        self.is_ended || self.reset.is_some()
    }

    pub(crate) fn response(&self) -> Option<Response> {
        Some(Response {
            status: self.status?,
            version: "HTTP/2".into(),
            fields: self.fields.clone(),
            body: self.body.clone(),
            trailers: self.trailers.clone(),
            until_close: false,
        })
    }
}

/// What came on a connection so far.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) streams: BTreeMap<u32, Stream>,
    /// The parameters of the peer's SETTINGS, the latest value of each.
    pub(crate) settings: BTreeMap<u16, u32>,
    /// How many of our SETTINGS were acknowledged.
    pub(crate) acknowledged: usize,
    /// The payloads of our PINGs that were answered.
    pub(crate) pongs: Vec<Vec<u8>>,
    /// The last stream and the code of each GOAWAY.
    pub(crate) goaways: Vec<(u32, u32)>,
    /// By how much the peer has widened the windows of each stream, and, as 0, of the connection.
    pub(crate) granted: BTreeMap<u32, i64>,
    pub(crate) is_closed: bool,
    /// What no server may send.
    pub(crate) odd: Vec<String>,
}

impl State {
    pub(crate) fn stream(&self, id: u32) -> Stream {
        self.streams.get(&id).cloned().unwrap_or_default()
    }

    /// Nothing more comes on this stream.
    pub(crate) fn is_over(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(Stream::is_over)
    }

    /// The code of the first GOAWAY that speaks of an error.
    pub(crate) fn error(&self) -> Option<u32> {
        self.goaways.iter().map(|&(_, code)| code).find(|&code| code != code::NO_ERROR)
    }
}
