//! The way to the tokens: a running keyward if there is one, else the store itself.

#![expect(
    clippy::disallowed_methods,
    reason = "a command waits for a keyward that starts or stops"
)]

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::context::Context;
use super::runtime::OpenRefusal;
use super::settings::Settings;
use crate::admin::{AdminError, Administration, SocketClient};

/// Runs `work` to its end on a runtime of its own.
///
/// # Errors
///
/// The system has no resources for one.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error: io::Error| format!("the system has no resources to work with: {error}"))?;
    Ok(runtime.block_on(work))
}

/// How often a command looks while it waits.
const EVERY: Duration = Duration::from_millis(50);

/// Does `work` with the running keyward, or with the store. On failure the reason has been said,
/// and the exit code is returned.
pub(super) fn administer<T>(
    context: &mut Context<'_>,
    work: impl AsyncFnOnce(&dyn Administration) -> Result<T, AdminError>,
) -> Result<T, ExitCode> {
    let settings = context.settings()?;
    let administration = in_charge(context, &settings).map_err(|words| context.refuse(words))?;
    match block_on(work(administration.as_ref())) {
        Ok(outcome) => outcome.map_err(|error| context.refuse(error)),
        Err(error) => Err(context.refuse(error)),
    }
}

/// A running keyward, or the store. A keyward that is starting has the store already and answers a
/// little later: it is waited for.
fn in_charge(
    context: &Context<'_>,
    settings: &Settings,
) -> Result<Box<dyn Administration>, String> {
    let (began, timeout) = (Instant::now(), context.runtime.timeout());
    loop {
        let running = match &settings.admin_socket {
            Some(path) => block_on(SocketClient::find(path))?.map_err(|error| error.to_string())?,
            None => None,
        };
        if let Some(client) = running {
            return Ok(Box::new(client));
        }
        match context.runtime.open_administration(context.config) {
            Ok(administration) => return Ok(administration),
            Err(OpenRefusal::InUse(_)) if began.elapsed() < timeout => std::thread::sleep(EVERY),
            Err(OpenRefusal::InUse(words)) => {
                let socket =
                    settings.admin_socket.as_deref().map(|path| format!(" {}", path.display()));
                return Err(format!(
                    "{words}. It does not answer on the admin socket{} either: it may be starting \
                     or stopping, so try \
                     again, or it runs with another configuration, so name that one with --config",
                    socket.unwrap_or_default()
                ));
            }
            Err(OpenRefusal::Other(words)) => return Err(words),
        }
    }
}
