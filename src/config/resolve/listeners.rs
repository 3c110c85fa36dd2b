//! Validates `[[listener]]`.

use std::net::SocketAddr;

use super::settings::{ADDRESS, address, path};
use crate::config::fault::Findings;
use crate::config::listener::{Listener, ProxyProtocol};
use crate::config::net::IpNet;
use crate::config::section::{Placed, Section};
use crate::config::tls_files::{check_authorities, check_identity};
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
        let address = listener.value.address;
        if let Some(other) = listeners.iter().find(|other| clash(other.value.address, address)) {
            let line = findings.line(other.at);
            findings.fault(
                Some(listener.at),
                format!("\"address\" {address} is taken by the [[listener]] on line {line} ({})", other.value.address),
            );
        }
        listeners.push(listener);
    }
    listeners
}

/// Whether two sockets would listen for the same connections. Port 0 is a new port each time.
pub(super) fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && same_ip
}

fn read(mut section: Section<'_>, findings: &Findings<'_>) -> Option<Placed<Listener>> {
    let address = section.need_parsed("address", ADDRESS, address);
    let tls = tls(&mut section);
    let client_certificates = client_certificates(&mut section);
    if section.is_given("client_certificates") && !section.is_given("tls") {
        section.fault(
            "client_certificates",
            "\"client_certificates\" needs \"tls\": a client shows its certificate in the TLS handshake",
        );
    }
    let networks =
        section.take_list("trusted_proxies", "an IP address or a network, as in \"10.0.0.0/8\"", str::parse::<IpNet>);
    for network in networks.iter().filter(|network| network.value.prefix() == 0) {
        findings.warn(
            Some(network.at),
            format!("\"trusted_proxies\" holds {}: any client can say whom it speaks for", network.value),
        );
    }
    let modes = [("off", ProxyProtocol::Off), ("required", ProxyProtocol::Required)];
    let proxy_protocol = section.take_choice("proxy_protocol", ProxyProtocol::Off, &modes);
    if proxy_protocol == ProxyProtocol::Required && section.is_silent("trusted_proxies") {
        section.fault(
            "proxy_protocol",
            "\"proxy_protocol\" \"required\" needs \"trusted_proxies\": otherwise nobody could connect",
        );
    }
    let address = address?;
    let at = section.place("address")?;
    if !section.is_given("tls") && !address.ip().to_canonical().is_loopback() {
        findings.warn(
            Some(at),
            format!("[[listener]] {address} is not loopback and has no \"tls\": tokens cross the network in clear"),
        );
    }
    Some(Placed {
        at,
        value: Listener {
            address,
            tls,
            client_certificates,
            trusted_proxies: networks.into_iter().map(|network| network.value).collect(),
            proxy_protocol,
        },
    })
}

fn tls(section: &mut Section<'_>) -> Vec<CertificateFiles> {
    let what = "{ certificate = \"…\", key = \"…\" } or an array of those (left out for plain HTTP)";
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
