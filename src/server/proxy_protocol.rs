//! The PROXY protocol, versions 1 and 2: a trusted load balancer says whose connection it passes on. Never guessed: a listener
//! either requires it or does not know it, and only from peers that the configuration names.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, its end included.
const LINE_LIMIT: usize = 107;
/// More than any sender's addresses and TLVs need.
const BLOCK_LIMIT: usize = 4096;

/// Reads the header from the start of a connection; `None`: the sender speaks for itself (LOCAL, UNKNOWN).
///
/// # Errors
///
/// When what comes is no such header: the connection is then worth nothing.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
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

fn version_1(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.split(' ');
    if words.next()? != "PROXY" {
        return None;
    }
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination): (IpAddr, IpAddr) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (port, _): (u16, u16) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (fits && words.next().is_none()).then_some(Some(SocketAddr::new(source, port)))
}

async fn version_2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let [command, family, high, low] = {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        head
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > BLOCK_LIMIT {
        return Err(malformed());
    }
    let mut block = vec![0; length];
    stream.read_exact(&mut block).await?;
    match (command, family) {
        // LOCAL: the sender's own check of our health.
        (0x20, _) => Ok(None),
        (0x21, 0x11) => {
            let source = block.first_chunk::<4>().ok_or_else(malformed)?;
            let port = block.get(8..10).and_then(<[u8]>::first_chunk::<2>).ok_or_else(malformed)?;
            short_of(&block, 12)?;
            Ok(Some(SocketAddr::new(Ipv4Addr::from(*source).into(), u16::from_be_bytes(*port))))
        }
        (0x21, 0x21) => {
            let source = block.first_chunk::<16>().ok_or_else(malformed)?;
            let port = block.get(32..34).and_then(<[u8]>::first_chunk::<2>).ok_or_else(malformed)?;
            short_of(&block, 36)?;
            Ok(Some(SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes(*port))))
        }
        _ => Err(malformed()),
    }
}

fn short_of(block: &[u8], least: usize) -> io::Result<()> {
    if block.len() < least { Err(malformed()) } else { Ok(()) }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed PROXY header")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut bytes: &[u8]) -> Result<(Option<SocketAddr>, usize), io::ErrorKind> {
        let address = read(&mut bytes).await.map_err(|fault| fault.kind())?;
        Ok((address, bytes.len()))
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_the_rest() {
        let address = |text: &str| Some(text.parse().expect("an address"));
        let v1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\nGET";
        assert_eq!(read_all(v1).await, Ok((address("192.0.2.1:4711"), 3)));
        assert_eq!(read_all(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n").await, Ok((address("[2001:db8::1]:1"), 0)));
        assert_eq!(read_all(b"PROXY UNKNOWN\r\nGET").await, Ok((None, 3)));
        let mut v2 = SIGNATURE.to_vec();
        v2.extend([0x21, 0x11, 0, 15, 192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 1, 187, 4, 0, 0]);
        v2.extend(b"GET");
        assert_eq!(read_all(&v2).await, Ok((address("192.0.2.1:4711"), 3)));
        let mut local = SIGNATURE.to_vec();
        local.extend([0x20, 0, 0, 0]);
        assert_eq!(read_all(&local).await, Ok((None, 0)));
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY",
            long.as_bytes(),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04abcd",
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        ] {
            assert!(read_all(bytes).await.is_err(), "{bytes:?}");
        }
    }
}
