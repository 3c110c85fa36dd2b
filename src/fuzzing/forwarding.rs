//! What a request says of where it came from is keyward's word, or that of a proxy which it trusts.

use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderMap, HeaderValue};

use super::field_lines::{field_lines, is_ours};
use crate::gateway::fuzzing::Gateway;
use crate::gateway::{ClientConnection, ClientOrigin, PeerAddress, Scheme, TrustedProxies};

/// Where the connections of this target come from: one that could be forged, one that needs
/// brackets.
const PEERS: [(IpAddr, &str); 2] = [
    (IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), "192.0.2.7"),
    (IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)), "2001:db8::7"),
];

pub(super) fn run(input: &[u8]) -> bool {
    let Ok(gateway) = Gateway::new() else { return false };
    let mut said = field_lines(input);
    // What the gate lets through has one host of this grammar, or none.
    said.insert(http::header::HOST, HeaderValue::from_static("a.example:8080"));
    for (peer, text) in PEERS {
        from_a_stranger(&gateway, &said, peer, text);
        from_a_trusted_proxy(&gateway, &said, peer, text);
    }
    said.len() > 1
}

/// A connection from `peer`. `Trust::Proxies`: it and `10.0.0.0/8` are trusted.
fn client(peer: IpAddr, trust: Trust) -> ClientConnection {
    let address = PeerAddress::Ip(SocketAddr::new(peer, 4711));
    let trusted_proxies = match trust {
        Trust::Nobody => None,
        Trust::Proxies => {
            Some(TrustedProxies::new(move |address| address.is_some_and(|it| is_trusted(it, peer))))
        }
    };
    let origin = ClientOrigin {
        address: address.clone(),
        peer: address,
        scheme: Scheme::Https,
        trusted_proxies,
    };
    ClientConnection::new(origin, None)
}

#[derive(Clone, Copy)]
enum Trust {
    Nobody,
    Proxies,
}

fn is_trusted(address: IpAddr, peer: IpAddr) -> bool {
    address == peer || matches!(address, IpAddr::V4(v4) if v4.octets().first() == Some(&10))
}

/// `Forwarded` of one hop (RFC 7239, section 4).
fn element(peer: IpAddr, text: &str) -> String {
    let node = if peer.is_ipv6() { format!("\"[{text}]\"") } else { text.to_owned() };
    format!("for={node};host=\"a.example:8080\";proto=https")
}

/// Not a byte of what a client says of itself goes on.
fn from_a_stranger(gateway: &Gateway, said: &HeaderMap, peer: IpAddr, text: &str) {
    let client = client(peer, Trust::Nobody);
    let mut headers = said.clone();
    gateway.set_forwarding(&client, &mut headers);
    let ours = [
        ("x-forwarded-for", text.to_owned()),
        ("x-real-ip", text.to_owned()),
        ("x-forwarded-proto", "https".to_owned()),
        ("x-forwarded-host", "a.example:8080".to_owned()),
        ("forwarded", element(peer, text)),
    ];
    for (name, value) in &ours {
        let found: Vec<&HeaderValue> = headers.get_all(*name).iter().collect();
        assert_eq!(found, [value.as_str()], "{name}");
    }
    for name in headers.keys().map(http::HeaderName::as_str) {
        let is_known = ours.iter().any(|(ours, _)| *ours == name);
        assert!(
            is_known || !is_ours(name),
            "{name} is the client's own, and reads as one of keyward's"
        );
    }
    assert_eq!(
        gateway.client_address(&client, said),
        Some(peer),
        "the client chose its own address"
    );
}

/// The client is the peer or was named, the proxy's own address is the last word, and all fields
/// name the same client.
fn from_a_trusted_proxy(gateway: &Gateway, said: &HeaderMap, peer: IpAddr, text: &str) {
    let client = client(peer, Trust::Proxies);
    let mut headers = said.clone();
    gateway.set_forwarding(&client, &mut headers);
    for name in
        ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host", "forwarded"]
    {
        assert_eq!(
            headers.get_all(name).iter().count(),
            1,
            "{name} stands there more than once, or not at all"
        );
    }
    let list =
        |name: &str| elements(headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default());
    assert_eq!(
        list("x-forwarded-for").pop().unwrap_or_default(),
        text.as_bytes(),
        "the last address is not keyward's"
    );
    let last = list("forwarded").pop().unwrap_or_default();
    assert_eq!(last, element(peer, text).as_bytes(), "the last element is not keyward's");
    let found = gateway.client_address(&client, said);
    assert!(found.is_some(), "a client of TCP has an address");
    let address = found.unwrap_or(peer);
    let says = |name: &str| {
        said.get_all(name)
            .iter()
            .any(|value| value.as_bytes().iter().any(|byte| !b", \t".contains(byte)))
    };
    let source = if says("x-forwarded-for") { "x-forwarded-for" } else { "forwarded" };
    let was_said = said.get_all(source).iter().any(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        text.split([',', ';', '=']).any(|part| names(part.trim(), address))
    });
    assert!(address == peer || was_said, "{address} came out of nothing");
    assert_eq!(headers.get("x-real-ip"), HeaderValue::try_from(address.to_string()).ok().as_ref());
    // Whoever reads one of the fields, behind keyward, finds the same client in it.
    for name in [http::HeaderName::from_static("x-forwarded-for"), http::header::FORWARDED] {
        let alone =
            headers.get(&name).cloned().map(|value| HeaderMap::from_iter([(name.clone(), value)]));
        let read = alone.and_then(|alone| gateway.client_address(&client, &alone));
        assert_eq!(read, Some(address), "{name} names another client: {:?}", headers.get(&name));
    }
}

/// Whether an element of a list is this address, with or without a port (RFC 7239, section 6).
fn names(element: &str, address: IpAddr) -> bool {
    let bare = element.trim_matches('"');
    let inner = bare.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let without_port = bare.rsplit_once(':').map(|(host, _)| host);
    [Some(bare), inner, without_port]
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse::<IpAddr>().ok())
        .any(|found| found == address || found.to_canonical() == address)
}

/// The elements of a list, quoted strings taken for what they are (RFC 9110, section 5.6.4).
fn elements(list: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let (mut is_quoted, mut is_escaped) = (false, false);
    for &byte in list {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                all.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = all.last_mut() {
            last.push(byte);
        }
    }
    all.iter().map(|element| element.trim_ascii().to_vec()).collect()
}
