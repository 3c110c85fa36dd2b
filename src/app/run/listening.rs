//! Listening on the addresses that were bound: the step of a start or a reload after which the
//! system takes connections in.

use super::prepare::PreparedListener;
use crate::config::{Config, Faults};
use crate::server::{BoundAddress, ListenerSettings, ListeningSocket, OpenSocket, listen_all};

/// A listener that can be accepted from.
pub(super) struct ReadyListener {
    pub(super) settings: ListenerSettings,
    /// None: it was listened on before.
    pub(super) socket: Option<ListeningSocket>,
}

/// Listens on the addresses of all listeners that were bound. From now on connections are taken in
/// by the system.
pub(super) fn listen(
    config: &Config,
    prepared: Vec<PreparedListener>,
    beside: &[OpenSocket],
) -> Result<Vec<ReadyListener>, Faults> {
    let (mut settings, mut bound): (Vec<_>, Vec<BoundAddress>) = (Vec::new(), Vec::new());
    for listener in prepared {
        settings.push((listener.settings, listener.bound.is_some()));
        bound.extend(listener.bound);
    }
    let sockets = listen_all(bound, beside).map_err(|fault| {
        let at = config.listeners.iter().position(|listener| listener.address == fault.address);
        config.places.one(
            &at.map_or("listener".to_owned(), |at| format!("listener[{at}].address")),
            fault.to_string(),
        )
    })?;
    let mut sockets = sockets.into_iter();
    let ready = |(settings, is_new): (ListenerSettings, bool)| ReadyListener {
        settings,
        socket: if is_new { sockets.next() } else { None },
    };
    Ok(settings.into_iter().map(ready).collect())
}
