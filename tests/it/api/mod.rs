//! The token APIs, as their callers see them: a folder for each style with a file for each
//! operation, and `every_style` for what holds for all of them.

mod accounts;
mod agent_tokens;
mod allowlist_jwt;
mod cors;
mod docs;
mod every_style;
mod tenant_tokens;
mod worlds;
