//! A hand-over while it is under way, as the process that hands over holds it.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::app::hand_over::give::Said;
use crate::app::hand_over::{Alive, Sharing};
use crate::server::ListenAddress;

/// A hand-over that is under way. Dropping it ends it: this process goes on.
pub(super) struct HandOver {
    pub(super) task: Talking,
    /// What the sockets are configured as, by their numbers; none: the admin address, or a socket
    /// that no listener has.
    pub(super) configured: Vec<Option<ListenAddress>>,
    /// Those that the other process has taken, once it is ready.
    pub(super) taken: Vec<ListenAddress>,
    /// Whether the other process may serve, and what holds from then on.
    pub(super) is_ready: bool,
    pub(super) sharing: Option<Sharing>,
    /// Ends with this process.
    pub(super) alive: Alive,
}

/// The task that talks to the other process. It ends when this is dropped, and with it the
/// connection.
pub(super) struct Talking(Option<JoinHandle<()>>);

impl Talking {
    pub(super) fn begin(talk: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(tokio::spawn(talk)))
    }

    /// Lets the task go on to its end.
    pub(super) fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl HandOver {
    /// Whether the other process may serve.
    pub(super) fn may_serve(&self) -> bool {
        self.is_ready
    }
}

/// What this process keeps to its end once another one serves.
pub(super) type Kept = (Option<Sharing>, Alive);

/// What is left to do when another process serves.
pub(super) struct HandedOver {
    pub(super) process: u32,
    /// The listeners whose sockets the other process has.
    pub(super) taken: Vec<ListenAddress>,
    /// For when nothing is accepted any more.
    pub(super) done: oneshot::Sender<Said>,
    /// To the end of the process.
    pub(super) kept: Kept,
}
