//! One fetch of a key set.
//!
//! The other end may be anybody's and anything: a host that resolves to our own network ([`outbound`](crate::outbound)), a server
//! that sends a byte a second, a gigabyte, a login page or a redirect to somewhere else. So time and size are bounded, and only JSON
//! is read.

use std::time::Duration;

use authn::{Jwks, JwksError};
use http::{StatusCode, header};
use reqwest::{Response, Url};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::{
    App,
    config::IssuersConfig,
    outbound::{Outbound, OutboundError, Reach},
    problem,
};

/// What a URL ends with whose document says where the key set is (OpenID Connect Discovery 1.0 §4).
pub const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Longest document, in bytes.
const LONGEST: usize = 64 * 1024;

/// Longest time for one document, connecting included. Two of them, and their names, take less than the interval after
/// which another replica would try ([`store::MIN_FETCH_INTERVAL`]).
const WHOLE: Duration = Duration::from_secs(8);

/// Members of a key that are handed on (RFC 7517, RFC 7518 §6, RFC 8037). Nothing private, no certificates.
const MEMBERS: [&str; 9] = ["kty", "kid", "use", "alg", "crv", "x", "y", "n", "e"];

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum FetchError {
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("the server does not answer as it should")]
    Transport(#[source] reqwest::Error),
    #[error("the server answers {0}")]
    Status(StatusCode),
    #[error("the answer is `{0}`, not JSON")]
    MediaType(String),
    #[error("the answer is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the answer did not come in time")]
    TooSlow,
    #[error("the answer cannot be read as JSON")]
    Json(#[source] serde_json::Error),
    #[error("the key set cannot be used")]
    Keys(#[from] JwksError),
    #[error("the key set has no key that verifies")]
    Empty,
    #[error("the discovery document is of another issuer")]
    OtherIssuer,
    #[error("the discovery document names no `jwks_uri`")]
    NoKeySet,
}

/// Fetches key sets.
#[derive(Debug)]
pub struct Fetcher {
    outbound: Outbound,
    patience: Duration,
}

impl Fetcher {
    /// As the configuration says.
    ///
    /// # Errors
    /// [`OutboundError::Authorities`].
    pub fn new(config: &IssuersConfig) -> Result<Self, OutboundError> {
        let reach = Reach { allow: &[], ca: config.ca.as_deref(), on_loopback: config.on_loopback };
        Ok(Self { outbound: Outbound::new(reach)?, patience: WHOLE })
    }

    /// The same with a shorter time for one document.
    #[must_use]
    pub fn with_patience(self, whole: Duration) -> Self {
        Self { patience: whole.min(WHOLE), ..self }
    }

    /// The key set at `url`, reduced to what verifies. A URL that ends with [`DISCOVERY`] is of a document that names it.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn key_set(&self, app: &App, issuer: &str, url: &str) -> Result<Value, FetchError> {
        let mut url = self.outbound.url(url)?;
        if url.path().ends_with(DISCOVERY) {
            url = self.discovered(app, issuer, &url).await?;
        }
        let document = self.document(app, &url).await?;
        let keys = Jwks::parse(&document)?;
        if keys.is_empty() {
            return Err(FetchError::Empty);
        }
        Ok(reduced(&document, &keys))
    }

    async fn discovered(&self, app: &App, issuer: &str, url: &Url) -> Result<Url, FetchError> {
        let document = self.document(app, url).await?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        if text("issuer") != Some(issuer) {
            return Err(FetchError::OtherIssuer);
        }
        Ok(self.outbound.url(text("jwks_uri").ok_or(FetchError::NoKeySet)?)?)
    }

    async fn document(&self, app: &App, url: &Url) -> Result<Value, FetchError> {
        let client = self.outbound.client(app, url).await?;
        let request = client.get(url.clone()).header(header::ACCEPT, "application/jwk-set+json, application/json");
        let whole = async { body(request.send().await.map_err(FetchError::Transport)?).await };
        let text = timeout(self.patience, whole).await.map_err(|_| FetchError::TooSlow)??;
        serde_json::from_slice(&text).map_err(FetchError::Json)
    }
}

/// A failure with its causes, for logs and the database. Names no secret: nothing secret is sent.
pub fn reason(error: &FetchError) -> String {
    problem::chain(error)
}

/// The bytes of a 200 that says it is JSON, as far as they are not too many.
///
/// # Errors
/// [`FetchError`].
pub(crate) async fn body(mut response: Response) -> Result<Vec<u8>, FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let media = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(essence.as_str(), "application/json" | "application/jwk-set+json") {
        return Err(FetchError::MediaType(essence.chars().take(64).collect()));
    }
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(FetchError::Transport)? {
        if text.len() + chunk.len() > LONGEST {
            return Err(FetchError::TooLong);
        }
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

/// The keys that verify, with what is needed to verify and nothing else, in their order.
fn reduced(document: &Value, usable: &Jwks) -> Value {
    let keys = document.get("keys").and_then(Value::as_array).into_iter().flatten();
    let keys = keys.filter_map(Value::as_object).filter(|key| {
        let kid = key.get("kid").and_then(Value::as_str);
        kid.is_some_and(|kid| usable.key(kid).is_some())
    });
    let keys = keys.map(|key| {
        let kept = MEMBERS.iter().filter_map(|name| key.get_key_value(*name));
        Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
    });
    json!({ "keys": keys.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_is_what_verifies() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let document = json!({"issuer": "x", "keys": [
            {"kty": "oct", "k": "AAAA", "kid": "secret"},
            {"kty": "OKP", "crv": "Ed25519", "x": x, "d": x, "x5c": ["AAAA"], "kid": "a", "use": "sig"},
        ]});
        let kept = reduced(&document, &Jwks::parse(&document).unwrap());
        assert_eq!(kept, json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "a", "use": "sig"}]}));
    }
}
