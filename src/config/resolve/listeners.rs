//! Validates `[[listener]]`.

use std::sync::Arc;

use super::settings::{ADDRESS, address, path};
use crate::config::fault::Findings;
use crate::config::listener::{Listener, ProxyProtocol, TrustedProxy};
use crate::config::net::socket_path;
use crate::config::section::{Placed, Section};
use crate::config::tls_files::{check_authorities, check_identity};
use crate::server::ListenAddress;
use crate::tls::{CertificateFiles, ClientAuth, ClientAuthMode};

/// Reads all listeners, at least one; the places are those of their addresses.
pub(super) fn read_all(root: &mut Section<'_>, findings: &Findings<'_>) -> Vec<Placed<Listener>> {
    let mut listeners: Vec<Placed<Listener>> = Vec::new();
    let sections = root.tables("listener");
    if root.is_silent("listener") {
        root.fault("listener", "no [[listener]]: at least one is needed, with an \"address\"");
    }
    for section in sections {
        let Some(listener) = read(section, findings) else {
            continue;
        };
        let address = &listener.value.address;
        if let Some(other) = listeners.iter().find(|other| other.value.address.is_same(address)) {
            let line = findings.line(other.at);
            findings.fault(
                Some(listener.at),
                format!(
                    "\"address\" {address} is taken by the [[listener]] on line {line} ({})",
                    other.value.address
                ),
            );
        }
        listeners.push(listener);
    }
    listeners
}

fn read(mut section: Section<'_>, findings: &Findings<'_>) -> Option<Placed<Listener>> {
    let what = format!("{ADDRESS}, or a Unix socket, as in \"unix:/run/keyward.sock\"");
    let address = section.need_parsed("address", &what, listen_address);
    let is_unix = matches!(address, Some(ListenAddress::Unix(_)));
    let is_tcp = matches!(address, Some(ListenAddress::Tcp(_)));
    let mode = section.take_parsed(
        "mode",
        Listener::SOCKET_MODE,
        "three octal digits, as in \"0660\"",
        file_mode,
    );
    if is_tcp && section.is_given("mode") {
        section.fault("mode", "\"mode\" is for the file of a Unix socket: \"address\" is none");
    }
    let tls = tls(&mut section);
    if is_unix && section.is_given("tls") {
        section.fault(
            "tls",
            "TLS is not spoken on Unix sockets: nothing that is sent there leaves the machine",
        );
    }
    let client_certificates = client_certificates(&mut section);
    if section.is_given("client_certificates") && !section.is_given("tls") {
        section.fault(
            "client_certificates",
            "\"client_certificates\" needs \"tls\": a client shows its certificate in the TLS \
             handshake",
        );
    }
    let trusted_proxies = section.take_list(
        "trusted_proxies",
        "an IP address, a network, as in \"10.0.0.0/8\", or \"unix\"",
        str::parse::<TrustedProxy>,
    );
    for proxy in &trusted_proxies {
        match proxy.value {
            TrustedProxy::Network(network) if network.prefix() == 0 => findings.warn(
                Some(proxy.at),
                format!(
                    "\"trusted_proxies\" holds {network}: any client can say whom it speaks for"
                ),
            ),
            TrustedProxy::UnixPeer if is_tcp => findings.fault(
                Some(proxy.at),
                "\"unix\" is for a [[listener]] on a Unix socket: peers of this one have addresses"
                    .to_owned(),
            ),
            TrustedProxy::Network(_) | TrustedProxy::UnixPeer => {}
        }
    }
    let modes = [("off", ProxyProtocol::Off), ("required", ProxyProtocol::Required)];
    let proxy_protocol = section.take_choice("proxy_protocol", ProxyProtocol::Off, &modes);
    if proxy_protocol == ProxyProtocol::Required && section.is_silent("trusted_proxies") {
        section.fault(
            "proxy_protocol",
            "\"proxy_protocol\" \"required\" needs \"trusted_proxies\": otherwise nobody could \
             connect",
        );
    }
    let trusts_unix_peers =
        trusted_proxies.iter().any(|proxy| proxy.value == TrustedProxy::UnixPeer);
    if proxy_protocol == ProxyProtocol::Required
        && is_unix
        && !trusts_unix_peers
        && !section.is_silent("trusted_proxies")
    {
        section.fault(
            "trusted_proxies",
            "\"proxy_protocol\" \"required\" on a Unix socket needs \"unix\" \
             in \"trusted_proxies\": otherwise nobody \
             could connect",
        );
    }
    let address = address?;
    let at = section.place("address")?;
    if let ListenAddress::Tcp(address) = address
        && address.ip().to_canonical().is_multicast()
    {
        findings.fault(
            Some(at),
            format!("\"address\" {address} is that of a group (multicast): no client can connect"),
        );
    }
    if let ListenAddress::Tcp(address) = address
        && !section.is_given("tls")
        && !address.ip().to_canonical().is_loopback()
    {
        findings.warn(
            Some(at),
            format!(
                "[[listener]] {address} is not loopback and has no \"tls\": tokens cross the \
                     network in clear"
            ),
        );
    }
    Some(Placed {
        at,
        value: Listener {
            address,
            mode,
            tls,
            client_certificates,
            trusted_proxies: trusted_proxies.into_iter().map(|proxy| proxy.value).collect(),
            proxy_protocol,
        },
    })
}

/// Reads `IP:port` or `unix:/path`.
fn listen_address(text: &str) -> Result<ListenAddress, String> {
    let Some(path) = text.strip_prefix("unix:") else {
        if text.starts_with('/') {
            return Err(match socket_path(text) {
                Ok(_) => format!("for a Unix socket write \"unix:{text}\""),
                Err(reason) => reason,
            });
        }
        return address(text).map(ListenAddress::Tcp);
    };
    let path = socket_path(path.strip_prefix("//").unwrap_or(path))?;
    Ok(ListenAddress::Unix(Arc::from(path)))
}

/// Reads the permissions of a file: octal digits.
fn file_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix('0').unwrap_or(text);
    if digits.len() != 3 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
        return Err(String::new());
    }
    u32::from_str_radix(digits, 8).map_err(|_| String::new())
}

fn tls(section: &mut Section<'_>) -> Vec<CertificateFiles> {
    let what =
        "{ certificate = \"…\", key = \"…\" } or an array of those (left out for plain HTTP)";
    section
        .table_or_tables("tls", what)
        .into_iter()
        .filter_map(|mut pair| {
            let certificate = pair.need_parsed("certificate", "the path of a PEM file", path);
            let key = pair.need_parsed("key", "the path of a PEM file", path);
            let files = CertificateFiles { certificate: certificate?, key: key? };
            check_identity(&pair, ["certificate", "key"], &files);
            Some(files)
        })
        .collect()
}

fn client_certificates(section: &mut Section<'_>) -> Option<ClientAuth> {
    let mut clients = section.table("client_certificates");
    // Neither a table nor anything that was taken for one: there are no keys to miss.
    clients.at()?;
    let modes = [("required", ClientAuthMode::Required), ("optional", ClientAuthMode::Optional)];
    let mode = clients.take_choice("mode", ClientAuthMode::Required, &modes);
    let ca_file = clients.need_parsed("ca_file", "the path of a PEM file", path)?;
    if let Err(reason) = check_authorities(&ca_file) {
        clients.fault("ca_file", format!("\"ca_file\": {reason}"));
    }
    Some(ClientAuth { ca_file, mode })
}
