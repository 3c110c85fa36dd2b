//! The faces, as their callers see them; the folders mirror the URLs.

mod accounts;
mod agent_tokens;
mod allowlist_jwt;
mod conformance;
mod docs;
mod platform;
mod tenant_tokens;
