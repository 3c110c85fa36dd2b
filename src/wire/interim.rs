//! Interim responses (RFC 9110, section 15.2) on their way from an upstream to the client. hyper's client passes over them and
//! its server has no way to send one, so they are read off the upstream's connection as they come ([`Watch`]) and wait in a
//! mailbox until the client's connection next flushes ([`Interim`]).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};

use super::fields;

/// The mailbox of one client connection.
#[derive(Debug, Default)]
pub struct Interim {
    waiting: RefCell<Vec<u8>>,
    waker: RefCell<Option<Waker>>,
}

/// More than this waiting at once is dropped: interim responses are optional, memory is not.
const MOST_BYTES: usize = 64 * 1024;

impl Interim {
    /// Puts a response in, in wire form, and wakes the connection.
    fn put(&self, response: &[u8]) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() + response.len() > MOST_BYTES {
            return;
        }
        waiting.extend_from_slice(response);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// What is to be written now; nothing, nearly always.
    pub fn take(&self) -> Option<Vec<u8>> {
        if self.waiting.borrow().is_empty() {
            return None;
        }
        Some(self.waiting.take())
    }

    /// Who is to be woken when something is put in.
    pub fn wake_by(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

/// Looks at the start of what an upstream answers, for interim responses. It takes nothing away: hyper reads the same bytes.
#[derive(Debug, Default)]
pub struct Watch {
    mailbox: RefCell<Option<Rc<Interim>>>,
    /// Whether the next bytes begin a response. A flag of its own, so that every other read costs one look.
    is_on: Cell<bool>,
    /// The start of an interim response whose end has not come yet.
    partial: RefCell<Vec<u8>>,
}

/// How every interim response begins.
const START: &[u8] = b"HTTP/1.1 1";
/// A longer head than this is not passed on.
const MOST_HEAD: usize = 16 * 1024;

impl Watch {
    /// The next bytes begin a response, whose interim ones go to `mailbox`.
    pub fn begin(&self, mailbox: Option<Rc<Interim>>) {
        self.is_on.set(mailbox.is_some());
        *self.mailbox.borrow_mut() = mailbox;
    }

    /// Looks at bytes that have just come.
    pub fn look(&self, new: &[u8]) {
        if !self.is_on.get() {
            return;
        }
        let mut partial = self.partial.borrow_mut();
        // Nearly always the first bytes are of the final response.
        if partial.is_empty() && !may_begin(new) {
            self.is_on.set(false);
            return;
        }
        partial.extend_from_slice(new);
        while may_begin(&partial) {
            let Some(end) = memchr::memmem::find(&partial, b"\r\n\r\n") else {
                if partial.len() <= MOST_HEAD {
                    return;
                }
                break;
            };
            let rest = partial.split_off(end + 4);
            if let (Some(response), Some(mailbox)) = (passed_on(&partial), self.mailbox.borrow().as_ref()) {
                mailbox.put(&response);
            }
            *partial = rest;
            if partial.is_empty() {
                return;
            }
        }
        self.is_on.set(false);
        *partial = Vec::new();
    }
}

/// Whether these bytes are, as far as they go, the start of an interim response.
fn may_begin(bytes: &[u8]) -> bool {
    bytes.iter().zip(START).all(|(found, expected)| found == expected)
}

/// The response as the client gets it; nothing, if it is neither 100 nor 103.
fn passed_on(head: &[u8]) -> Option<Vec<u8>> {
    let mut lines = vec![httparse::EMPTY_HEADER; memchr::memchr_iter(b'\n', head).count()];
    let mut response = httparse::Response::new(&mut lines);
    response.parse(head).ok()?;
    let status_line = match response.code? {
        100 => "HTTP/1.1 100 Continue\r\n",
        103 => "HTTP/1.1 103 Early Hints\r\n",
        _ => return None,
    };
    let mut headers = HeaderMap::new();
    for line in response.headers {
        headers.append(HeaderName::from_bytes(line.name.as_bytes()).ok()?, HeaderValue::from_bytes(line.value).ok()?);
    }
    fields::strip_hop_by_hop(&mut headers);
    // It has no body, and says nothing of one.
    headers.remove(CONTENT_LENGTH);
    let mut wire = status_line.as_bytes().to_vec();
    for (name, value) in &headers {
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"\r\n");
    Some(wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundred_and_103_are_passed_on_however_they_are_cut_and_nothing_else() {
        let stream = b"HTTP/1.1 100 Go\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
            HTTP/1.1 103 Hints\r\nLink: </a>\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.1 103 body\r\n\r\n";
        let expected = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec();
        for cut in 0..stream.len() {
            let mailbox = Rc::<Interim>::default();
            let watch = Watch::default();
            watch.begin(Some(Rc::clone(&mailbox)));
            watch.look(&stream[..cut]);
            watch.look(&stream[cut..]);
            assert_eq!(mailbox.take(), Some(expected.clone()), "{cut}");
            assert_eq!(mailbox.take(), None);
        }
    }

    #[test]
    fn without_a_mailbox_or_with_a_final_response_nothing_is_kept() {
        let watch = Watch::default();
        watch.begin(None);
        watch.look(b"HTTP/1.1 103 Hints\r\n\r\n");
        let mailbox = Rc::<Interim>::default();
        watch.begin(Some(Rc::clone(&mailbox)));
        watch.look(b"HTTP/1.1 200 OK\r\n\r\n");
        watch.look(b"HTTP/1.1 103 Hints\r\n\r\n");
        assert_eq!(mailbox.take(), None);
    }
}
