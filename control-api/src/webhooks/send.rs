//! Sending one delivery.
//!
//! A webhook's URL is a tenant's text, and the request comes from inside our network. So its name is resolved once and the
//! connection goes to exactly those addresses, all of which must be public or allowed by the operator and none a door of
//! ours; nothing is redirected or proxied; and the receiver's time is bounded. Of its answer only the status is read, so
//! that a tenant learns nothing of what is there.

use std::{net::SocketAddr, path::Path, time::Duration};

use domain::{Network, network::any_contains};
use reqwest::{Certificate, Client, Url, redirect};

use crate::{
    App,
    config::WebhooksConfig,
    issuer_keys::{
        address::{ResolveError, is_public, resolve},
        fetch::{self, FetchError},
    },
};

/// Longest wait for the addresses of a name, and for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Why the receiver did not take a delivery.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum SendError {
    #[error("the URL may not be sent to")]
    Url(#[from] FetchError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("the receiver cannot be reached or does not answer as it should")]
    Transport(#[source] reqwest::Error),
    #[error("the receiver answers {0}")]
    Status(u16),
    #[error("the receiver did not answer in time")]
    TooSlow,
}

/// Sends deliveries.
#[derive(Debug)]
pub struct Sender {
    on_loopback: bool,
    allow: Vec<Network>,
    patience: Duration,
    authorities: Vec<Certificate>,
}

/// A request that is ready to go.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where to.
    pub url: String,
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: i64,
    /// `webhook-signature`.
    pub signature: String,
    /// The body, as it was signed.
    pub body: Vec<u8>,
}

/// Where may be sent to.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'c> {
    /// Longest time for one delivery.
    pub timeout: Duration,
    /// Networks that may be sent to over https though they are not public.
    pub allow: &'c [Network],
    /// PEM of authorities that are trusted beside the system's.
    pub ca: Option<&'c Path>,
    /// Whether this machine may be, over plain HTTP too.
    pub on_loopback: bool,
}

impl Sender {
    /// To webhooks, as the configuration says.
    ///
    /// # Errors
    /// [`FetchError::Authorities`].
    pub fn new(config: &WebhooksConfig) -> Result<Self, FetchError> {
        Self::reaching(Reach {
            timeout: config.timeout.get(),
            allow: &config.allow,
            ca: config.ca.as_deref(),
            on_loopback: config.on_loopback,
        })
    }

    /// To where that says.
    ///
    /// # Errors
    /// [`FetchError::Authorities`].
    pub fn reaching(reach: Reach<'_>) -> Result<Self, FetchError> {
        Ok(Self {
            on_loopback: reach.on_loopback,
            allow: reach.allow.to_vec(),
            patience: reach.timeout,
            authorities: reach.ca.map(fetch::authorities).transpose()?.unwrap_or_default(),
        })
    }

    /// A URL that may be sent to, as far as its text tells.
    ///
    /// # Errors
    /// [`FetchError::Url`].
    pub fn checked(&self, text: &str) -> Result<Url, FetchError> {
        fetch::source(text, self.on_loopback)
    }

    /// Longest time for one delivery.
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// Sends one; answers the status with which the receiver took it.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, app: &App, message: Message) -> Result<u16, SendError> {
        tokio::time::timeout(self.patience, self.exchange(app, message)).await.map_err(|_| SendError::TooSlow)?
    }

    async fn exchange(&self, app: &App, message: Message) -> Result<u16, SendError> {
        let url = self.checked(&message.url)?;
        let addresses = resolve(&url, CONNECT, |address| self.may_speak_to(app, address, &url)).await?;
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .https_only(!self.on_loopback)
            .connect_timeout(CONNECT)
            .tls_certs_merge(self.authorities.clone())
            .resolve_to_addrs(url.host_str().unwrap_or_default(), &addresses)
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(SendError::Transport)?;
        let request = client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", message.signature)
            .body(message.body);
        let status = request.send().await.map_err(|error| SendError::Transport(error.without_url()))?.status();
        if status.is_success() { Ok(status.as_u16()) } else { Err(SendError::Status(status.as_u16())) }
    }

    fn may_speak_to(&self, app: &App, address: SocketAddr, url: &Url) -> bool {
        let ip = address.ip().to_canonical();
        if app.is_own_door(address) {
            return false;
        }
        if ip.is_loopback() {
            return self.on_loopback;
        }
        url.scheme() == "https" && (is_public(ip) || any_contains(&self.allow, ip))
    }
}
