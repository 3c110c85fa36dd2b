//! The head of a response in wire form, and how its body is framed (RFC 9112, sections 4 and 6).

use http::header::{self, HeaderMap};
use http::{StatusCode, Version};
use http_body::SizeHint;

use crate::wire::lines::FieldLines;
use crate::wire::sending::Left;

/// What of a request matters to the form of its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Whether it was HEAD.
    pub(super) for_head: bool,
    /// 1.1 or 1.0.
    pub(super) version: Version,
    /// Whether the connection may be kept.
    pub(super) keeps_alive: bool,
    /// Whether trailers are taken.
    pub(super) takes_trailers: bool,
}

/// How a response goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// How its body is framed.
    pub(super) body: Left,
    /// Whether another request may follow.
    pub(super) keeps_alive: bool,
}

/// What a head is written of.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) status: StatusCode,
    /// Fields; `Connection: close` is an order.
    pub(super) headers: &'a HeaderMap,
    /// More fields, which go on as they are.
    pub(super) lines: Option<&'a FieldLines>,
    /// What is known of the body's length.
    pub(super) size: SizeHint,
    /// The length that it would have, where there is none.
    pub(super) content_length: Option<u64>,
}

/// Writes the head of a response behind what is in `to`. `date` is the time, as the field says it.
pub(super) fn write_head(to: &mut Vec<u8>, asked: Asked, said: &Said<'_>, date: &[u8]) -> Form {
    let Said { status, headers, lines, size, content_length } = *said;
    let is_http_11 = asked.version == Version::HTTP_11;
    let reason = status.canonical_reason().unwrap_or_default().as_bytes();
    let version = if is_http_11 { b"HTTP/1.1 ".as_slice() } else { b"HTTP/1.0 " };
    for part in [version, status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
        to.extend_from_slice(part);
    }
    let is_silent = status.is_informational() || status == StatusCode::NO_CONTENT;
    let has_body = !(asked.for_head || is_silent || status == StatusCode::NOT_MODIFIED);
    let body = match size.exact() {
        _ if !has_body => Left::Nothing,
        Some(0) => Left::Nothing,
        Some(length) => Left::Length(length),
        None if is_http_11 => Left::Chunks { with_trailers: asked.takes_trailers },
        None => Left::UntilClose,
    };
    let mut keeps_alive = asked.keeps_alive && body != Left::UntilClose;
    if let Some(lines) = lines {
        to.extend_from_slice(lines.as_bytes());
    }
    let mut has_date = lines.is_some_and(FieldLines::has_date);
    for (name, value) in headers {
        match *name {
            // What frames the body is said below, by who frames it.
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING => continue,
            header::CONNECTION if value == "close" => {
                keeps_alive = false;
                continue;
            }
            header::DATE => has_date = true,
            _ => {}
        }
        line(to, name.as_str().as_bytes(), value.as_bytes());
    }
    match size.exact() {
        Some(length) if has_body => line_of_length(to, length),
        None if has_body && is_http_11 => to.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // What it would be with a body (RFC 9110, sections 9.3.2 and 15.4.5).
        _ if !has_body && !is_silent => content_length.into_iter().for_each(|length| line_of_length(to, length)),
        _ => {}
    }
    match (keeps_alive, is_http_11) {
        _ if status == StatusCode::SWITCHING_PROTOCOLS => {}
        (true, true) => {}
        (true, false) => to.extend_from_slice(b"connection: keep-alive\r\n"),
        (false, _) => to.extend_from_slice(b"connection: close\r\n"),
    }
    if !has_date {
        line(to, b"date", date);
    }
    to.extend_from_slice(b"\r\n");
    Form { body, keeps_alive }
}

fn line_of_length(to: &mut Vec<u8>, length: u64) {
    line(to, b"content-length", itoa::Buffer::new().format(length).as_bytes());
}

fn line(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    to.reserve(name.len() + value.len() + 4);
    for part in [name, b": ", value, b"\r\n"] {
        to.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const GET: Asked = Asked { for_head: false, version: Version::HTTP_11, keeps_alive: true, takes_trailers: false };
    const HEAD: Asked = Asked { for_head: true, ..GET };
    const OLD: Asked = Asked { version: Version::HTTP_10, keeps_alive: false, ..GET };

    /// The head without its `date`, and how the response goes out.
    fn head(
        asked: Asked,
        status: u16,
        fields: &[(&'static str, &'static str)],
        size: Option<u64>,
        content_length: Option<u64>,
    ) -> (String, Form) {
        let headers = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let status = StatusCode::from_u16(status).expect("a status");
        let size = size.map_or_else(SizeHint::default, SizeHint::with_exact);
        let mut to = b"what was there\r\n".to_vec();
        let said = Said { status, headers: &headers, lines: None, size, content_length };
        let form = write_head(&mut to, asked, &said, b"today");
        let text = String::from_utf8(to).expect("text");
        let text = text.strip_prefix("what was there\r\n").expect("untouched").replacen("date: today\r\n", "", 1);
        (text, form)
    }

    fn form(body: Left, keeps_alive: bool) -> Form {
        Form { body, keeps_alive }
    }

    #[test]
    fn a_body_is_framed_by_its_length_or_in_chunks_or_by_the_end() {
        let chunks = Left::Chunks { with_trailers: false };
        for (asked, size, fields, expected) in [
            (GET, Some(5), "content-length: 5\r\n", form(Left::Length(5), true)),
            (GET, Some(0), "content-length: 0\r\n", form(Left::Nothing, true)),
            (GET, None, "transfer-encoding: chunked\r\n", form(chunks, true)),
            (OLD, Some(5), "content-length: 5\r\nconnection: close\r\n", form(Left::Length(5), false)),
            (OLD, None, "connection: close\r\n", form(Left::UntilClose, false)),
        ] {
            let version = if asked.version == Version::HTTP_10 { "1.0" } else { "1.1" };
            // What the fields said before is not said twice, and is not believed.
            for before in [&[][..], &[("content-length", "7")], &[("transfer-encoding", "chunked")]] {
                let (text, found) = head(asked, 200, before, size, size);
                assert_eq!((text, found), (format!("HTTP/{version} 200 OK\r\n{fields}\r\n"), expected));
            }
        }
        let (_, found) = head(Asked { takes_trailers: true, ..GET }, 200, &[], None, None);
        assert_eq!(found.body, Left::Chunks { with_trailers: true });
    }

    #[test]
    fn what_has_no_body_says_only_what_it_may() {
        let upgrade: &[_] = &[("connection", "upgrade")];
        for (asked, status, fields, content_length, expected) in [
            (HEAD, 200, &[][..], Some(7), "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"),
            (HEAD, 200, &[], Some(0), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            (HEAD, 200, &[], None, "HTTP/1.1 200 OK\r\n\r\n"),
            (GET, 304, &[], Some(7), "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"),
            (GET, 304, &[], None, "HTTP/1.1 304 Not Modified\r\n\r\n"),
            (GET, 204, &[], Some(7), "HTTP/1.1 204 No Content\r\n\r\n"),
            (HEAD, 204, &[], Some(7), "HTTP/1.1 204 No Content\r\n\r\n"),
            (GET, 101, upgrade, None, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n"),
        ] {
            for size in [Some(0), Some(7), None] {
                let found = head(asked, status, fields, size, content_length);
                assert_eq!(found, (expected.to_owned(), form(Left::Nothing, true)));
            }
        }
    }

    #[test]
    fn the_connection_is_kept_if_both_sides_wish() {
        let close: &[_] = &[("connection", "close")];
        let kept_old = Asked { keeps_alive: true, ..OLD };
        for (asked, fields, said, kept) in [
            (GET, &[][..], "", true),
            (GET, close, "connection: close\r\n", false),
            (Asked { keeps_alive: false, ..GET }, &[], "connection: close\r\n", false),
            (kept_old, &[], "connection: keep-alive\r\n", true),
            (kept_old, close, "connection: close\r\n", false),
        ] {
            let (text, found) = head(asked, 200, fields, Some(0), None);
            assert!(text.ends_with(&format!("content-length: 0\r\n{said}\r\n")), "{text}");
            assert_eq!(found.keeps_alive, kept);
        }
    }

    #[test]
    fn the_date_is_said_once_and_a_reason_that_nobody_knows_is_empty() {
        let status = StatusCode::from_u16(599).expect("a status");
        let own = HeaderMap::from_iter([(header::DATE, HeaderValue::from_static("yesterday"))]);
        let mut theirs = FieldLines::default();
        theirs.push(b"Date", b"last year");
        let (none, size) = (HeaderMap::new(), SizeHint::with_exact(0));
        for (headers, lines, date) in
            [(&own, None, "date: yesterday\r\n"), (&none, Some(&theirs), "Date: last year\r\n"), (&none, None, "")]
        {
            let mut to = Vec::new();
            let said = Said { status, headers, lines, size, content_length: None };
            write_head(&mut to, GET, &said, b"today");
            let own = if date.is_empty() { "date: today\r\n" } else { "" };
            let expected = format!("HTTP/1.1 599 \r\n{date}content-length: 0\r\n{own}\r\n");
            assert_eq!(String::from_utf8(to).expect("text"), expected);
        }
    }
}
