//! What signs access tokens: a private key of ours, or somebody who has it and signs for us.

#[cfg(feature = "kms-aws")]
pub mod kms_aws;
mod local;
#[cfg(feature = "kms-aws")]
pub mod sigv4;

use std::sync::Arc;

use async_trait::async_trait;
use authn::mint;
#[cfg(feature = "kms-aws")]
use domain::model::{KeyState, NewSigningKey};
use domain::{
    ProjectId, Secret,
    model::{KeyPurpose, SignerKind, SigningKey},
    snapshot::Algorithm,
};
use serde::Serialize;
use store::read::*;

pub use local::LocalSigner;

use crate::{App, error::AppError};

/// Signs as one key.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The key's id.
    fn kid(&self) -> &str;

    /// What it signs with.
    fn algorithm(&self) -> Algorithm;

    /// The signature of a message as a JWS carries it (RFC 7518 §3, RFC 8037 §3.1).
    async fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignerError>;
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum SignerError {
    #[error("the key cannot be used")]
    Key(#[from] authn::MintError),
    #[cfg(feature = "kms-aws")]
    #[error("KMS does not sign")]
    Kms(#[from] kms_aws::KmsError),
    #[error("the key set cannot be used")]
    Keys(#[from] authn::JwksError),
    #[error("what it signs does not verify by the key set")]
    Unverified,
    #[error("the key is in KMS, and `signing.kms_aws` is not set")]
    NoKms,
}

/// A compact JWS of this `typ`.
///
/// # Errors
/// [`SignerError`].
pub async fn sign(signer: &dyn Signer, typ: &str, claims: &impl Serialize) -> Result<String, SignerError> {
    let input = mint::signing_input(signer.algorithm(), signer.kid(), typ, claims)?;
    let signature = signer.signature(input.as_bytes()).await?;
    Ok(mint::compact(input, &signature))
}

/// What signs a project's tokens now.
///
/// # Errors
/// [`AppError::Internal`] without an active key, or with one that cannot be used.
pub async fn active(app: &App, at: &impl Reader, project: ProjectId) -> Result<Arc<dyn Signer>, AppError> {
    let active = at.active_key(project, KeyPurpose::Tokens).await?;
    let (key, material) =
        active.ok_or(AppError::Internal { what: "the project has no active signing key", source: None })?;
    of(app, &key, material).map_err(|error| AppError::internal("the active signing key cannot be used", error))
}

fn of(app: &App, key: &SigningKey, material: Secret<Vec<u8>>) -> Result<Arc<dyn Signer>, SignerError> {
    match key.signer {
        SignerKind::Local => {
            let read = (key.kid, key.algorithm, material);
            let made = app.signers.of((key.project_id, key.purpose), read, |(.., pkcs8)| LocalSigner::new(key, pkcs8));
            Ok(made?)
        }
        SignerKind::KmsAws => in_kms(app, key, &material),
    }
}

#[cfg(feature = "kms-aws")]
fn in_kms(app: &App, key: &SigningKey, material: &Secret<Vec<u8>>) -> Result<Arc<dyn Signer>, SignerError> {
    let kms = app.kms.as_ref().ok_or(SignerError::NoKms)?;
    Ok(Arc::new(kms_aws::KmsSigner::new(Arc::clone(kms), Arc::clone(&app.clock), key, material)?))
}

#[cfg(not(feature = "kms-aws"))]
fn in_kms(_: &App, _: &SigningKey, _: &Secret<Vec<u8>>) -> Result<Arc<dyn Signer>, SignerError> {
    Err(SignerError::NoKms)
}

/// Whether a key of KMS signs, and its signature verifies.
///
/// # Errors
/// [`SignerError`].
#[cfg(feature = "kms-aws")]
pub async fn probe_kms(app: &App, key: &NewSigningKey) -> Result<(), SignerError> {
    let now = app.now();
    let stored = SigningKey {
        kid: key.kid,
        project_id: key.project_id,
        purpose: key.purpose,
        algorithm: key.algorithm,
        public_jwk: key.public_jwk.clone(),
        state: KeyState::Pending,
        source: key.source,
        signer: key.signer,
        not_before: key.not_before,
        expires_at: key.expires_at,
        created_at: now,
        changed_at: now,
    };
    let signer = in_kms(app, &stored, &key.material)?;
    verifies(&*signer, &serde_json::json!({ "keys": [key.public_jwk] })).await
}

/// Whether what a key signs verifies by a key set.
async fn verifies(signer: &dyn Signer, jwks: &serde_json::Value) -> Result<(), SignerError> {
    let token = sign(signer, "probe", &serde_json::json!({})).await?;
    let keys = authn::Jwks::parse(jwks)?;
    let jws = authn::jws::Jws::parse(&token).map_err(|_| SignerError::Unverified)?;
    match keys.key(signer.kid()) {
        Some(key) if key.verifies(jws.signing_input, &jws.signature) => Ok(()),
        Some(_) | None => Err(SignerError::Unverified),
    }
}

/// Whether every project has a key that signs, and the root project's is one that verifies by what is published.
///
/// # Errors
/// [`AppError::Internal`] names the projects without, or says what is wrong with the key.
pub async fn check(app: &App) -> Result<(), AppError> {
    let without = app.store.projects_without_key().await?;
    if !without.is_empty() {
        let names: Vec<String> = without.iter().map(ToString::to_string).collect();
        let detail = format!("{}: run `control-api keys rotate --now --project …`", names.join(", "));
        return Err(AppError::internal("there are projects without an active signing key", detail));
    }
    let root = app.store.root_project().await?.ok_or(AppError::NotFound("project"))?;
    let signer = active(app, &app.store, root.id).await?;
    let (jwks, _) = crate::app::signing_keys::key_set(&app.store, root.id, KeyPurpose::Tokens).await?;
    let verified = verifies(&*signer, &jwks).await;
    verified.map_err(|error| AppError::internal("the root project's signing key does not sign", error))
}
