//! The way to the tokens: a running keyward if there is one, else the store itself.

#![expect(
    clippy::disallowed_methods,
    reason = "a command waits for a keyward that starts or stops"
)]

use std::future::Future;
use std::time::{Duration, Instant};

use super::context::Context;
use super::failure::Failure;
use super::runtime::OpenRefusal;
use crate::admin::{AdminError, Administration, SocketClient};

/// Runs `work` to its end on a runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| format!("the system has no resources to work with: {error}"))?;
    Ok(runtime.block_on(work))
}

/// How often a command looks while it waits.
const EVERY: Duration = Duration::from_millis(50);

/// Does `work` with the running keyward, or with the store.
pub(super) fn administer<T>(
    context: &Context<'_>,
    work: impl AsyncFnOnce(&dyn Administration) -> Result<T, AdminError>,
) -> Result<T, Failure> {
    let administration = in_charge(context)?;
    Ok(block_on(work(administration.as_ref()))??)
}

/// A running keyward, or the store. A keyward that is starting has the store already and answers a
/// little later: it is waited for.
fn in_charge(context: &Context<'_>) -> Result<Box<dyn Administration>, Failure> {
    let socket = context.runtime.settings(context.config)?.admin_socket;
    let (began, timeout) = (Instant::now(), context.runtime.timeout());
    loop {
        if let Some(client) = block_on(SocketClient::find(&socket))?? {
            return Ok(Box::new(client));
        }
        match context.runtime.open_administration(context.config) {
            Ok(administration) => return Ok(administration),
            Err(OpenRefusal::InUse(_)) if began.elapsed() < timeout => std::thread::sleep(EVERY),
            Err(OpenRefusal::InUse(words)) => {
                return Err(Failure::new(format_args!(
                    "{words}. It does not answer on the admin socket {} either: it may be starting \
                     or stopping, so try again, or it runs with another configuration, so name \
                     that one with --config",
                    socket.display()
                )));
            }
            Err(OpenRefusal::Other(failure)) => return Err(failure),
        }
    }
}
