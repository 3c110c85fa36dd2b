//! What is configured of the side that operators and probes talk to.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::settings::address::parse_address;
use crate::settings::key::KindExt as _;
use crate::settings::kind::{Text, parse_path, path};
use crate::settings::settings;

settings! {
    /// For operators and probes: `/livez`, `/readyz`, `/startupz`, `/healthz` and `/metrics`. Never
    /// on a public listener.
    pub struct AdminSettings {
        /// Where health and metrics are served over HTTP; `"off"`: nowhere.
        pub address: Option<SocketAddr> =
            ADDRESS.or(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)))),
        /// The Unix socket on which the command line talks to a running keyward (mode 0600), at
        /// most 107 bytes.
        pub socket: PathBuf = SOCKET.or("keyward-data/admin.sock".into()),
    }
}

const ADDRESS: Text<Option<SocketAddr>> = Text {
    what: "an IP address with a port, as in \"127.0.0.1:8080\" or \"[::1]:8080\", or \"off\"",
    parse: |text| match text {
        "off" => Ok(None),
        _ => parse_address(text).map(Some),
    },
    show: |address| address.map_or_else(|| "off".to_owned(), |address| address.to_string()),
};

const SOCKET: Text<PathBuf> = Text {
    parse: |text| {
        // sun_path holds 108 bytes on Linux, the last of them zero (unix(7)).
        if text.len() > 107 {
            return Err("it is longer than 107 bytes".to_owned());
        }
        parse_path(text)
    },
    ..path("the path of a Unix socket")
};
