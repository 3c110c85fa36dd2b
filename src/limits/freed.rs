//! Memory that is free, and that the allocator has not handed back to the system.
//!
//! mimalloc does that in passing, once in many allocations: a process that refuses what is new makes
//! too few of them, and would refuse it for ever. There is no safe function that asks for it, but
//! both steps can be caused.

use std::hint::black_box;

/// In so many allocations, mimalloc tidies the heap of a thread at least once (`generic_collect`).
const ALLOCATIONS: usize = 10_000;

/// In bytes. mimalloc counts no allocation of 1 KiB or less.
const COUNTED: usize = 2048;

/// Hands back what all threads freed more than a second ago (`purge_delay`), as far as it is in no
/// thread's heap: mimalloc does so whenever a thread ends.
pub fn hand_back() {
    // A thread that has allocated nothing is not known to mimalloc.
    let thread = std::thread::Builder::new().name("keyward-free".to_owned()).spawn(allocate);
    if let Ok(thread) = thread {
        let _ = thread.join();
    }
}

/// Has the heap of this thread let go of what is free in it. It takes about a millisecond.
pub fn tidy_heap() {
    for _ in 0..ALLOCATIONS {
        allocate();
    }
}

fn allocate() {
    drop(black_box(Vec::<u8>::with_capacity(COUNTED)));
}
