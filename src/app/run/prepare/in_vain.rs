//! Routes that answer nothing: no request reaches them, or their redirect never ends.

use crate::gateway::{Doubts, Plan, RedirectLoop};

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
    let RedirectLoop { route, example, doubts } = found;
    let Doubts { other_host, other_scheme, by_headers } = doubts;
    let key = format!("route[{route}].redirect.to");
    let message = format!("\"to\" leads to no answer: {example}");
    let mut ifs = Vec::new();
    if let Some(host) = &other_host {
        ifs.push(format!("requests to {host} come to this keyward"));
    } else if let Some(scheme) = &other_scheme {
        ifs.push(format!("requests by {} come to this keyward", scheme.name));
    }
    if by_headers {
        ifs.push("what \"when.headers\" asks for is the same in all of these requests".to_owned());
    }
    if ifs.is_empty() {
        return InVain::Fault { key, message };
    }
    let mut message = format!("{message}, if {}", ifs.join(" and "));
    let enough = other_scheme.filter(|_| other_host.is_none()).and_then(|scheme| scheme.enough);
    if let Some(scheme) = enough {
        message.push_str(&format!(
            "; for requests by {scheme} alone, say scheme = \"{scheme}\" on this [[route]]"
        ));
    }
    InVain::Warning { key, message }
}
