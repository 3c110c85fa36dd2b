//! The worker's own table of callers whose credentials were found good: no lock, no store, no
//! signature check. It is direct-mapped, so that a look-up is one comparison.

use std::rc::Rc;

use super::admitted::Admitted;
use crate::domain::TokenDigest;
use crate::tokens::cache::Fence;

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
        let slot = self.slot(digest)?.as_ref()?;
        (slot.digest == *digest && slot.fence == fence).then(|| Rc::clone(&slot.admitted))
    }

    pub(super) fn remember(&mut self, fence: Fence, admitted: &Rc<Admitted>) {
        let digest = admitted.caller.digest;
        if let Some(slot) = self.slot(&digest) {
            *slot = Some(Slot { digest, fence, admitted: Rc::clone(admitted) });
        }
    }
}
