//! Where a request ends: Content-Length and Transfer-Encoding (RFC 9112, 6).

use super::Want::{Body, Field, Without};
use super::{Case, either, forwarded, post, refused, run};

/// What follows a body of five bytes in most cases: a request that must not be served.
const SMUGGLED: &str = "helloGET /public/smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// A chunked `hello`, and behind it the request that must not be served.
const SMUGGLED_CHUNKED: &str =
    "5\r\nhello\r\n0\r\n\r\nGET /public/smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

const CHUNKED: &str = "5\r\nhello\r\n0\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        forwarded(
            "a length",
            post("Content-Length: 5\r\n", "hello"),
            [Body(b"hello"), Field("content-length", "5")],
        ),
        forwarded("a length of zero", post("Content-Length: 0\r\n", ""), [Body(b"")]),
        forwarded("no length and no coding", post("", ""), [Body(b"")]),
        forwarded(
            "a length with leading zeros",
            post("Content-Length: 0005\r\n", "hello"),
            [Body(b"hello")],
        ),
        forwarded("a length in odd case", post("cOnTeNt-LeNgTh: 5\r\n", "hello"), [Body(b"hello")]),
        forwarded(
            "a length in white space",
            post("Content-Length: \t 5 \t\r\n", "hello"),
            [Body(b"hello")],
        ),
        either(
            "the same length twice",
            &[400],
            post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
            [Body(b"hello"), Field("content-length", "5")],
        ),
        either(
            "the same length in a list",
            &[400],
            post("Content-Length: 5, 5\r\n", "hello"),
            [Body(b"hello"), Field("content-length", "5")],
        ),
        forwarded(
            "chunked",
            post("Transfer-Encoding: chunked\r\n", CHUNKED),
            [Body(b"hello"), Without("content-length")],
        ),
        forwarded(
            "chunked in odd case",
            post("Transfer-Encoding: ChUnKeD\r\n", CHUNKED),
            [Body(b"hello"), Field("transfer-encoding", "chunked")],
        ),
        forwarded(
            "the coding's name in odd case",
            post("tRANSFER-eNCODING: chunked\r\n", CHUNKED),
            [Body(b"hello")],
        ),
        either(
            "chunked in white space",
            &[400],
            post("Transfer-Encoding: \t chunked \t\r\n", CHUNKED),
            [Body(b"hello"), Field("transfer-encoding", "chunked")],
        ),
        either("a GET with a length", &[400, 411, 413], GET_WITH_LENGTH, [Body(b"hello")]),
        either("a GET that is chunked", &[400, 411, 413], GET_CHUNKED, [Body(b"hello")]),
        either(
            "a HEAD that is chunked",
            &[400, 411, 413],
            GET_CHUNKED.replacen("GET", "HEAD", 1),
            [Body(b"hello")],
        ),
        either(
            "a DELETE that is chunked",
            &[400, 411, 413],
            GET_CHUNKED.replacen("GET", "DELETE", 1),
            [Body(b"hello")],
        ),
        either(
            "OPTIONS that is chunked",
            &[400, 411, 413],
            GET_CHUNKED.replacen("GET", "OPTIONS", 1),
            [Body(b"hello")],
        ),
        either(
            "a method of one's own that is chunked",
            &[400, 411, 413],
            GET_CHUNKED.replacen("GET", "QUERY", 1),
            [Body(b"hello")],
        ),
        either(
            "OPTIONS with a length",
            &[400, 411, 413],
            GET_WITH_LENGTH.replacen("GET", "OPTIONS", 1),
            [Body(b"hello")],
        ),
        either("a HEAD with a length", &[400, 411, 413], HEAD_WITH_LENGTH, [Body(b"hello")]),
        either("a DELETE with a length", &[400, 411, 413], DELETE_WITH_LENGTH, [Body(b"hello")]),
        refused("HTTP/1.0 with chunked", &[400], HTTP_10_CHUNKED),
        refused("HTTP/1.0 with chunked and keep-alive", &[400], HTTP_10_CHUNKED_KEEP_ALIVE),
        refused("HTTP/1.0 with a length and chunked", &[400], HTTP_10_BOTH),
    ];
    for (name, value) in BAD_LENGTHS {
        cases.push(refused(name, &[400], post(&format!("Content-Length: {value}\r\n"), SMUGGLED)));
    }
    for (name, lines) in BAD_LENGTH_LINES {
        cases.push(refused(name, &[400], post(lines, SMUGGLED)));
    }
    for (name, lines) in BAD_CODINGS {
        cases.push(refused(name, &[400, 501], post(lines, SMUGGLED_CHUNKED)));
    }
    cases
}

const GET_WITH_LENGTH: &str =
    "GET /public/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
const GET_CHUNKED: &str = "GET /public/x HTTP/1.1\r\nHost: a.example\r\n\
                           Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const HEAD_WITH_LENGTH: &str =
    "HEAD /public/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
const DELETE_WITH_LENGTH: &str =
    "DELETE /public/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
const HTTP_10_CHUNKED: &str = "POST /public/x HTTP/1.0\r\nHost: a.example\r\n\
                               Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const HTTP_10_CHUNKED_KEEP_ALIVE: &str = "POST /public/x HTTP/1.0\r\nHost: a.example\r\n\
                                          Connection: keep-alive\r\n\
    Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /public/smuggled HTTP/1.1\r\n\
    Host: a.example\r\n\r\n";
const HTTP_10_BOTH: &str = "POST /public/x HTTP/1.0\r\nHost: a.example\r\nContent-Length: 15\r\n\
    Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

/// Values of Content-Length that are no number of RFC 9110, 8.6, or too large a one.
const BAD_LENGTHS: [(&str, &str); 25] = [
    ("a length with a plus (CVE-2021-32715)", "+5"),
    ("a length with a minus", "-5"),
    ("a length of minus zero", "-0"),
    ("a length in hex", "0x5"),
    ("a length with a hex digit", "5a"),
    ("a length with a fraction", "5.0"),
    ("a length with an exponent", "5e0"),
    ("a length with an underscore", "1_0"),
    ("a length with a comma at the end", "5,"),
    ("a length with a comma at the start", ",5"),
    ("a list of two lengths", "5, 6"),
    ("a list of two lengths, the other order", "6, 5"),
    ("a list of a length and a word", "5, x"),
    ("a list with an empty member", "5,,5"),
    ("a length with a space inside", "5 5"),
    ("a length with a semicolon", "5;a=b"),
    ("a length in quotes", "\"5\""),
    ("a length that is a word", "five"),
    ("an empty length (CVE-2023-40225)", ""),
    ("a length of only white space", " \t "),
    ("a length of 2^64", "18446744073709551616"),
    ("a length of 2^64 + 5", "18446744073709551621"),
    ("a length of forty digits", "9999999999999999999999999999999999999999"),
    ("a length in wide digits", "\u{ff15}"),
    ("a length behind a bell", "\u{7}5"),
];

/// Lines that fight over the length.
const BAD_LENGTH_LINES: [(&str, &str); 9] = [
    ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
    ("two lengths, the other order", "Content-Length: 6\r\nContent-Length: 5\r\n"),
    (
        "three lengths, the last differs",
        "Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 55\r\n",
    ),
    ("two lengths in different case", "Content-Length: 5\r\ncontent-length: 0\r\n"),
    ("an empty length before a good one", "Content-Length:\r\nContent-Length: 5\r\n"),
    ("an empty length after a good one", "Content-Length: 5\r\nContent-Length:\r\n"),
    ("a space before the colon of a length", "Content-Length : 5\r\n"),
    ("a length on a folded line", "Content-Length:\r\n 5\r\n"),
    ("a length hidden by a fold", "X: y\r\n Content-Length: 5\r\nContent-Length: 6\r\n"),
];

/// Lines of Transfer-Encoding that are not `chunked` alone.
const BAD_CODINGS: [(&str, &str); 40] = [
    ("a length and chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ("chunked and a length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    ("a length of zero and chunked", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    ("a bad length and chunked", "Content-Length: x\r\nTransfer-Encoding: chunked\r\n"),
    ("a length and identity", "Content-Length: 5\r\nTransfer-Encoding: identity\r\n"),
    ("a length and a coding that is empty", "Content-Length: 5\r\nTransfer-Encoding:\r\n"),
    ("identity", "Transfer-Encoding: identity\r\n"),
    ("gzip", "Transfer-Encoding: gzip\r\n"),
    ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n"),
    ("chunked, gzip", "Transfer-Encoding: chunked, gzip\r\n"),
    ("identity, chunked", "Transfer-Encoding: identity, chunked\r\n"),
    ("chunked, identity", "Transfer-Encoding: chunked, identity\r\n"),
    ("chunked, chunked", "Transfer-Encoding: chunked, chunked\r\n"),
    (
        "chunked on two lines (CVE-2021-21299)",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "identity and chunked on two lines",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "chunked and identity on two lines",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ),
    ("gzip and chunked on two lines", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
    ("an empty coding and chunked", "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n"),
    ("chunked and an empty coding", "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"),
    ("an empty coding", "Transfer-Encoding:\r\n"),
    ("chunked with a comma at the end", "Transfer-Encoding: chunked,\r\n"),
    ("chunked with a comma at the start", "Transfer-Encoding: ,chunked\r\n"),
    ("xchunked", "Transfer-Encoding: xchunked\r\n"),
    ("chunkedx", "Transfer-Encoding: chunkedx\r\n"),
    ("chunk", "Transfer-Encoding: chunk\r\n"),
    ("chunked with a parameter", "Transfer-Encoding: chunked;a=b\r\n"),
    ("chunked with a weight", "Transfer-Encoding: chunked;q=1\r\n"),
    ("chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n"),
    ("chunked with an apostrophe", "Transfer-Encoding: 'chunked'\r\n"),
    ("chunked with a vertical tab before", "Transfer-Encoding: \u{b}chunked\r\n"),
    ("chunked with a form feed behind", "Transfer-Encoding: chunked\u{c}\r\n"),
    ("chunked with a kelvin sign", "Transfer-Encoding: chun\u{212a}ed\r\n"),
    ("chunked with a no-break space", "Transfer-Encoding: \u{a0}chunked\r\n"),
    ("a space before the coding's colon", "Transfer-Encoding : chunked\r\n"),
    ("a tab before the coding's colon", "Transfer-Encoding\t: chunked\r\n"),
    ("chunked on a folded line", "Transfer-Encoding:\r\n chunked\r\n"),
    ("chunked on a line folded by a tab", "Transfer-Encoding:\r\n\tchunked\r\n"),
    (
        "a coding folded into another field",
        "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ),
    ("a coding behind a bare CR", "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    ("a coding behind a bare LF", "X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
];

#[test]
fn a_request_has_one_length_or_is_refused() {
    run("framing", &cases());
}
