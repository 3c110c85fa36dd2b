//! What a running keyward does while another process takes over from it.
//!
//! The steps of the other process come from a task, and are taken on the control thread between two
//! signals. Up to [`Step::Serving`] nothing has changed that is not undone when the
//! [`HandOver`] is dropped.

use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::process::Process;
use super::under_way::{HandOver, HandedOver, Talking};
use crate::app::hand_over::give::{Offer, Step, give, refuse};
use crate::app::hand_over::{Alive, Sharing};
use crate::app::open_store::OpenStore;
use crate::server::{ListenAddress, SocketOrigin};

impl Process {
    /// Begins to hand over on this connection, unless another hand-over is under way.
    pub(super) fn begin_hand_over(&mut self, stream: UnixStream, steps: &mpsc::Sender<Step>) {
        if self.hand_over.is_some() {
            let why = "another process is taking over".to_owned();
            tokio::spawn(refuse(stream, why));
            return;
        }
        match self.offer() {
            Ok((offer, configured, alive)) => {
                let task = Talking::begin(give(stream, offer, steps.clone()));
                let taken = Vec::new();
                let (is_ready, sharing) = (false, None);
                let under_way = HandOver { task, configured, taken, is_ready, sharing, alive };
                self.hand_over = Some(under_way);
            }
            Err(fault) => {
                tracing::error!(%fault, "nothing can be handed over");
                tokio::spawn(refuse(stream, fault.to_string()));
            }
        }
    }

    /// Everything that another process needs to serve in the place of this one.
    fn offer(&self) -> std::io::Result<(Offer, Vec<Option<ListenAddress>>, Alive)> {
        let (mut sockets, mut configured) = (Vec::new(), Vec::new());
        for (key, acceptor) in &self.acceptors {
            // Those of the service manager follow.
            if let Some(socket) = acceptor.share(key)?
                && socket.origin == SocketOrigin::Keyward
            {
                sockets.push(socket);
                configured.push(Some(key.clone()));
            }
        }
        for socket in &self.inherited {
            sockets.push(socket.try_clone()?);
            let key = self.acceptors.iter().find(|(key, _)| socket.is_for(key, false));
            configured.push(key.map(|(key, _)| key.clone()));
        }
        if let Some(probes) = &self.admin_sockets.probes {
            sockets.push(probes.try_clone()?);
            configured.push(None);
        }
        let (listener, file) = &self.admin_sockets.socket;
        let admin_socket = [listener.try_clone()?.into(), file.lock()?.into()];
        let (kept, given) = Alive::pair()?;
        let mut alive = vec![given];
        for predecessor in self.predecessors.iter().filter(|one| !one.has_ended()) {
            alive.push(predecessor.try_clone()?);
        }
        let store = self.parts.store.lock()?.map(Into::into);
        let store = (OpenStore::name(&self.config), store);
        let without_address = self.names.all_without_address();
        let states = self.shared.upstream_states();
        let left_out = states.iter().flat_map(|state| state.left_out()).collect();
        let offer = Offer { sockets, admin_socket, store, alive, without_address, left_out };
        Ok((offer, configured, kept))
    }

    /// Takes a step of the other process. Returns what is left to do once that process serves.
    pub(super) fn take_step(&mut self, step: Step) -> Option<HandedOver> {
        match step {
            Step::Ready { taken, go } => {
                let sharing = Sharing::begin(&self.parts);
                let under_way = self.hand_over.as_mut()?;
                (under_way.is_ready, under_way.sharing) = (true, sharing);
                let configured = |number: &usize| under_way.configured.get(*number)?.clone();
                under_way.taken = taken.iter().filter_map(configured).collect();
                let _ = go.send(());
                None
            }
            Step::Serving { process, done } => {
                let HandOver { task, taken, sharing, alive, .. } = self.hand_over.take()?;
                // It still has to say that nothing is accepted any more.
                task.detach();
                Some(HandedOver { process, taken, done, kept: (sharing, alive) })
            }
            Step::Failed(why) => {
                self.hand_over = None;
                tracing::warn!(why, "the other process does not take over; this one goes on");
                None
            }
        }
    }
}
