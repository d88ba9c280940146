//! `/v1/signing-keys`: platform staff only. Private keys never leave.

use axum::{Json, extract::State};
use domain::{
    ProjectId, SigningKeyId, Timestamp,
    model::{KeyPurpose, KeyState, SigningKey},
    snapshot::Algorithm,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Changed, Created, List},
    extract::{Asked, At, Body, WaitQuery},
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
}

/// Which project.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProjectQuery {
    /// The project.
    #[param(value_type = String)]
    pub(super) project_id: ProjectId,
}

wire!(SigningKeyView, CreateSigningKey);

/// Lists a project's signing keys.
#[utoipa::path(get, path = "/v1/signing-keys", tag = "keys", params(ProjectQuery),
    responses((status = 200, body = List<SigningKeyView>)), security(("bearer" = [])))]
pub async fn list_signing_keys(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<ProjectQuery>,
) -> Result<Json<List<SigningKeyView>>, AppError> {
    let rows = app::signing_keys::list_signing_keys(&app, &principal, query.project_id).await?;
    Ok(Json(List::whole(rows.into_iter().map(Into::into).collect())))
}

/// Makes a signing key.
#[utoipa::path(post, path = "/v1/signing-keys", tag = "keys", params(WaitQuery), request_body = CreateSigningKey,
    responses((status = 201, body = SigningKeyView)), security(("bearer" = [])))]
pub async fn create_signing_key(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateSigningKey>,
) -> Result<Created<SigningKeyView>, AppError> {
    let algorithm = body.algorithm.unwrap_or(match body.purpose {
        KeyPurpose::Tokens => Algorithm::Es256,
        KeyPurpose::Assertions => Algorithm::EdDsa,
    });
    let made =
        app::signing_keys::create_signing_key(&app, &principal, body.project_id, algorithm, body.purpose).await?;
    let (made, commit) = made;
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
