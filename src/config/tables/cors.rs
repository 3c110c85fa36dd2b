//! The keys of `cors`, of routes and of token APIs.

use std::time::Duration;

use http::Method;
use http::header::HeaderName;

use super::texts::{method, refused};
use crate::gateway::AllowedOrigin;
use crate::settings::key::KindExt as _;
use crate::settings::kind::{Text, boolean, duration, text};
use crate::settings::list::{filled, list};
use crate::settings::settings;
use crate::settings::units::{days, minutes, seconds};

settings! {
    /// What pages of other origins may do (CORS). keyward answers preflights itself, without a
    /// credential, and what the upstream says of it is replaced.
    pub(crate) struct CorsKeys {
        /// The origins of the pages that are let in: `https://app.example.com`, one;
        /// `https://*.example.com`, all hosts below that name, but not the name itself; `*`, all.
        pub(crate) origins: Option<Vec<AllowedOrigin>> = filled(ORIGIN).unique().required(),
        /// The methods that preflights allow; `*`: any. Absent: those that the route or the call
        /// takes.
        pub(crate) methods: Option<Vec<Method>> = filled(METHOD).unique().optional(),
        /// The request headers that preflights allow; `*`: those that they ask for, `Authorization`
        /// included. Absent: the usual ones, and those of `credentials.headers`.
        pub(crate) headers: Vec<String> = filled(FIELD).unique().or(names(HEADERS)),
        /// The response headers that scripts may read, beside those that they always may; `*`: all,
        /// not with `credentials`.
        pub(crate) expose: Vec<String> = list(FIELD).unique().or(names(EXPOSE)),
        /// `true`: browsers may send cookies and client certificates along, not with the origin
        /// `*`. A token in `Authorization` does not need it.
        pub(crate) credentials: bool = boolean().or(false),
        /// How long browsers may remember a preflight; they have bounds of their own, Chromium 2
        /// hours.
        pub(crate) max_age: Duration = duration(seconds(0)..=days(1)).or(minutes(10)),
    }
}

/// What scripts send beside their token: content and its negotiation, conditions, ranges, retries,
/// tracing, and what libraries add.
const HEADERS: &[&str] = &[
    "Accept",
    "Accept-Language",
    "Authorization",
    "Baggage",
    "Cache-Control",
    "Content-Language",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Last-Event-ID",
    "Pragma",
    "Prefer",
    "Range",
    "Traceparent",
    "Tracestate",
    "X-API-Key",
    "X-Request-Id",
    "X-Requested-With",
];

/// What scripts read of an answer of keyward's or of a usual API, beside what they always may.
const EXPOSE: &[&str] = &[
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "Date",
    "ETag",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const ORIGIN: Text<AllowedOrigin> = text(
    "an origin as in \"https://app.example.com\" or \"https://*.example.com\", or \"*\"",
    str::parse,
);

const METHOD: Text<Method> = text("an HTTP method as in \"GET\", or \"*\"", method);

const FIELD: Text<String> = text("the name of a header, or \"*\"", |text| {
    if HeaderName::from_bytes(text.as_bytes()).is_ok() && !text.contains('"') {
        Ok(text.to_owned())
    } else {
        refused()
    }
});
