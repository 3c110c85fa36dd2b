//! The service manager (systemd): the sockets that it listens on for keyward, and what it is told.
//!
//! Without one, nothing is passed and nothing is told: the variables that say how are not there
//! (sd_listen_fds(3), sd_notify(3)).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::admin::NotReady;
use crate::server::{InheritedSocket, SocketOrigin};

/// The sockets that were passed to this process.
///
/// # Errors
///
/// One that keyward cannot listen on, for the operator.
pub(super) fn sockets() -> Result<Vec<InheritedSocket>, String> {
    // Before they are taken, which removes the number from the environment.
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<_> = names.split(':').collect();
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for number in 0..passed.len() {
        let origin = SocketOrigin::ServiceManager;
        let socket = match passed.take_tcp_listener(number) {
            Ok(Some(listener)) => InheritedSocket::tcp(listener, origin),
            Ok(None) => continue,
            Err(_) => match passed.take_unix_listener(number) {
                Ok(Some(listener)) => InheritedSocket::unix(listener, origin),
                Ok(None) => continue,
                Err(fault) => Err(fault),
            },
        };
        let name = names.get(number).copied().unwrap_or("without a name");
        sockets.push(socket.map_err(|fault| {
            format!(
                "systemd has passed a socket that keyward cannot listen on (FileDescriptorName= is \
                 {name}): {fault}: name addresses of TCP and paths of Unix sockets alone, in \
                 ListenStream="
            )
        })?);
    }
    Ok(sockets)
}

/// What the service manager was told of a process that serves.
#[derive(Default)]
pub(super) struct Serving(Mutex<Said>);

#[derive(Default)]
struct Said {
    /// It was told that everything is served.
    is_ready: bool,
    /// Why the latest configuration was refused.
    refused: Option<String>,
    /// Why requests should not come, as `/readyz` says it.
    reasons: Vec<String>,
    status: String,
}

impl Serving {
    /// Everything is served: after a start, and after a reload. `refused`: why the new
    /// configuration is not in force.
    pub(super) fn ready(&self, refused: Option<String>) {
        self.say(|said| {
            said.is_ready = true;
            said.refused = refused;
            true
        });
    }

    /// Why `/readyz` says no now; nothing, if it says yes. What is new is told.
    pub(super) fn note(&self, reasons: &[NotReady]) {
        self.say(|said| {
            // The service manager knows these by itself.
            let is_news = |why: &&NotReady| !matches!(why, NotReady::Starting | NotReady::Draining);
            said.reasons = reasons.iter().filter(is_news).map(ToString::to_string).collect();
            false
        });
    }

    fn say(&self, change: impl FnOnce(&mut Said) -> bool) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = change(&mut said);
        let mut parts = vec!["serving".to_owned()];
        if !said.reasons.is_empty() {
            parts = vec![format!("serving, but not ready: {}", said.reasons.join("; "))];
        }
        let refused = said.refused.as_ref();
        parts.extend(refused.map(|why| format!("the new configuration was refused: {why}")));
        let status = parts.join("; ");
        if begins {
            tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        } else if said.is_ready && said.status != status {
            tell(&[NotifyState::Status(&status)]);
        }
        said.status = status;
    }
}

/// A reload has begun; [`Serving::ready`] says that it is over.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(fault) => tracing::warn!(%fault, "systemd could not be told of a reload"),
    }
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is under way")]);
}

/// The service is that other process from now on. Only the process that was it can say so, unless
/// `NotifyAccess=` allows more.
pub(super) fn handed_over_to(process: u32) {
    let status = format!("process {process} has taken over");
    tell(&[NotifyState::MainPid(process), NotifyState::Status(&status)]);
}

/// How often the service manager wants to hear that this process is well; none: never.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// This process is well.
pub(super) fn well() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(states) {
        tracing::warn!(%fault, "systemd could not be told of the state");
    }
}
