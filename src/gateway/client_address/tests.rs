use std::net::SocketAddr;

use super::*;
use crate::gateway::{ClientOrigin, PeerAddress, Scheme};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A connection from 10.0.0.1, which is trusted as the rest of 10.0.0.0/8 and fd00::/8 is.
fn behind_proxy() -> ClientConnection {
    connection(PeerAddress::Ip(SocketAddr::new(ip("10.0.0.1"), 4711)))
}

fn connection(peer: PeerAddress) -> ClientConnection {
    let trusted_proxies = TrustedProxies::new(|address| match address {
        Some(IpAddr::V4(v4)) => v4.octets()[0] == 10,
        Some(IpAddr::V6(v6)) => v6.octets()[0] == 0xfd,
        None => true,
    });
    let (address, scheme) = (peer.clone(), Scheme::Http);
    ClientConnection::new(
        ClientOrigin { address, peer, scheme, trusted_proxies: Some(trusted_proxies) },
        None,
    )
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::try_from(*value).expect("a value"))
        })
        .collect()
}

/// The client's address; `peer`, if it is that of the connection.
fn client(lines: &[(&'static str, &str)]) -> String {
    let chain = ForwardedChain::read(&behind_proxy(), &headers(lines));
    let address = chain.as_ref().and_then(ForwardedChain::client_address);
    let value = chain.as_ref().and_then(|chain| chain.client.as_ref());
    assert_eq!(
        value.map(HeaderValue::as_bytes),
        address.map(|it| it.to_string()).as_ref().map(String::as_bytes)
    );
    address.map_or_else(|| "peer".to_owned(), |address| address.to_string())
}

#[test]
fn the_client_is_the_rightmost_address_that_is_not_trusted() {
    for (lines, expected) in [
        (&["203.0.113.9"][..], "203.0.113.9"),
        (&["203.0.113.9, 10.0.0.5"], "203.0.113.9"),
        (&["6.6.6.6, 203.0.113.9, 10.0.0.5, 10.0.0.6"], "203.0.113.9"),
        (&["10.0.0.7, 203.0.113.9,10.0.0.5"], "203.0.113.9"),
        (&["6.6.6.6", "203.0.113.9", "10.0.0.5"], "203.0.113.9"),
        (&["6.6.6.6, 203.0.113.9", "10.0.0.5, 10.0.0.6"], "203.0.113.9"),
        // All are trusted: the one that is furthest away.
        (&["10.9.9.9, 10.0.0.5"], "10.9.9.9"),
        (&["2001:db8::1, fd00::5"], "2001:db8::1"),
        // Empty elements are none (RFC 9110, section 5.6.1).
        (&["203.0.113.9,, 10.0.0.5 ,"], "203.0.113.9"),
        (&["", "203.0.113.9", ""], "203.0.113.9"),
        (&[" , "], "peer"),
        (&[""], "peer"),
        (&[], "peer"),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        assert_eq!(client(&lines), expected, "{lines:?}");
        let forwarded: Vec<_> = lines.iter().map(|(_, line)| as_forwarded(line)).collect();
        let forwarded: Vec<_> = forwarded.iter().map(|line| ("forwarded", line.as_str())).collect();
        assert_eq!(client(&forwarded), expected, "{forwarded:?}");
    }
}

/// The same list as `Forwarded`, whose parameters differ in form.
fn as_forwarded(line: &str) -> String {
    let element = |(at, address): (usize, &str)| match address.trim() {
        "" => String::new(),
        v6 if v6.contains(':') => format!("proto=http;for=\"[{v6}]:80\""),
        v4 if at % 2 == 0 => format!("for={v4};host=a.example;by=_x"),
        v4 => format!("Proto=https; FOR=\"{v4}\" ;by=\"[::1]\""),
    };
    line.split(',').enumerate().map(element).collect::<Vec<_>>().join(", ")
}

#[test]
fn an_address_is_understood_with_a_port_in_brackets_and_in_quotes() {
    for (element, expected) in [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("203.0.113.9:", "203.0.113.9"),
        ("203.0.113.9:_p", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:4711", "203.0.113.9"),
        ("::ffff:cb00:7109", "203.0.113.9"),
    ] {
        for text in [element.to_owned(), format!("\"{element}\""), format!(" {element}\t")] {
            assert_eq!(client(&[("x-forwarded-for", &text)]), expected, "{text}");
            assert_eq!(
                client(&[("forwarded", &format!("for={text};proto=http"))]),
                expected,
                "{text}"
            );
        }
    }
    // A mapped address of a trusted proxy is trusted.
    assert_eq!(client(&[("x-forwarded-for", "203.0.113.9, ::ffff:10.0.0.5")]), "203.0.113.9");
    assert_eq!(client(&[("forwarded", r#"for="203.0.113\.9""#)]), "203.0.113.9");
}

#[test]
fn what_names_no_address_ends_the_reading_at_the_last_that_was_understood() {
    for wrong in [
        "unknown",
        "UNKNOWN",
        "_hidden",
        "_SEVKISEK:_p",
        "localhost",
        "a.example",
        "-",
        "203.0.113",
        "203.0.113.9.1",
        "203.0.113.009",
        "203.0.113.256",
        "203.0.113.9:http",
        "203.0.113.9:123456",
        "203.0.113.9:80:80",
        "203.0.113.9 6.6.6.6",
        "[203.0.113.9]",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]80",
        "[2001:db8::1]:+80",
        "2001:db8:::1",
        "fe80::1%eth0",
        "\"203.0.113.9",
        "203.0.113.9\"",
        "\"",
    ] {
        let xff = |rest: &str| client(&[("x-forwarded-for", &format!("6.6.6.6, {wrong}{rest}"))]);
        assert_eq!(
            (xff(""), xff(", 10.0.0.5")),
            ("peer".to_owned(), "10.0.0.5".to_owned()),
            "{wrong}"
        );
        let forwarded =
            |rest: &str| client(&[("forwarded", &format!("for=6.6.6.6, for={wrong}{rest}"))]);
        assert_eq!(
            (forwarded(""), forwarded(", for=10.0.0.5")),
            ("peer".to_owned(), "10.0.0.5".to_owned()),
            "{wrong}"
        );
        // What trusted proxies add to it is understood all the same.
        assert_eq!(xff(", 203.0.113.9, 10.0.0.5"), "203.0.113.9", "{wrong}");
        assert_eq!(forwarded(", for=203.0.113.9, for=\"10.0.0.5:80\""), "203.0.113.9", "{wrong}");
    }
    for wrong in [
        "proto=https",
        "for",
        "for=",
        "for=;proto=http",
        "for=\"\"",
        "for=203.0.113.9;for=203.0.113.9",
        "for=203.0.113.9 proto=http",
        "for=\"203.0.113.9\"proto=http",
        "proto;for=203.0.113.9",
        "a b=c;for=203.0.113.9",
        "203.0.113.9",
        ";",
        "for=\"203.0.113.9, 203.0.113.8\"",
    ] {
        let line = format!("for=6.6.6.6, {wrong}, for=10.0.0.5");
        assert_eq!(client(&[("forwarded", &line)]), "10.0.0.5", "{line}");
    }
    // Quoted commas do not separate, in `Forwarded` alone (GHSA-38x9-25wx-7fg2).
    assert_eq!(client(&[("x-forwarded-for", "\"6.6.6.6, 203.0.113.9\", 10.0.0.5")]), "10.0.0.5");
    assert_eq!(
        client(&[("forwarded", "for=\"6.6.6.6, for=203.0.113.9\", for=10.0.0.5")]),
        "10.0.0.5"
    );
}

#[test]
fn bytes_that_are_no_text_end_the_reading_too() {
    let mut lines = HeaderMap::new();
    lines.append(
        X_FORWARDED_FOR,
        HeaderValue::from_bytes(b"6.6.6.6, \xff, 10.0.0.5").expect("a value"),
    );
    let chain = ForwardedChain::read(&behind_proxy(), &lines).expect("it says something");
    assert_eq!(chain.client_address(), Some(ip("10.0.0.5")));
}

#[test]
fn of_both_fields_x_forwarded_for_alone_is_read() {
    let (listed, element) =
        (("x-forwarded-for", "203.0.113.9, 10.0.0.5"), ("forwarded", "for=6.6.6.6"));
    assert_eq!(client(&[listed, element]), "203.0.113.9");
    assert_eq!(client(&[element, listed]), "203.0.113.9");
    // Not even where it cannot be read, or stops at a proxy.
    assert_eq!(client(&[("x-forwarded-for", "unknown"), element]), "peer");
    assert_eq!(client(&[("x-forwarded-for", "10.0.0.5"), element]), "10.0.0.5");
    // One that says nothing is not there.
    assert_eq!(client(&[("x-forwarded-for", ""), element]), "6.6.6.6");
}

#[test]
fn a_peer_that_is_not_trusted_says_nothing() {
    let peer = PeerAddress::Ip(SocketAddr::new(ip("10.0.0.1"), 4711));
    let origin =
        ClientOrigin { address: peer.clone(), peer, scheme: Scheme::Http, trusted_proxies: None };
    let lines = headers(&[("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")]);
    assert!(ForwardedChain::read(&ClientConnection::new(origin, None), &lines).is_none());
}

/// `X-Forwarded-For` and `Forwarded` for the upstream.
fn told(lines: &[(&'static str, &str)]) -> (String, String) {
    let lines = headers(lines);
    let chain = ForwardedChain::read(&behind_proxy(), &lines).expect("it says something");
    let (address, ours) =
        (HeaderValue::from_static("10.0.0.1"), HeaderValue::from_static("for=10.0.0.1"));
    let proto = lines.get("x-forwarded-proto").or(chain.proto.as_ref()).cloned();
    let proto = proto.unwrap_or(HeaderValue::from_static("http"));
    let host = lines.get("x-forwarded-host").or(chain.host.as_ref());
    let listed = chain.forwarded_for(&lines, Some(&address)).expect("a chain");
    let forwarded = chain.forwarded(&lines, host, &proto, &ours);
    let text = |value: HeaderValue| value.to_str().expect("text").to_owned();
    (text(listed), text(forwarded))
}

#[test]
fn an_upstream_reads_the_same_way_in_both_fields() {
    let both = |listed: &str, forwarded: &str| (listed.to_owned(), forwarded.to_owned());
    // What was read stays as it was written; the other field is written anew, and what was in it is
    // gone.
    assert_eq!(
        told(&[
            ("x-forwarded-for", "6.6.6.6,203.0.113.9:80, 10.0.0.5"),
            ("forwarded", "for=7.7.7.7;proto=https")
        ]),
        both(
            "6.6.6.6,203.0.113.9:80, 10.0.0.5, 10.0.0.1",
            "for=203.0.113.9;proto=http, for=10.0.0.5, for=10.0.0.1"
        )
    );
    assert_eq!(
        told(&[(
            "forwarded",
            "for=6.6.6.6, for=\"[2001:db8::1]:80\";proto=HTTPS;host=\"shop.example:8443\", \
             for=10.0.0.5"
        )]),
        both(
            "2001:db8::1, 10.0.0.5, 10.0.0.1",
            "for=6.6.6.6, for=\"[2001:db8::1]:80\";proto=HTTPS;host=\"shop.example:8443\", \
             for=10.0.0.5, for=10.0.0.1"
        )
    );
    // The host and the scheme of the client go with its address.
    assert_eq!(
        told(&[
            ("x-forwarded-for", "2001:db8::1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example:8443")
        ]),
        both(
            "2001:db8::1, 10.0.0.1",
            "for=\"[2001:db8::1]\";host=\"shop.example:8443\";proto=https, for=10.0.0.1"
        )
    );
    // What cannot stand in an element is left out of it.
    assert_eq!(
        told(&[
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "a\"b"),
            ("x-forwarded-host", "a, b")
        ]),
        both("203.0.113.9, 10.0.0.1", "for=203.0.113.9, for=10.0.0.1")
    );
    // Nothing was understood.
    assert_eq!(told(&[("x-forwarded-for", "unknown")]), both("unknown, 10.0.0.1", "for=10.0.0.1"));
    assert_eq!(told(&[("forwarded", "for=_x")]), both("10.0.0.1", "for=_x, for=10.0.0.1"));
    // A quoted string that was left open would hide what is added to it.
    assert_eq!(
        told(&[("forwarded", "for=\"6.6.6.6, for=203.0.113.9"), ("forwarded", "for=10.0.0.5")]),
        both(
            "203.0.113.9, 10.0.0.5, 10.0.0.1",
            "for=203.0.113.9;proto=http, for=10.0.0.5, for=10.0.0.1"
        )
    );
    assert_eq!(
        told(&[("x-forwarded-for", "\", 203.0.113.9")]),
        both("203.0.113.9, 10.0.0.1", "for=203.0.113.9;proto=http, for=10.0.0.1")
    );
}

#[test]
fn a_proxy_on_a_unix_socket_adds_no_address_of_its_own() {
    let client = connection(PeerAddress::Unix(std::path::Path::new("/run/a.sock").into()));
    let lines = headers(&[("x-forwarded-for", "203.0.113.9, 10.0.0.5")]);
    let chain = ForwardedChain::read(&client, &lines).expect("it says something");
    assert_eq!(chain.client_address(), Some(ip("203.0.113.9")));
    assert_eq!(chain.forwarded_for(&lines, None), lines.get("x-forwarded-for").cloned());
    let none = ForwardedChain::read(&client, &headers(&[("forwarded", "for=unknown")]))
        .expect("it says something");
    assert_eq!((none.client_address(), none.forwarded_for(&lines, None)), (None, None));
}
