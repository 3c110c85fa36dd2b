//! Interim responses (RFC 9110, section 15.2) on their way to the client: they wait in a mailbox until whoever drives the client's
//! connection takes them.

use std::cell::RefCell;
use std::task::{Context, Waker};

use http::StatusCode;

use super::lines::FieldLines;

/// The mailbox of one client connection.
#[derive(Debug, Default)]
pub struct Interim {
    waiting: RefCell<Vec<u8>>,
    waker: RefCell<Option<Waker>>,
}

/// More than this waiting at once is dropped: interim responses are optional, memory is not.
const MOST_BYTES: usize = 64 * 1024;

impl Interim {
    /// Puts a response in, and wakes the connection. Only 100 and 103 are passed on; any other ends here, as does what belongs
    /// to the upstream's connection. What would frame a body must not be among the lines: there is none.
    pub fn pass_on(&self, status: StatusCode, mut lines: FieldLines) {
        let status_line = match status.as_u16() {
            100 => "HTTP/1.1 100 Continue\r\n",
            103 => "HTTP/1.1 103 Early Hints\r\n",
            _ => return,
        };
        lines.strip_hop_by_hop(b"");
        let mut response = status_line.as_bytes().to_vec();
        response.extend_from_slice(lines.as_bytes());
        response.extend_from_slice(b"\r\n");
        self.put(&response);
    }

    /// Tells the client to go on with its body (RFC 9110, section 10.1.1).
    pub fn go_on(&self) {
        self.put(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn put(mailbox: &Interim, status: u16, fields: &[(&str, &str)]) {
        let mut lines = FieldLines::default();
        for (name, value) in fields {
            lines.push(name.as_bytes(), value.as_bytes());
        }
        mailbox.pass_on(StatusCode::from_u16(status).expect("a status"), lines);
    }

    #[test]
    fn hundred_and_103_are_passed_on_and_nothing_else() {
        let mailbox = Interim::default();
        assert_eq!(mailbox.take(), None);
        put(&mailbox, 100, &[("connection", "x-hop"), ("x-hop", "1")]);
        put(&mailbox, 102, &[]);
        put(&mailbox, 103, &[("Link", "</a>"), ("keep-alive", "5")]);
        let expected = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec();
        assert_eq!(mailbox.take(), Some(expected));
        assert_eq!(mailbox.take(), None);
    }

    #[test]
    fn what_nobody_takes_is_bounded() {
        let mailbox = Interim::default();
        for _ in 0..10_000 {
            put(&mailbox, 103, &[("link", "</a>")]);
        }
        assert!(mailbox.take().is_some_and(|waiting| waiting.len() <= MOST_BYTES));
    }
}
