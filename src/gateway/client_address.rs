//! The client's address behind proxies, for the access log, the limits of logins and upstreams.
//!
//! A trusted proxy says in `X-Forwarded-For` or `Forwarded` (RFC 7239) for whom it speaks: each
//! proxy adds the address that it saw on the right. The list is read from the right: as long as an
//! address is that of a trusted proxy, the one to its left is believed too, and the first that is
//! not trusted is the client. What stands further to the left was written by the client.
//!
//! * An element that names no address (`unknown`, `_hidden`, an empty element of `Forwarded`) ends
//!   the reading: the client is the last address that was understood, at worst the proxy itself.
//! * Where both fields are there, only `X-Forwarded-For` is read: nearly every proxy adds to it and
//!   passes `Forwarded` on as the client sent it. They are never mixed: a client that can write one
//!   of them gains nothing where the proxy writes the other.
//! * Upstreams read either field, so the field that was not read is written anew from the other.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::connection::{ClientConnection, TrustedProxies, X_FORWARDED_FOR, host_and_proto, node};
use crate::wire::authority::host_of;

#[cfg(test)]
mod tests;

/// What trusted proxies say of a request's way.
pub(super) struct ForwardedChain {
    /// The client, then the trusted proxies that it came through, but for the one that is connected
    /// to keyward. Empty: nothing was understood.
    hops: Vec<IpAddr>,
    /// The client's address as a field's value; none: nothing was understood.
    pub(super) client: Option<HeaderValue>,
    /// The field that was read.
    source: HeaderName,
    /// What an element of `Forwarded` says besides of the client: the host that it asked for, and
    /// the scheme that it used, `http` or `https`.
    pub(super) host: Option<HeaderValue>,
    pub(super) proto: Option<HeaderValue>,
}

impl ForwardedChain {
    /// Reads the way of a request. None: its peer is not trusted to say anything, or says nothing.
    pub(super) fn read(client: &ClientConnection, headers: &HeaderMap) -> Option<Self> {
        let proxies = client.origin.trusted_proxies.as_ref()?;
        // The last line first (RFC 9110, section 5.3).
        let lines =
            |name: &HeaderName| headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
        if says_something(headers, &X_FORWARDED_FOR) {
            let addresses = lines(&X_FORWARDED_FOR)
                .flat_map(|line| line.rsplit(|&byte| byte == b','))
                .filter(|element| !element.trim_ascii().is_empty())
                .map(|element| Element { address: listed_address(element), ..Element::default() });
            Some(Self::walk(X_FORWARDED_FOR, proxies, addresses))
        } else if says_something(headers, &header::FORWARDED) {
            let elements = lines(&header::FORWARDED)
                .flat_map(|line| ElementsFromRight(Some(line)))
                .filter(|element| !element.trim_ascii().is_empty())
                .map(|element| Element::parse(element).unwrap_or_default());
            Some(Self::walk(header::FORWARDED, proxies, elements))
        } else {
            None
        }
    }

    /// From the nearest proxy to the client.
    fn walk(
        source: HeaderName,
        proxies: &TrustedProxies,
        elements: impl Iterator<Item = Element>,
    ) -> Self {
        let mut chain = Self { hops: Vec::new(), client: None, source, host: None, proto: None };
        for element in elements {
            let Some(address) = element.address else { break };
            chain.hops.push(address);
            (chain.host, chain.proto) = (element.host, element.proto);
            if !proxies.trusts(Some(address)) {
                break;
            }
        }
        chain.hops.reverse();
        chain.client = chain
            .client_address()
            .and_then(|address| HeaderValue::try_from(address.to_string()).ok());
        chain
    }

    /// The client's address. None: nothing was understood, and the client is the peer.
    pub(super) fn client_address(&self) -> Option<IpAddr> {
        self.hops.first().copied()
    }

    /// `X-Forwarded-For` for the upstream: as the proxies wrote it, or the way anew; then `ours`.
    pub(super) fn forwarded_for(
        &self,
        headers: &HeaderMap,
        ours: Option<&HeaderValue>,
    ) -> Option<HeaderValue> {
        let anew = || self.hops.iter().map(|hop| hop.to_string().into_bytes()).collect();
        appended(self.as_written(headers, &X_FORWARDED_FOR).unwrap_or_else(anew), ours)
    }

    /// `Forwarded` for the upstream: as the proxies wrote it, or the way anew, with the host and
    /// the scheme that they say the client asked for; then `ours`.
    pub(super) fn forwarded(
        &self,
        headers: &HeaderMap,
        host: Option<&HeaderValue>,
        proto: &HeaderValue,
        ours: &HeaderValue,
    ) -> HeaderValue {
        let anew = || {
            let mut elements: Vec<Vec<u8>> = self
                .hops
                .iter()
                .map(|hop| format!("for={}", node(Some(*hop))).into_bytes())
                .collect();
            if let Some(first) = elements.first_mut() {
                let host = host.and_then(|host| host.to_str().ok()).filter(|host| is_host(host));
                let proto = proto.to_str().ok().and_then(scheme_of);
                first.extend_from_slice(host_and_proto(host, proto).as_bytes());
            }
            elements
        };
        let said = self.as_written(headers, &header::FORWARDED).unwrap_or_else(anew);
        appended(said, Some(ours)).unwrap_or_else(|| ours.clone())
    }

    /// The lines of `name`, if it is the field that was read, and if what is added to them is
    /// outside of any quoted string of theirs, whoever reads them.
    fn as_written(&self, headers: &HeaderMap, name: &HeaderName) -> Option<Vec<Vec<u8>>> {
        let lines = || {
            headers.get_all(name).iter().map(HeaderValue::as_bytes).filter(|line| !line.is_empty())
        };
        (self.source == *name && lines().all(closes_its_quotes))
            .then(|| lines().map(<[u8]>::to_vec).collect())
    }
}

/// One value for many: `a, b, ours`. None, if there is none.
fn appended(mut said: Vec<Vec<u8>>, ours: Option<&HeaderValue>) -> Option<HeaderValue> {
    said.extend(ours.map(|ours| ours.as_bytes().to_vec()));
    if said.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&said.join(&b", "[..])).ok().or(ours.cloned())
}

fn says_something(headers: &HeaderMap, name: &HeaderName) -> bool {
    let is_element = |byte: &u8| !matches!(byte, b',' | b' ' | b'\t');
    headers.get_all(name).iter().any(|line| line.as_bytes().iter().any(is_element))
}

/// Whether a line ends outside of a quoted string (RFC 9110, section 5.6.4).
fn closes_its_quotes(line: &[u8]) -> bool {
    let mut is_open = false;
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => is_open = !is_open,
            b'\\' if is_open => drop(bytes.next()),
            _ => {}
        }
    }
    !is_open
}

/// The elements of a line of `Forwarded`, the last one first. A comma in a quoted string does not
/// separate. Quotes are matched from the right, where the trusted proxies have written: one that a
/// client left open on the left does not swallow what they added.
struct ElementsFromRight<'a>(Option<&'a [u8]>);

impl<'a> Iterator for ElementsFromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.0.take()?;
        let is_escaped = |at: usize| {
            let before = line.get(..at).unwrap_or_default();
            before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
        };
        let mut is_quoted = false;
        for (at, byte) in line.iter().enumerate().rev() {
            match byte {
                b'"' if is_quoted && is_escaped(at) => {}
                b'"' => is_quoted = !is_quoted,
                b',' if !is_quoted => {
                    self.0 = line.get(..at);
                    return line.get(at + 1..);
                }
                _ => {}
            }
        }
        Some(line)
    }
}

/// What one proxy says: of an element of `X-Forwarded-For`, the address alone.
#[derive(Default)]
struct Element {
    address: Option<IpAddr>,
    host: Option<HeaderValue>,
    proto: Option<HeaderValue>,
}

impl Element {
    /// Reads an element of `Forwarded`. White space may stand around its parameters. None: it is no
    /// such element, or says something twice (RFC 7239, section 4).
    fn parse(element: &[u8]) -> Option<Self> {
        let (mut node, mut host, mut proto) = (None, None, None);
        let mut rest = std::str::from_utf8(element).ok()?;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ';']);
            if rest.is_empty() {
                break;
            }
            let (name, after) = rest.split_once('=')?;
            let (value, after) = value_of(after.trim_start_matches(WHITE_SPACE))?;
            rest = after.trim_start_matches(WHITE_SPACE);
            if !rest.is_empty() && !rest.starts_with(';') {
                return None;
            }
            let known = match name.trim_end_matches(WHITE_SPACE) {
                name if name.eq_ignore_ascii_case("for") => &mut node,
                name if name.eq_ignore_ascii_case("host") => &mut host,
                name if name.eq_ignore_ascii_case("proto") => &mut proto,
                name if name.bytes().all(is_token_byte) => continue,
                _ => return None,
            };
            if known.replace(value).is_some() {
                return None;
            }
        }
        Some(Self {
            address: node.as_deref().and_then(address_of),
            host: host
                .filter(|host| is_host(host))
                .and_then(|host| HeaderValue::try_from(&*host).ok()),
            proto: proto.as_deref().and_then(scheme_of).map(HeaderValue::from_static),
        })
    }
}

const WHITE_SPACE: [char; 2] = [' ', '\t'];

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The value of a parameter, and what comes after it. An address with a port or in brackets needs
/// quotes; it is understood without them.
fn value_of(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c| c == ';' || WHITE_SPACE.contains(&c)).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return (!value.is_empty() && !value.contains(['"', '\\']))
            .then_some((value.into(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return quoted.get(at + 1..).map(|after| (value.into(), after)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// The address of an element of `X-Forwarded-For`, in quotes or not.
fn listed_address(element: &[u8]) -> Option<IpAddr> {
    let element = std::str::from_utf8(element.trim_ascii()).ok()?;
    address_of(element.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(element))
}

/// The address of a node (RFC 7239, section 6), which may bear a port: `192.0.2.1`, `192.0.2.1:80`,
/// `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`. An IPv4-mapped IPv6 address is the IPv4
/// address.
fn address_of(node: &str) -> Option<IpAddr> {
    let (address, port): (IpAddr, &str) = if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        (address.parse::<Ipv6Addr>().ok()?.into(), port)
    } else if let Ok(address) = node.parse() {
        (address, "")
    } else {
        let (address, port) = node.split_at(node.find(':')?);
        (address.parse::<Ipv4Addr>().ok()?.into(), port)
    };
    is_port(port).then(|| address.to_canonical())
}

/// Whether this can follow an address: nothing, or `:` and a port, which may be left out or hidden.
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    match port.strip_prefix('_') {
        Some(hidden) => !hidden.is_empty() && hidden.bytes().all(is_token_byte),
        None => port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn is_host(text: &str) -> bool {
    host_of(text.as_bytes()).is_some()
}

/// The scheme of HTTP that a proxy means: of a WebSocket some say that of its own address (Traefik).
pub(super) fn scheme_of(text: &str) -> Option<&'static str> {
    [("http", "http"), ("https", "https"), ("ws", "http"), ("wss", "https")]
        .into_iter()
        .find_map(|(said, scheme)| text.eq_ignore_ascii_case(said).then_some(scheme))
}
