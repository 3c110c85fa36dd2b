//! What a worker has for all its connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::gateway::{HeadLimits, WorkerGateway};
use crate::wire::deadline::Deadlines;
use crate::wire::limits::{Limits, Timeouts};

/// What a client's connection may hold, and how long it may take for what.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// What it may hold.
    pub limits: Limits,
    /// How long it may take.
    pub timeouts: Timeouts,
}

impl ConnectionSettings {
    /// The most that a head may hold.
    #[must_use]
    pub fn head_limits(&self) -> HeadLimits {
        let Limits { head, target, headers, .. } = self.limits;
        HeadLimits { bytes: head, target, lines: headers }
    }
}

/// A worker, on its own thread.
pub(super) struct Worker {
    pub(super) gateway: Rc<WorkerGateway>,
    pub(super) deadlines: Deadlines,
    /// Where bytes are read to that come ahead of their turn: one buffer for all connections.
    pub(super) scratch: RefCell<Box<[u8]>>,
    settings: Arc<ArcSwap<ConnectionSettings>>,
    ends_soon: Cell<bool>,
    draining: Cell<bool>,
    closes_idle: Cell<bool>,
}

const SCRATCH_BYTES: usize = 16 * 1024;

impl Worker {
    pub(super) fn new(gateway: WorkerGateway, settings: Arc<ArcSwap<ConnectionSettings>>) -> Self {
        Self {
            gateway: Rc::new(gateway),
            deadlines: Deadlines::default(),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
            settings,
            ends_soon: Cell::new(false),
            draining: Cell::new(false),
            closes_idle: Cell::new(false),
        }
    }

    /// Whether clients are to be told that their connections end, with their next response.
    pub(super) fn ends_soon(&self) -> bool {
        self.ends_soon.get()
    }

    /// Whether a connection is to end behind the response that it is at.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether a connection that is at no request is to end, too.
    pub(super) fn closes_idle(&self) -> bool {
        self.closes_idle.get()
    }

    /// As they are in force now.
    pub(super) fn settings(&self) -> ConnectionSettings {
        **self.settings.load()
    }

    /// New connections are still served.
    pub(super) fn end_soon(&self) {
        self.ends_soon.set(true);
        self.deadlines.wake_all();
    }

    pub(super) fn begin_draining(&self) {
        self.ends_soon.set(true);
        self.draining.set(true);
        self.gateway.begin_stopping();
        self.deadlines.wake_all();
    }

    pub(super) fn close_idle(&self) {
        self.closes_idle.set(true);
        self.deadlines.wake_all();
    }
}
