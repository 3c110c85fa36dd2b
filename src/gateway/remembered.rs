//! The worker's own table of callers that were found good: no lock, no store, no signature check.

use std::rc::Rc;

use super::admitted::Admitted;
use crate::domain::TokenDigest;
use crate::tokens::cache::Fence;

/// The worker's own table: direct-mapped, so that a look-up is one comparison.
pub(super) struct Remembered {
    slots: Box<[Option<Slot>]>,
}

struct Slot {
    digest: TokenDigest,
    fence: Fence,
    admitted: Rc<Admitted>,
}

const SLOTS: usize = 4096;

impl Remembered {
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| None).collect() }
    }

    fn slot(&mut self, digest: &TokenDigest) -> Option<&mut Option<Slot>> {
        // Other bits than the cache's shards are chosen by.
        let at = usize::try_from(digest.prefix() >> 40).unwrap_or_default() % SLOTS;
        self.slots.get_mut(at)
    }

    pub(super) fn recall(&mut self, digest: &TokenDigest, fence: Fence) -> Option<Rc<Admitted>> {
        match self.slot(digest)? {
            Some(slot) if slot.digest == *digest && slot.fence == fence => {
                Some(Rc::clone(&slot.admitted))
            }
            _ => None,
        }
    }

    pub(super) fn remember(&mut self, fence: Fence, admitted: &Rc<Admitted>) {
        let digest = admitted.caller.digest;
        if let Some(slot) = self.slot(&digest) {
            *slot = Some(Slot { digest, fence, admitted: Rc::clone(admitted) });
        }
    }
}
