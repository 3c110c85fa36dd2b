//! Interim responses (RFC 9110, section 15.2) on their way from an upstream to the client: hyper's server has no way to send
//! one, so they wait here until the client's connection next flushes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

/// The mailbox of one client connection. Shared with a callback of hyper's that must be `Send`, hence the lock; both sides
/// are on one thread, so it is never contended.
#[derive(Debug, Default)]
pub struct Interim {
    waiting: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    waker: Option<Waker>,
}

/// More than this waiting at once is dropped: interim responses are optional, memory is not.
const MOST_BYTES: usize = 64 * 1024;

impl Interim {
    /// Puts a response in, in wire form, and wakes the connection.
    pub fn put(&self, response: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.bytes.len() + response.len() > MOST_BYTES {
            return;
        }
        state.bytes.extend_from_slice(response);
        self.waiting.store(true, Ordering::Release);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// What is to be written now; nothing, nearly always.
    pub fn take(&self) -> Option<Vec<u8>> {
        if !self.waiting.load(Ordering::Acquire) {
            return None;
        }
        self.waiting.store(false, Ordering::Release);
        Some(std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).bytes))
    }

    /// Who is to be woken by [`put`](Self::put).
    pub fn wake_by(&self, cx: &Context<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
    }
}
