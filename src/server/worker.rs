//! What a worker has for all its connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::gateway::{HeadLimits, WorkerGateway};
use crate::wire::deadline::Deadlines;

/// How long a client's connection may take for what it has to do before and between requests.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// The most that a head may hold.
    pub head_limits: HeadLimits,
    /// The first byte of a connection.
    pub first_byte: Duration,
    /// The whole head, from its first byte.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// Between two pieces of a response that the client reads.
    pub body: Duration,
    /// The TLS handshake, and the PROXY header before it.
    pub handshake: Duration,
    /// How many streams an HTTP/2 connection may have open at a time.
    pub streams: u32,
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
