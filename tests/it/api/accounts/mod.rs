//! The style `accounts`: a login gives a session, a session makes API keys, and API keys open
//! routes. One file for each operation.

mod api_keys;
mod login;
mod register;
