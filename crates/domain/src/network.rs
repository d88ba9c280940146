//! Networks of addresses, as lists of proxies and of clients name them.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A network such as `192.0.2.0/24` (RFC 4632 §3.1) or `2001:db8::/32` (RFC 4291 §2.3). An address alone is the network
/// of itself. No bits stand behind the prefix, and an IPv4 network is not written as an IPv6 one, so that a list cannot
/// mean more or less than it says.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("examples" = ["192.0.2.0/24", "2001:db8::/32", "192.0.2.7"]))]
pub struct Network(IpNet);

impl Network {
    /// Whether an address is in it. An IPv4 address is looked for as such in whichever form it comes (RFC 4291 §2.5.5.2).
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// Whether an address is in one of these networks.
pub fn any_contains(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// Adds an address to a text as `Display` writes it; IPv4 without the machinery of formats, at a tenth of its price.
pub fn push_address(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let mut mark = "";
            for part in address.octets() {
                text.push_str(mark);
                text.push_str(itoa::Buffer::new().format(part));
                mark = ".";
            }
        }
        // Writing to a string succeeds.
        IpAddr::V6(address) => _ = write!(text, "{address}"),
    }
}

impl FromStr for Network {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let fail = |reason| NetworkError { text: text.into(), reason };
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_| fail("an address and the length of its prefix are"))?,
        };
        if network.addr() != network.network() {
            return Err(fail("only zeros behind the prefix are"));
        }
        match network {
            IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
                Err(fail("an IPv4 network in the form of IPv4 is"))
            }
            IpNet::V4(_) | IpNet::V6(_) => Ok(Self(network)),
        }
    }
}

/// Why a text is not a [`Network`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a network such as `192.0.2.0/24` or `2001:db8::/32`: {reason} allowed")]
pub struct NetworkError {
    text: String,
    reason: &'static str,
}

impl TryFrom<String> for Network {
    type Error = NetworkError;
    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}
impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_reads_back_what_it_wrote() {
        for text in ["192.0.2.0/24", "0.0.0.0/0", "192.0.2.7", "2001:db8::/32", "::/0", "::1"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert_eq!("192.0.2.7/32".parse::<Network>().unwrap().to_string(), "192.0.2.7");
    }

    #[test]
    fn an_address_is_written_as_display_writes_it() {
        for address in
            ["0.0.0.0", "127.0.0.1", "10.200.30.4", "255.255.255.255", "::1", "2001:db8::7", "::ffff:192.0.2.1"]
        {
            let address: IpAddr = address.parse().unwrap();
            let mut text = "before ".to_owned();
            push_address(&mut text, address);
            assert_eq!(text, format!("before {address}"));
        }
    }

    #[test]
    fn refuses_what_means_more_or_less_than_it_says() {
        for bad in
            ["", "x", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/", "192.0.2/24", "2001:db8::1/32", "fe80::1%eth0"]
        {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        assert!("::ffff:192.0.2.0/120".parse::<Network>().is_err(), "another form of 192.0.2.0/24");
    }

    #[test]
    fn an_ipv4_address_is_found_in_either_form() {
        let network: Network = "192.0.2.0/24".parse().unwrap();
        for inside in ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.9"] {
            assert!(network.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["192.0.3.0", "::192.0.2.9", "::1"] {
            assert!(!network.contains(outside.parse().unwrap()), "{outside}");
        }
        let everything: Network = "::/0".parse().unwrap();
        assert!(!everything.contains("::ffff:192.0.2.9".parse().unwrap()), "IPv4 is not part of IPv6");
    }
}
