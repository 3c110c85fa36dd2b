//! What the command line needs to know of a configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Config;

/// The few things that the commands use of a valid configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The admin listener's address; `None`: turned off.
    pub admin_address: Option<SocketAddr>,
    /// The admin socket's path.
    pub admin_socket: PathBuf,
    /// What is configured: `1 listener, 2 routes, 1 upstream, 1 token API`.
    pub summary: String,
    /// What a running keyward of this configuration holds, one line each.
    pub notes: Vec<String>,
    /// What is valid, but is probably a mistake, one line each.
    pub warnings: Vec<String>,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let parts = [
            count(config.listeners.len(), "listener"),
            count(config.routes.len(), "route"),
            count(config.upstreams.len(), "upstream"),
            count(config.token_apis.len(), "token API"),
        ];
        Self {
            admin_address: config.admin.address,
            admin_socket: config.admin.socket.clone(),
            summary: parts.join(", "),
            notes: Vec::new(),
            warnings: config.warnings.clone(),
        }
    }
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_summed_up_in_numbers() {
        let text = r#"
            [[listener]]
            address = "127.0.0.1:8080"
            [[upstream]]
            name = "app"
            endpoints = ["http://127.0.0.1:3000"]
            [[route]]
            path = "/a"
            upstream = "app"
            public = true
            [[route]]
            path = "/b"
            upstream = "app"
            public = true
        "#;
        let config = crate::config::parse(text, "keyward.toml", &|_| None).expect("valid");
        let settings = Settings::from(&config);
        assert_eq!(settings.summary, "1 listener, 2 routes, 1 upstream, 0 token APIs");
        assert_eq!(settings.admin_address, Some(SocketAddr::from(([127, 0, 0, 1], 9090))));
        assert_eq!(settings.admin_socket, PathBuf::from("keyward-data/admin.sock"));
    }
}
