//! The header of the PROXY protocol (HAProxy, versions 1 and 2), read to its last byte and not beyond: what follows is
//! the client's.
//!
//! `ppp` reads the two forms; here stands how much is read of what may be hostile, and what it may say. Fields behind the
//! addresses (TLVs) must be whole, and say nothing to us.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest header of version 1, with its line end (§2.1 of the protocol).
const MAX_V1: usize = 107;

/// Bytes of version 2 up to its length (§2.2): signature, version and command, family, length.
const FIXED_V2: usize = 16;

/// Longest rest of version 2. The protocol allows 65,535 bytes; addresses need 36, and a proxy that tells of the
/// client's TLS some hundred more.
const MAX_V2: usize = 2_048;

/// Why a header cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("the connection ended in it")]
    Read(#[from] io::Error),
    #[error("there is none")]
    Missing,
    #[error("it is longer than a header may be")]
    TooLong,
    #[error("it is not of version 1")]
    V1(#[from] v1::BinaryParseError),
    #[error("it is not of version 2")]
    V2(#[from] v2::ParseError),
    #[error("it tells of something else than a TCP connection")]
    OtherProtocol,
    #[error("the address in it is nobody's")]
    Address,
}

/// Reads a header. None when the proxy speaks for itself (`LOCAL`, `UNKNOWN`).
///
/// # Errors
/// [`HeaderError`]; the connection is then good for nothing.
pub(super) async fn read<S: AsyncRead + Unpin + ?Sized>(stream: &mut S) -> Result<Option<SocketAddr>, HeaderError> {
    let mut header = Vec::with_capacity(MAX_V1);
    header.push(stream.read_u8().await?);
    let named = match header.first() {
        Some(b'P') => read_v1(stream, header).await?,
        Some(b'\r') => read_v2(stream, header).await?,
        _ => return Err(HeaderError::Missing),
    };
    match named {
        Some(address) if !is_somebodys(address.ip()) => Err(HeaderError::Address),
        named => Ok(named),
    }
}

async fn read_v1<S: AsyncRead + Unpin + ?Sized>(
    stream: &mut S,
    mut header: Vec<u8>,
) -> Result<Option<SocketAddr>, HeaderError> {
    // One by one: what follows the line end is not ours to read.
    while header.last() != Some(&b'\n') {
        if header.len() == MAX_V1 {
            return Err(HeaderError::TooLong);
        }
        header.push(stream.read_u8().await?);
    }
    match v1::Header::try_from(header.as_slice())?.addresses {
        v1::Addresses::Tcp4(it) => Ok(Some((it.source_address, it.source_port).into())),
        v1::Addresses::Tcp6(it) => Ok(Some((it.source_address, it.source_port).into())),
        v1::Addresses::Unknown => Ok(None),
    }
}

async fn read_v2<S: AsyncRead + Unpin + ?Sized>(
    stream: &mut S,
    mut header: Vec<u8>,
) -> Result<Option<SocketAddr>, HeaderError> {
    read_to(stream, &mut header, v2::PROTOCOL_PREFIX.len()).await?;
    if header != v2::PROTOCOL_PREFIX {
        return Err(HeaderError::Missing);
    }
    read_to(stream, &mut header, FIXED_V2).await?;
    let length = match header.get(FIXED_V2 - 2..) {
        Some([high, low]) => usize::from(u16::from_be_bytes([*high, *low])),
        _ => return Err(HeaderError::Missing),
    };
    if length > MAX_V2 {
        return Err(HeaderError::TooLong);
    }
    read_to(stream, &mut header, FIXED_V2 + length).await?;
    let header = v2::Header::try_from(header.as_slice())?;
    for field in header.tlvs() {
        field?;
    }
    match (header.command, header.protocol, header.addresses) {
        (v2::Command::Local, _, _) | (v2::Command::Proxy, _, v2::Addresses::Unspecified) => Ok(None),
        (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv4(it)) => {
            Ok(Some((it.source_address, it.source_port).into()))
        }
        (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv6(it)) => {
            Ok(Some((it.source_address, it.source_port).into()))
        }
        (v2::Command::Proxy, _, _) => Err(HeaderError::OtherProtocol),
    }
}

/// Reads until the header is this long.
async fn read_to<S: AsyncRead + Unpin + ?Sized>(
    stream: &mut S,
    header: &mut Vec<u8>,
    length: usize,
) -> Result<(), HeaderError> {
    let mut rest = vec![0; length.saturating_sub(header.len())];
    stream.read_exact(&mut rest).await?;
    header.append(&mut rest);
    Ok(())
}

fn is_somebodys(address: IpAddr) -> bool {
    let address = address.to_canonical();
    !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is read, and how many bytes of `rest` are left.
    fn outcome(bytes: &[u8]) -> (Result<Option<SocketAddr>, HeaderError>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut rest = bytes;
        let read = runtime.block_on(read(&mut rest));
        (read, rest.len())
    }

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = v2::PROTOCOL_PREFIX.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        header.extend(payload);
        header
    }

    const FOUR: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];

    fn six() -> Vec<u8> {
        let mut payload = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
        payload.extend([0; 16]);
        payload.extend([0x12, 0x67, 0x01, 0xbb]);
        payload
    }

    #[test]
    fn both_versions_name_the_client_and_leave_what_follows() {
        let with_fields = [&FOUR[..], &[0x03, 0, 4, 1, 2, 3, 4], &[0x04, 0, 0]].concat();
        for (header, expected) in [
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n".to_vec(), "203.0.113.7:4711"),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(), "[2001:db8::7]:4711"),
            (v2(0x21, 0x11, &FOUR), "203.0.113.7:4711"),
            (v2(0x21, 0x21, &six()), "[2001:db8::7]:4711"),
            (v2(0x21, 0x11, &with_fields), "203.0.113.7:4711"),
        ] {
            let (read, left) = outcome(&[&header[..], b"GET / HTTP/1.1\r\n"].concat());
            assert_eq!(read.unwrap(), Some(expected.parse().unwrap()));
            assert_eq!(left, 16, "{expected}: the client's bytes are left");
        }
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_names_nobody() {
        for header in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0x20, 0x00, &[]), v2(0x20, 0x11, &FOUR), v2(0x21, 0x00, &[])] {
            assert!(matches!(outcome(&header), (Ok(None), 0)), "{header:?}");
        }
    }

    #[test]
    fn s11_a_broken_header_is_refused() {
        let long_line = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        for header in [
            &b""[..],
            b"G",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"PROXY",
            b"PROXY \r\n",
            b"PROXY TCP4\r\n",
            b"PROXY TCP5 203.0.113.7 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 5\r\n",
            b"PROXY TCP4 203.0.113.256 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 70000 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 -1 443\r\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
            b"PROXY TCP6 fe80::1%eth0 2001:db8::1 4711 443\r\n",
            b"PROXY TCP4 0.0.0.0 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 224.0.0.1 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\n",
            b"PROXY TCP4\xff 203.0.113.7 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.7\0 10.0.0.1 4711 443\r\n",
            b"proxy TCP4 203.0.113.7 10.0.0.1 4711 443\r\n",
            long_line.as_bytes(),
        ] {
            assert!(outcome(header).0.is_err(), "{}", String::from_utf8_lossy(header));
        }
    }

    #[test]
    fn s11_a_broken_header_of_version_2_is_refused() {
        let four = |more: &[u8]| [&FOUR[..], more].concat();
        for (what, header) in [
            ("half of the signature", v2::PROTOCOL_PREFIX[..6].to_vec()),
            ("another signature", [b"\r\n\r\n\0\r\nQUIX\n\x21\x11\x00\x0c", &FOUR[..]].concat()),
            ("no length", v2(0x21, 0x11, &FOUR)[..15].to_vec()),
            ("less than its length", v2(0x21, 0x11, &FOUR)[..20].to_vec()),
            ("version 1 in the form of 2", v2(0x11, 0x11, &FOUR)),
            ("version 3", v2(0x31, 0x11, &FOUR)),
            ("an unknown command", v2(0x22, 0x11, &FOUR)),
            ("an unknown family", v2(0x21, 0x41, &FOUR)),
            ("an unknown transport", v2(0x21, 0x13, &FOUR)),
            ("datagrams", v2(0x21, 0x12, &FOUR)),
            ("a Unix socket", v2(0x21, 0x31, &[0; 216])),
            ("too few bytes for its addresses", v2(0x21, 0x11, &FOUR[..11])),
            ("IPv6 in the length of IPv4", v2(0x21, 0x21, &FOUR)),
            ("nobody's address", v2(0x21, 0x11, &[0; 12])),
            ("a field longer than the header", v2(0x21, 0x11, &four(&[0x03, 0xff, 0xff, 1]))),
            ("half a field", v2(0x21, 0x11, &four(&[0x03, 0]))),
            ("more fields than there may be", v2(0x21, 0x11, &four(&[0; MAX_V2]))),
        ] {
            assert!(outcome(&header).0.is_err(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn s11_no_bytes_are_read_beyond_a_header(bytes in proptest::collection::vec(any::<u8>(), 0..300), v1: bool) {
            let start: &[u8] = if v1 { b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2" } else { v2::PROTOCOL_PREFIX };
            let input = [start, &bytes].concat();
            let (read, left) = outcome(&input);
            if read.is_ok() {
                let consumed = input.len() - left;
                prop_assert!(outcome(&input[..consumed]).0.is_ok(), "a header is whole without what follows");
                prop_assert!(consumed <= FIXED_V2 + MAX_V2);
            }
        }
    }
}
