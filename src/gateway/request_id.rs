//! The ids of requests: unique over instances and restarts, and no secret. 32 hexadecimal digits:
//! 64 random bits of the worker, and a counter that is multiplied by an odd number so that
//! consecutive ids look different.

use std::cell::Cell;

use http::header::HeaderValue;

use crate::domain::hex;

/// Makes request ids without asking the operating system each time.
pub(super) struct RequestIds {
    /// The first half of each, as text.
    worker: [u8; 16],
    next: Cell<u64>,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let random = || {
            let mut bytes = [0; 8];
            // Without randomness ids are still unique within the worker, so a failure is ignored.
            let _ = aws_lc_rs::rand::fill(&mut bytes);
            u64::from_le_bytes(bytes)
        };
        Self { worker: hex::number(random()), next: Cell::new(random()) }
    }

    pub(super) fn next(&self) -> HeaderValue {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let mut text = [0; 32];
        let (first, second) = text.split_at_mut(16);
        first.copy_from_slice(&self.worker);
        second.copy_from_slice(&hex::number(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("unknown"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ids_of_a_worker_are_alike() {
        let ids = RequestIds::new();
        let mut seen: Vec<_> = (0..1000).map(|_| ids.next()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
    }
}
