//! The keys of a route's `request_headers` and `response_headers`.

use http::header::{HeaderName, HeaderValue};

use super::texts::{empty, refused};
use crate::config::identity_headers::{folded, parse_name};
use crate::settings::key::KindExt as _;
use crate::settings::kind::{Private, Text, text};
use crate::settings::list::{List, filled, one_or_list};
use crate::settings::named::{Named, named};
use crate::settings::settings;

settings! {
    /// What the route changes in the headers of requests, before the upstream: `remove` first, then
    /// `set`, then `add`. Not what keyward itself says or what frames messages. The values may be
    /// credentials for the upstream, and are not shown.
    pub(crate) struct RequestHeaderKeys {
        /// These take the place of what the client sent.
        pub(crate) set: Option<Vec<(HeaderName, HeaderValue)>> = SET.optional(),
        /// These come behind what the client sent: a value, or a list of them.
        pub(crate) add: Option<Vec<(HeaderName, Vec<HeaderValue>)>> = ADD.optional(),
        /// These are removed.
        pub(crate) remove: Option<Vec<HeaderName>> = filled(NAME).unique().optional(),
    }
}

settings! {
    /// What the route changes in the headers of its answers: `remove` first, then `set`, then
    /// `add`. Not what keyward itself says or what frames messages. Refusals get what is set and
    /// added, where they do not say it themselves.
    pub(crate) struct ResponseHeaderKeys {
        /// These take the place of what the upstream sent.
        pub(crate) set: Option<Vec<(HeaderName, HeaderValue)>> = SET.optional(),
        /// These come behind what the upstream sent: a value, or a list of them.
        pub(crate) add: Option<Vec<(HeaderName, Vec<HeaderValue>)>> = ADD.optional(),
        /// These are removed.
        pub(crate) remove: Option<Vec<HeaderName>> = filled(NAME).unique().optional(),
    }
}

const NAMES: &str = "names of headers";

const SET: Named<HeaderName, Private<HeaderValue>> = named(NAMES, NAME, VALUE);

const ADD: Named<HeaderName, List<Private<HeaderValue>>> = named(NAMES, NAME, one_or_list(VALUE));

/// What says how a message is framed, coded or switched, and what ends a gRPC call.
const KEPT: &[&str] =
    &["content-encoding", "destination", "grpc-message", "grpc-status", "grpc-status-details-bin"];

const NAME: Text<HeaderName> = text("the name of a header as in \"X-Frame-Options\"", |text| {
    let name = folded(text);
    if name.is_empty() {
        return empty();
    }
    if name == "authorization" {
        return Ok(http::header::AUTHORIZATION);
    }
    if name == "host" {
        return Err("see \"preserve_host\" of the upstream".to_owned());
    }
    if name == "via" {
        return Err("see \"via\" of the upstream".to_owned());
    }
    if KEPT.contains(&name.as_str()) || name.starts_with("sec-websocket-") {
        return Err("keyward and both ends read from it what the message is".to_owned());
    }
    let name = parse_name(text)?.unwrap_or_default();
    HeaderName::try_from(name).or_else(|_| refused())
});

const VALUE: Private<HeaderValue> = Private {
    what: "a value of visible ASCII characters, with spaces between them",
    parse: |text| {
        let fits = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
        if text.trim() != text || !text.bytes().all(fits) {
            return refused();
        }
        HeaderValue::try_from(text).or_else(|_| refused())
    },
    advice: None,
};
