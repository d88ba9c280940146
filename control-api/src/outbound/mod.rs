//! Requests that go from inside our network to where somebody else's text says: for key sets, to identity providers and to webhooks.
//!
//! The other end may be anybody's and anything, a name that leads to our own network among them. So a name is resolved once and the
//! connection goes to exactly those addresses, all of which must be public, or allowed by the operator, and none a door of ours;
//! and nothing is redirected, proxied or unpacked. Who asks bounds time and size.

pub mod address;

use std::{io, net::SocketAddr, path::Path, time::Duration};

use domain::{Network, network::any_contains};
use reqwest::{Certificate, Client, Url, redirect};

use self::address::{ResolveError, is_public, resolve};
use crate::App;

/// Longest wait for the addresses of a name, and for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Why nobody is asked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum OutboundError {
    #[error("`{url}` is no https URL of a host")]
    Url { url: String },
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("the file of trusted authorities cannot be read")]
    Authorities { source: Option<io::Error> },
    #[error("the connection cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Where may be asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach<'c> {
    /// Networks that may be over https though they are not public.
    pub allow: &'c [Network],
    /// PEM of authorities that are trusted beside the system's.
    pub ca: Option<&'c Path>,
    /// Whether this machine may be, over plain HTTP too.
    pub on_loopback: bool,
}

/// What asks.
#[derive(Debug)]
pub struct Outbound {
    allow: Vec<Network>,
    authorities: Vec<Certificate>,
    on_loopback: bool,
}

impl Outbound {
    /// To where that says.
    ///
    /// # Errors
    /// [`OutboundError::Authorities`].
    pub fn new(reach: Reach<'_>) -> Result<Self, OutboundError> {
        let authorities = reach.ca.map(authorities).transpose()?.unwrap_or_default();
        Ok(Self { allow: reach.allow.to_vec(), authorities, on_loopback: reach.on_loopback })
    }

    /// A URL that may be asked, as far as its text tells.
    ///
    /// # Errors
    /// [`OutboundError::Url`].
    pub fn url(&self, text: &str) -> Result<Url, OutboundError> {
        url(text, self.on_loopback)
    }

    /// A client that reaches this URL's host and nothing else.
    ///
    /// # Errors
    /// [`OutboundError::Resolve`], [`OutboundError::Client`].
    pub async fn client(&self, app: &App, url: &Url) -> Result<Client, OutboundError> {
        let addresses = self.addresses(|address| app.is_own_door(address), url).await?;
        Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .https_only(!self.on_loopback)
            .connect_timeout(CONNECT)
            .tls_certs_merge(self.authorities.clone())
            .resolve_to_addrs(url.host_str().unwrap_or_default(), &addresses)
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(OutboundError::Client)
    }

    async fn addresses(
        &self,
        is_own_door: impl Fn(SocketAddr) -> bool,
        url: &Url,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        resolve(url, CONNECT, |address| !is_own_door(address) && self.may_speak_to(address, url)).await
    }

    fn may_speak_to(&self, address: SocketAddr, url: &Url) -> bool {
        let ip = address.ip().to_canonical();
        if ip.is_loopback() {
            return self.on_loopback;
        }
        url.scheme() == "https" && (is_public(ip) || any_contains(&self.allow, ip))
    }
}

/// A URL that may be asked, as far as its text tells. Plain HTTP only where `on_loopback` says so, and then only to loopback addresses,
/// which is judged when the name is resolved.
///
/// # Errors
/// [`OutboundError::Url`].
pub fn url(text: &str, on_loopback: bool) -> Result<Url, OutboundError> {
    let wrong = || OutboundError::Url { url: text.into() };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let scheme = url.scheme() == "https" || (on_loopback && url.scheme() == "http");
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if scheme && plain && url.host_str().is_some_and(|host| !host.is_empty()) { Ok(url) } else { Err(wrong()) }
}

/// The authorities of a PEM file.
fn authorities(path: &Path) -> Result<Vec<Certificate>, OutboundError> {
    let pem = std::fs::read(path).map_err(|error| OutboundError::Authorities { source: Some(error) })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(OutboundError::Authorities { source: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls_without_credentials_are_asked() {
        assert!(url("https://id.example.com/jwks", false).is_ok());
        assert!(url("http://127.0.0.1:1/jwks", true).is_ok());
        for text in [
            "http://id.example.com/jwks",
            "https://user:password@id.example.com/jwks",
            "https://user@id.example.com/jwks",
            "https://id.example.com/jwks#keys",
            "file:///etc/passwd",
            "ftp://id.example.com/jwks",
            "data:application/json,{}",
            "id.example.com/jwks",
            "",
        ] {
            assert!(matches!(url(text, false), Err(OutboundError::Url { .. })), "{text}");
        }
    }

    async fn refused(outbound: &Outbound, text: &str, own: Option<SocketAddr>) -> bool {
        let url = Url::parse(text).unwrap();
        let found = outbound.addresses(|address| Some(address) == own, &url).await;
        matches!(found, Err(ResolveError::Address { .. }))
    }

    #[tokio::test]
    async fn j10_a_name_or_address_of_this_network_is_not_spoken_to() {
        let closed = Outbound::new(Reach::default()).unwrap();
        for url in [
            "https://localhost/jwks",
            "https://127.0.0.1/jwks",
            "https://2130706433/jwks",
            "https://[::1]/jwks",
            "https://[::ffff:127.0.0.1]/jwks",
            "https://10.0.0.1/jwks",
            "https://169.254.169.254/latest/meta-data",
        ] {
            assert!(refused(&closed, url, None).await, "{url}");
        }
        let local = Outbound::new(Reach { on_loopback: true, ..Reach::default() }).unwrap();
        assert!(refused(&local, "http://10.0.0.1/jwks", None).await);
        assert!(!refused(&local, "http://127.0.0.1:7000/jwks", None).await);
    }

    #[tokio::test]
    async fn j10_what_the_operator_allows_is_spoken_to_over_https_and_no_door_of_ours_ever() {
        let allow = ["10.0.0.0/8".parse().unwrap(), "127.0.0.0/8".parse().unwrap()];
        let open = Outbound::new(Reach { allow: &allow, ..Reach::default() }).unwrap();
        assert!(!refused(&open, "https://10.0.0.1/hook", None).await);
        assert!(refused(&open, "http://10.0.0.1/hook", None).await, "plain");
        assert!(refused(&open, "https://127.0.0.1/hook", None).await, "this machine is a setting of its own");
        assert!(refused(&open, "https://10.0.0.1:8443/hook", Some("10.0.0.1:8443".parse().unwrap())).await);
        assert!(refused(&open, "https://8.8.8.8:8443/hook", Some("8.8.8.8:8443".parse().unwrap())).await);
    }
}
