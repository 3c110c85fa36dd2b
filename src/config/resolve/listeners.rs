//! What the keys of `[[listener]]` say together, and what `[admin]` says beside them.

use std::net::SocketAddr;

use crate::admin::AdminSettings;
use crate::config::Listener;
use crate::config::pairs::pair;
use crate::config::tables::{ListenerKeys, TrustedProxy};
use crate::server::{ALPN, ListenAddress, ProxyProtocol};
use crate::settings::fault::{Findings, Spot};
use crate::settings::list::Placed;
use crate::settings::section::Row;
use crate::tls::{CertificateFiles, ClientAuth, ServerSettings};

/// Each with the place of its address.
pub(super) fn resolve(
    rows: Vec<Row<ListenerKeys>>,
    findings: &Findings<'_>,
) -> Vec<Placed<Listener>> {
    let mut listeners: Vec<Placed<Listener>> = Vec::new();
    if findings.is_silent("listener") {
        let message = "no [[listener]]: at least one is needed, with an \"address\"";
        findings.fault(findings.place("listener"), message.to_owned());
    }
    for row in rows {
        let Some(listener) = listener(row, findings) else { continue };
        let address = &listener.value.address;
        if let Some(other) = listeners.iter().find(|other| other.value.address.is_same(address)) {
            let (line, theirs) = (findings.line(other.at), &other.value.address);
            let message = format!(
                "\"address\" {address} is taken by the [[listener]] on line {line} ({theirs})"
            );
            findings.fault(Some(listener.at), message);
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(row: Row<ListenerKeys>, findings: &Findings<'_>) -> Option<Placed<Listener>> {
    let (keys, spot) = (row.keys, findings.table(&row.path));
    let is_unix = matches!(keys.address, Some(ListenAddress::Unix(_)));
    let is_tcp = matches!(keys.address, Some(ListenAddress::Tcp(_)));
    if is_tcp {
        spot.refuse_given(&["mode"], "is for the file of a Unix socket: \"address\" is none");
    }
    if is_unix && spot.is_given("tls") {
        spot.fault(
            "tls",
            "TLS is not spoken on Unix sockets: nothing that is sent there leaves the machine",
        );
    }
    if spot.is_given("client_certificates") && !spot.is_given("tls") {
        spot.fault(
            "client_certificates",
            "\"client_certificates\" needs \"tls\": a client shows its certificate in the TLS \
             handshake",
        );
    }
    check_proxies(&keys, is_unix, spot);
    let certificates: Vec<CertificateFiles> = keys
        .tls
        .into_iter()
        .filter_map(|row| {
            let (spot, keys) = (findings.table(&row.path), row.keys);
            pair(spot, ["certificate", "key"], keys.certificate, keys.key)
        })
        .collect();
    let mode = keys.client_certificates.mode;
    let client_auth = keys.client_certificates.ca_file.map(|ca_file| ClientAuth { ca_file, mode });
    let (address, at) = (keys.address?, spot.place("address")?);
    if let ListenAddress::Tcp(address) = address
        && address.ip().to_canonical().is_multicast()
    {
        spot.fault(
            "address",
            format!("\"address\" {address} is that of a group (multicast): no client can connect"),
        );
    }
    if let ListenAddress::Tcp(address) = address
        && !spot.is_given("tls")
        && !is_loopback(address)
    {
        spot.warn(
            "address",
            format!(
                "[[listener]] {address} is not loopback and has no \"tls\": tokens cross the \
                 network in clear"
            ),
        );
    }
    let tls = (!certificates.is_empty()).then(|| ServerSettings {
        certificates,
        client_auth,
        alpn: ALPN.to_vec(),
    });
    let trusted_proxies = keys.trusted_proxies.into_iter().map(|proxy| proxy.value).collect();
    let (mode, proxy_protocol) = (keys.mode, keys.proxy_protocol);
    Some(Placed { at, value: Listener { address, mode, tls, trusted_proxies, proxy_protocol } })
}

fn check_proxies(keys: &ListenerKeys, is_unix: bool, spot: Spot<'_>) {
    for proxy in &keys.trusted_proxies {
        match proxy.value {
            TrustedProxy::Network(network) if network.prefix_len() == 0 => spot.findings.warn(
                Some(proxy.at),
                format!(
                    "\"trusted_proxies\" holds {network}: any client can say whom it speaks for"
                ),
            ),
            TrustedProxy::UnixPeer if matches!(keys.address, Some(ListenAddress::Tcp(_))) => {
                let message = "\"unix\" is for a [[listener]] on a Unix socket: peers of this one \
                               have addresses";
                spot.findings.fault(Some(proxy.at), message.to_owned());
            }
            TrustedProxy::Network(_) | TrustedProxy::UnixPeer => {}
        }
    }
    if keys.proxy_protocol != ProxyProtocol::Required {
        return;
    }
    let trusts_unix_peers =
        keys.trusted_proxies.iter().any(|proxy| proxy.value == TrustedProxy::UnixPeer);
    if spot.is_silent("trusted_proxies") {
        spot.fault(
            "proxy_protocol",
            "\"proxy_protocol\" \"required\" needs \"trusted_proxies\": otherwise no client \
             could connect",
        );
    } else if is_unix && !trusts_unix_peers {
        spot.fault(
            "trusted_proxies",
            "\"proxy_protocol\" \"required\" on a Unix socket needs \"unix\" in \
             \"trusted_proxies\": otherwise no client could connect",
        );
    }
}

/// Health, metrics and administration are not public.
pub(super) fn check_admin(
    admin: &AdminSettings,
    listeners: &[Placed<Listener>],
    findings: &Findings<'_>,
) {
    let spot = findings.table("admin");
    // Where the key is not given, its default collides: the fault is at the listener.
    let fault = |key: &str, listener: &Placed<Listener>, message| {
        let at = spot.place(key).unwrap_or(listener.at);
        findings.fault(Some(at), message);
    };
    if let Some(address) = admin.address {
        if !is_loopback(address) {
            spot.warn(
                "address",
                format!(
                    "[admin] address {address} is not loopback: whoever reaches it reads health \
                     and metrics"
                ),
            );
        }
        let overlaps =
            |listener: &&Placed<Listener>| listener.value.address.overlaps(&address.into());
        if let Some(listener) = listeners.iter().find(overlaps) {
            let (line, theirs) = (findings.line(listener.at), &listener.value.address);
            let message = format!(
                "[admin] address {address} is that of the [[listener]] on line {line} ({theirs}): \
                 health and metrics are not public; give them another port"
            );
            fault("address", listener, message);
        }
    }
    let is_socket = |listener: &&Placed<Listener>| matches!(&listener.value.address, ListenAddress::Unix(path) if **path == *admin.socket);
    if let Some(listener) = listeners.iter().find(is_socket) {
        let line = findings.line(listener.at);
        let message = format!(
            "[admin] socket is that of the [[listener]] on line {line}: whoever reaches it \
             administers keyward"
        );
        fault("socket", listener, message);
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
