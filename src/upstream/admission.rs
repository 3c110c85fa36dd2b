//! Admission: the places that requests and connections have at endpoints, and how many there are.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::health::{UpstreamState, now_ms};
use super::probing::{Extent, Probe};

/// The place of one request at an endpoint: it is counted there until this is dropped, and how it
/// ended is noted.
pub struct EndpointSlot {
    seat: Rc<Seat>,
    /// Whether it is counted.
    counts: bool,
    /// Whether the request tries whether the endpoint is back.
    probe: Cell<Option<Probe>>,
    /// Whether how the request ended has been noted.
    is_noted: Cell<bool>,
}

/// The place of one connection at an endpoint: it is counted there until this is dropped.
pub struct ConnectionPlace(Rc<Seat>);

impl ConnectionPlace {
    /// A place of an endpoint that has so many. `None`: all are taken.
    pub(super) fn take(seat: &Rc<Seat>, most: u32) -> Option<Self> {
        let connections = &seat.state.endpoints.get(seat.at)?.connections;
        let add = |count: u32| if count < most { count.checked_add(1) } else { None };
        connections.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).ok()?;
        Some(Self(Rc::clone(seat)))
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let Seat { state, at } = &*self.0;
        if let Some(endpoint) = state.endpoints.get(*at) {
            endpoint.connections.fetch_sub(1, Ordering::SeqCst);
            state.queue.wake();
        }
    }
}

/// An endpoint, as one worker refers to it.
pub(super) struct Seat {
    pub(super) state: Arc<UpstreamState>,
    pub(super) at: usize,
}

impl EndpointSlot {
    /// A place of an endpoint; `most`: how many it has, 0: any number. `None`: all are taken.
    /// `counts`: whether the number of requests is of interest.
    pub(super) fn take(seat: &Rc<Seat>, most: u32, counts: bool, extent: Extent) -> Option<Self> {
        let counts = counts || most > 0;
        if counts {
            let in_flight = &seat.state.endpoints.get(seat.at)?.in_flight;
            let add =
                |count: u32| if most == 0 || count < most { count.checked_add(1) } else { None };
            in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).ok()?;
        }
        let probe = seat.state.endpoints.get(seat.at)?.begin_probe(extent, now_ms);
        Some(Self {
            seat: Rc::clone(seat),
            counts,
            probe: Cell::new(probe),
            is_noted: Cell::new(false),
        })
    }

    /// Gives it back unused. None that waits is told: it would find what this one has found.
    pub(super) fn give_back(mut self) {
        let (counts, probe) = (std::mem::take(&mut self.counts), self.probe.take());
        let Some(endpoint) = self.seat.state.endpoints.get(self.seat.at) else { return };
        if counts {
            endpoint.in_flight.fetch_sub(1, Ordering::SeqCst);
        }
        if let Some(probe) = probe {
            endpoint.end_probe(probe);
        }
    }

    /// The endpoint has answered, whatever becomes of the rest of the response: it is back.
    pub(super) fn is_answered(&self) {
        if self.probe.get().is_some() {
            self.seat.state.note_success(self.seat.at, now_ms);
            self.end_probe();
        }
    }

    fn end_probe(&self) {
        if let Some(probe) = self.probe.take()
            && let Some(endpoint) = self.seat.state.endpoints.get(self.seat.at)
        {
            endpoint.end_probe(probe);
            self.seat.state.queue.wake();
        }
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
            self.seat.state.note_success(self.seat.at, now_ms);
        }
    }
}

impl Drop for EndpointSlot {
    fn drop(&mut self) {
        self.end_probe();
        if !self.counts {
            return;
        }
        if let Some(endpoint) = self.seat.state.endpoints.get(self.seat.at) {
            endpoint.in_flight.fetch_sub(1, Ordering::SeqCst);
            self.seat.state.queue.wake();
        }
    }
}
