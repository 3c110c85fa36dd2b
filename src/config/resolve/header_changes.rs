//! What `request_headers` and `response_headers` of a route say together and beside the rest.

use http::header::{HeaderName, HeaderValue};

use crate::config::tables::RouteKeys;
use crate::gateway::{HeaderChanges, RouteHeaderChanges};
use crate::settings::fault::Spot;
use crate::wire::fields::{FoldedNames, are_alike};

type Field = (HeaderName, HeaderValue);

/// The changes of a route; `None`: it makes none.
pub(super) fn resolve(
    keys: &RouteKeys,
    reserved: &FoldedNames,
    spot: Spot<'_>,
) -> Option<Box<RouteHeaderChanges>> {
    let (request, response) = (&keys.request_headers, &keys.response_headers);
    let request = changes(&request.remove, &request.set, &request.add);
    let response = changes(&response.remove, &response.set, &response.add);
    for (key, changes) in [("request_headers", &request), ("response_headers", &response)] {
        for (part, name) in names(changes).filter(|(_, name)| reserved.matches(name.as_str())) {
            let message = format!(
                "{part:?}: {:?} is keyward's own, and cannot be changed here",
                name.as_str()
            );
            spot.fault(&format!("{key}.{part}"), message);
        }
    }
    if keys.forward_credential {
        let of_route = keys.credentials.headers.iter().flatten();
        let cookie = keys.credentials.cookie.as_ref().map(|_| "cookie");
        let credentials: Vec<&str> = ["authorization"]
            .into_iter()
            .chain(of_route.map(HeaderName::as_str))
            .chain(cookie)
            .collect();
        let is_one = |name: &HeaderName| {
            credentials.iter().any(|credential| are_alike(credential, name.as_str()))
        };
        for (part, name) in names(&request).filter(|(_, name)| is_one(name)) {
            let message = format!(
                "{part:?}: {:?} holds the credential that this route forwards: leave out either \
                 this or \"forward_credential\"",
                name.as_str()
            );
            spot.fault(&format!("request_headers.{part}"), message);
        }
    }
    let request = secret(request);
    let changes = RouteHeaderChanges { request, response };
    (changes != RouteHeaderChanges::default()).then(|| Box::new(changes))
}

/// Reports changes of what the policy of CORS says itself.
pub(super) fn check_cors(changes: Option<&RouteHeaderChanges>, spot: Spot<'_>) {
    let is_of_cors = |name: &HeaderName| name.as_str().starts_with("access-control-");
    let response = changes.map(|changes| &changes.response);
    for (part, name) in response.into_iter().flat_map(names).filter(|(_, name)| is_of_cors(name)) {
        let message = format!(
            "{part:?}: \"cors\" of this route says {:?}: leave out either of them",
            name.as_str()
        );
        spot.fault(&format!("response_headers.{part}"), message);
    }
}

fn changes(
    remove: &Option<Vec<HeaderName>>,
    set: &Option<Vec<Field>>,
    add: &Option<Vec<(HeaderName, Vec<HeaderValue>)>>,
) -> HeaderChanges {
    let add = add
        .iter()
        .flatten()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.clone())));
    HeaderChanges {
        remove: remove.clone().unwrap_or_default(),
        set: set.clone().unwrap_or_default(),
        add: add.collect(),
    }
}

/// The names that are changed, each with the key that says so.
fn names(changes: &HeaderChanges) -> impl Iterator<Item = (&'static str, &HeaderName)> {
    let removed = changes.remove.iter().map(|name| ("remove", name));
    let set = changes.set.iter().map(|(name, _)| ("set", name));
    let added = changes.add.iter().map(|(name, _)| ("add", name));
    removed.chain(set).chain(added)
}

/// Values that may be credentials of the upstream's: nothing shows them, and HTTP/2 does not keep
/// them in its tables.
fn secret(mut changes: HeaderChanges) -> HeaderChanges {
    for (_, value) in changes.set.iter_mut().chain(&mut changes.add) {
        value.set_sensitive(true);
    }
    changes
}
