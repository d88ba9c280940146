//! Addresses to listen at.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `IP:PORT` or `localhost:PORT`. Port 0 picks a free one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend(
    "pattern" = r"^(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$",
    "examples" = ["0.0.0.0:8443", "[::]:8443", "localhost:8443"]
))]
pub struct ListenAddress {
    /// None for `localhost`.
    ip: Option<IpAddr>,
    port: u16,
}

impl ListenAddress {
    /// 127.0.0.1 and, where the machine has it, ::1.
    pub const fn localhost(port: u16) -> Self {
        Self { ip: None, port }
    }

    /// The port; 0 for any free one.
    pub const fn port(self) -> u16 {
        self.port
    }

    /// The socket addresses, the one that must be had first.
    pub(crate) fn sockets(self) -> (SocketAddr, Option<SocketAddr>) {
        match self.ip {
            Some(ip) => (SocketAddr::new(ip, self.port), None),
            None => (
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port),
                Some(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), self.port)),
            ),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self { ip: Some(address.ip()), port: address.port() }
    }
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;
    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        let fail = || ListenAddressError { text: text.into() };
        if let Some(port) = text.strip_prefix("localhost:") {
            return Ok(Self::localhost(port.parse().map_err(|_| fail())?));
        }
        text.parse::<SocketAddr>().map(Self::from).map_err(|_| fail())
    }
}

/// Why a text is not a [`ListenAddress`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not an address such as `0.0.0.0:8443`, `[::]:8443` or `localhost:8443`")]
pub struct ListenAddressError {
    text: String,
}

impl TryFrom<String> for ListenAddress {
    type Error = ListenAddressError;
    fn try_from(text: String) -> Result<Self, ListenAddressError> {
        text.parse()
    }
}
impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, "localhost:{}", self.port),
        }
    }
}

#[test]
fn an_address_reads_back_what_it_wrote() {
    for text in ["0.0.0.0:8443", "[::1]:0", "localhost:8080"] {
        assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
    }
    for bad in ["", "8443", "localhost", "localhost:x", "example.com:80", "1.2.3.4"] {
        assert!(bad.parse::<ListenAddress>().is_err(), "{bad}");
    }
}
