//! Where the routes of a plan take credentials from, for what is forwarded along the others: a
//! browser sends a cookie to every path of a host, and a client may send its header or parameter
//! everywhere. What opens one route is not for the upstreams of all.
//!
//! * A cookie that a route names is removed whatever it holds: cookies of one name are one to a
//!   browser, so no other upstream can have its own under it.
//! * A header, a parameter or a protocol of WebSocket may mean something else to another upstream.
//!   It is removed where it has the form of a credential: of a key, of a JWT, or of a ticket.

use http::Uri;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{CredentialPlaces, cookie, query, subprotocol};
use crate::tokens::opaque::OpaqueApis;
use crate::tokens::tickets;
use crate::wire::fields::are_alike;

/// The places of all routes.
#[derive(Default)]
pub(in crate::gateway) struct PlacesElsewhere {
    cookies: Vec<String>,
    headers: Vec<HeaderName>,
    /// Parameters of the query, for tokens and for tickets.
    parameters: Vec<String>,
    tickets: Vec<String>,
    websocket_protocol: bool,
}

impl PlacesElsewhere {
    /// `None`: no route takes a credential from a place that is not emptied on all routes.
    pub(in crate::gateway) fn of<'a>(
        routes: impl IntoIterator<Item = &'a CredentialPlaces>,
    ) -> Option<Box<Self>> {
        let mut all = Self::default();
        for places in routes {
            all.cookies.extend(places.cookie.clone());
            all.headers.extend(places.headers.iter().cloned());
            all.parameters.extend(places.query.clone());
            all.tickets.extend(places.ticket.clone());
            all.websocket_protocol |= places.websocket_protocol;
        }
        // It is removed on all routes that do not forward credentials.
        all.headers.retain(|name| *name != http::header::AUTHORIZATION);
        for names in [&mut all.cookies, &mut all.parameters, &mut all.tickets] {
            names.sort_unstable();
            names.dedup();
        }
        let has_some = all.websocket_protocol
            || !all.cookies.is_empty()
            || !all.headers.is_empty()
            || !all.parameters.is_empty()
            || !all.tickets.is_empty();
        has_some.then(|| Box::new(all))
    }

    /// Removes what may open another route.
    pub(in crate::gateway) fn remove(
        &self,
        opaque: &OpaqueApis,
        headers: &mut HeaderMap,
        target: &mut Uri,
    ) {
        let is_token = |text: &[u8]| opaque.is_like_token(text);
        for name in &self.cookies {
            cookie::remove(headers, name);
        }
        self.remove_from_headers(is_token, headers);
        if self.websocket_protocol {
            subprotocol::remove_where(headers, is_token);
        }
        for name in &self.parameters {
            query::remove_where(target, name, is_token);
            query::remove_from_referer(headers, name, is_token);
        }
        self.remove_tickets(headers, target);
    }

    /// Removes tickets alone: no upstream has a use for them, whatever the route says.
    pub(in crate::gateway) fn remove_tickets(&self, headers: &mut HeaderMap, target: &mut Uri) {
        for name in &self.tickets {
            query::remove_where(target, name, tickets::is_like_ticket);
            query::remove_from_referer(headers, name, tickets::is_like_ticket);
        }
    }

    fn remove_from_headers(&self, is_token: impl Fn(&[u8]) -> bool, headers: &mut HeaderMap) {
        let is_listed = |name: &HeaderName| {
            self.headers.iter().any(|own| are_alike(own.as_str(), name.as_str()))
        };
        let holds_token = |value: &HeaderValue| is_token(value.as_bytes().trim_ascii());
        let found: Vec<HeaderName> = headers
            .keys()
            .filter(|name| is_listed(name) && headers.get_all(*name).iter().any(holds_token))
            .cloned()
            .collect();
        for name in found {
            let values = headers.get_all(&name).iter();
            let others: Vec<_> = values.filter(|value| !holds_token(value)).cloned().collect();
            headers.remove(&name);
            for value in others {
                headers.append(&name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tokens::opaque::{Alphabet, OpaqueApi, OpaqueFormat};

    const JWT: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.c2ln";

    #[test]
    fn what_has_the_form_of_a_credential_is_removed_and_what_has_not_stays() {
        let format = OpaqueFormat { prefix: "sk-".to_owned(), alphabet: Alphabet::Base62 };
        let token_api = Arc::from("tenants");
        let opaque =
            OpaqueApis::new(vec![OpaqueApi { token_api, format, takes_api_key_field: false }]);
        let places = CredentialPlaces {
            headers: vec![HeaderName::from_static("x-api-key")],
            cookie: Some("token".to_owned()),
            query: Some("key".to_owned()),
            ticket: Some("ticket".to_owned()),
            websocket_protocol: true,
            ..CredentialPlaces::default()
        };
        let elsewhere = PlacesElsewhere::of([&places]).expect("places");
        let key = format!("sk-{}", "a".repeat(33));
        let ticket = format!("tkt_{}", "a".repeat(33));
        // A key of another maker begins like ours.
        let foreign = format!("sk-proj-{}", "a".repeat(60));
        for (name, value, left) in [
            ("cookie", "a=1; token=anything; b=2".to_owned(), Some("a=1; b=2")),
            ("x-api-key", key.clone(), None),
            ("x_api_key", JWT.to_owned(), None),
            ("x-api-key", foreign.clone(), Some(&*foreign)),
            ("x-other", key.clone(), Some(&*key)),
            ("sec-websocket-protocol", format!("chat, bearer, {key}"), Some("chat")),
            ("sec-websocket-protocol", "bearer, chat".to_owned(), Some("bearer, chat")),
            ("referer", format!("https://a.example/p?key={key}"), Some("https://a.example/p")),
            (
                "referer",
                format!("https://a.example/p?b;ticket={ticket}"),
                Some("https://a.example/p"),
            ),
            ("referer", "https://a.example/p?key=b".to_owned(), Some("https://a.example/p?key=b")),
        ] {
            let text = HeaderValue::try_from(&value).expect("a value");
            let field = HeaderName::from_static(name);
            let mut headers = HeaderMap::from_iter([(field, text)]);
            elsewhere.remove(&opaque, &mut headers, &mut Uri::from_static("/"));
            let found = headers.get(name).map(|value| value.to_str().expect("text"));
            assert_eq!(found, left, "{name}: {value}");
        }
        for (target, left) in [
            (format!("/a?key={key}&b=%201"), "/a?b=%201"),
            (format!("/a?b&%6bey={JWT}"), "/a?b"),
            (format!("/a?b;key={key}&c"), "/a?c"),
            (format!("/a?key={key};b&c"), "/a?c"),
            (format!("/a?ticket={ticket}"), "/a"),
            ("/a?key=b&ticket=c".to_owned(), "/a?key=b&ticket=c"),
        ] {
            let mut uri: Uri = target.parse().expect("a target");
            elsewhere.remove(&opaque, &mut HeaderMap::new(), &mut uri);
            assert_eq!(uri.to_string(), left, "{target}");
        }
        let basic = CredentialPlaces { basic: true, ..CredentialPlaces::default() };
        assert!(PlacesElsewhere::of([&basic]).is_none());
    }
}
