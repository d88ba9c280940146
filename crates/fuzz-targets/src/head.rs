//! Bytes as a request head, as it comes out of a parser.
//!
//! ```text
//! h1 acme.localhost          protocol (h0, h1, h2, p1 for the plain listener), then the SNI or nothing
//! GET /public/x              method and target; of HTTP/2 the authority may follow
//! host: acme.localhost       fields
//! ```

use std::net::{IpAddr, Ipv4Addr};

use domain::RequestId;
use gate::{Listener, RawHead, Version};
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// A head that was sent.
#[derive(Debug)]
pub struct Sent {
    listener: Listener,
    version: Version,
    sni: Option<String>,
    method: String,
    target: Vec<u8>,
    authority: Option<Vec<u8>>,
    headers: HeaderMap,
}

impl Sent {
    /// Reads an input. Fields that no parser lets through are left out.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let (protocol, sni) = first.split_once(' ').unwrap_or((&first, ""));
        let mut words = lines.next().unwrap_or_default().splitn(3, |byte| *byte == b' ');
        let mut word = || words.next().map(<[u8]>::to_vec);
        let method = String::from_utf8_lossy(&word().unwrap_or_default()).into_owned();
        let mut headers = HeaderMap::new();
        for line in lines {
            let mut halves = line.splitn(2, |byte| *byte == b':');
            let name = HeaderName::from_bytes(halves.next().unwrap_or_default());
            let value = HeaderValue::from_bytes(halves.next().unwrap_or_default().trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        let version = match protocol {
            "h0" => Version::Http10,
            "h2" => Version::H2,
            _ => Version::Http11,
        };
        Self {
            listener: if protocol == "p1" { Listener::Plain } else { Listener::Tls },
            version,
            sni: Some(sni.to_owned()).filter(|sni| !sni.is_empty()),
            method,
            target: word().unwrap_or_default(),
            authority: word().filter(|_| version == Version::H2),
            headers,
        }
    }

    /// The head as the gate reads it.
    pub fn head(&self) -> RawHead<'_> {
        RawHead {
            listener: self.listener,
            sni: self.sni.as_deref(),
            certificate: None,
            version: self.version,
            method: &self.method,
            target: &self.target,
            authority: self.authority.as_deref(),
            headers: &self.headers,
            has_body: false,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request_id: RequestId::new(Uuid::nil()),
        }
    }
}
