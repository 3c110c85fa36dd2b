//! The PROXY protocol, versions 1 and 2: a trusted load balancer names the client of a connection
//! that it passes on. A listener either requires the header, and only from peers that the
//! configuration names, or takes it for a malformed request.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, its end included.
const LINE_LIMIT: usize = 107;
/// More than any sender's addresses and TLVs need.
const BLOCK_LIMIT: usize = 4096;

/// The client of a connection, as a header names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedSource {
    /// A client with this address.
    Address(SocketAddr),
    /// A client whose address the sender does not know or cannot say (UNKNOWN, UNSPEC, a Unix
    /// socket): the connection counts as the sender's, and what it says of others does not.
    Unknown,
    /// The sender itself (LOCAL): a check of our health, say.
    Sender,
}

/// Reads the header from the start of a connection. The TLVs of version 2 are passed over.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<NamedSource> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return version_2(stream).await;
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_LIMIT {
            return Err(malformed());
        }
        line.push(stream.read_u8().await?);
    }
    version_1(&line).ok_or_else(malformed)
}

fn version_1(line: &[u8]) -> Option<NamedSource> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.split(' ');
    if words.next()? != "PROXY" {
        return None;
    }
    let family = words.next()?;
    if family == "UNKNOWN" {
        // What may follow says nothing.
        return Some(NamedSource::Unknown);
    }
    let (source, destination): (IpAddr, IpAddr) =
        (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (port, _) = (version_1_port(words.next()?)?, version_1_port(words.next()?)?);
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (fits && words.next().is_none()).then_some(NamedSource::Address(SocketAddr::new(source, port)))
}

fn version_1_port(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

async fn version_2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<NamedSource> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [command, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > BLOCK_LIMIT {
        return Err(malformed());
    }
    let mut block = vec![0; length];
    stream.read_exact(&mut block).await?;
    match (command, family) {
        (LOCAL, _) => Ok(NamedSource::Sender),
        // A datagram's source is the client's address, too: of a client of HTTP/3 in front of the
        // sender.
        (PROXY, 0x11 | 0x12) => source_in::<4>(&block).ok_or_else(malformed),
        (PROXY, 0x21 | 0x22) => source_in::<16>(&block).ok_or_else(malformed),
        (PROXY, 0x00 | 0x31 | 0x32) => Ok(NamedSource::Unknown),
        // Other values "must be rejected as invalid by receivers" (section 2.2).
        _ => Err(malformed()),
    }
}

/// Version 2, and what the sender does.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// The source of a block that begins with source address, destination address, source port and
/// destination port.
fn source_in<const LENGTH: usize>(block: &[u8]) -> Option<NamedSource>
where
    IpAddr: From<[u8; LENGTH]>,
{
    let address = *block.first_chunk::<LENGTH>()?;
    let [high, low, _, _] = *block.get(2 * LENGTH..)?.first_chunk::<4>()?;
    Some(NamedSource::Address(SocketAddr::new(address.into(), u16::from_be_bytes([high, low]))))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed PROXY header")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut bytes: &[u8]) -> Result<(NamedSource, usize), io::ErrorKind> {
        let source = read(&mut bytes).await.map_err(|fault| fault.kind())?;
        Ok((source, bytes.len()))
    }

    fn address(text: &str) -> NamedSource {
        NamedSource::Address(text.parse().expect("an address"))
    }

    /// A header of version 2, and three bytes of what comes after it.
    fn version_2_with(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).expect("it fits").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, block, b"GET"].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 1, 187];

    fn v6() -> Vec<u8> {
        let mut block = vec![0; 36];
        block[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        block[15] = 7;
        block[32..34].copy_from_slice(&[0, 80]);
        block
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_the_rest() {
        let v1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\nGET";
        assert_eq!(read_all(v1).await, Ok((address("192.0.2.1:4711"), 3)));
        assert_eq!(
            read_all(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n").await,
            Ok((address("[2001:db8::1]:1"), 0))
        );
        for family in [0x11, 0x12] {
            assert_eq!(
                read_all(&version_2_with(PROXY, family, &V4)).await,
                Ok((address("192.0.2.1:4711"), 3))
            );
        }
        for family in [0x21, 0x22] {
            assert_eq!(
                read_all(&version_2_with(PROXY, family, &v6())).await,
                Ok((address("[2001:db8::7]:80"), 3))
            );
        }
    }

    #[tokio::test]
    async fn what_follows_the_addresses_is_passed_over() {
        let no_op = [4, 0, 0];
        let long = [&[4, 0x0f, 0xf1][..], &[b'x'; BLOCK_LIMIT - 15]].concat();
        for more in [&no_op[..], &no_op.repeat(2), &[4, 0xff, 0xff], &[1], &long] {
            let block = [&V4, more].concat();
            assert_eq!(
                read_all(&version_2_with(PROXY, 0x11, &block)).await,
                Ok((address("192.0.2.1:4711"), 3))
            );
        }
    }

    #[tokio::test]
    async fn a_client_of_a_family_without_an_address_is_unknown() {
        for line in [
            &b"PROXY UNKNOWN\r\nGET"[..],
            b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\nGET",
            b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
              ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\nGET",
        ] {
            assert_eq!(
                read_all(line).await,
                Ok((NamedSource::Unknown, 3)),
                "{}",
                line.escape_ascii()
            );
        }
        let unix = [b'/'; 216];
        let with_more = [&unix[..], &[4, 0, 1, 0]].concat();
        for (family, block) in [
            (0x00, &b""[..]),
            (0x00, &V4),
            (0x00, &[4, 0, 0]),
            (0x31, &unix),
            (0x32, &unix),
            (0x31, &with_more),
        ] {
            let found = read_all(&version_2_with(PROXY, family, block)).await;
            assert_eq!(found, Ok((NamedSource::Unknown, 3)), "{family:x} {}", block.len());
        }
    }

    #[tokio::test]
    async fn a_connection_of_the_sender_is_its_own_whatever_addresses_it_says() {
        let unspecified: &[u8] = &[];
        for (family, block) in
            [(0x00, unspecified), (0x11, &V4), (0x31, &[0; 216]), (0x00, &[4, 0, 0]), (0xff, &V4)]
        {
            assert_eq!(
                read_all(&version_2_with(LOCAL, family, block)).await,
                Ok((NamedSource::Sender, 3)),
                "{family:x}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        let mut cut = version_2_with(PROXY, 0x31, &[0; 216]);
        cut.truncate(100);
        let (short_v4, short_v6) =
            (version_2_with(PROXY, 0x11, &V4[..11]), version_2_with(PROXY, 0x21, &v6()[..35]));
        let too_long = version_2_with(PROXY, 0x00, &[0; BLOCK_LIMIT + 1]);
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY unknown\r\n",
            b"PROXY",
            long.as_bytes(),
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            &cut,
            &short_v4,
            &short_v6,
            &too_long,
        ] {
            assert!(read_all(bytes).await.is_err(), "{}", bytes.escape_ascii());
        }
        for (command, family) in
            [(0x22, 0x11), (0x31, 0x11), (0x21, 0x10), (0x21, 0x13), (0x21, 0x30), (0x21, 0x41)]
        {
            let bytes = version_2_with(command, family, &[0; 216]);
            assert!(read_all(&bytes).await.is_err(), "{command:x} {family:x}");
        }
    }
}
