//! keyward: an authenticating reverse proxy.
