//! Which addresses belong to the public internet.
//!
//! An issuer's URL is somebody else's text. Were it to lead to a private address, we would knock at our own doors for
//! them (server-side request forgery), so whatever the registries call special is refused, also inside IPv6.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use reqwest::Url;
use tokio::time::timeout;

/// Why a URL's host is not spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The name leads nowhere.
    #[error("`{host}` has no address")]
    Name {
        /// The name.
        host: String,
        /// Why.
        source: Option<io::Error>,
    },
    /// It leads where nobody is spoken to.
    #[error("`{host}` leads to {address}, which may not be spoken to")]
    Address {
        /// The name.
        host: String,
        /// One of its addresses.
        address: IpAddr,
    },
    /// It was not found out in time.
    #[error("`{host}` was not found in time")]
    TooSlow {
        /// The name.
        host: String,
    },
}

/// The addresses of a URL's host, looked up once: who connects goes to exactly these. All of them may be spoken to.
///
/// # Errors
/// [`ResolveError`].
pub async fn resolve(
    url: &Url,
    patience: Duration,
    may_speak_to: impl Fn(SocketAddr) -> bool,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let looked_up = tokio::net::lookup_host((host.trim_matches(['[', ']']), port));
    let found = timeout(patience, looked_up).await.map_err(|_| ResolveError::TooSlow { host: host.into() })?;
    let failed = |source| ResolveError::Name { host: host.into(), source };
    let addresses: Vec<SocketAddr> = found.map_err(|error| failed(Some(error)))?.collect();
    if addresses.is_empty() {
        return Err(failed(None));
    }
    // One that may not be spoken to speaks against all: they are one server to whoever gave them.
    match addresses.iter().find(|address| !may_speak_to(**address)) {
        Some(address) => Err(ResolveError::Address { host: host.into(), address: address.ip() }),
        None => Ok(addresses),
    }
}

/// Whether an address is one of the public internet: not special by the registries of RFC 6890 and its successors.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 10 | 127, ..]
        | [100, 64..=127, ..]
        | [169, 254, ..]
        | [172, 16..=31, ..]
        | [192, 0, 0 | 2, _]
        | [192, 31, 196, _]
        | [192, 52, 193, _]
        | [192, 88, 99, _]
        | [192, 168, ..]
        | [192, 175, 48, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => true,
        // Multicast and what is reserved above it, the broadcast address too.
        [first, ..] => first >= 224,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Only 2000::/3 is given out; of that, tunnels that carry an IPv4 address and documentation are special.
    let special = match address.segments() {
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => true,
        [first, ..] => first & 0xe000 != 0x2000,
    };
    !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j10_addresses_of_this_network_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for text in ["1.1.1.1", "93.184.216.34", "100.63.0.1", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00::1"]
        {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
