//! Signing keys: made pending, published, then active, then retiring, then gone.

use authn::{SigningKey as PrivateKey, mint};
use authz::{Authorized, action::ManageSigningKeys};
use domain::{
    ProjectId, SigningKeyId,
    model::{KeyPurpose, NewSigningKey, SigningKey},
    snapshot::Algorithm,
};
use serde_json::{Value, json};
use store::{Audited, Commit, Tx, read::*};

use crate::{App, caller::Principal, context::new_id, error::AppError};

/// All keys of a project.
pub async fn list_signing_keys(
    app: &App,
    principal: &Principal,
    project: ProjectId,
) -> Result<Vec<SigningKey>, AppError> {
    principal.may::<ManageSigningKeys>("list")?;
    app.store.project(project).await?.ok_or(AppError::NotFound("project"))?;
    Ok(app.store.signing_keys(project).await?)
}

/// Makes a key, pending: published, so that verifiers know it before it signs.
pub async fn create_signing_key(
    app: &App,
    principal: &Principal,
    project: ProjectId,
    algorithm: Algorithm,
    purpose: KeyPurpose,
) -> Result<(SigningKey, Commit), AppError> {
    let by = principal.may::<ManageSigningKeys>("create")?;
    let found = app.store.project(project).await?;
    found.ok_or_else(|| AppError::field("/project_id", "unknown", "there is no such project"))?;
    let new = NewSigningKey { purpose, ..key(app, project, algorithm)? };
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_signing_key(&by, new).await?).await?) }
        })
        .await
}

/// Lets a key sign; the one that did retires.
pub async fn activate_signing_key(
    app: &App,
    principal: &Principal,
    kid: SigningKeyId,
) -> Result<(SigningKey, Commit), AppError> {
    let by = principal.may::<ManageSigningKeys>("activate")?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move { Ok(tx.done("activated", tx.activate_signing_key(&by, kid).await?).await?) }
        })
        .await
}

/// Takes a key out of the key set: its tokens are refused.
pub async fn retire_signing_key(
    app: &App,
    principal: &Principal,
    kid: SigningKeyId,
) -> Result<(SigningKey, Commit), AppError> {
    let by = principal.may::<ManageSigningKeys>("retire")?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move { Ok(tx.done("retired", tx.retire_signing_key(&by, kid).await?).await?) }
        })
        .await
}

/// A project's published keys of one purpose as a key set (RFC 7517 §5), and the algorithms among them.
pub async fn key_set(app: &App, project: ProjectId, purpose: KeyPurpose) -> Result<(Value, Vec<Algorithm>), AppError> {
    let keys = app.store.published_keys(project, purpose).await?;
    let mut algorithms: Vec<Algorithm> = keys.iter().map(|key| key.algorithm).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    let keys: Vec<Value> = keys.into_iter().map(|key| key.public_jwk).collect();
    Ok((json!({ "keys": keys }), algorithms))
}

/// A new ES256 key for a project's tokens.
pub fn fresh_key(app: &App, project: ProjectId) -> Result<NewSigningKey, AppError> {
    key(app, project, Algorithm::Es256)
}

/// A new Ed25519 key for the assertions that upstreams of mode `eddsa` get; of the root project.
pub fn fresh_assertion_key(app: &App, root: ProjectId) -> Result<NewSigningKey, AppError> {
    Ok(NewSigningKey { purpose: KeyPurpose::Assertions, ..key(app, root, Algorithm::EdDsa)? })
}

fn key(app: &App, project: ProjectId, algorithm: Algorithm) -> Result<NewSigningKey, AppError> {
    let failed = |error| AppError::internal("a signing key cannot be made", error);
    let kid: SigningKeyId = new_id(&*app.clock);
    let private_pkcs8 = mint::generate(algorithm).map_err(failed)?;
    let public_jwk = PrivateKey::from_pkcs8(&kid.to_string(), algorithm, &private_pkcs8).map_err(failed)?.public_jwk();
    Ok(NewSigningKey { kid, project_id: project, purpose: KeyPurpose::Tokens, algorithm, private_pkcs8, public_jwk })
}

/// In a transaction: a project's first key, active at once because nobody can hold a token of another.
pub async fn insert_active(
    tx: &Tx,
    by: &Authorized<ManageSigningKeys>,
    new: NewSigningKey,
) -> Result<Audited<SigningKey>, AppError> {
    let kid = new.kid;
    tx.created(tx.insert_signing_key(by, new).await?).await?;
    Ok(tx.done("activated", tx.activate_signing_key(by, kid).await?).await?)
}
