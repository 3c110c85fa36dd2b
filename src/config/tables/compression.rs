//! The keys of a route's `compression`.

use std::ops::RangeInclusive;

use crate::gateway::{Coding, MediaTypeRule};
use crate::settings::key::KindExt as _;
use crate::settings::kind::{Text, size, text, words};
use crate::settings::list::filled;
use crate::settings::settings;

settings! {
    /// Which responses of the upstream are compressed. Absent: none; `{}`: all that are here by
    /// default. Never one that has a `Content-Encoding` already, is a part (206), or says
    /// `Cache-Control: no-transform`; nor gRPC.
    pub(crate) struct CompressionKeys {
        /// The codings that are offered. A client that prefers none gets the first one that it
        /// takes.
        pub(crate) algorithms: Vec<Coding> = filled(words(CODINGS))
            .unique()
            .or(vec![Coding::Zstd, Coding::Brotli, Coding::Gzip]),
        /// From which `Content-Length` on; a response without one is compressed.
        pub(crate) min_size: usize = size(SIZE).or(1024),
        /// Of which media types: `text/html`, `text/*`, `application/*+json`, `*/*`.
        pub(crate) types: Vec<MediaTypeRule> = filled(TYPE).unique().or(usual()),
    }
}

const SIZE: RangeInclusive<usize> = 0..=(1 << 30);

const CODINGS: &[(&str, Coding)] =
    &[("zstd", Coding::Zstd), ("br", Coding::Brotli), ("gzip", Coding::Gzip)];

const TYPE: Text<MediaTypeRule> =
    text("a media type as in \"text/html\", \"text/*\" or \"application/*+json\"", str::parse);

/// Text in all its forms, and what shrinks as text does. Images, sounds and archives are compressed
/// already.
const USUAL: &[&str] = &[
    "text/*",
    "application/json",
    "application/*+json",
    "application/x-ndjson",
    "application/javascript",
    "application/xml",
    "application/*+xml",
    "application/yaml",
    "application/wasm",
    "image/svg+xml",
    "font/otf",
    "font/ttf",
];

fn usual() -> Vec<MediaTypeRule> {
    USUAL.iter().filter_map(|text| text.parse().ok()).collect()
}
