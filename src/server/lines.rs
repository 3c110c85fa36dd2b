//! Looks at the bytes of an HTTP/1 head on their way to hyper for what a parsed head does not show:
//! line feeds without a carriage return, framing fields that hyper merges into one, a fragment in
//! the target, and how much has come of a head that is not complete yet.

use memchr::memchr_iter;

use crate::gateway::{HeadFault, HeadLimits};

/// More than a request line has beside its target.
const BESIDE_THE_TARGET: usize = 64;

/// Looks at one head after the other.
pub(crate) struct LineGuard {
    limits: HeadLimits,
    /// The line that has begun.
    line: Vec<u8>,
    bytes: usize,
    framings: u8,
    is_first: bool,
}

impl LineGuard {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self { limits, line: Vec::new(), bytes: 0, framings: 0, is_first: true }
    }

    /// A head begins.
    pub(crate) fn begin(&mut self) {
        self.line = Vec::new();
        (self.bytes, self.framings, self.is_first) = (0, 0, true);
    }

    /// Looks at the next bytes of the head. Says where in them the head ends, if it does.
    pub(crate) fn look(&mut self, input: &[u8]) -> Result<Option<usize>, HeadFault> {
        let mut start = 0;
        for end in memchr_iter(b'\n', input) {
            let new = input.get(start..end).unwrap_or_default();
            start = end + 1;
            let is_last = if self.line.is_empty() {
                self.judge(new)?
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(new);
                self.judge(&line)?
            };
            if is_last {
                self.bytes += start;
                return if self.bytes > self.limits.bytes {
                    Err(HeadFault::TooLarge)
                } else {
                    Ok(Some(start))
                };
            }
        }
        self.line.extend_from_slice(input.get(start..).unwrap_or_default());
        self.bytes += input.len();
        if self.is_first && self.line.len() > self.limits.target.saturating_add(BESIDE_THE_TARGET) {
            return Err(HeadFault::TargetTooLong);
        }
        if self.bytes > self.limits.bytes { Err(HeadFault::TooLarge) } else { Ok(None) }
    }

    /// Judges a line without its line feed, and says whether it is the empty one at the end.
    fn judge(&mut self, line: &[u8]) -> Result<bool, HeadFault> {
        let line = line.strip_suffix(b"\r").ok_or(HeadFault::Lines)?;
        if self.is_first {
            // A client may end its last body with an empty line (RFC 9112, section 2.2).
            self.is_first = line.is_empty();
            if line.len() > self.limits.target.saturating_add(BESIDE_THE_TARGET) {
                return Err(HeadFault::TargetTooLong);
            }
            return if line.contains(&b'#') { Err(HeadFault::Target) } else { Ok(false) };
        }
        let is = |name: &[u8]| {
            line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        if matches!(line.first(), Some(b'c' | b'C' | b't' | b'T'))
            && (is(b"content-length:") || is(b"transfer-encoding:"))
        {
            self.framings += 1;
        }
        if self.framings > 1 { Err(HeadFault::Framing) } else { Ok(line.is_empty()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1000, target: 100, lines: 10 };

    /// As if it came whole, and byte by byte.
    fn look(input: &str) -> Result<Option<usize>, HeadFault> {
        let mut guard = LineGuard::new(LIMITS);
        let whole = guard.look(input.as_bytes());
        guard.begin();
        let mut by_bytes = Ok(None);
        for (at, byte) in input.bytes().enumerate() {
            by_bytes = guard.look(&[byte]).map(|end| end.map(|_| at + 1));
            if by_bytes != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, by_bytes, "{input:?}");
        whole
    }

    #[test]
    fn the_end_of_a_head_is_found() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(look(head), Ok(Some(head.len())));
        assert_eq!(look(&format!("{head}GET /b")), Ok(Some(head.len())));
        assert_eq!(look(&format!("\r\n{head}")), Ok(Some(head.len() + 2)));
        assert_eq!(look("GET / HTTP/1.1\r\nHost: a\r\n"), Ok(None));
    }

    #[test]
    fn what_hyper_does_not_tell_is_told() {
        for (head, fault) in [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", HeadFault::Lines),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", HeadFault::Lines),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", HeadFault::Lines),
            ("\nGET / HTTP/1.1\r\n", HeadFault::Lines),
            ("GET /#a HTTP/1.1\r\n", HeadFault::Target),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 1\r\n", HeadFault::Framing),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                HeadFault::Framing,
            ),
        ] {
            assert_eq!(look(head), Err(fault), "{head:?}");
        }
        let whole = |head: String| LineGuard::new(LIMITS).look(head.as_bytes());
        assert_eq!(
            whole(format!("GET /{} HTTP/1.1\r\n", "a".repeat(200))),
            Err(HeadFault::TargetTooLong)
        );
        assert_eq!(whole(format!("GET /{}", "a".repeat(200))), Err(HeadFault::TargetTooLong));
        assert_eq!(
            whole(format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(1000))),
            Err(HeadFault::TooLarge)
        );
        assert_eq!(
            whole(format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(1000))),
            Err(HeadFault::TooLarge)
        );
    }
}
