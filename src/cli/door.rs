//! The way to the tokens: a running keyward if there is one, else the store itself.

use std::future::Future;
use std::io;
use std::process::ExitCode;

use super::Context;
use crate::admin::{AdminError, Administration, SocketClient};

/// Runs `work` to its end on a runtime of its own.
///
/// # Errors
///
/// The system has no resources for one.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error: io::Error| format!("the system has no resources to work with: {error}"))?;
    Ok(runtime.block_on(work))
}

/// Does `work` with whoever is in charge of the tokens. On failure the reason has been said, and the exit code is
/// returned.
pub(super) fn administer<T>(
    context: &mut Context<'_>,
    work: impl AsyncFnOnce(&dyn Administration) -> Result<T, AdminError>,
) -> Result<T, ExitCode> {
    let settings = context.settings()?;
    let running = match &settings.admin_socket {
        Some(path) => block_on(SocketClient::find(path)).map_err(|error| context.refuse(error))?,
        None => Ok(None),
    };
    let administration: Box<dyn Administration> = match running {
        Ok(Some(client)) => Box::new(client),
        Ok(None) => context.runtime.open_administration(context.config).map_err(|words| context.refuse(words))?,
        Err(error) => return Err(context.refuse(error)),
    };
    match block_on(work(administration.as_ref())) {
        Ok(outcome) => outcome.map_err(|error| context.refuse(error)),
        Err(error) => Err(context.refuse(error)),
    }
}
