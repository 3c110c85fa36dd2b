//! Routes that answer nothing: no request reaches them, or their redirect never ends.

use crate::gateway::{Plan, RedirectLoop};

/// What is wrong with a route, and the key at which it is said.
pub(super) enum InVain {
    Fault {
        key: String,
        message: String,
    },
    /// It depends on what comes to this keyward.
    Warning {
        key: String,
        message: String,
    },
}

/// All of them.
pub(super) fn in_vain(plan: &Plan) -> Vec<InVain> {
    let hidden = plan.hidden_routes().into_iter().map(|(at, answered)| InVain::Fault {
        key: format!("route[{at}].path"),
        message: format!("\"path\" is {answered}: no request would reach this [[route]]"),
    });
    hidden.chain(plan.redirect_loops().into_iter().map(endless)).collect()
}

fn endless(found: RedirectLoop) -> InVain {
    let RedirectLoop { route, example, by_other_host } = found;
    let key = format!("route[{route}].redirect.to");
    let message = format!("\"to\" leads to no answer: {example}");
    match by_other_host {
        None => InVain::Fault { key, message },
        Some(host) => {
            let message = format!("{message}, if requests to {host} come to this keyward");
            InVain::Warning { key, message }
        }
    }
}
