//! Whose address a request comes from.
//!
//! The connection's own, unless that is a proxy of ours: a proxy names in `X-Forwarded-For` who it was connected to by,
//! behind whatever it was sent itself. So the field is read from its end, over all of its lines, as long as what is read
//! is a proxy of ours too; the first address that is not is the client's, and what stands before it is hearsay. The
//! field of anybody else is not looked at.
//!
//! ```text
//! trusted: 10.0.0.0/8            connection from 10.0.0.2
//! X-Forwarded-For: 127.0.0.1, 203.0.113.7, 10.0.0.9
//!                  hearsay     the client    a proxy
//! ```
//!
//! A proxy of ours that names nobody speaks for itself. One that names something that is no address is broken or was
//! fooled, and then nobody knows whose request it is: it is refused.

use std::net::{IpAddr, SocketAddr};

use domain::{Network, network};
use http::{HeaderMap, HeaderName};

use crate::{CanonicalRequest, Denial, Trace};

/// The field that proxies name their clients in.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies in a row. More is a loop, or somebody in the midst of our own addresses.
const MAX_HOPS: usize = 16;

/// Sees through the proxies of ours.
///
/// # Errors
/// A proxy names something that is no address, or too many proxies in a row.
pub(crate) fn behind<'r>(
    proxies: &[Network],
    request: CanonicalRequest<'r>,
    trace: &mut Trace,
) -> Result<CanonicalRequest<'r>, Denial> {
    let connection = request.client.to_canonical();
    let client = if proxies.is_empty() { connection } else { of(proxies, connection, request.headers)? };
    trace.client = Some(client);
    Ok(CanonicalRequest { client, ..request })
}

/// Who asks, as the connection's address and the proxies behind it say.
///
/// # Errors
/// [`Denial::RequestMalformed`]: a proxy names something that is no address, or there are too many in a row.
pub fn of(proxies: &[Network], connection: IpAddr, headers: &HeaderMap) -> Result<IpAddr, Denial> {
    let mut client = connection;
    let mut hops = 0;
    if !network::any_contains(proxies, client) {
        return Ok(client);
    }
    // The lines of a field are one list (RFC 9110 §5.3).
    for line in headers.get_all(FORWARDED_FOR).iter().rev() {
        for named in line.as_bytes().rsplit(|byte| *byte == b',') {
            client = address(named).ok_or(Denial::RequestMalformed("X-Forwarded-For of a proxy names no address"))?;
            if !network::any_contains(proxies, client) {
                return Ok(client);
            }
            hops += 1;
            if hops == MAX_HOPS {
                return Err(Denial::RequestMalformed("X-Forwarded-For names too many proxies"));
            }
        }
    }
    Ok(client)
}

/// An address as proxies write it: alone, with a port, or in brackets. Not one with a zone, which means something on one
/// machine only (RFC 4007 §6).
fn address(named: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(named).ok()?.trim_matches([' ', '\t']);
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || match text.parse::<SocketAddr>().ok()? {
        SocketAddr::V6(v6) if v6.scope_id() != 0 || text.contains('%') => None,
        socket => Some(socket.ip()),
    };
    let address = text.parse().ok().or_else(bare).or_else(with_port)?;
    let address = IpAddr::to_canonical(&address);
    (!address.is_unspecified() && !address.is_multicast()).then_some(address)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXIES: [&str; 2] = ["10.0.0.0/8", "2001:db8:ffff::/48"];

    fn client(connection: &str, lines: &[&str]) -> Result<String, Denial> {
        let proxies: Vec<Network> = PROXIES.iter().map(|text| text.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        of(&proxies, connection.parse().unwrap(), &headers).map(|address| address.to_string())
    }

    #[test]
    fn s7_the_field_of_a_stranger_is_not_looked_at() {
        for lines in [&["10.0.0.1"][..], &["192.0.2.1, 10.0.0.1"], &["rubbish"], &["", "::1"], &["fe80::1%eth0"]] {
            assert_eq!(client("203.0.113.7", lines).unwrap(), "203.0.113.7", "{lines:?}");
        }
    }

    #[test]
    fn s7_the_rightmost_address_that_is_no_proxy_is_the_client() {
        for (lines, expected) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
            (&["10.0.0.1, 203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7, 10.0.0.9"], "203.0.113.7"),
            (&["127.0.0.1", "203.0.113.7,10.1.2.3", "10.0.0.9"], "203.0.113.7"),
            (&["rubbish, ::1%lo, 203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db8::7]:4711, 2001:db8:ffff::1"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7, ::ffff:10.0.0.9"], "203.0.113.7"),
        ] {
            assert_eq!(client("10.0.0.2", lines).unwrap(), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_proxy_that_names_nobody_speaks_for_itself() {
        assert_eq!(client("10.0.0.2", &[]).unwrap(), "10.0.0.2");
        assert_eq!(client("::ffff:10.0.0.2", &["10.0.0.3, 10.0.0.4"]).unwrap(), "10.0.0.3");
    }

    #[test]
    fn s7_what_a_proxy_names_is_an_address_or_the_request_is_refused() {
        for bad in [
            "",
            " ",
            "unknown",
            "_hidden",
            "203.0.113.7,",
            "203.0.113.7, ,10.0.0.9",
            "fe80::1%eth0",
            "[fe80::1%1]:80",
            "203.0.113.256",
            "203.0.113.7:99999",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "localhost",
            "203.0.113.7 203.0.113.8",
            "\u{661}.2.3.4",
        ] {
            let refused = client("10.0.0.2", &[bad]);
            assert!(matches!(refused, Err(Denial::RequestMalformed(_))), "{bad:?}: {refused:?}");
        }
    }

    #[test]
    fn s7_a_long_list_costs_no_more_than_the_proxies_at_its_end() {
        let long = format!("{}203.0.113.7", "127.0.0.1, ".repeat(5_000));
        assert_eq!(client("10.0.0.2", &[&long]).unwrap(), "203.0.113.7");
        let loops = format!("203.0.113.7{}", ", 10.0.0.9".repeat(MAX_HOPS));
        assert!(client("10.0.0.2", &[&loops]).is_err());
    }

    proptest! {
        #[test]
        fn s7_what_stands_before_the_client_changes_nothing(hearsay in "[ -~]{0,80}") {
            let line = format!("{hearsay}, 203.0.113.7, 10.0.0.9");
            prop_assert_eq!(client("10.0.0.2", &[&line]).unwrap(), "203.0.113.7");
        }
    }
}
