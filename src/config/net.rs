//! Networks and hosts: which peers are trusted, and what may stand in the place of a host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

/// Reads an IP network such as `10.0.0.0/8`, or a single address.
///
/// An IPv4-mapped IPv6 address (`::ffff:10.1.2.3`, which a dual-stack socket reports for an IPv4
/// peer) counts as the IPv4 address that it maps, so no IPv6 network holds IPv4 peers.
///
/// # Errors
/// The reason, for the operator.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    // ipnet's own parser is not asked: std's takes no octets with leading zeros.
    let address: IpAddr = address.parse().map_err(|_| "it is neither IPv4 nor IPv6")?;
    let most = IpNet::from(address).max_prefix_len();
    let prefix = prefix
        .map_or(Some(most), number)
        .filter(|prefix| *prefix <= most)
        .ok_or_else(|| format!("the prefix after \"/\" must be 0 to {most}"))?;
    let prefix = match address.to_canonical() {
        IpAddr::V4(_) if address.is_ipv6() => {
            prefix.checked_sub(96).ok_or("an IPv4-mapped network needs a prefix of at least 96")?
        }
        _ => prefix,
    };
    let network = IpNet::new(address.to_canonical(), prefix).map_err(|fault| fault.to_string())?;
    // A mistake more often than not: 10.0.0.1/8 may have meant one host.
    if network != network.trunc() {
        return Err(format!(
            "its address has bits behind the prefix; the network is {}",
            network.trunc()
        ));
    }
    Ok(network)
}

/// Whether a network holds an address, which counts as IPv4 if it is IPv4-mapped.
pub(super) fn holds(network: &IpNet, address: IpAddr) -> bool {
    network.contains(&address.to_canonical())
}

/// Reads a number of digits alone: no sign.
pub(super) fn number<N: FromStr>(digits: &str) -> Option<N> {
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Reads the absolute path of a Unix socket.
pub(super) fn socket_path(path: &str) -> Result<PathBuf, String> {
    // sun_path holds 108 bytes on Linux, the last of them zero (unix(7)).
    match path {
        _ if !path.starts_with('/') => {
            Err("the path of a Unix socket is absolute, as in \"unix:/run/app.sock\"".to_owned())
        }
        _ if path.ends_with('/') => {
            Err("the path of a Unix socket does not end with \"/\"".to_owned())
        }
        _ if path.chars().any(char::is_control) => Err("it holds a control character".to_owned()),
        _ if path.len() > 107 => Err("the path of a Unix socket has at most 107 bytes".to_owned()),
        _ => Ok(PathBuf::from(path)),
    }
}

/// Cuts what stands in front of the last `@` off an authority.
pub(super) fn split_user_info(authority: &str) -> (Option<&str>, &str) {
    authority
        .rsplit_once('@')
        .map_or((None, authority), |(user_info, rest)| (Some(user_info), rest))
}

/// Cuts `host:port`, `[v6]:port` or `host`, and checks both. An IPv6 address loses its brackets, a
/// name its upper case.
pub(super) fn split_port(authority: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or("\"[\" has no \"]\"")?;
        let address: Ipv6Addr =
            address.parse().map_err(|_| "between \"[\" and \"]\" stands an IPv6 address")?;
        let port = rest.strip_prefix(':');
        if port.is_none() && !rest.is_empty() {
            return Err("after \"]\" comes \":\" and the port".to_owned());
        }
        (address.to_string(), port)
    } else {
        let (host, port) =
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        if port.is_some_and(|port| port.contains(':')) {
            return Err("an IPv6 address goes into brackets, as in \"[::1]\"".to_owned());
        }
        check_host_name(host.strip_suffix('.').unwrap_or(host))?;
        (host.to_ascii_lowercase(), port)
    };
    let port = port.map(|digits| {
        number(digits).filter(|port| *port != 0).ok_or("the port must be 1 to 65535")
    });
    Ok((host, port.transpose()?))
}

/// Checks a host name or IPv4 address (RFC 1123 §2.1, and `_`, which container names use).
pub(super) fn check_host_name(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("the host is empty".to_owned());
    }
    if host.len() > 253 {
        return Err("a host name has at most 253 characters".to_owned());
    }
    for label in host.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("between the dots of a host name stand 1 to 63 characters".to_owned());
        }
        if let Some(wrong) =
            label.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
        {
            return Err(format!("{wrong:?} cannot stand in a host name"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("no part of a host name begins or ends with \"-\"".to_owned());
        }
    }
    // "10.0.0.300" is a mistyped address, not a name.
    let last = host.rsplit('.').next().unwrap_or(host);
    if last.bytes().all(|byte| byte.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return Err("it looks like an IPv4 address and is none".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        network(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.2/31", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("::/0", "2001:db8::1", "::ffff:10.0.0.1"),
        ] {
            assert!(holds(&net(network), ip(inside)), "{network} {inside}");
            assert!(!holds(&net(network), ip(outside)), "{network} {outside}");
        }
    }

    #[test]
    fn ipv4_mapped_addresses_count_as_ipv4_on_both_sides() {
        assert!(holds(&net("10.0.0.0/8"), ip("::ffff:10.1.2.3")));
        assert!(holds(&net("::ffff:10.0.0.0/104"), ip("10.1.2.3")));
        assert_eq!(net("::ffff:10.1.2.3").to_string(), "10.1.2.3/32");
    }

    #[test]
    fn bad_networks_say_why() {
        for (text, why) in [
            ("", "neither"),
            ("localhost", "neither"),
            ("010.0.0.1", "neither"),
            ("10.0.0.01/32", "neither"),
            ("10.0.0.0/33", "0 to 32"),
            ("10.0.0.0/", "0 to 32"),
            ("10.0.0.0/+8", "0 to 32"),
            ("fd00::/129", "0 to 128"),
            ("10.0.0.1/8", "the network is 10.0.0.0/8"),
            ("::ffff:10.0.0.0/64", "at least 96"),
        ] {
            let reason = network(text).unwrap_err();
            assert!(reason.contains(why), "{text}: {reason}");
        }
    }
}
