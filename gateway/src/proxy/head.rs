//! A request as it came off the wire, in the gate's terms.

use std::net::{IpAddr, Ipv4Addr};

use domain::RequestId;
use gate::{Listener, RawHead, Version};
use pingora::{http::RequestHeader, proxy::Session};

use crate::tls::Sni;

/// Reads what the gate judges. Nothing is normalised here.
pub(crate) fn read(session: &Session, listener: Listener, request_id: RequestId) -> RawHead<'_> {
    let header = session.req_header();
    let version = version(header);
    RawHead {
        listener,
        sni: sni(session),
        version,
        method: header.method.as_str(),
        target: target(header, version),
        authority: if version == Version::H2 { header.uri.authority().map(|a| a.as_str().as_bytes()) } else { None },
        headers: &header.headers,
        client: client(session),
        request_id,
    }
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

fn sni(session: &Session) -> Option<&str> {
    let tls = session.digest()?.ssl_digest.as_deref()?;
    tls.extension.get::<Sni>().map(|sni| sni.name())
}

/// The address of the connection, or what a proxy said of it in front. A Unix socket, which no listener of ours is, would have none.
fn client(session: &Session) -> IpAddr {
    let address = session.client_addr().and_then(|address| address.as_inet());
    address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip().to_canonical())
}
