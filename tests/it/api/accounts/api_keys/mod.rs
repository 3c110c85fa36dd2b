//! `/api-keys`: one file for each operation, one for how a key is used, and one for the credentials
//! that manage keys.

mod create;
mod credentials;
mod list;
mod revoke;
mod use_key;

/// The API keys of the caller.
const API_KEYS: &str = "/v1/auth/api-keys";
