//! What the keys of a route say together of where credentials come from, and of how the route asks
//! for them.

use crate::config::tables::CredentialKeys;
use crate::gateway::{ChallengeScheme, CredentialPlaces, DEFAULT_REALM, RouteChallenge};
use crate::settings::fault::Spot;

/// `None`: only `Authorization: Bearer`, as usual.
pub(super) fn places(keys: CredentialKeys, spot: Spot<'_>) -> Option<Box<CredentialPlaces>> {
    let places = CredentialPlaces {
        headers: keys.headers.unwrap_or_default(),
        basic: keys.basic,
        websocket_protocol: keys.websocket_protocol,
        cookie: keys.cookie,
        query: keys.query,
        ticket: keys.ticket,
        origins: keys.origins.unwrap_or_default(),
    };
    if places.ticket.is_some() && places.ticket == places.query {
        let message = "\"ticket\" and \"query\" are the same parameter: what it holds could not be \
                       told";
        spot.fault("credentials.ticket", message);
    }
    let is_sent_by_browsers = places.cookie.is_some() || places.basic;
    if !places.origins.is_empty() && !is_sent_by_browsers {
        spot.warn(
            "credentials.origins",
            "\"origins\" is of no use here: it needs \"cookie\" or \"basic = true\" beside it",
        );
    }
    (places != CredentialPlaces::default()).then(|| Box::new(places))
}

/// `None`: as usual.
pub(super) fn challenge(
    scheme: ChallengeScheme,
    realm: String,
    is_basic_read: bool,
    spot: Spot<'_>,
) -> Option<Box<RouteChallenge>> {
    if scheme == ChallengeScheme::Basic && !is_basic_read && !spot.is_wrong("credentials.basic") {
        spot.fault(
            "challenge",
            "the route asks for Basic and does not take it: say \"credentials.basic = true\", too",
        );
    }
    let is_usual = scheme == ChallengeScheme::Bearer && realm == DEFAULT_REALM;
    (!is_usual).then(|| Box::new(RouteChallenge { scheme, realm: realm.into() }))
}
