//! Authorize: whether a caller may use a route. The only place that can make a [`Permit`].

use std::rc::Rc;

use super::authenticate::Admitted;
use super::plan::RouteSettings;
use super::refusal::Refusal;

/// The leave to forward one request along one route, for one caller or, on a public route, for nobody in particular.
pub(super) struct Permit<'a> {
    route: &'a RouteSettings,
    caller: Option<Rc<Admitted>>,
}

impl Permit<'_> {
    pub(super) fn route(&self) -> &RouteSettings {
        self.route
    }

    pub(super) fn caller(&self) -> Option<&Admitted> {
        self.caller.as_deref()
    }
}

/// Judged anew for each request: a decision for one route is none for another (cf. CVE-2021-32701).
pub(super) fn permit(route: &RouteSettings, caller: Option<Rc<Admitted>>) -> Result<Permit<'_>, Refusal> {
    match &caller {
        None if route.accept.is_empty() => {}
        None => return Err(Refusal::NoCredential),
        Some(admitted) => {
            let token = &admitted.caller.token;
            if !route.accept.iter().any(|accepted| accepted == token.token_api()) {
                return Err(Refusal::NotAccepted);
            }
            if !route.require.iter().all(|requirement| requirement.is_met_by(token)) {
                return Err(Refusal::Forbidden);
            }
        }
    }
    Ok(Permit { route, caller })
}
