//! Outgoing HTTP: connections to the servers behind keyward, one pool per worker.
//!
//! A request takes an idle connection from its own worker's stack, and gives it back when the response's body has ended. HTTP/1.1
//! is spoken here and not by hyper's client: that one drives each connection in a task of its own, and hands requests, responses
//! and every piece of their bodies over through channels, where a proxy has one request and its response in one task anyway. What
//! is small enough to be got wrong is not done here: the head of a response is read by httparse, as hyper reads it, and chunks
//! are followed by [`wire::chunks`](crate::wire::chunks), which both sides share, as they do the body's way in and out of its framing.
//!
//! ```text
//! pool ─→ connection ─→ request, wire::sending ─┐
//!              ↑         head, wire::body ←──────┘ ─→ reply ─→ pool
//! ```
//!
//! * `request` writes the request's head: nothing that frames it is taken from the client's.
//! * `head` reads the response's head, and refuses one that two readers could frame in two ways. Neither knows a socket.
//! * `connection` does both at once, as a server may answer early; `ongoing` is the upload that outlasts its answer, the only
//!   thing that has a task of its own.
//! * `reply` is the body as the client's side reads it.

mod connection;
pub mod document;
mod head;
mod ongoing;
mod pool;
mod reply;
mod request;

pub use connection::Tunnel;
pub use pool::{SWEEP_EVERY, Upstream, UpstreamSettings};
pub use reply::{Reply, ReplyBody};

use http::Method;

use crate::wire::body::BodyFault;
use crate::wire::interim::Interim;

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A request as it is to be sent, beside its body.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target, in origin form.
    pub target: &'a str,
    /// The fields, in wire form: each `name: value` and its line ending, checked by who made them. What frames a body is not
    /// among them.
    pub fields: &'a [u8],
    /// What it is sent for.
    pub purpose: Purpose,
    /// Where interim responses go; `None`: nowhere.
    pub interim: Option<&'a Interim>,
}

/// What a request is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A response.
    Response,
    /// A switch of protocols. It is sent on a new connection, and never again; if the response is 101, the connection comes
    /// with it.
    Switch,
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
        /// What broke it.
        #[source]
        cause: ExchangeFault,
    },
}

/// What broke an exchange. Mostly the server's fault; [`RequestBody`](Self::RequestBody) is the client's.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeFault {
    /// The server closed the connection instead of answering.
    #[error("the connection was closed before a response came")]
    Closed,
    /// It closed it in the middle of an answer.
    #[error("the connection was closed in the middle of a response")]
    Truncated,
    /// The system could not read.
    #[error("reading the response failed: {0}")]
    Read(#[source] std::io::Error),
    /// The system could not write, and no answer came all the same.
    #[error("writing the request failed: {0}")]
    Write(#[source] std::io::Error),
    /// The head of the response is no HTTP/1.
    #[error("what came is no HTTP/1 response: {0}")]
    Malformed(#[from] httparse::Error),
    /// Its status is none.
    #[error("the response has no valid status")]
    Status,
    /// Its head is longer than is read.
    #[error("the head of the response is too large")]
    HeadTooLarge,
    /// Two readers could frame it in two ways.
    #[error("the response is ambiguous: {0}")]
    Ambiguous(&'static str),
    /// Its body is not well framed.
    #[error("the response's body is broken: {0}")]
    Body(#[source] BodyFault),
    /// More interim responses came than are waited through.
    #[error("too many interim responses came")]
    TooManyInterim,
    /// It switched protocols unasked, or before it could have been asked.
    #[error("it switched protocols unasked")]
    Switch,
    /// The body of the request broke off, or is not as long as announced.
    #[error("the body of the request broke off")]
    RequestBody,
}

impl From<BodyFault> for ExchangeFault {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Truncated => Self::Truncated,
            fault => Self::Body(fault),
        }
    }
}

/// What a request can carry.
pub trait RequestBody: http_body::Body<Data = bytes::Bytes> + Unpin + 'static {}

impl<B: http_body::Body<Data = bytes::Bytes> + Unpin + 'static> RequestBody for B {}
