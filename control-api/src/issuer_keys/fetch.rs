//! One fetch of a key set.
//!
//! The other end may be anybody's and anything: a host that resolves to our own network, a server that sends a byte a
//! second, a gigabyte, a login page or a redirect to somewhere else. So names are resolved once and the connection goes
//! to exactly those addresses, all of which must be public; nothing is redirected, unpacked or proxied; and time and size
//! are bounded.

use std::{net::IpAddr, path::Path, time::Duration};

use authn::{Jwks, JwksError};
use http::{StatusCode, header};
use reqwest::{Certificate, Client, Response, Url, redirect};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::address::{ResolveError, is_public, resolve};
use crate::{config::IssuersConfig, problem};

/// What a URL ends with whose document says where the key set is (OpenID Connect Discovery 1.0 §4).
pub const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Longest document, in bytes.
const LONGEST: usize = 64 * 1024;

/// Longest wait for the addresses of a name, and for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Longest time for one document, connecting included. Two of them, and their names, take less than the interval after
/// which another replica would try ([`store::MIN_FETCH_INTERVAL`]).
const WHOLE: Duration = Duration::from_secs(8);

/// Members of a key that are handed on (RFC 7517, RFC 7518 §6, RFC 8037). Nothing private, no certificates.
const MEMBERS: [&str; 9] = ["kty", "kid", "use", "alg", "crv", "x", "y", "n", "e"];

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum FetchError {
    #[error("`{url}` is no https URL of a host")]
    Url { url: String },
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("the file of trusted authorities cannot be read")]
    Authorities { source: Option<std::io::Error> },
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
    on_loopback: bool,
    patience: Duration,
    authorities: Vec<Certificate>,
}

impl Fetcher {
    /// As the configuration says.
    ///
    /// # Errors
    /// [`FetchError::Authorities`].
    pub fn new(config: &IssuersConfig) -> Result<Self, FetchError> {
        let authorities = config.ca.as_deref().map(authorities).transpose()?.unwrap_or_default();
        Ok(Self { on_loopback: config.on_loopback, patience: WHOLE, authorities })
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
    pub async fn key_set(&self, issuer: &str, url: &str) -> Result<Value, FetchError> {
        let mut url = source(url, self.on_loopback)?;
        if url.path().ends_with(DISCOVERY) {
            url = self.discovered(issuer, &url).await?;
        }
        let document = self.document(&url).await?;
        let keys = Jwks::parse(&document)?;
        if keys.is_empty() {
            return Err(FetchError::Empty);
        }
        Ok(reduced(&document, &keys))
    }

    async fn discovered(&self, issuer: &str, url: &Url) -> Result<Url, FetchError> {
        let document = self.document(url).await?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        if text("issuer") != Some(issuer) {
            return Err(FetchError::OtherIssuer);
        }
        source(text("jwks_uri").ok_or(FetchError::NoKeySet)?, self.on_loopback)
    }

    async fn document(&self, url: &Url) -> Result<Value, FetchError> {
        let addresses = resolve(url, CONNECT, |address| self.may_speak_to(address.ip(), url)).await?;
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .https_only(!self.on_loopback)
            .connect_timeout(CONNECT)
            .tls_certs_merge(self.authorities.clone())
            .resolve_to_addrs(url.host_str().unwrap_or_default(), &addresses)
            .build()
            .map_err(FetchError::Transport)?;
        let request = client.get(url.clone()).header(header::ACCEPT, "application/jwk-set+json, application/json");
        let whole = async { body(request.send().await.map_err(FetchError::Transport)?).await };
        let text = timeout(self.patience, whole).await.map_err(|_| FetchError::TooSlow)??;
        serde_json::from_slice(&text).map_err(FetchError::Json)
    }

    fn may_speak_to(&self, address: IpAddr, url: &Url) -> bool {
        if address.to_canonical().is_loopback() {
            self.on_loopback
        } else {
            url.scheme() == "https" && is_public(address)
        }
    }
}

/// A URL that may be fetched from, as far as its text tells. Plain HTTP only where `on_loopback` says so, and then only to
/// loopback addresses, which is judged when the name is resolved.
///
/// # Errors
/// [`FetchError::Url`].
pub fn source(text: &str, on_loopback: bool) -> Result<Url, FetchError> {
    let wrong = || FetchError::Url { url: text.into() };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let scheme = url.scheme() == "https" || (on_loopback && url.scheme() == "http");
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if scheme && plain && url.host_str().is_some_and(|host| !host.is_empty()) { Ok(url) } else { Err(wrong()) }
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

/// The authorities of a PEM file.
pub(crate) fn authorities(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let pem = std::fs::read(path).map_err(|error| FetchError::Authorities { source: Some(error) })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(FetchError::Authorities { source: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls_without_credentials_are_sources() {
        assert!(source("https://id.example.com/jwks", false).is_ok());
        assert!(source("http://127.0.0.1:1/jwks", true).is_ok());
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
            assert!(matches!(source(text, false), Err(FetchError::Url { .. })), "{text}");
        }
    }

    #[tokio::test]
    async fn j10_a_name_or_address_of_this_network_is_not_spoken_to() {
        let fetcher = Fetcher { on_loopback: false, patience: WHOLE, authorities: Vec::new() };
        for url in [
            "https://localhost/jwks",
            "https://127.0.0.1/jwks",
            "https://2130706433/jwks",
            "https://[::1]/jwks",
            "https://[::ffff:127.0.0.1]/jwks",
            "https://10.0.0.1/jwks",
            "https://169.254.169.254/latest/meta-data",
        ] {
            let refused = fetcher.key_set("https://id.example.com", url).await;
            assert!(matches!(refused, Err(FetchError::Resolve(ResolveError::Address { .. }))), "{url}: {refused:?}");
        }
        let local = Fetcher { on_loopback: true, patience: WHOLE, authorities: Vec::new() };
        let refused = local.key_set("https://id.example.com", "http://10.0.0.1/jwks").await;
        assert!(matches!(refused, Err(FetchError::Resolve(ResolveError::Address { .. }))), "{refused:?}");
    }

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
