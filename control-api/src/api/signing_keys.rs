//! `/v1/signing-keys`: platform staff only. Private keys never leave.

use authz::action::ManageSigningKeys;
use axum::{Json, extract::State};
use domain::{
    ProjectId, SigningKeyId, Timestamp,
    model::{KeyPurpose, KeySource, KeyState, SignerKind, SigningKey},
    snapshot::Algorithm,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{list::SigningKeyList, read::*};

use super::{
    answer::{Changed, Created, List},
    extract::{Asked, At, Body, ListQuery, Listed, WaitQuery},
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError};

/// A signing key.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SigningKey")]
#[expect(missing_docs, reason = "as in `domain::model::SigningKey`")]
pub struct SigningKeyView {
    pub kid: SigningKeyId,
    pub project_id: ProjectId,
    pub purpose: KeyPurpose,
    pub algorithm: Algorithm,
    pub public_jwk: serde_json::Value,
    pub state: KeyState,
    pub source: KeySource,
    pub signer: SignerKind,
    pub not_before: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

impl From<SigningKey> for SigningKeyView {
    fn from(it: SigningKey) -> Self {
        Self {
            kid: it.kid,
            project_id: it.project_id,
            purpose: it.purpose,
            algorithm: it.algorithm,
            public_jwk: it.public_jwk,
            state: it.state,
            source: it.source,
            signer: it.signer,
            not_before: it.not_before,
            expires_at: it.expires_at,
            created_at: it.created_at,
            changed_at: it.changed_at,
        }
    }
}

/// A signing key to be made. It is published at once and signs once it is activated.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSigningKey {
    /// Whose tokens it signs.
    project_id: ProjectId,
    /// Default ES256.
    algorithm: Option<Algorithm>,
    /// What it signs. Default the project's tokens.
    #[serde(default)]
    purpose: KeyPurpose,
    /// Id or ARN of a key of AWS KMS that signs in the place of one that is made; its algorithm is the key's own. Of tokens
    /// only.
    kms_key_id: Option<String>,
}

/// Whose key is to be followed by another.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSigningKey {
    /// Whose key.
    pub project_id: ProjectId,
    /// What it signs. Default the project's tokens.
    #[serde(default)]
    pub purpose: KeyPurpose,
    /// Whether the new key signs as soon as every live gateway knows it, and not after `signing.publish_ahead` only. Who
    /// verifies by a key set it keeps may refuse tokens until it asks for it again.
    #[serde(default)]
    pub at_once: bool,
}

/// Which project.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProjectQuery {
    /// The project.
    #[param(value_type = String)]
    pub(super) project_id: ProjectId,
}

wire!(SigningKeyView, CreateSigningKey, RotateSigningKey);

/// Lists a project's signing keys.
#[utoipa::path(get, path = "/v1/signing-keys", tag = "keys", params(ProjectQuery, ListQuery<SigningKeyList>),
    responses((status = 200, body = List<SigningKeyView>)), security(("bearer" = [])))]
pub async fn list_signing_keys(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<ProjectQuery>,
    Listed(asked): Listed<SigningKeyList>,
) -> Result<Json<List<SigningKeyView>>, AppError> {
    let found = app::signing_keys::list_signing_keys(&app, &principal, query.project_id, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes a signing key.
#[utoipa::path(post, path = "/v1/signing-keys", tag = "keys", params(WaitQuery), request_body = CreateSigningKey,
    responses((status = 201, body = SigningKeyView)), security(("bearer" = [])))]
pub async fn create_signing_key(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateSigningKey>,
) -> Result<Created<SigningKeyView>, AppError> {
    if let Some(key_id) = &body.kms_key_id {
        if body.algorithm.is_some() || body.purpose != KeyPurpose::Tokens {
            return Err(AppError::field(
                "/kms_key_id",
                "choice",
                "a key of KMS has its algorithm, and signs tokens only",
            ));
        }
        let (made, commit) = app::signing_keys::create_kms_key(&app, &principal, body.project_id, key_id).await?;
        let location = format!("/v1/signing-keys/{}", made.kid);
        return Ok(Created { location, version: None, body: made.into(), commit });
    }
    let algorithm = body.algorithm.unwrap_or_else(|| app::signing_keys::default_algorithm(body.purpose));
    let made =
        app::signing_keys::create_signing_key(&app, &principal, body.project_id, algorithm, body.purpose).await?;
    let (made, commit) = made;
    let location = format!("/v1/signing-keys/{}", made.kid);
    Ok(Created { location, version: None, body: made.into(), commit })
}

/// Makes the active key's successor, which signs when its time has come.
#[utoipa::path(post, path = "/v1/signing-keys/rotate", tag = "keys", params(WaitQuery), request_body = RotateSigningKey,
    responses((status = 201, body = SigningKeyView)), security(("bearer" = [])))]
pub async fn rotate_signing_key(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<RotateSigningKey>,
) -> Result<Created<SigningKeyView>, AppError> {
    principal.may::<ManageSigningKeys>("create")?;
    let by = principal.may::<ManageSigningKeys>("activate")?;
    app.store.project(body.project_id).await?.ok_or(AppError::NotFound("project"))?;
    let rotated = app::signing_keys::rotate_signing_key(&app, &by, body.project_id, body.purpose, body.at_once);
    let (made, commit) = rotated.await?;
    let location = format!("/v1/signing-keys/{}", made.kid);
    Ok(Created { location, version: None, body: made.into(), commit })
}

/// Lets a key sign; the one that did goes on being published.
#[utoipa::path(post, path = "/v1/signing-keys/{kid}/activate", tag = "keys", params(("kid" = String, Path), WaitQuery),
    responses((status = 200, body = SigningKeyView)), security(("bearer" = [])))]
pub async fn activate_signing_key(
    principal: Principal,
    State(app): State<App>,
    At(kid): At<SigningKeyId>,
) -> Result<Changed<SigningKeyView>, AppError> {
    let (changed, commit) = app::signing_keys::activate_signing_key(&app, &principal, kid).await?;
    Ok(Changed { version: None, body: changed.into(), commit, revokes: false })
}

/// Takes a key out of the key set: its tokens are refused.
#[utoipa::path(post, path = "/v1/signing-keys/{kid}/retire", tag = "keys", params(("kid" = String, Path), WaitQuery),
    responses((status = 200, body = SigningKeyView)), security(("bearer" = [])))]
pub async fn retire_signing_key(
    principal: Principal,
    State(app): State<App>,
    At(kid): At<SigningKeyId>,
) -> Result<Changed<SigningKeyView>, AppError> {
    let (changed, commit) = app::signing_keys::retire_signing_key(&app, &principal, kid).await?;
    Ok(Changed { version: None, body: changed.into(), commit, revokes: true })
}
