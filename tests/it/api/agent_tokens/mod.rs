//! The style `agent-tokens`: one key per user, for the user's agents. One file for each path, and
//! one for each guarantee that concerns both.

mod credentials;
mod get_or_create;
mod me;
mod outage;
mod page;
