//! The keys of `[[listener]]`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use super::files::{AUTHORITIES, PEM};
use super::texts::refused;
use crate::config::net::{holds, network, socket_path};
use crate::server::{ListenAddress, ProxyProtocol};
use crate::settings::address::parse_address;
use crate::settings::key::{KindExt as _, one_or_tables, table};
use crate::settings::kind::{Text, text, words};
use crate::settings::list::{Placed, at, list};
use crate::settings::section::Row;
use crate::settings::settings;
use crate::tls::ClientAuthMode;

settings! {
    /// Where clients connect: one `[[listener]]` or more. Each speaks HTTP/1.1 and HTTP/2: with TLS
    /// as agreed by ALPN, without TLS by prior knowledge.
    ///
    /// On a Unix socket, for clients of the same machine, TLS is not spoken. A file that a dead
    /// process left there is replaced; the socket of a living process and any other file are not.
    /// The file is removed at the end.
    pub(crate) struct ListenerKeys {
        /// IP address and port, as in `"0.0.0.0:8443"` or `"[::]:8443"` (both families), or a Unix
        /// socket: `unix:` and an absolute path of at most 107 bytes, in a folder that is there and
        /// that keyward may write to (`keyward.sock.lock` stays beside `keyward.sock`). Of several
        /// listeners on one port, the one with the most specific address takes a connection.
        pub(crate) address: Option<ListenAddress> = ADDRESS.required(),
        /// The permissions of the file of a Unix socket: what may write to it may connect. Its
        /// group is keyward's.
        pub(crate) mode: u32 = MODE.or(0o660),
        /// The certificates; without them the listener speaks plain HTTP. Of several in an array,
        /// the name that the client asks for chooses; of several for one name, the first that is
        /// valid and whose kind of key the client can use. The files are looked at once a second
        /// and put in force when they have changed, without a reload and without closing a
        /// connection. A pair that cannot be used is reported in the log and stays in force as it
        /// was; the others are renewed.
        pub(crate) tls: Vec<Row<CertificateKeys>> = one_or_tables(CERTIFICATES),
        /// Whether clients are asked for a certificate; needs `tls`. Upstreams are told subject and
        /// names of the certificate: see `[identity_headers]`.
        pub(crate) client_certificates: ClientCertificateKeys = table(),
        /// Addresses and networks, as in `["10.0.0.0/8", "::1"]`, whose `X-Forwarded-For`, `-Proto`
        /// and `-Host` and `Forwarded` fields are kept and added to; those of all others are
        /// removed. The client is the rightmost address in them that is not of a trusted proxy:
        /// list every proxy on the way. `"unix"`: all that connect to this Unix socket. Otherwise
        /// they have no address: `unix` in the access log, no `X-Forwarded-For`, and one client for
        /// the limits of logins.
        pub(crate) trusted_proxies: Vec<Placed<TrustedProxy>> =
            list(at(TRUSTED_PROXY)).or(Vec::new()),
        /// `"required"`: every connection begins with a PROXY protocol header; needs
        /// `trusted_proxies`, and no other peer may connect.
        pub(crate) proxy_protocol: ProxyProtocol =
            words(ProxyProtocol::WORDS).or(ProxyProtocol::Off),
    }
}

settings! {
    /// A certificate and its key, in PEM form.
    pub(crate) struct CertificateKeys {
        /// The chain, the server's own certificate first.
        pub(crate) certificate: Option<PathBuf> = PEM.required(),
        /// Its private key.
        pub(crate) key: Option<PathBuf> = PEM.required(),
    }
}

settings! {
    /// Certificates of clients. One of another authority is refused in both modes.
    pub(crate) struct ClientCertificateKeys {
        /// The authorities that issue them, in PEM form.
        pub(crate) ca_file: Option<PathBuf> = AUTHORITIES.required(),
        /// `"required"`: a client without one is refused in the handshake; `"optional"`: it is
        /// served.
        pub(crate) mode: ClientAuthMode = words(CLIENT_MODES).or(ClientAuthMode::Required),
    }
}

const CERTIFICATES: &str =
    "{ certificate = \"…\", key = \"…\" } or an array of those (left out for plain HTTP)";

const CLIENT_MODES: &[(&str, ClientAuthMode)] =
    &[("required", ClientAuthMode::Required), ("optional", ClientAuthMode::Optional)];

const ADDRESS: Text<ListenAddress> = text(
    "an IP address with a port, as in \"127.0.0.1:8080\" or \"[::1]:8080\", or a Unix socket, as \
     in \"unix:/run/keyward.sock\"",
    |text| {
        let Some(path) = text.strip_prefix("unix:") else {
            if text.starts_with('/') {
                return Err(match socket_path(text) {
                    Ok(_) => format!("for a Unix socket write \"unix:{text}\""),
                    Err(reason) => reason,
                });
            }
            return parse_address(text).map(ListenAddress::Tcp);
        };
        let path = socket_path(path.strip_prefix("//").unwrap_or(path))?;
        Ok(ListenAddress::Unix(Arc::from(path)))
    },
);

const MODE: Text<u32> = Text {
    what: "three octal digits, as in \"0660\"",
    parse: |text| {
        let digits = text.strip_prefix('0').unwrap_or(text);
        if digits.len() != 3 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
            return refused();
        }
        u32::from_str_radix(digits, 8).map_err(|_| String::new())
    },
    show: |mode| format!("{mode:04o}"),
};

const TRUSTED_PROXY: Text<TrustedProxy> = Text {
    what: "an IP address, a network, as in \"10.0.0.0/8\", or \"unix\"",
    parse: |text| match text {
        "unix" => Ok(TrustedProxy::UnixPeer),
        _ => network(text).map(TrustedProxy::Network),
    },
    show: |proxy| match proxy {
        TrustedProxy::Network(network) => network.to_string(),
        TrustedProxy::UnixPeer => "unix".to_owned(),
    },
};

/// A peer that is trusted to name the client that it forwards for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Its address is in this network. It holds IPv4-mapped addresses as IPv4.
    Network(IpNet),
    /// `unix`: it connects to the Unix socket of the listener.
    UnixPeer,
}

impl TrustedProxy {
    /// Whether this is the peer with this address; a peer of a Unix socket has none.
    #[must_use]
    pub fn is(&self, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::Network(network), Some(address)) => holds(network, address),
            (Self::UnixPeer, None) => true,
            (Self::Network(_), None) | (Self::UnixPeer, Some(_)) => false,
        }
    }
}
