//! Chunked bodies of requests (RFC 9112, 7.1): a bad one is the client's fault, so 400, and never a
//! whole request.

use super::Want::{Body, Without};
use super::{Case, answers, broken, either, forwarded, run};

/// A chunked request whose head is good.
fn chunked(rest: impl AsRef<[u8]>) -> Vec<u8> {
    let head = b"POST /public/x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    [head, rest.as_ref()].concat()
}

/// The same on the path that marks bodies that break off.
fn breaking(rest: impl AsRef<[u8]>) -> Vec<u8> {
    let head =
        b"POST /public/broken HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    [head, rest.as_ref()].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(300));
    let huge_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(1 << 20));
    let many_extensions = "1;abcdefghijklmnopqrstuvwxyz\r\nx\r\n".repeat(4000) + "0\r\n\r\n";
    let huge_trailers = format!("5\r\nhello\r\n0\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    let many_trailers = format!("5\r\nhello\r\n0\r\n{}\r\n", "X: y\r\n".repeat(5000));
    let mut cases = vec![
        forwarded("one chunk", chunked("5\r\nhello\r\n0\r\n\r\n"), [Body(b"hello")]),
        forwarded(
            "five chunks",
            chunked("1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n"),
            [Body(b"hello")],
        ),
        forwarded("no chunk", chunked("0\r\n\r\n"), [Body(b"")]),
        forwarded(
            "a size in upper-case hex",
            chunked("A\r\n0123456789\r\n0\r\n\r\n"),
            [Body(b"0123456789")],
        ),
        forwarded(
            "a size in lower-case hex",
            chunked("a\r\n0123456789\r\n0\r\n\r\n"),
            [Body(b"0123456789")],
        ),
        forwarded(
            "a size with leading zeros",
            chunked("0005\r\nhello\r\n0\r\n\r\n"),
            [Body(b"hello")],
        ),
        forwarded(
            "a last chunk of many zeros",
            chunked("5\r\nhello\r\n0000\r\n\r\n"),
            [Body(b"hello")],
        ),
        either(
            "a size with forty leading zeros",
            &[400],
            breaking(format!("{:0>40}\r\nhello\r\n0\r\n\r\n", "5")),
            [Body(b"hello")],
        ),
        forwarded(
            "data that looks like a chunk",
            chunked("7\r\n0\r\n\r\nGE\r\n0\r\n\r\n"),
            [Body(b"0\r\n\r\nGE")],
        ),
        forwarded("a chunk extension", chunked("5;a=b\r\nhello\r\n0;c\r\n\r\n"), [Body(b"hello")]),
        forwarded(
            "a quoted chunk extension",
            chunked("5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"),
            [Body(b"hello")],
        ),
        either(
            "a chunk extension of 300 bytes",
            &[400],
            breaking(long_extension),
            [Body(b"hello")],
        ),
        broken(
            "a chunk extension of a mebibyte (CVE-2023-39326)",
            &[400, 413],
            breaking(huge_extension),
        ),
        broken("chunk extensions without end", &[400, 413], breaking(many_extensions)),
        // As nginx: it skips what follows the size up to the end of the line.
        forwarded("a space behind the size", chunked("5 \r\nhello\r\n0\r\n\r\n"), [Body(b"hello")]),
        forwarded("a tab behind the size", chunked("5\t\r\nhello\r\n0\r\n\r\n"), [Body(b"hello")]),
        forwarded(
            "a space before an extension",
            chunked("5 ;a=b\r\nhello\r\n0 ;c\r\n\r\n"),
            [Body(b"hello")],
        ),
        forwarded(
            "space around an extension",
            chunked("5 ; a = b\r\nhello\r\n0\r\n\r\n"),
            [Body(b"hello")],
        ),
        either(
            "an empty extension",
            &[400],
            breaking("5;\r\nhello\r\n0\r\n\r\n"),
            [Body(b"hello")],
        ),
        forwarded(
            "a trailer",
            chunked("5\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n"),
            [Body(b"hello"), Without("x-trailer")],
        ),
        forwarded(
            "a trailer with an identity",
            chunked("5\r\nhello\r\n0\r\nX-Keyward-Subject: evil\r\n\r\n"),
            [Body(b"hello"), Without("x-keyward-subject")],
        ),
        forwarded(
            "a trailer with an alias",
            chunked("5\r\nhello\r\n0\r\nX_Keyward_Subject: evil\r\n\r\n"),
            [Without("x_keyward_subject")],
        ),
        forwarded(
            "a trailer that was announced",
            announced_trailer(),
            [Body(b"hello"), Without("x-keyward-role")],
        ),
        either(
            "a trailer with a length",
            &[400],
            breaking("5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n"),
            [Body(b"hello"), Without("content-length")],
        ),
        either(
            "a trailer with a coding",
            &[400],
            breaking("5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n"),
            [Body(b"hello")],
        ),
        either(
            "a trailer with a token",
            &[400],
            breaking("5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\n\r\n"),
            [Body(b"hello"), Without("authorization")],
        ),
        either(
            "a trailer with a host",
            &[400],
            breaking("5\r\nhello\r\n0\r\nHost: evil.example\r\n\r\n"),
            [Body(b"hello"), super::Want::Host("a.example")],
        ),
        broken("a trailer of a mebibyte", &[400, 413, 431], breaking(huge_trailers)),
        broken("five thousand trailers", &[400, 413, 431], breaking(many_trailers)),
        answers(
            "trailers do not reach the next request (CVE-2026-10051)",
            [
                chunked("5\r\nhello\r\n0\r\nX-Keyward-Subject: evil\r\nX-Evil: 1\r\n\r\n"),
                b"GET /public/next HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec(),
            ]
            .concat(),
            [&[200], &[200]],
            ["/public/x", "/public/next"],
        ),
        answers(
            "garbage behind the last chunk",
            chunked("5\r\nhello\r\n0\r\n\r\nGARBAGE\r\n\r\n"),
            [&[200], &[400]],
            ["/public/x"],
        ),
    ];
    for (name, rest) in BAD_BODIES {
        cases.push(broken(name, &[400], breaking(rest)));
    }
    for (name, rest) in HALF_BODIES {
        cases.push(broken(name, &[400, 408], breaking(rest)).then_finish());
    }
    cases
}

fn announced_trailer() -> Vec<u8> {
    b"POST /public/x HTTP/1.1\r\nHost: a.example\r\nTrailer: X-Keyward-Role\r\n\
      Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Keyward-Role: evil\r\n\r\n"
        .to_vec()
}

/// Bodies that are wrong in themselves.
const BAD_BODIES: [(&str, &str); 33] = [
    ("a size line with a bare LF (CVE-2025-22871)", "5\nhello\r\n0\r\n\r\n"),
    ("data with a bare LF behind", "5\r\nhello\n0\r\n\r\n"),
    ("all lines with a bare LF", "5\nhello\n0\n\n"),
    ("a bare LF in an extension", "5;a\nhello\r\n0\r\n\r\n"),
    ("a bare LF in an extension, hiding a chunk", "2;\nxx\r\n0\r\n\r\n"),
    ("a bare CR behind the size", "5\rhello\r\n0\r\n\r\n"),
    ("a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("two CRs behind the size", "5\r\r\nhello\r\n0\r\n\r\n"),
    ("no CRLF behind the data", "5\r\nhello0\r\n\r\n"),
    ("two other bytes behind the data", "5\r\nhelloXX0\r\n\r\n"),
    ("data one byte longer than its size", "5\r\nhello!\r\n0\r\n\r\n"),
    ("data one byte shorter than its size", "6\r\nhello\r\n0\r\n\r\nxxxxxxxx"),
    ("a CR and no LF behind the data", "5\r\nhello\rX0\r\n\r\n"),
    ("a size of 2^64", "10000000000000000\r\nhello\r\n0\r\n\r\n"),
    ("a size that wraps to five (CVE-2021-32714)", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a size of sixteen Fs and one", "FFFFFFFFFFFFFFFF1\r\nhello\r\n0\r\n\r\n"),
    (
        "a size of a hundred Fs",
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\
         FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    ),
    ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
    ("a size of minus zero", "-0\r\n\r\n"),
    ("a size with a plus", "+5\r\nhello\r\n0\r\n\r\n"),
    ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("a size with 0X", "0X5\r\nhello\r\n0\r\n\r\n"),
    ("a size with an underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
    ("a size with a letter beyond F", "5g\r\nhello\r\n0\r\n\r\n"),
    ("a size with an h", "5h\r\nhello\r\n0\r\n\r\n"),
    ("a size with a NUL", "5\0\r\nhello\r\n0\r\n\r\n"),
    ("a size with a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
    ("two sizes on one line", "5 5\r\nhello\r\n0\r\n\r\n"),
    ("a size in wide digits", "\u{ff15}\r\nhello\r\n0\r\n\r\n"),
    ("no size", "\r\nhello\r\n0\r\n\r\n"),
    ("no size but an extension", ";a=b\r\nhello\r\n0\r\n\r\n"),
    ("a size behind an empty line", "\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("a body that is not chunked at all", "hello, this is not chunked\r\n\r\n"),
];

/// Bodies that stop before their end.
const HALF_BODIES: [(&str, &str); 10] = [
    ("the end before the first size", ""),
    ("the end inside a size", "5"),
    ("the end behind a size", "5\r\n"),
    ("the end inside the data", "5\r\nhel"),
    ("the end behind the data", "5\r\nhello"),
    ("the end behind a chunk", "5\r\nhello\r\n"),
    ("the end behind the last chunk's size", "5\r\nhello\r\n0\r\n"),
    ("the end inside the last CRLF", "5\r\nhello\r\n0\r\n\r"),
    ("the end inside a trailer", "5\r\nhello\r\n0\r\nX: y"),
    ("the end behind a trailer", "5\r\nhello\r\n0\r\nX: y\r\n"),
];

#[test]
fn a_bad_chunk_is_the_clients_fault_and_no_request_comes_of_it() {
    run("chunks", &cases());
}
