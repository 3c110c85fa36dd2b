//! The memory of a worker's thread, while the process takes too much.

use super::WorkerGateway;
use crate::limits::freed;

impl WorkerGateway {
    /// Lets go of what is free in the heap of this thread, if the process takes more memory than it
    /// may. Costs nothing otherwise.
    pub fn tidy_heap(&self) {
        if self.shared.load.has_too_much_memory() {
            freed::tidy_heap();
        }
    }
}
