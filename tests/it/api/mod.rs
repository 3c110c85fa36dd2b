//! The faces, as their callers see them; the folders mirror the URLs.

mod allowlist_jwt;
