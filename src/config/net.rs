//! Networks and hosts: which peers are trusted, and what may stand in the place of a host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// An IP network such as `10.0.0.0/8`, or a single address.
///
/// An IPv4-mapped IPv6 address (`::ffff:10.1.2.3`, which a dual-stack socket reports for an IPv4
/// peer) counts as the IPv4 address that it maps, on both sides. IPv6 networks hence hold no IPv4
/// peers: `::/0` is every IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNet {
    network: IpAddr,
    prefix: u8,
}

impl IpNet {
    /// Whether the network holds this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                network.to_bits() == address.to_bits() & mask_v4(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                network.to_bits() == address.to_bits() & mask_v6(self.prefix)
            }
            _ => false,
        }
    }

    /// The number of leading bits that all addresses of the network share: 0 (everything) to 32 or
    /// 128.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl FromStr for IpNet {
    type Err = String;

    /// # Errors
    /// The reason, in words for the one who typed it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| "it is neither IPv4 nor IPv6".to_owned())?;
        let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|prefix| {
                    *prefix <= longest && digits.bytes().all(|byte| byte.is_ascii_digit())
                })
                .ok_or_else(|| format!("the prefix after \"/\" must be 0 to {longest}"))?,
        };
        let (address, prefix) = match address.to_canonical() {
            IpAddr::V4(mapped) if longest == 128 => match prefix.checked_sub(96) {
                Some(prefix) => (IpAddr::V4(mapped), prefix),
                None => {
                    return Err("an IPv4-mapped network needs a prefix of at least 96".to_owned());
                }
            },
            other => (other, prefix),
        };
        let network = match address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(prefix))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(prefix))),
        };
        // Bits behind the prefix are more often a slip than carelessness: 10.0.0.1/8 may have meant
        // one host.
        if network != address {
            return Err(format!(
                "its address has bits behind the prefix; the network is {network}/{prefix}"
            ));
        }
        Ok(Self { network, prefix })
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn mask_v4(prefix: u8) -> u32 {
    // A shift by the whole width is no shift: /0 has an empty mask.
    u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0)
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

/// Cuts `host:port`, `[v6]:port` or `host`, and checks the host.
pub(super) fn split_port(authority: &str) -> Result<(String, Option<&str>), String> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or("\"[\" has no \"]\"")?;
        let address: Ipv6Addr =
            address.parse().map_err(|_| "between \"[\" and \"]\" stands an IPv6 address")?;
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return Err("after \"]\" comes \":\" and the port".to_owned()),
            port => port,
        };
        return Ok((address.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            return Err("an IPv6 address goes into brackets, as in \"[::1]\"".to_owned());
        }
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    check_host_name(host.strip_suffix('.').unwrap_or(host))?;
    Ok((host.to_ascii_lowercase(), port))
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
        text.parse().unwrap()
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
            assert!(net(network).contains(ip(inside)), "{network} {inside}");
            assert!(!net(network).contains(ip(outside)), "{network} {outside}");
        }
    }

    #[test]
    fn ipv4_mapped_addresses_count_as_ipv4_on_both_sides() {
        assert!(net("10.0.0.0/8").contains(ip("::ffff:10.1.2.3")));
        assert!(net("::ffff:10.0.0.0/104").contains(ip("10.1.2.3")));
        assert_eq!(net("::ffff:10.1.2.3").to_string(), "10.1.2.3/32");
    }

    #[test]
    fn bad_networks_say_why() {
        for (text, why) in [
            ("", "neither"),
            ("localhost", "neither"),
            ("10.0.0.0/33", "0 to 32"),
            ("10.0.0.0/", "0 to 32"),
            ("10.0.0.0/+8", "0 to 32"),
            ("fd00::/129", "0 to 128"),
            ("10.0.0.1/8", "the network is 10.0.0.0/8"),
            ("::ffff:10.0.0.0/64", "at least 96"),
        ] {
            let reason = text.parse::<IpNet>().unwrap_err();
            assert!(reason.contains(why), "{text}: {reason}");
        }
    }
}
