//! `/v1/projects/{id}/credentials`: what names a project where no hostname does. Platform staff only.

use axum::{Json, extract::State};
use domain::{
    ProjectCredentialId, ProjectId, Secret, Timestamp,
    model::{CredentialCertificate, ProjectCredential, ProjectCredentialKind},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::ProjectCredentialList;

use super::{
    answer::{Created, Gone, List, ShownOnce},
    extract::{At, Body, ListQuery, Listed, WaitQuery},
    schema::wire,
};
use crate::{
    App,
    app::project_credentials::{self, Wanted},
    caller::Principal,
    envelope::Waiting,
    error::AppError,
};

/// A credential of a project. Its text is shown when it is made, and never again.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ProjectCredential")]
pub struct ProjectCredentialView {
    /// Its id.
    id: ProjectCredentialId,
    /// Its project.
    project_id: ProjectId,
    /// What it is for.
    kind: ProjectCredentialKind,
    /// What it is called.
    name: String,
    /// Its public part.
    public_id: String,
    /// Of kind `mtls`: SHA-256 of the certificate that the client has to prove, in hexadecimal.
    certificate_sha256: Option<String>,
    /// Of kind `mtls`: when that certificate ends. From then on the credential names nothing.
    not_after: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last used, noted once a minute at most.
    last_used_at: Option<Timestamp>,
    /// Since when it names nothing any more.
    revoked_at: Option<Timestamp>,
}

impl From<ProjectCredential> for ProjectCredentialView {
    fn from(it: ProjectCredential) -> Self {
        Self {
            id: it.id,
            project_id: it.project_id,
            kind: it.kind,
            name: it.name,
            public_id: it.public_id,
            certificate_sha256: it.certificate.as_ref().map(CredentialCertificate::hex),
            not_after: it.certificate.map(|certificate| certificate.not_after),
            created_at: it.created_at,
            last_used_at: it.last_used_at,
            revoked_at: it.revoked_at,
        }
    }
}

/// A credential with its text, which is shown this once.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShownProjectCredential {
    /// The credential.
    #[serde(flatten)]
    credential: ProjectCredentialView,
    /// Its text, for `X-Project-Key`, or `X-Directory-Key`.
    #[serde(serialize_with = "domain::secret::exposed")]
    secret: Secret<String>,
    /// Gateways that have not heard of it yet, where that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Waiting>,
}

/// A credential to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProjectCredential {
    /// What it is for.
    kind: ProjectCredentialKind,
    /// What it is called, 1 to 128 characters.
    name: String,
    /// Of kind `mtls`, and there always: PEM of the one certificate that the client proves on its connection, at most 16 KiB.
    certificate_pem: Option<String>,
}

wire!(ProjectCredentialView, ShownProjectCredential, CreateProjectCredential);

/// Lists a project's credentials, those that were revoked in the last 90 days among them.
#[utoipa::path(get, path = "/v1/projects/{id}/credentials", tag = "projects",
    params(("id" = String, Path), ListQuery<ProjectCredentialList>),
    responses((status = 200, body = List<ProjectCredentialView>)), security(("bearer" = [])))]
pub async fn list_project_credentials(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ProjectId>,
    Listed(asked): Listed<ProjectCredentialList>,
) -> Result<Json<List<ProjectCredentialView>>, AppError> {
    let found = project_credentials::list_project_credentials(&app, &principal, id, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes a credential. The answer shows its text, this once.
#[utoipa::path(post, path = "/v1/projects/{id}/credentials", tag = "projects",
    params(("id" = String, Path), WaitQuery), request_body = CreateProjectCredential,
    responses((status = 201, body = ShownProjectCredential)), security(("bearer" = [])))]
pub async fn create_project_credential(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ProjectId>,
    Body(body): Body<CreateProjectCredential>,
) -> Result<ShownOnce<Created<ShownProjectCredential>>, AppError> {
    let CreateProjectCredential { kind, name, certificate_pem } = body;
    let wanted = Wanted { kind, name, certificate_pem };
    let (made, secret, commit) = project_credentials::create_project_credential(&app, &principal, id, wanted).await?;
    let location = format!("/v1/projects/{id}/credentials");
    let body = ShownProjectCredential { credential: made.into(), secret, waiting: None };
    Ok(ShownOnce(Created { location, version: None, body, commit }))
}

/// Revokes a credential: it names nothing any more.
#[utoipa::path(delete, path = "/v1/projects/{id}/credentials/{cid}", tag = "projects",
    params(("id" = String, Path), ("cid" = String, Path), WaitQuery), responses((status = 204)),
    security(("bearer" = [])))]
pub async fn revoke_project_credential(
    principal: Principal,
    State(app): State<App>,
    At(which): At<(ProjectId, ProjectCredentialId)>,
) -> Result<Gone, AppError> {
    project_credentials::revoke_project_credential(&app, &principal, which).await.map(Gone::by)
}
