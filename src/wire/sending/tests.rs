use std::collections::VecDeque;

use http_body::{Frame, SizeHint};

use super::*;

/// A body that comes as told: a piece, nothing yet (`None`), or broken off.
struct Told {
    pieces: VecDeque<Option<Result<Bytes, ()>>>,
    length: Option<u64>,
    trailers: Option<HeaderMap>,
}

impl Told {
    fn new(length: Option<u64>, pieces: &[Option<&str>]) -> Self {
        let piece = |piece: &Option<&str>| piece.map(|text| Ok(Bytes::copy_from_slice(text.as_bytes())));
        Self { pieces: pieces.iter().map(piece).collect(), length, trailers: None }
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = ();

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        match self.pieces.pop_front() {
            Some(Some(piece)) => Poll::Ready(Some(piece.map(Frame::data))),
            Some(None) => Poll::Pending,
            None => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
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

const CHUNKS: Left = Left::Chunks { with_trailers: true };

/// What arrives, and how many writes it took.
fn send(left: Left, body: Told, at_once: usize) -> Result<(String, usize), Unsent> {
    let mut slow = Slow::new(at_once);
    let mut sending = Sending::new(b"HEAD\r\n".to_vec(), body, left);
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
    for (left, pieces, expected) in [
        (Left::Nothing, &[][..], ""),
        (Left::Length(0), &[], ""),
        (Left::Length(5), &[Some("hello")], "hello"),
        (Left::Length(5), &[Some("hel"), Some("lo")], "hello"),
        (CHUNKS, &[Some("hello")], "5\r\nhello\r\n0\r\n\r\n"),
        (CHUNKS, &[], "0\r\n\r\n"),
        (Left::UntilClose, &[Some("hel"), Some("lo")], "hello"),
    ] {
        let sent = send(left, Told::new(None, pieces), usize::MAX).expect("sent");
        assert_eq!(sent, (format!("HEAD\r\n{expected}"), 1));
    }
}

#[test]
fn what_arrives_is_the_same_however_slowly_it_is_made_and_taken() {
    let big = "x".repeat(2 * GATHERED);
    let pieces = [Some("hello"), None, Some(""), Some(&big), None, None, Some(&big), Some("bye"), None];
    let length = 2 * big.len() as u64 + 8;
    let plain = format!("HEAD\r\nhello{big}{big}bye");
    let chunk = format!("2000\r\n{big}\r\n");
    let chunked = format!("HEAD\r\n5\r\nhello\r\n{chunk}{chunk}3\r\nbye\r\n0\r\n\r\n");
    for at_once in [1, 7, 100, 5000, usize::MAX] {
        for (left, expected) in [(Left::Length(length), &plain), (Left::UntilClose, &plain), (CHUNKS, &chunked)] {
            let (arrived, _) = send(left, Told::new(None, &pieces), at_once).expect("sent");
            assert!(arrived == *expected, "{left:?}, {at_once} at once");
        }
    }
}

#[test]
fn trailers_go_behind_the_last_chunk_or_nowhere() {
    let big = "x".repeat(2 * GATHERED);
    let trailers = HeaderMap::from_iter([
        (http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0")),
        (http::HeaderName::from_static("x"), http::HeaderValue::from_static("y")),
    ]);
    for (piece, chunk) in [("ok", "2\r\nok\r\n".to_owned()), (&big, format!("2000\r\n{big}\r\n"))] {
        for (with_trailers, end) in [(true, "0\r\ngrpc-status: 0\r\nx: y\r\n\r\n"), (false, "0\r\n\r\n")] {
            for at_once in [1, 100, usize::MAX] {
                let mut body = Told::new(None, &[Some(piece)]);
                body.trailers = Some(trailers.clone());
                let (arrived, _) = send(Left::Chunks { with_trailers }, body, at_once).expect("sent");
                assert!(arrived == format!("HEAD\r\n{chunk}{end}"), "{arrived}");
            }
        }
    }
}

#[test]
fn a_body_that_breaks_off_or_is_not_as_long_as_announced_is_never_sent_to_its_end() {
    let broken = || {
        let mut broken = Told::new(None, &[Some("hello")]);
        broken.pieces.push_back(Some(Err(())));
        broken
    };
    let told = |piece| Told::new(None, &[Some(piece)]);
    for (left, body) in [
        (CHUNKS, broken()),
        (Left::UntilClose, broken()),
        (Left::Length(5), told("hell")),
        (Left::Length(5), told("hello!")),
    ] {
        let sent = send(left, body, 100);
        assert!(matches!(sent, Err(Unsent::Body)), "{sent:?}");
    }
}

#[test]
fn a_body_is_let_go_when_it_has_been_taken_and_not_only_when_it_has_been_sent() {
    let mut sending = Sending::new(Vec::new(), Told::new(None, &[Some("hello")]), Left::Length(5));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut slow = Slow::new(1);
    assert!(sending.poll(&mut slow, &mut cx).is_pending() && slow.got.is_empty());
    assert!(sending.body.is_none());
}

#[test]
fn what_has_no_body_can_be_sent_again() {
    let mut sending = Sending::new(b"GET / HTTP/1.1\r\n\r\n".to_vec(), Told::new(Some(0), &[]), Left::Nothing);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let (mut first, mut second) = (Slow::new(usize::MAX), Slow::new(usize::MAX));
    assert!(!sending.has_begun());
    assert!(matches!(sending.poll(&mut first, &mut cx), Poll::Ready(Ok(()))) && sending.has_begun());
    let mut head = sending.take_buffer();
    head.extend_from_slice(&first.got);
    sending.renew(head);
    assert!(!sending.has_begun());
    assert!(matches!(sending.poll(&mut second, &mut cx), Poll::Ready(Ok(()))));
    assert!(first.got.starts_with(b"GET ") && first.got == second.got);
}
