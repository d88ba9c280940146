//! Sending one delivery.
//!
//! A webhook's URL is a tenant's text, and the request comes from inside our network ([`outbound`](crate::outbound)). The receiver's
//! time is bounded. Of its answer only the status is read, so that a tenant learns nothing of what is there.

use std::time::Duration;

use crate::{
    App,
    config::WebhooksConfig,
    outbound::{Outbound, OutboundError, Reach},
};

/// Why the receiver did not take a delivery.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum SendError {
    #[error(transparent)]
    Outbound(#[from] OutboundError),
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
    outbound: Outbound,
    patience: Duration,
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

impl Sender {
    /// To webhooks, as the configuration says.
    ///
    /// # Errors
    /// [`OutboundError::Authorities`].
    pub fn new(config: &WebhooksConfig) -> Result<Self, OutboundError> {
        let reach = Reach { allow: &config.allow, ca: config.ca.as_deref(), on_loopback: config.on_loopback };
        Self::reaching(reach, config.timeout.get())
    }

    /// To where that says, of whom each delivery has so long.
    ///
    /// # Errors
    /// [`OutboundError::Authorities`].
    pub fn reaching(reach: Reach<'_>, patience: Duration) -> Result<Self, OutboundError> {
        Ok(Self { outbound: Outbound::new(reach)?, patience })
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
        let url = self.outbound.url(&message.url)?;
        let client = self.outbound.client(app, &url).await?;
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
}
