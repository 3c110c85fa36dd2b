//! Addresses to listen on.

use std::net::{IpAddr, SocketAddr};

/// Reads an IP address with a port, or says why not; empty: what it must be says it all.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        if text.parse::<IpAddr>().is_ok() {
            "it has no port".to_owned()
        } else if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
            format!("for all addresses write \"0.0.0.0:{port}\" or \"[::]:{port}\"")
        } else {
            String::new()
        }
    })
}
