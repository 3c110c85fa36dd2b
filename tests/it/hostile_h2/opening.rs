//! The preface and SETTINGS (RFC 9113, sections 3.4 and 6.5).

use super::Want::Target;
use super::{
    BROKEN, Case, Ending, PREFACE, case, connection_error, forwarded, public, run, settings,
};
use crate::support::h2::code::{FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR};
use crate::support::h2::{Head, flag, frame, kind, ping, setting, window_update};

const SIZE: &[u32] = &[FRAME_SIZE_ERROR, PROTOCOL_ERROR];
const FLOW: &[u32] = &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR];
const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];

/// A connection error before HTTP/2 has begun: GOAWAY may be left out (section 3.4).
fn not_begun(name: &str, send: impl AsRef<[u8]>) -> Case {
    case(name, send, Ending::Closed).or(Ending::GoAway(SIZE)).raw()
}

/// SETTINGS with this payload, behind the first ones.
fn raw_settings(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, payload)
}

pub(super) fn cases(_token: &str) -> Vec<Case> {
    let get = public().whole(1);
    let one = |id: u16, value: u32| settings(&[(id, value)]);
    let preface = |end: &str| [&PREFACE[..18], end.as_bytes()].concat();
    let h1 = b"GET /public/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    vec![
        forwarded(
            "the preface, SETTINGS and a request at once",
            [PREFACE, &settings(&[]), &get].concat(),
            [Target("/public/x")],
        )
        .raw(),
        not_begun(
            "the preface with another end",
            [preface("SN\r\n\r\n"), settings(&[]), get.clone()].concat(),
        ),
        not_begun(
            "the preface with a bare LF",
            [preface("SM\r\n\n\n"), settings(&[]), get.clone()].concat(),
        ),
        not_begun(
            "the preface in lower case",
            [&b"pri * http/2.0\r\n\r\nsm\r\n\r\n"[..], &settings(&[])].concat(),
        ),
        not_begun("HTTP/1.1 behind the preface", [PREFACE, h1].concat()),
        not_begun("a request and no SETTINGS", [PREFACE, &get].concat())
            // h2 serves without SETTINGS: every parameter has its initial value then.
            .or(Ending::Forwarded(vec![Target("/public/x")])),
        not_begun("a PING in place of SETTINGS", [PREFACE, &ping(0, [0; 8]), &get].concat())
            .or(Ending::Forwarded(vec![Target("/public/x")])),
        connection_error("the preface twice", PROTOCOL, PREFACE).or(Ending::GoAway(SIZE)),
        connection_error("HTTP/1.1 behind SETTINGS", SIZE, h1),
        connection_error("SETTINGS of 5 bytes", SIZE, raw_settings([0_u8; 5])),
        connection_error("SETTINGS of 7 bytes", SIZE, raw_settings([0_u8; 7])),
        connection_error("SETTINGS on a stream", PROTOCOL, frame(kind::SETTINGS, 0, 1, "")),
        connection_error(
            "an acknowledgement with a payload",
            SIZE,
            frame(kind::SETTINGS, flag::ACK, 0, [0_u8; 6]),
        ),
        // The RFC does not call it an error, nor anything else.
        forwarded(
            "acknowledgements of nothing",
            [frame(kind::SETTINGS, flag::ACK, 0, "").repeat(3), get.clone()].concat(),
            [Target("/public/x")],
        )
        .or(Ending::GoAway(PROTOCOL)),
        connection_error("ENABLE_PUSH 2", PROTOCOL, one(setting::ENABLE_PUSH, 2)),
        connection_error("a window of 2^31", FLOW, one(setting::INITIAL_WINDOW_SIZE, 1 << 31)),
        connection_error("a window of 2^32 - 1", FLOW, one(setting::INITIAL_WINDOW_SIZE, u32::MAX)),
        connection_error(
            "a largest frame of 16383",
            PROTOCOL,
            one(setting::MAX_FRAME_SIZE, 16_383),
        ),
        connection_error("a largest frame of 0", PROTOCOL, one(setting::MAX_FRAME_SIZE, 0)),
        connection_error(
            "a largest frame of 2^24",
            PROTOCOL,
            one(setting::MAX_FRAME_SIZE, 1 << 24),
        ),
        connection_error(
            "ENABLE_CONNECT_PROTOCOL 2",
            PROTOCOL,
            one(setting::ENABLE_CONNECT_PROTOCOL, 2),
        ),
        connection_error(
            "a window that grows beyond 2^31 - 1 by SETTINGS",
            FLOW,
            [
                Head::post(BROKEN).frame(1, flag::END_HEADERS),
                window_update(1, 1 << 30),
                one(4, i32::MAX as u32),
            ]
            .concat(),
        ),
        forwarded(
            "an unknown setting",
            [one(0xf0f0, 7), get.clone()].concat(),
            [Target("/public/x")],
        ),
        forwarded("setting 0", [one(0, 7), get.clone()].concat(), [Target("/public/x")]),
        forwarded(
            "a setting twice, the last one counts",
            [
                settings(&[
                    (setting::INITIAL_WINDOW_SIZE, 0),
                    (setting::INITIAL_WINDOW_SIZE, 65_535),
                ]),
                get.clone(),
            ]
            .concat(),
            [Target("/public/x")],
        ),
        forwarded(
            "SETTINGS with unknown flags",
            [frame(kind::SETTINGS, 0xfe, 0, ""), get.clone()].concat(),
            [Target("/public/x")],
        ),
        forwarded(
            "no table of fields",
            [one(setting::HEADER_TABLE_SIZE, 0), get.clone()].concat(),
            [Target("/public/x")],
        ),
        forwarded(
            "a table of fields of 4 GiB",
            [one(setting::HEADER_TABLE_SIZE, u32::MAX), get.clone()].concat(),
            [Target("/public/x")],
        ),
        forwarded(
            "no stream is allowed to the server",
            [one(setting::MAX_CONCURRENT_STREAMS, 0), get].concat(),
            [Target("/public/x")],
        ),
    ]
}

#[test]
fn a_connection_that_does_not_begin_as_http2_is_ended() {
    run("opening", cases);
}
