use std::collections::VecDeque;

use http::Request;
use http_body::{Body, Frame, SizeHint};

use super::*;

/// A body that comes as told: a piece, nothing yet (`None`), or broken off.
struct Told {
    pieces: VecDeque<Option<Result<Bytes, ()>>>,
    length: Option<u64>,
}

impl Told {
    fn new(length: Option<u64>, pieces: &[Option<&str>]) -> Self {
        let piece = |piece: &Option<&str>| piece.map(|text| Ok(Bytes::copy_from_slice(text.as_bytes())));
        Self { pieces: pieces.iter().map(piece).collect(), length }
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = ();

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        match self.pieces.pop_front() {
            Some(Some(piece)) => Poll::Ready(Some(piece.map(Frame::data))),
            Some(None) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Takes so many bytes at a time, and every other time none.
struct Slow {
    got: Vec<u8>,
    calls: usize,
    at_once: usize,
    refuses: bool,
}

impl Slow {
    fn new(at_once: usize) -> Self {
        Self { got: Vec::new(), calls: 0, at_once, refuses: false }
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.at_once < usize::MAX {
            self.refuses = !self.refuses;
            if self.refuses {
                return Poll::Pending;
            }
        }
        self.calls += 1;
        let taken = self.at_once.min(buf.len());
        self.got.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.poll_write(cx, &all)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn request(method: &str, fields: &[(&str, &str)]) -> http::request::Parts {
    let mut request = Request::builder().method(method).uri("/a?b=c");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

/// What arrives, and how many writes it took.
fn send(head: &http::request::Parts, body: Told, at_once: usize) -> Result<(String, usize), Unsent> {
    let mut slow = Slow::new(at_once);
    let mut sending = Sending::new(head, b"X-Ours: 1\r\n", body, Vec::new());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    for _ in 0..1_000_000 {
        match sending.poll(&mut slow, &mut cx) {
            Poll::Ready(Ok(())) => return Ok((String::from_utf8(slow.got).expect("text"), slow.calls)),
            Poll::Ready(Err(fault)) => return Err(fault),
            Poll::Pending => {}
        }
    }
    panic!("it never ends");
}

#[test]
fn the_head_and_the_first_of_the_body_leave_in_one_write() {
    let head = request("POST", &[("host", "x"), ("content-length", "5"), ("transfer-encoding", "x")]);
    let expected = "POST /a?b=c HTTP/1.1\r\nX-Ours: 1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(send(&head, Told::new(Some(5), &[Some("hello")]), usize::MAX).expect("sent"), (expected.to_owned(), 1));
    let expected = "POST /a?b=c HTTP/1.1\r\nX-Ours: 1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
                    5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(send(&head, Told::new(None, &[Some("hello")]), usize::MAX).expect("sent"), (expected.to_owned(), 1));
}

#[test]
fn a_request_without_a_body_says_no_more_of_it_than_its_client() {
    for (fields, expected) in [
        (&[("host", "x")][..], "GET /a?b=c HTTP/1.1\r\nX-Ours: 1\r\nhost: x\r\n\r\n"),
        (&[("content-length", "0")], "GET /a?b=c HTTP/1.1\r\nX-Ours: 1\r\ncontent-length: 0\r\n\r\n"),
        (&[("content-length", "5")], "GET /a?b=c HTTP/1.1\r\nX-Ours: 1\r\n\r\n"),
        (&[("transfer-encoding", "chunked")], "GET /a?b=c HTTP/1.1\r\nX-Ours: 1\r\n\r\n"),
    ] {
        let sent = send(&request("GET", fields), Told::new(Some(0), &[]), usize::MAX);
        assert_eq!(sent.expect("sent"), (expected.to_owned(), 1));
    }
}

#[test]
fn what_arrives_is_the_same_however_slowly_it_is_made_and_taken() {
    let big = "x".repeat(2 * GATHERED);
    let pieces = [Some("hello"), None, Some(""), Some(&big), None, None, Some(&big), Some("bye"), None];
    let length = 2 * big.len() + 8;
    let head = request("PUT", &[]);
    let start = "PUT /a?b=c HTTP/1.1\r\nX-Ours: 1\r\n";
    let sized = format!("{start}content-length: {length}\r\n\r\nhello{big}{big}bye");
    let chunk = format!("2000\r\n{big}\r\n");
    let chunked = format!("{start}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n{chunk}{chunk}3\r\nbye\r\n0\r\n\r\n");
    for at_once in [1, 7, 100, 5000, usize::MAX] {
        let (arrived, _) = send(&head, Told::new(Some(length as u64), &pieces), at_once).expect("sent");
        assert!(arrived == sized, "{at_once} at once");
        let (arrived, _) = send(&head, Told::new(None, &pieces), at_once).expect("sent");
        assert!(arrived == chunked, "{at_once} at once");
    }
}

#[test]
fn a_body_that_breaks_off_or_is_not_as_long_as_announced_is_never_sent_to_its_end() {
    let mut broken = Told::new(None, &[Some("hello")]);
    broken.pieces.push_back(Some(Err(())));
    for body in [broken, Told::new(Some(5), &[Some("hell")]), Told::new(Some(5), &[Some("hello!")])] {
        let sent = send(&request("POST", &[]), body, 100);
        assert!(matches!(sent, Err(Unsent::Body)), "{sent:?}");
    }
}

#[test]
fn a_request_without_a_body_can_be_sent_again() {
    let head = request("GET", &[]);
    let mut sending = Sending::new(&head, b"", Told::new(Some(0), &[]), Vec::new());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let (mut first, mut second) = (Slow::new(usize::MAX), Slow::new(usize::MAX));
    assert!(!sending.has_begun());
    assert!(matches!(sending.poll(&mut first, &mut cx), Poll::Ready(Ok(()))) && sending.has_begun());
    sending.rewind();
    assert!(matches!(sending.poll(&mut second, &mut cx), Poll::Ready(Ok(()))));
    assert_eq!(first.got, second.got);
}
