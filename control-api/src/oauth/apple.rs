//! Apple's client secret: a token of a few minutes that is signed with a key of ours, made anew for each request.

use std::time::Duration;

use authn::SigningKey;
use domain::{Secret, Timestamp, model::IdentityProvider, snapshot::Algorithm};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::json;

use super::ProviderError;

/// How long one is good; Apple allows half a year.
const LIFE: Duration = Duration::from_secs(300);

/// A key as Apple hands it out: PKCS #8 in PEM, of P-256.
pub(super) fn key(provider_key: &Secret<String>, kid: &str) -> Result<SigningKey, ProviderError> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(provider_key.expose().as_bytes()).map_err(|_| ProviderError::Pem)?;
    let der = Secret::new(der.secret_pkcs8_der().to_vec());
    Ok(SigningKey::from_pkcs8(kid, Algorithm::Es256, &der)?)
}

/// The secret that stands for a client now.
pub(super) fn client_secret(
    provider: &IdentityProvider,
    provider_key: &Secret<String>,
    audience: &str,
    now: Timestamp,
) -> Result<Secret<String>, ProviderError> {
    let (Some(team), Some(kid)) = (&provider.options.team_id, &provider.options.key_id) else {
        return Err(ProviderError::NoSecret);
    };
    let claims = json!({
        "iss": team, "iat": now.secs(), "exp": (now + LIFE).secs(), "aud": audience, "sub": provider.client_id,
    });
    Ok(Secret::new(key(provider_key, kid)?.sign("JWT", &claims)?))
}

/// Whether a text is a key that can sign.
pub(crate) fn is_key(text: &Secret<String>) -> bool {
    key(text, "k").is_ok()
}
