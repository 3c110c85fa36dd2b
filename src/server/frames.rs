//! The frames that are written over HTTP/2 (RFC 9113, section 4.1), for one question: whether the
//! client takes anything of a response. hyper answers each PING, so that bytes alone say nothing.

/// The head of a frame: 24 bits of length, 8 of type, 8 of flags, 32 of stream identifier.
const HEAD: u8 = 9;

/// Types of frames that are a response (section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// Where among its frames a connection is. A server writes nothing else.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes of the head that have been written, until it is whole.
    head: u8,
    /// Of the frame, bytes that are still to be written behind its head.
    left: usize,
    is_of_response: bool,
}

impl Frames {
    /// Goes on by the first `count` bytes of these pieces. Whether some were of a response.
    pub(super) fn note<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        mut count: usize,
    ) -> bool {
        let mut has_response = false;
        for piece in pieces {
            let (written, _) = piece.split_at(count.min(piece.len()));
            has_response |= self.go_on(written);
            count -= written.len();
        }
        has_response
    }

    fn go_on(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_response = false;
        while let Some((&byte, behind)) = bytes.split_first() {
            if self.head == 0 && self.left > 0 {
                let (payload, next) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= payload.len();
                has_response |= self.is_of_response;
                bytes = next;
                continue;
            }
            self.head += 1;
            match self.head {
                1..=3 => self.left = (self.left << 8) | usize::from(byte),
                4 => self.is_of_response = matches!(byte, DATA | HEADERS | CONTINUATION),
                HEAD => {
                    self.head = 0;
                    has_response |= self.is_of_response;
                }
                _ => {}
            }
            bytes = behind;
        }
        has_response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    /// The kinds of the frames of which something was written, in steps of this many bytes.
    fn steps(bytes: &[u8], step: usize) -> Vec<bool> {
        let mut frames = Frames::default();
        bytes.chunks(step).map(|piece| frames.note([piece], piece.len())).collect()
    }

    #[test]
    fn only_responses_are_progress_wherever_the_frames_are_cut() {
        let (settings, ping, goaway) = (frame(4, &[0; 12]), frame(6, &[0; 8]), frame(7, &[1; 8]));
        let others = [settings, ping.clone(), goaway, ping.clone()].concat();
        for response in [frame(0, &[6; 300]), frame(1, &[0; 20]), frame(9, &[0; 1]), frame(0, b"")]
        {
            let bytes = [&*others, &response, &ping].concat();
            for step in 1..40 {
                assert!(!steps(&others, step).contains(&true), "{step}");
                let seen = steps(&bytes, step);
                assert!(seen.contains(&true), "{step}");
                assert!(step >= 17 || seen.last() == Some(&false), "{step}: {seen:?}");
            }
        }
    }

    #[test]
    fn what_was_not_written_does_not_count() {
        let (ping, data) = (frame(6, &[0; 8]), frame(0, b"body"));
        let mut frames = Frames::default();
        assert!(!frames.note([&*ping, &*data], 17 + 8), "not even its head");
        assert!(frames.note([data.split_at(8).1], 1));
        assert!(frames.note([&b"body"[..]], 4));
        assert!(!frames.note([&*ping], 17));
    }
}
