//! A request as it leaves for an upstream: its head written by us to the last byte, and its body behind it.

use super::{Outgoing, RequestBody};
use crate::wire::sending::{Left, Sending};

/// A request that is written into `buffer`, and sent from there. What frames the body is said here.
pub(super) fn begin<B: RequestBody>(outgoing: &Outgoing<'_>, body: B, buffer: Vec<u8>) -> Sending<B> {
    let left = match body.size_hint().exact() {
        _ if body.is_end_stream() => Left::Nothing,
        Some(length) => Left::Length(length),
        // What a client says behind its body is not passed on.
        None => Left::Chunks { with_trailers: false },
    };
    Sending::new(head(outgoing, left, buffer), body, left)
}

/// The head, in `buffer`.
pub(super) fn head(outgoing: &Outgoing<'_>, body: Left, mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    let method = outgoing.method.as_str().as_bytes();
    for part in [method, b" ", outgoing.target.as_bytes(), b" HTTP/1.1\r\n", outgoing.fields] {
        buffer.extend_from_slice(part);
    }
    match body {
        // A request is never ended by the end of its connection.
        Left::Nothing | Left::UntilClose => {}
        Left::Length(length) => {
            let mut number = itoa::Buffer::new();
            for part in [b"content-length: ".as_slice(), number.format(length).as_bytes(), b"\r\n"] {
                buffer.extend_from_slice(part);
            }
        }
        Left::Chunks { .. } => buffer.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    buffer.extend_from_slice(b"\r\n");
    buffer
}
