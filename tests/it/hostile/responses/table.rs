//! What upstreams send, and what the client must get.

/// What the client must get.
#[derive(Clone, Copy)]
pub(super) enum Get {
    /// 502 by keyward.
    BadGateway,
    /// This status with this body.
    Passed(u16, &'static str),
    /// Either of both.
    PassedOrBad(u16, &'static str),
    /// The start of this status or 502, but never a complete message: or 502.
    CutOrBad,
}

pub(super) struct Case {
    pub(super) name: &'static str,
    /// What the upstream sends.
    pub(super) reply: &'static [u8],
    /// It then closes.
    pub(super) close: bool,
    pub(super) expect: Get,
}

const fn open(name: &'static str, reply: &'static [u8], expect: Get) -> Case {
    Case { name, reply, close: false, expect }
}

const fn closed(name: &'static str, reply: &'static [u8], expect: Get) -> Case {
    Case { name, reply, close: true, expect }
}

use Get::{BadGateway, CutOrBad, Passed, PassedOrBad};

pub(super) const CASES: &[Case] = &[
    open("a length", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Passed(200, "ok")),
    open("a length of zero", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Passed(200, "")),
    open(
        "chunks",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        Passed(200, "ok"),
    ),
    open(
        "chunks with extensions",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n",
        Passed(200, "ok"),
    ),
    open(
        "a space before a chunk extension",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 ;a=b\r\nok\r\n0 \r\n\r\n",
        Passed(200, "ok"),
    ),
    open(
        "chunked in odd case",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: ChunkeD\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Passed(200, "ok"),
    ),
    closed("until close", b"HTTP/1.1 200 OK\r\n\r\nok", Passed(200, "ok")),
    closed("until close, HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nok", Passed(200, "ok")),
    open(
        "HTTP/1.0 with a length",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    open("204", b"HTTP/1.1 204 No Content\r\n\r\n", Passed(204, "")),
    open("304", b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", Passed(304, "")),
    open(
        "304 with a length",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        Passed(304, ""),
    ),
    open(
        "an unknown status",
        b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok",
        Passed(299, "ok"),
    ),
    open(
        "an error of the upstream's own",
        b"HTTP/1.1 503 Away\r\nContent-Length: 2\r\n\r\nno",
        Passed(503, "no"),
    ),
    open("no reason", b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", Passed(200, "ok")),
    open(
        "no reason and no space",
        b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open(
        "an empty line first",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open("bare LFs", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", PassedOrBad(200, "ok")),
    open(
        "the same length twice",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open(
        "two lengths",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        BadGateway,
    ),
    open("two lengths in a list", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", BadGateway),
    open("a length with a plus", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", BadGateway),
    open("a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", BadGateway),
    open("a length in hex", b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok", BadGateway),
    open(
        "a length that is a word",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        BadGateway,
    ),
    open("an empty length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok", BadGateway),
    open(
        "a length of 2^64",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nok",
        BadGateway,
    ),
    open(
        "a length and chunks",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n\
          0\r\n\r\n",
        BadGateway,
    ),
    open(
        "chunks and a length",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n\
          0\r\n\r\n",
        BadGateway,
    ),
    closed("gzip", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", BadGateway),
    open(
        "gzip, chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        BadGateway,
    ),
    closed(
        "chunked, gzip",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        BadGateway,
    ),
    closed(
        "identity",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    closed(
        "xchunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        BadGateway,
    ),
    open(
        "chunked twice",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\
          ok\r\n0\r\n\r\n",
        BadGateway,
    ),
    closed(
        "chunks on HTTP/1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        BadGateway,
    ),
    open("no status line", b"garbage\r\n\r\n", BadGateway),
    closed("HTTP/0.9", b"<html>hello</html>", BadGateway),
    open("bytes of TLS", b"\x15\x03\x01\x00\x02\x02\x46", BadGateway),
    open("a bad version", b"HTTP/3.1 200 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open("a status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open("a status of letters", b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open("a status of zeros", b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open("a status of 99", b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open(
        "a NUL in a value",
        b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\nok",
        BadGateway,
    ),
    open(
        "a bare CR in a value",
        b"HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 2\r\n\r\nok",
        BadGateway,
    ),
    open(
        "a control byte in a value",
        b"HTTP/1.1 200 OK\r\nX-A: b\x07c\r\nContent-Length: 2\r\n\r\nok",
        BadGateway,
    ),
    open(
        "a folded line",
        b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open(
        "a space before the colon",
        b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open(
        "a space before the colon of a length",
        b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open("an empty name", b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\nok", BadGateway),
    open(
        "a line without a colon",
        b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 2\r\n\r\nok",
        BadGateway,
    ),
    open(
        "8-bit bytes in a value",
        b"HTTP/1.1 200 OK\r\nX-A: \xe4\r\nContent-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    open(
        "a status line with a NUL",
        b"HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok",
        BadGateway,
    ),
    open(
        "204 with a body",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
        PassedOrBad(204, ""),
    ),
    open(
        "204 with chunks",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        PassedOrBad(204, ""),
    ),
    open(
        "204 and a response behind",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        Passed(204, ""),
    ),
    open(
        "304 with a body",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        PassedOrBad(304, ""),
    ),
    open(
        "bytes behind the body",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokevil",
        Passed(200, "ok"),
    ),
    open(
        "a response behind the body",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\
          Content-Length: 4\r\n\r\nevil",
        Passed(200, "ok"),
    ),
    open(
        "a response behind a length of zero",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\
          evil",
        Passed(200, ""),
    ),
    open(
        "a response behind the chunks",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        Passed(200, "ok"),
    ),
    closed(
        "a body that breaks off",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        CutOrBad,
    ),
    closed("a body that never starts", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", CutOrBad),
    closed(
        "chunks that break off inside one",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhalf",
        CutOrBad,
    ),
    closed(
        "chunks that break off between two",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        CutOrBad,
    ),
    closed(
        "chunks without the last CRLF",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        CutOrBad,
    ),
    closed(
        "chunks that never start",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        CutOrBad,
    ),
    open(
        "a bad chunk size",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\nevil\r\n\
          0\r\n\r\n",
        CutOrBad,
    ),
    open(
        "a chunk size that overflows",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000004\r\nhalf\r\n\
          0\r\n\r\n",
        CutOrBad,
    ),
    open(
        "a chunk with a bare LF",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\nhalf\n0\n\n",
        CutOrBad,
    ),
    open(
        "no CRLF behind a chunk",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfevil0\r\n\r\n",
        CutOrBad,
    ),
    closed("a head that breaks off", b"HTTP/1.1 200 OK\r\nContent-Le", BadGateway),
    closed(
        "a head without its empty line",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
        BadGateway,
    ),
    closed("half a status line", b"HTTP/1.", BadGateway),
    open(
        "100 before",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    open(
        "103 before",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
          Content-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    open(
        "102 before",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    open(
        "199 before",
        b"HTTP/1.1 199 Odd\r\nX-A: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
    open(
        "100 with a length before",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nHTTP/1.1 200 OK\r\n\
          Content-Length: 2\r\n\r\nok",
        PassedOrBad(200, "ok"),
    ),
    closed("100 and nothing behind", b"HTTP/1.1 100 Continue\r\n\r\n", BadGateway),
    closed(
        "101 that was not asked for",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
          evil",
        BadGateway,
    ),
    closed("nothing", b"", BadGateway),
    open(
        "hop-by-hop fields",
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
          Proxy-Connection: x\r\nProxy-Authenticate: Basic\r\nTrailer: X-T\r\nUpgrade: h2c\r\n\
          X-Stays: 1\r\nContent-Length: 2\r\n\r\nok",
        Passed(200, "ok"),
    ),
];
