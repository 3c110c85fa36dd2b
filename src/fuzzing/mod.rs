//! The fuzz targets: one function of bytes each, which asserts what must hold for every input.
//!
//! They are in the library, behind `cfg(any(test, feature = "fuzzing"))`, because what they try is
//! private to it: `cargo test` runs them over `fuzz/corpus/` and over seeded mutations of it (see
//! `tests`), and `make fuzz` runs libFuzzer on them (see `fuzz/`). An input that breaks a target is
//! a file in its corpus from then on.
//!
//! | target | input |
//! |---|---|
//! | `path` | a request's path |
//! | `fields` | field lines, `Name: value` each, ended by a line feed |
//! | `forwarding` | as `fields`: what a client says of where its request came from |
//! | `credential_places` | a query, a line feed, and as `fields` |
//! | `gate` | an HTTP/1 request as a client sends it |
//! | `round_trip` | the same |
//! | `origin` | an item of `cors.origins`, a line feed, and the origin of a request |
//! | `route` | a request's path, a line feed and its query |
//! | `opaque_token` | a credential |
//! | `signed_token` | a credential; or a JWT's header, a line feed and its claims, to be signed |
//! | `trace_context` | as `fields`: which trace a request says it belongs to |
//! | `config` | a configuration |

mod config;
mod credential_places;
mod exchange;
mod field_lines;
mod fields;
mod forwarding;
mod gate;
mod origin;
mod path;
mod round_trip;
mod route;
mod strict;
#[cfg(test)]
mod tests;
mod tokens;
mod trace_context;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called here, in `fuzz/corpus/` and in `KEYWARD_FUZZ_TARGET`.
    pub name: &'static str,
    /// Panics if the input breaks what must hold. Says whether it is one that passes, and so was
    /// looked at to the end.
    pub run: fn(&[u8]) -> bool,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "path", run: path::run },
    Target { name: "fields", run: fields::run },
    Target { name: "forwarding", run: forwarding::run },
    Target { name: "credential_places", run: credential_places::run },
    Target { name: "gate", run: gate::run },
    Target { name: "origin", run: origin::run },
    Target { name: "round_trip", run: round_trip::run },
    Target { name: "route", run: route::run },
    Target { name: "opaque_token", run: tokens::opaque },
    Target { name: "signed_token", run: tokens::signed },
    Target { name: "trace_context", run: trace_context::run },
    Target { name: "config", run: config::run },
];
