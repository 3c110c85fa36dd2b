//! What `when` of a route says beside the rest of the configuration: no route is chosen by what
//! only keyward may say, or by a credential.

use http::header::HeaderName;

use crate::config::tables::{CredentialKeys, RouteKeys};
use crate::gateway::{Conditions, X_API_KEY};
use crate::settings::fault::Spot;
use crate::wire::fields::{FoldedNames, are_alike};

/// Where routes take credentials from: no route is chosen by what may be one on another.
#[derive(Default)]
pub(super) struct CredentialNames {
    headers: Vec<HeaderName>,
    parameters: Vec<String>,
}

impl CredentialNames {
    pub(super) fn note(&mut self, keys: &CredentialKeys) {
        self.headers.extend(keys.headers.iter().flatten().cloned());
        self.parameters.extend(keys.query.iter().chain(&keys.ticket).cloned());
    }
}

/// The conditions of a route; `None`: it has none. `credentials`: of all routes.
pub(super) fn resolve(
    keys: &RouteKeys,
    credentials: &CredentialNames,
    reserved: &FoldedNames,
    spot: Spot<'_>,
) -> Option<Box<Conditions>> {
    let headers = keys.when.headers.clone().unwrap_or_default();
    let query = keys.when.query.clone().unwrap_or_default();
    for (name, _) in headers.iter().filter(|(name, _)| reserved.matches(name.as_str())) {
        let message = format!(
            "\"headers\": {:?} is what keyward tells upstreams, and what clients send under that \
             name is removed: it says nothing of a request",
            name.as_str()
        );
        spot.fault("when.headers", message);
    }
    let is_credential = |name: &HeaderName| {
        credentials.headers.iter().any(|other| are_alike(other.as_str(), name.as_str()))
            || are_alike(name.as_str(), X_API_KEY.as_str())
    };
    for (name, _) in headers.iter().filter(|(name, _)| is_credential(name)) {
        let message = format!(
            "\"headers\": {:?} may hold a credential, and no route is chosen by those",
            name.as_str()
        );
        spot.fault("when.headers", message);
    }
    for (name, _) in query.iter().filter(|(name, _)| credentials.parameters.contains(name)) {
        let message = format!(
            "\"query\": the parameter {name:?} holds a credential, and no route is chosen by those"
        );
        spot.fault("when.query", message);
    }
    let conditions = Conditions { headers, query };
    (conditions.count() > 0).then(|| Box::new(conditions))
}
