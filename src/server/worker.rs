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
    draining: Cell<bool>,
}

const SCRATCH_BYTES: usize = 16 * 1024;

impl Worker {
    pub(super) fn new(gateway: WorkerGateway, settings: Arc<ArcSwap<ConnectionSettings>>) -> Self {
        Self {
            gateway: Rc::new(gateway),
            deadlines: Deadlines::default(),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
            settings,
            draining: Cell::new(false),
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// As they are in force now.
    pub(super) fn settings(&self) -> ConnectionSettings {
        **self.settings.load()
    }

    pub(super) fn begin_draining(&self) {
        self.draining.set(true);
        self.gateway.begin_stopping();
        self.deadlines.wake_all();
    }
}
