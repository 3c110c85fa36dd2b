//! What a process that takes over makes sure of before it serves.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::app::hand_over::take::Predecessor;
use crate::app::open_store::OpenStore;
use crate::config::{Config, Faults};
use crate::gateway::Shared;
use crate::server::{InheritedSocket, ListenAddress, SocketOrigin};
use crate::tokens::issuer::RingHealth;
use crate::tokens::store::StoreError;

/// How long a process that takes over may take until it can judge every request: to fetch the keys
/// of issuers, or to join a fleet. And how often it looks.
const ABLE_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Two processes with two stores would not know of each other's revocations.
pub(super) fn check_store(config: &Config, predecessor: &Predecessor) -> Result<(), Faults> {
    let (own, theirs) = (OpenStore::name(config), &predecessor.store.0);
    if own == *theirs {
        return Ok(());
    }
    let words = format!(
        "[store] is another one ({own}) than that of the keyward to take over from ({theirs}): stop \
         that one, and start this one without taking over"
    );
    Err(config.places.one(OpenStore::key(config), words))
}

/// A name without an address, where the other process may know one, would cost requests. Where that
/// one knows none either, and is not asked to wait for servers of names, it is no worse here.
pub(super) fn check_names(without: &[&str], predecessor: &Predecessor) -> Result<(), String> {
    let is_known_there =
        |name: &&&str| !predecessor.without_address.iter().any(|one| one == **name);
    match without.iter().find(is_known_there) {
        None => Ok(()),
        Some(name) => Err(format!(
            "{name:?}, the name of an endpoint, has no address now: process {} may still know one, \
             and goes on",
            predecessor.process
        )),
    }
}

/// What the process before leaves out because it failed is left out here, too.
pub(super) fn leave_out(shared: &Shared, predecessor: &Predecessor) {
    let states = shared.upstream_states();
    for out in predecessor.left_out() {
        for state in states.iter().filter(|state| state.name() == out.upstream) {
            state.leave_out(&out);
        }
    }
}

/// The numbers of the sockets that are used, of those of the process before: they follow on the
/// first ones. Those of the service manager always are.
pub(super) fn taken(config: &Config, sockets: &[InheritedSocket], first: usize) -> Vec<usize> {
    let listeners = config.listeners.iter().map(|listener| (listener.address.clone(), false));
    let admin = config.admin.address.map(|address| (ListenAddress::Tcp(address), true));
    let wanted: Vec<_> = listeners.chain(admin).collect();
    let used: HashSet<usize> = wanted
        .iter()
        .filter_map(|(address, is_admin)| {
            sockets.iter().position(|socket| socket.is_for(address, *is_admin))
        })
        .collect();
    let is_taken = |(number, socket): &(usize, &InheritedSocket)| {
        used.contains(number)
            || socket.origin == SocketOrigin::ServiceManager
            || is_covered(config, socket)
    };
    let of_process = sockets.iter().enumerate().filter(|(number, _)| *number >= first);
    of_process.filter(is_taken).map(|(number, _)| number - first).collect()
}

/// Whether no listener has this socket, and one takes the connections to its address when it is
/// closed. It stays open and serves for that one, as after a reload: closing it would cut off
/// connections that the system has taken in for it.
pub(super) fn is_covered(config: &Config, socket: &InheritedSocket) -> bool {
    let addresses = || config.listeners.iter().map(|listener| &listener.address);
    socket.origin == SocketOrigin::Keyward
        && !socket.is_admin
        && !addresses().any(|address| socket.is_for(address, false))
        && addresses().any(|address| address.covers(&socket.address))
}

/// Waits until every request can be judged that the process before can judge.
pub(super) async fn until_able(shared: &Shared) -> Result<(), String> {
    let mut missing = String::new();
    let able = async {
        loop {
            let store = shared.store.check().await;
            let store = match store {
                Ok(()) | Err(StoreError::RefusesChanges(_)) => {
                    shared.authenticator.cache().lease().held().await
                }
                Err(fault) => Err(fault),
            };
            let without_keys = || {
                let issuers = shared.issuers();
                issuers.health(Instant::now()).into_iter().find_map(|(name, health)| match health {
                    RingHealth::Never(why) => Some(format!("the keys of issuer {name}: {why}")),
                    _ => None,
                })
            };
            match store.err().map(|fault| fault.to_string()).or_else(without_keys) {
                None => return,
                Some(lacking) => missing = lacking,
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let outcome = tokio::time::timeout(ABLE_WITHIN, able).await;
    outcome.map_err(|_| {
        format!(
            "nothing was taken over, as requests would fail here after {} s: {missing}",
            ABLE_WITHIN.as_secs()
        )
    })
}
