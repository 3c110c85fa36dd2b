//! Admission: the places that requests have at endpoints, and how many there are.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::health::{UpstreamState, now_ms};

/// The place of one request at an endpoint: it is counted there until this is dropped, and how it
/// ended is noted.
pub struct EndpointSlot {
    seat: Rc<Seat>,
    /// Whether it is counted.
    counts: bool,
    /// Whether how the request ended has been noted.
    is_noted: Cell<bool>,
}

/// An endpoint, as one worker refers to it.
pub(super) struct Seat {
    pub(super) state: Arc<UpstreamState>,
    pub(super) at: usize,
}

impl EndpointSlot {
    /// A place of an endpoint; `most`: how many it has, 0: any number. `None`: all are taken.
    /// `counts`: whether the number of requests is of interest.
    pub(super) fn take(seat: &Rc<Seat>, most: u32, counts: bool) -> Option<Self> {
        let counts = counts || most > 0;
        if counts {
            let in_flight = &seat.state.endpoints.get(seat.at)?.in_flight;
            let add =
                |count: u32| if most == 0 || count < most { count.checked_add(1) } else { None };
            in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).ok()?;
        }
        Some(Self { seat: Rc::clone(seat), counts, is_noted: Cell::new(false) })
    }

    pub(super) fn at(&self) -> usize {
        self.seat.at
    }

    /// The endpoint failed the request.
    pub(super) fn failed(&self) {
        if !self.is_noted.replace(true) {
            self.seat.state.note_failure(self.seat.at, now_ms());
        }
    }

    /// The endpoint answered the request.
    pub(super) fn succeeded(&self) {
        if !self.is_noted.replace(true) {
            self.seat.state.note_success(self.seat.at);
        }
    }
}

impl Drop for EndpointSlot {
    fn drop(&mut self) {
        if !self.counts {
            return;
        }
        if let Some(endpoint) = self.seat.state.endpoints.get(self.seat.at) {
            endpoint.in_flight.fetch_sub(1, Ordering::SeqCst);
            self.seat.state.queue.wake();
        }
    }
}
