//! A request as it came off the wire, in the gate's terms.

use std::net::{IpAddr, Ipv4Addr};

use domain::{ByteSize, RequestId};
use gate::{Denial, Listener, RawHead, Version};
use pingora::{http::RequestHeader, proxy::Session};

use crate::{config::ConnectionConfig, tls::Handshake};

/// Reads what the gate judges. Nothing is normalised here.
pub(crate) fn read<'r>(
    session: &'r Session,
    handshake: Option<&'r Handshake>,
    listener: Listener,
    has_body: bool,
    request_id: RequestId,
) -> RawHead<'r> {
    let header = session.req_header();
    let version = version(header);
    RawHead {
        listener,
        sni: handshake.map(Handshake::sni),
        certificate: handshake.and_then(Handshake::certificate),
        version,
        method: header.method.as_str(),
        target: target(header, version),
        authority: if version == Version::H2 { header.uri.authority().map(|a| a.as_str().as_bytes()) } else { None },
        headers: &header.headers,
        has_body,
        client: client(session),
        request_id,
    }
}

/// What is too large about a head, before it is judged.
pub(crate) fn oversized(session: &Session, limits: &ConnectionConfig) -> Option<Denial> {
    let header = session.req_header();
    let over = |bytes: usize, limit: ByteSize| u64::try_from(bytes).unwrap_or(u64::MAX) > limit.bytes();
    if over(target(header, version(header)).len(), limits.max_target) {
        return Some(Denial::TargetTooLong);
    }
    // Of HTTP/2 the library counts while it decodes.
    let bytes = session.as_http1().map_or(0, |session| session.get_headers_raw_bytes().len());
    let large = over(bytes, limits.max_head) || header.headers.len() > limits.max_fields;
    large.then_some(Denial::HeadTooLarge)
}

fn version(header: &RequestHeader) -> Version {
    match header.version {
        http::Version::HTTP_2 => Version::H2,
        http::Version::HTTP_11 => Version::Http11,
        _ => Version::Http10,
    }
}

/// Of HTTP/2, `:path`; else the target byte for byte, less its fragment.
fn target(header: &RequestHeader, version: Version) -> &[u8] {
    match (version, header.uri.path_and_query()) {
        (Version::H2, Some(path)) => path.as_str().as_bytes(),
        _ => header.raw_path(),
    }
}

/// The address of the connection, or what a proxy said of it in front. A Unix socket, which no listener of ours is, would have none.
fn client(session: &Session) -> IpAddr {
    let address = session.client_addr().and_then(|address| address.as_inet());
    address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip().to_canonical())
}
