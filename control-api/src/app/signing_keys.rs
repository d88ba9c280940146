//! Signing keys: made pending, published, then active, then retiring, then gone.
//!
//! A key may sign only once everybody who verifies knows it: a key set of ours may be kept for
//! [`KEY_SET_LIFE`](crate::config::KEY_SET_LIFE), and gateways learn of a key by the feed. What becomes of keys by
//! themselves is [`super::key_schedule`]'s.

use authn::{SigningKey as PrivateKey, mint};
use authz::{Authorized, action::ManageSigningKeys};
use domain::{
    Position, ProjectId, SigningKeyId, Timestamp,
    model::{KeyPurpose, KeySource, NewSigningKey, SignerKind, SigningKey},
    snapshot::Algorithm,
};
use serde_json::{Value, json};
use store::{
    Audited, Commit, Tx,
    list::{Selection, SigningKeyList, Slice},
    read::*,
};

use super::key_schedule::Policy;
use crate::{App, caller::Principal, context::new_id, error::AppError, internal::Ticked};

/// The keys of a project.
pub async fn list_signing_keys(
    app: &App,
    principal: &Principal,
    project: ProjectId,
    asked: &Selection<SigningKeyList>,
) -> Result<Slice<SigningKey>, AppError> {
    principal.may::<ManageSigningKeys>("list")?;
    app.store.project(project).await?.ok_or(AppError::NotFound("project"))?;
    Ok(app.store.list(project, asked).await?)
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

/// Takes up a key that KMS holds, pending. KMS is asked for its public half and for one signature.
#[cfg(feature = "kms-aws")]
pub async fn create_kms_key(
    app: &App,
    principal: &Principal,
    project: ProjectId,
    key_id: &str,
) -> Result<(SigningKey, Commit), AppError> {
    use crate::signer::{self, kms_aws::KmsError};

    let by = principal.may::<ManageSigningKeys>("create")?;
    let found = app.store.project(project).await?;
    found.ok_or_else(|| AppError::field("/project_id", "unknown", "there is no such project"))?;
    let wrong = |detail: String| AppError::field("/kms_key_id", "invalid", detail);
    let kms = app.kms.as_ref().ok_or_else(|| wrong("`signing.kms_aws` is not set".into()))?;
    let described = kms.describe(key_id, &*app.clock).await.map_err(|error| match error {
        error @ (KmsError::Kind { .. } | KmsError::Refused { .. }) => wrong(error.to_string()),
        other => AppError::internal("KMS gives no public key", other),
    })?;
    let kid: SigningKeyId = new_id(&*app.clock);
    let mut public_jwk = described.jwk;
    if let Some(members) = public_jwk.as_object_mut() {
        members.insert("kid".into(), kid.to_string().into());
    }
    let new = NewSigningKey {
        kid,
        project_id: project,
        purpose: KeyPurpose::Tokens,
        algorithm: described.algorithm,
        material: key_id.as_bytes().to_vec().into(),
        public_jwk,
        source: KeySource::Made,
        signer: SignerKind::KmsAws,
        not_before: None,
        expires_at: None,
    };
    signer::probe_kms(app, &new).await.map_err(|error| wrong(crate::problem::chain(&error)))?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_signing_key(&by, new).await?).await?) }
        })
        .await
}

/// Takes up a key that KMS holds, pending.
#[cfg(not(feature = "kms-aws"))]
pub async fn create_kms_key(
    _: &App,
    principal: &Principal,
    _: ProjectId,
    _: &str,
) -> Result<(SigningKey, Commit), AppError> {
    principal.may::<ManageSigningKeys>("create")?;
    Err(AppError::field("/kms_key_id", "unsupported", "this control API was built without the feature `kms-aws`"))
}

/// Makes the successor of a project's active key, of its algorithm. It signs after `signing.publish_ahead` (a fleet's key
/// after a day at least), or at once when asked; even then every live gateway has heard of it before.
pub async fn rotate_signing_key(
    app: &App,
    by: &Authorized<ManageSigningKeys>,
    project: ProjectId,
    purpose: KeyPurpose,
    at_once: bool,
) -> Result<(SigningKey, Commit), AppError> {
    let (active, _) = app.store.active_key(project, purpose).await?.unzip();
    let algorithm = active.map_or_else(|| default_algorithm(purpose), |key| key.algorithm);
    let not_before = (!at_once).then(|| app.now() + Policy::of(&app.config).lead(purpose));
    let new = NewSigningKey { purpose, not_before, ..key(app, project, algorithm)? };
    let made = app.store.write(by, app.now(), |tx| {
        let new = new.clone();
        async move { Ok::<_, AppError>(tx.created(tx.insert_signing_key(by, new).await?).await?) }
    });
    let (made, commit) = made.await?;
    if !at_once {
        return Ok((made, commit));
    }
    published(app).await?;
    activate(app, by, made.kid).await
}

/// What a key signs with that nobody chose otherwise.
pub const fn default_algorithm(purpose: KeyPurpose) -> Algorithm {
    match purpose {
        KeyPurpose::Tokens => Algorithm::Es256,
        KeyPurpose::Assertions => Algorithm::EdDsa,
    }
}

/// Lets a key sign; the one that did retires. Every live gateway has heard of the key before.
pub async fn activate_signing_key(
    app: &App,
    principal: &Principal,
    kid: SigningKeyId,
) -> Result<(SigningKey, Commit), AppError> {
    let by = principal.may::<ManageSigningKeys>("activate")?;
    app.store.signing_key(kid).await?.ok_or(AppError::NotFound("signing-key"))?;
    published(app).await?;
    activate(app, &by, kid).await
}

async fn activate(
    app: &App,
    by: &Authorized<ManageSigningKeys>,
    kid: SigningKeyId,
) -> Result<(SigningKey, Commit), AppError> {
    let activated = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.done("activated", tx.activate_signing_key(by, kid).await?).await?)
    });
    activated.await
}

/// Waits until every live gateway has applied all that was committed before.
///
/// # Errors
/// [`AppError::Conflict`] (`signing_key_unpublished`) names those that have not in time: they would refuse what the key
/// signs.
async fn published(app: &App) -> Result<(), AppError> {
    let ticked = Ticked { head: Position::default(), ..app.hub.tick().await? };
    let behind = app.hub.applied(ticked, app.config.log.applied_wait.get()).await?;
    if behind.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = behind.into_iter().map(|it| format!("{}/{}", it.fleet, it.name)).collect();
    let detail = format!("these gateways do not know the key yet: {}", names.join(", "));
    Err(AppError::Conflict { code: "signing_key_unpublished", detail })
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
pub async fn key_set(
    at: &impl Reader,
    project: ProjectId,
    purpose: KeyPurpose,
) -> Result<(Value, Vec<Algorithm>), AppError> {
    let keys = at.published_keys(project, purpose).await?;
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
    Ok(NewSigningKey {
        kid,
        project_id: project,
        purpose: KeyPurpose::Tokens,
        algorithm,
        material: private_pkcs8,
        public_jwk,
        source: KeySource::Made,
        signer: SignerKind::Local,
        not_before: None,
        expires_at: None,
    })
}

/// A key that takes the place of another, signing from `not_before` on.
pub(super) fn successor(app: &App, of: &SigningKey, not_before: Timestamp) -> Result<NewSigningKey, AppError> {
    let new = key(app, of.project_id, of.algorithm)?;
    Ok(NewSigningKey { purpose: of.purpose, source: KeySource::Schedule, not_before: Some(not_before), ..new })
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
