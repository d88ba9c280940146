//! Requests to providers. Their addresses are a tenant's text, as those of issuers are ([`outbound`](crate::outbound)).

use std::time::Duration;

use ::http::{HeaderValue, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::Secret;
use reqwest::{Client, RequestBuilder, Url};
use serde_json::Value;

use super::ProviderError;
use crate::{
    App,
    config::OauthConfig,
    issuer_keys::fetch::{self, FetchError},
    outbound::{Outbound, OutboundError, Reach},
};

/// How providers are asked.
pub(super) struct Http {
    outbound: Outbound,
    patience: Duration,
}

impl Http {
    /// As the configuration says.
    ///
    /// # Errors
    /// [`OutboundError::Authorities`].
    pub(super) fn new(config: &OauthConfig) -> Result<Self, OutboundError> {
        let reach = Reach { allow: &[], ca: config.ca.as_deref(), on_loopback: config.on_loopback };
        Ok(Self { outbound: Outbound::new(reach)?, patience: config.timeout.get() })
    }

    /// A document, which may need a token.
    pub(super) async fn read(
        &self,
        app: &App,
        url: &str,
        token: Option<&Secret<String>>,
    ) -> Result<Value, ProviderError> {
        let make = |client: &Client, url: Url| {
            let request = client.get(url);
            match token {
                Some(token) => request.bearer_auth(token.expose()),
                None => request,
            }
        };
        Ok(self.exchange(app, url, make).await?)
    }

    /// What is answered to a form: of a code, tokens. With a name and password, by HTTP Basic (RFC 6749 §2.3.1).
    pub(super) async fn post_form(
        &self,
        app: &App,
        url: &str,
        form: &[(&str, &str)],
        login: Option<(&str, &Secret<String>)>,
    ) -> Result<Value, ProviderError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let basic = login.map(|(name, password)| {
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = Secret::new(format!("{}:{}", encoded(name), encoded(password.expose())));
            Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())))
        });
        let make = |client: &Client, url: Url| {
            let request = client.post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            let request = match basic.as_ref().and_then(|text| HeaderValue::from_str(text.expose()).ok()) {
                Some(mut value) => {
                    value.set_sensitive(true);
                    request.header(header::AUTHORIZATION, value)
                }
                None => request,
            };
            request.body(body.clone())
        };
        match self.exchange(app, url, make).await {
            // RFC 6749 §5.2: what it says beside is for developers.
            Err(FetchError::Status(status)) if status.is_client_error() => Err(ProviderError::Refused),
            Err(error) => Err(error.into()),
            // GitHub refuses with a 200.
            Ok(answer) if answer.get("error").is_some() => Err(ProviderError::Refused),
            Ok(answer) => Ok(answer),
        }
    }

    async fn exchange(
        &self,
        app: &App,
        url: &str,
        make: impl Fn(&Client, Url) -> RequestBuilder,
    ) -> Result<Value, FetchError> {
        let url = self.outbound.url(url)?;
        let whole = async {
            let client = self.outbound.client(app, &url).await?;
            let request = make(&client, url.clone()).header(header::ACCEPT, "application/json");
            let answer = request.send().await.map_err(|error| FetchError::Transport(error.without_url()))?;
            fetch::body(answer).await
        };
        let text = tokio::time::timeout(self.patience, whole).await.map_err(|_| FetchError::TooSlow)??;
        serde_json::from_slice(&text).map_err(FetchError::Json)
    }
}
