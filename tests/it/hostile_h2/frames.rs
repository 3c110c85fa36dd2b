//! Frames (RFC 9113, sections 4 to 6): on which stream, in which state, how long and in which
//! order.

use super::Want::{Body, Target};
use super::{BEFORE, BROKEN, Case, Ending, connection_error, forwarded, malformed_or, public, run};
use super::{case, stream_error};
use crate::support::h2::code::{
    ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, STREAM_CLOSED,
};
use crate::support::h2::{
    Head, continuation, data, flag, frame, kind, ping, priority, reset, settings, window_update,
};
use crate::support::hpack::literal;

const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];
const SIZE: &[u32] = &[FRAME_SIZE_ERROR, PROTOCOL_ERROR];
const FLOW: &[u32] = &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR];
const CLOSED: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];

/// `GET` of the target that does not count, on this stream.
fn before(stream: u32) -> Vec<u8> {
    Head::get(BEFORE).whole(stream)
}

/// `POST` of a target whose body breaks off, still open.
fn open() -> Vec<u8> {
    Head::post(BROKEN).frame(1, flag::END_HEADERS)
}

/// Frames that are ignored: the request behind them is forwarded.
fn ignored(name: &str, frames: impl AsRef<[u8]>) -> Case {
    let send = [frames.as_ref(), &public().whole(3)].concat();
    forwarded(name, send, [Target("/public/x")]).on(3)
}

/// `GET /public/x` as a block, with its first bytes in HEADERS and the rest in CONTINUATION frames
/// of so many bytes.
fn split(first: usize, each: usize) -> Vec<u8> {
    let block = public().with("x-a", "b").block();
    let (head, rest) = block.split_at(first);
    let mut frames = frame(kind::HEADERS, flag::END_STREAM, 1, head);
    let mut pieces = rest.chunks(each).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
        frames.extend(continuation(1, flags, piece));
    }
    frames
}

/// `GET /public/x` whose block is to be continued.
fn unfinished() -> Vec<u8> {
    public().frame(1, flag::END_STREAM)
}

fn padded(kind: u8, flags: u8, padding: u8, payload: &[u8], pad: usize) -> Vec<u8> {
    frame(kind, flags | flag::PADDED, 1, [&[padding][..], payload, &vec![0; pad]].concat())
}

pub(super) fn cases(_token: &str) -> Vec<Case> {
    let block = public().block();
    let block = block.as_slice();
    let depending = |on: u32| [&on.to_be_bytes()[..], &[15], block].concat();
    let depends = flag::WHOLE | flag::PRIORITY;
    let mut cases = Vec::new();
    // The stream.
    cases.extend([
        connection_error("DATA on stream 0", PROTOCOL, data(0, flag::END_STREAM, "x")),
        connection_error("HEADERS on stream 0", PROTOCOL, public().whole(0)),
        connection_error("RST_STREAM on stream 0", PROTOCOL, reset(0, 0)),
        connection_error("PRIORITY on stream 0", PROTOCOL, priority(0, 1, 15)),
        connection_error("CONTINUATION on stream 0", PROTOCOL, continuation(0, 4, "")),
        connection_error("PUSH_PROMISE on stream 0", PROTOCOL, {
            frame(kind::PUSH_PROMISE, flag::END_HEADERS, 0, [&[0, 0, 0, 2][..], block].concat())
        }),
        connection_error("PING on a stream", PROTOCOL, frame(kind::PING, 0, 1, [0_u8; 8])),
        connection_error("GOAWAY on a stream", PROTOCOL, frame(kind::GOAWAY, 0, 1, [0_u8; 8])),
        connection_error("DATA on an idle stream", PROTOCOL, data(1, flag::END_STREAM, "x")),
        connection_error("RST_STREAM on an idle stream", PROTOCOL, reset(1, 0)),
        connection_error("WINDOW_UPDATE on an idle stream", PROTOCOL, window_update(1, 1)),
        connection_error(
            "WINDOW_UPDATE on an idle stream of the server's",
            PROTOCOL,
            window_update(2, 1),
        ),
        connection_error("CONTINUATION on an idle stream", PROTOCOL, continuation(1, 4, block)),
        connection_error("an even stream", PROTOCOL, public().whole(2)),
        connection_error(
            "a stream below an earlier one",
            CLOSED,
            [before(5), public().whole(3)].concat(),
        ),
        case(
            "HEADERS on a stream that has ended",
            [before(1), public().whole(1)].concat(),
            Ending::Reset(CLOSED),
        )
        .or(Ending::GoAway(CLOSED)),
        case(
            "DATA on a stream that has ended",
            [before(1), data(1, 1, "x")].concat(),
            Ending::Reset(CLOSED),
        )
        .or(Ending::GoAway(CLOSED)),
        ignored("DATA on a stream that was reset", [open(), reset(1, 8), data(1, 0, "x")].concat())
            .or(Ending::GoAway(CLOSED)),
        connection_error("HEADERS on a stream that was reset", CLOSED, {
            [open(), reset(1, 8), public().whole(1)].concat()
        })
        .or(Ending::Reset(CLOSED)),
        ignored(
            "WINDOW_UPDATE on a stream that was reset",
            [open(), reset(1, 8), window_update(1, 5)].concat(),
        ),
        ignored(
            "RST_STREAM on a stream that was reset",
            [open(), reset(1, 8), reset(1, 8)].concat(),
        )
        .or(Ending::GoAway(CLOSED)),
        ignored("RST_STREAM with an unknown code", [open(), reset(1, 0xbeef)].concat()),
        ignored("streams that are left out", ""),
        connection_error("PUSH_PROMISE from a client", PROTOCOL, {
            let promise = [&[0, 0, 0, 2][..], block].concat();
            [before(1), frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, promise)].concat()
        }),
        forwarded(
            "the reserved bit of a stream",
            public().whole(1 | 1 << 31),
            [Target("/public/x")],
        ),
    ]);
    // The length and the padding.
    cases.extend([
        connection_error(
            "RST_STREAM of 3 bytes",
            SIZE,
            [open(), frame(kind::RST_STREAM, 0, 1, [0_u8; 3])].concat(),
        ),
        connection_error("PING of 7 bytes", SIZE, frame(kind::PING, 0, 0, [0_u8; 7])),
        connection_error("PING of 9 bytes", SIZE, frame(kind::PING, 0, 0, [0_u8; 9])),
        connection_error("GOAWAY of 7 bytes", SIZE, frame(kind::GOAWAY, 0, 0, [0_u8; 7])),
        connection_error(
            "WINDOW_UPDATE of 3 bytes",
            SIZE,
            frame(kind::WINDOW_UPDATE, 0, 0, [0_u8; 3]),
        ),
        connection_error(
            "WINDOW_UPDATE of 5 bytes",
            SIZE,
            frame(kind::WINDOW_UPDATE, 0, 0, [1_u8; 5]),
        ),
        stream_error(
            "PRIORITY of 4 bytes",
            SIZE,
            [open(), frame(kind::PRIORITY, 0, 1, [0_u8; 4])].concat(),
        )
        .or(Ending::GoAway(SIZE)),
        connection_error(
            "DATA larger than allowed",
            SIZE,
            [open(), data(1, 0, [0_u8; 16_385])].concat(),
        )
        .or(Ending::Reset(SIZE)),
        connection_error("HEADERS larger than allowed", SIZE, {
            frame(kind::HEADERS, flag::WHOLE, 1, [block, &literal("x-a", [b'a'; 16_384])].concat())
        }),
        connection_error(
            "an unknown frame larger than allowed",
            SIZE,
            frame(0xf0, 0, 0, [0_u8; 16_385]),
        ),
        connection_error("a frame of 2^24 - 1 bytes", SIZE, b"\xff\xff\xff\0\0\0\0\0\x01"),
        forwarded(
            "padding in HEADERS",
            padded(kind::HEADERS, flag::WHOLE, 9, block, 9),
            [Target("/public/x")],
        ),
        forwarded(
            "padding of nothing",
            padded(kind::HEADERS, flag::WHOLE, 0, block, 0),
            [Target("/public/x")],
        ),
        connection_error("padding as long as HEADERS", PROTOCOL, {
            padded(kind::HEADERS, flag::WHOLE, block.len() as u8 + 1, block, 0)
        }),
        connection_error(
            "padding longer than HEADERS",
            PROTOCOL,
            padded(kind::HEADERS, flag::WHOLE, 255, b"", 9),
        ),
        connection_error("HEADERS without its padding's length", SIZE, {
            frame(kind::HEADERS, flag::WHOLE | flag::PADDED, 1, "")
        }),
        connection_error(
            "HEADERS without its priority",
            SIZE,
            frame(kind::HEADERS, depends, 1, [0_u8; 4]),
        ),
        forwarded(
            "padding in DATA",
            {
                let body = padded(kind::DATA, flag::END_STREAM, 200, b"hello", 200);
                [Head::post("/public/x").frame(1, flag::END_HEADERS), body].concat()
            },
            [Body(b"hello")],
        ),
        connection_error("padding as long as DATA", PROTOCOL, {
            [open(), padded(kind::DATA, flag::END_STREAM, 6, b"hello", 0)].concat()
        }),
        connection_error("DATA without its padding's length", SIZE, {
            [open(), frame(kind::DATA, flag::PADDED, 1, "")].concat()
        }),
    ]);
    // Priorities, which RFC 9113 has given up.
    cases.extend([
        forwarded(
            "HEADERS with a priority",
            frame(kind::HEADERS, depends, 1, depending(0)),
            [Target("/public/x")],
        ),
        forwarded(
            "HEADERS that depends on an idle stream",
            frame(kind::HEADERS, depends, 1, depending(1 << 31 | 99)),
            [Target("/public/x")],
        ),
        malformed_or(
            "HEADERS that depends on itself",
            frame(kind::HEADERS, depends, 1, depending(1)),
            [Target("/public/x")],
        ),
        ignored("PRIORITY of an idle stream", priority(1, 0, 255)),
        ignored("PRIORITY of a stream to come", priority(99, 7, 0)),
        ignored(
            "PRIORITY of a stream that was reset",
            [open(), reset(1, 8), priority(1, 0, 1)].concat(),
        ),
        ignored("PRIORITY that depends on itself", priority(1, 1, 1)).or(Ending::GoAway(PROTOCOL)),
        connection_error("PRIORITY inside a header block", PROTOCOL, {
            [unfinished(), priority(1, 0, 1), continuation(1, 4, "")].concat()
        }),
    ]);
    // Windows.
    cases.extend([
        connection_error(
            "WINDOW_UPDATE of the connection by nothing",
            PROTOCOL,
            window_update(0, 0),
        ),
        stream_error(
            "WINDOW_UPDATE of a stream by nothing",
            PROTOCOL,
            [open(), window_update(1, 0)].concat(),
        )
        .or(Ending::GoAway(PROTOCOL)),
        connection_error(
            "a window of the connection beyond 2^31 - 1",
            FLOW,
            window_update(0, i32::MAX as u32),
        ),
        stream_error("a window of a stream beyond 2^31 - 1", FLOW, {
            [open(), window_update(1, i32::MAX as u32)].concat()
        }),
        ignored("WINDOW_UPDATE with its reserved bit", window_update(0, 1 << 31 | 5)),
        forwarded(
            "a window that is nothing, and is given later",
            {
                let get = public().whole(1);
                [settings(&[(4, 0)]), get, settings(&[(4, 65_535)])].concat()
            },
            [Target("/public/x")],
        ),
    ]);
    // Header blocks in pieces.
    cases.extend([
        forwarded("a block in two pieces", split(20, 10_000), [Target("/public/x")]),
        forwarded("a block whose first piece is empty", split(0, 10_000), [Target("/public/x")]),
        forwarded(
            "a block with an empty end",
            [unfinished(), continuation(1, 4, "")].concat(),
            [Target("/public/x")],
        ),
        forwarded("a block in pieces of 1 byte", split(1, 1), [Target("/public/x")])
            .or(Ending::GoAway(&[ENHANCE_YOUR_CALM])),
        connection_error("CONTINUATION behind a whole block", PROTOCOL, {
            [before(1), continuation(1, 4, "")].concat()
        }),
        connection_error("CONTINUATION of another stream", PROTOCOL, {
            [unfinished(), continuation(3, 4, "")].concat()
        }),
        connection_error(
            "CONTINUATION of stream 0",
            PROTOCOL,
            [unfinished(), continuation(0, 4, "")].concat(),
        ),
        connection_error("CONTINUATION behind DATA", PROTOCOL, {
            [open(), data(1, 0, "x"), continuation(1, 4, "")].concat()
        }),
        connection_error("HEADERS inside a header block", PROTOCOL, {
            [unfinished(), public().whole(3), continuation(1, 4, "")].concat()
        }),
        connection_error("DATA inside a header block", PROTOCOL, {
            [Head::post(BROKEN).frame(1, 0), data(1, 0, "x"), continuation(1, 4, "")].concat()
        }),
        connection_error("PING inside a header block", PROTOCOL, {
            [unfinished(), ping(0, [0_u8; 8]), continuation(1, 4, "")].concat()
        }),
        connection_error("SETTINGS inside a header block", PROTOCOL, {
            [unfinished(), settings(&[]), continuation(1, 4, "")].concat()
        }),
        connection_error("RST_STREAM inside a header block", PROTOCOL, {
            [unfinished(), reset(1, 8), continuation(1, 4, "")].concat()
        }),
        connection_error("an unknown frame inside a header block", PROTOCOL, {
            [unfinished(), frame(0xf0, 0, 1, "x"), continuation(1, 4, "")].concat()
        }),
        // Malformed already in its first piece: the rest still belongs to it.
        case(
            "a malformed first piece, and its end",
            [
                public().with("connection", "close").frame(1, flag::END_STREAM),
                continuation(1, 4, ""),
            ]
            .concat(),
            Ending::Reset(PROTOCOL),
        )
        .or(Ending::Answer(&[400]))
        .or(Ending::GoAway(PROTOCOL)),
    ]);
    // What is unknown, or says nothing.
    cases.extend([
        ignored("an unknown frame", frame(0xf0, 0xff, 0, "whatever")),
        ignored("an unknown frame on an idle stream", frame(0xf0, 0, 1, "whatever")),
        ignored(
            "an unknown frame on an open stream",
            [open(), frame(0xf0, 0, 1, "x"), reset(1, 8)].concat(),
        ),
        ignored("a PRIORITY_UPDATE frame", frame(0x10, 0, 0, b"\0\0\0\x03u=0")),
        ignored("an ALTSVC frame", frame(0x0a, 0, 0, b"\0\x01a")),
        ignored("an ORIGIN frame", frame(0x0c, 0, 0, "")),
        ignored("an answer to no PING", ping(flag::ACK, [7; 8])),
        ignored("a thousand answers to no PING", ping(flag::ACK, [7; 8]).repeat(1000)),
        ignored("PING with unknown flags", ping(0xfe, [7; 8])),
        forwarded(
            "HEADERS with unknown flags",
            public().frame(1, flag::WHOLE | 0xd2),
            [Target("/public/x")],
        ),
        forwarded(
            "GOAWAY of the client's, and its request",
            [public().whole(1), frame(kind::GOAWAY, 0, 0, [0_u8; 8])].concat(),
            [Target("/public/x")],
        ),
    ]);
    cases
}

#[test]
fn a_frame_that_the_rfc_forbids_ends_its_stream_or_its_connection() {
    run("frames", cases);
}
