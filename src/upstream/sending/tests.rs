use std::collections::VecDeque;

use http::Method;
use http_body::{Body, Frame, SizeHint};

use super::*;
use crate::upstream::Purpose;

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

fn outgoing<'a>(method: &'a Method, fields: &'a [u8]) -> Outgoing<'a> {
    Outgoing { method, target: "/a?b=c", fields, purpose: Purpose::Response, interim: None }
}

/// What arrives, and how many writes it took.
fn send(method: &Method, body: Told, at_once: usize) -> Result<(String, usize), Unsent> {
    let mut slow = Slow::new(at_once);
    let mut sending = Sending::new(&outgoing(method, b"X-A: 1\r\n"), body, b"what was sent before".to_vec());
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
    let start = "POST /a?b=c HTTP/1.1\r\nX-A: 1\r\n";
    for (length, pieces, expected) in [
        (Some(0), &[][..], "\r\n"),
        (Some(5), &[Some("hello")], "content-length: 5\r\n\r\nhello"),
        (Some(5), &[Some("hel"), Some("lo")], "content-length: 5\r\n\r\nhello"),
        (None, &[Some("hello")], "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        (None, &[], "transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ] {
        let sent = send(&Method::POST, Told::new(length, pieces), usize::MAX).expect("sent");
        assert_eq!(sent, (format!("{start}{expected}"), 1));
    }
}

#[test]
fn what_arrives_is_the_same_however_slowly_it_is_made_and_taken() {
    let big = "x".repeat(2 * GATHERED);
    let pieces = [Some("hello"), None, Some(""), Some(&big), None, None, Some(&big), Some("bye"), None];
    let length = 2 * big.len() + 8;
    let start = "PUT /a?b=c HTTP/1.1\r\nX-A: 1\r\n";
    let sized = format!("{start}content-length: {length}\r\n\r\nhello{big}{big}bye");
    let chunk = format!("2000\r\n{big}\r\n");
    let chunked = format!("{start}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n{chunk}{chunk}3\r\nbye\r\n0\r\n\r\n");
    for at_once in [1, 7, 100, 5000, usize::MAX] {
        let (arrived, _) = send(&Method::PUT, Told::new(Some(length as u64), &pieces), at_once).expect("sent");
        assert!(arrived == sized, "{at_once} at once");
        let (arrived, _) = send(&Method::PUT, Told::new(None, &pieces), at_once).expect("sent");
        assert!(arrived == chunked, "{at_once} at once");
    }
}

#[test]
fn a_body_that_breaks_off_or_is_not_as_long_as_announced_is_never_sent_to_its_end() {
    let mut broken = Told::new(None, &[Some("hello")]);
    broken.pieces.push_back(Some(Err(())));
    for body in [broken, Told::new(Some(5), &[Some("hell")]), Told::new(Some(5), &[Some("hello!")])] {
        let sent = send(&Method::POST, body, 100);
        assert!(matches!(sent, Err(Unsent::Body)), "{sent:?}");
    }
}

#[test]
fn a_request_without_a_body_can_be_sent_again() {
    let outgoing = outgoing(&Method::GET, b"X-A: 1\r\n");
    let mut sending = Sending::new(&outgoing, Told::new(Some(0), &[]), Vec::new());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let (mut first, mut second) = (Slow::new(usize::MAX), Slow::new(usize::MAX));
    assert!(!sending.has_begun());
    assert!(matches!(sending.poll(&mut first, &mut cx), Poll::Ready(Ok(()))) && sending.has_begun());
    let buffer = sending.take_buffer();
    sending.renew(&outgoing, buffer);
    assert!(!sending.has_begun());
    assert!(matches!(sending.poll(&mut second, &mut cx), Poll::Ready(Ok(()))));
    assert!(first.got.starts_with(b"GET ") && first.got == second.got);
}
