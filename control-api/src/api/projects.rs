//! `/v1/projects`: platform staff only.

use axum::extract::State;
use domain::{
    ProjectId, Slug, Timestamp,
    model::{NewProject, Project, ProjectKind, ProjectStatus},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::ProjectList;

use super::{
    answer::{Changed, Created, List, One},
    extract::{At, Body, IfMatch, ListQuery, Listed, WaitQuery},
    schema::wire,
};
use crate::{App, app, app::projects::ProjectEdit, caller::Principal, context::new_id, error::AppError};

/// A project.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Project")]
#[expect(missing_docs, reason = "as in `domain::model::Project`")]
pub struct ProjectView {
    pub id: ProjectId,
    pub slug: Slug,
    pub name: String,
    pub kind: ProjectKind,
    pub status: ProjectStatus,
    pub issuer: String,
    pub audiences: Vec<String>,
    pub config: serde_json::Value,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Project> for ProjectView {
    fn from(it: Project) -> Self {
        Self {
            id: it.id,
            slug: it.slug,
            name: it.name,
            kind: it.kind,
            status: it.status,
            issuer: it.issuer,
            audiences: it.audiences,
            config: it.config,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A project to be made, with its first signing key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// Unique short name.
    slug: Slug,
    /// Display name.
    name: String,
    /// `iss` of its tokens, an `https` URL. Never changes.
    issuer: String,
    /// `aud` of its tokens. Default: the issuer.
    audiences: Option<Vec<String>>,
    /// Whether it is for one customer or for many.
    #[serde(default)]
    kind: ProjectKind,
}

/// What changes of a project; what is absent stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateProject {
    /// Display name.
    name: Option<String>,
    /// Whether it serves.
    status: Option<ProjectStatus>,
    /// `aud` of its tokens; all of them.
    audiences: Option<Vec<String>>,
    /// Settings; all of them.
    config: Option<serde_json::Value>,
}

/// A project's settings.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ProjectConfig")]
pub struct ProjectConfigView {
    /// Settings: `access` (who may get an account), `mail` (its own letters).
    config: serde_json::Value,
}

/// A project's settings, in the place of all there were.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutProjectConfig {
    /// Settings: `access` (who may get an account), `mail` (its own letters).
    config: serde_json::Map<String, serde_json::Value>,
}

wire!(ProjectView, CreateProject, UpdateProject, ProjectConfigView, PutProjectConfig);

/// Lists projects.
#[utoipa::path(get, path = "/v1/projects", tag = "projects", params(ListQuery<ProjectList>),
    responses((status = 200, body = List<ProjectView>)), security(("bearer" = [])))]
pub async fn list_projects(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<ProjectList>,
) -> Result<axum::Json<List<ProjectView>>, AppError> {
    let found = app::projects::list_projects(&app, &principal, &asked).await?;
    Ok(axum::Json(List::of(found, Into::into)))
}

/// Makes a project.
#[utoipa::path(post, path = "/v1/projects", tag = "projects", params(WaitQuery), request_body = CreateProject,
    responses((status = 201, body = ProjectView)), security(("bearer" = [])))]
pub async fn create_project(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateProject>,
) -> Result<Created<ProjectView>, AppError> {
    if body.kind == ProjectKind::Root {
        return Err(AppError::field("/kind", "reserved", "there is one root project, and it is there"));
    }
    if !body.issuer.starts_with("https://") {
        return Err(AppError::field("/issuer", "invalid", "an issuer is an https URL"));
    }
    let audiences = body.audiences.unwrap_or_else(|| vec![body.issuer.clone()]);
    if audiences.is_empty() || audiences.iter().any(String::is_empty) {
        return Err(AppError::field("/audiences", "required", "a token for anybody would be accepted"));
    }
    let new = NewProject {
        id: new_id(&*app.clock),
        slug: body.slug,
        name: body.name,
        kind: body.kind,
        issuer: body.issuer,
        audiences,
        config: serde_json::json!({}),
    };
    let (made, commit) = app::projects::create_project(&app, &principal, new).await?;
    let location = format!("/v1/projects/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads a project.
#[utoipa::path(get, path = "/v1/projects/{id}", tag = "projects", params(("id" = String, Path)),
    responses((status = 200, body = ProjectView)), security(("bearer" = [])))]
pub async fn read_project(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ProjectId>,
) -> Result<One<ProjectView>, AppError> {
    let found = app::projects::read_project(&app, &principal, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Changes a project.
#[utoipa::path(patch, path = "/v1/projects/{id}", tag = "projects", params(("id" = String, Path), WaitQuery, IfMatch),
    request_body = UpdateProject, responses((status = 200, body = ProjectView)), security(("bearer" = [])))]
pub async fn update_project(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ProjectId>,
    IfMatch(version): IfMatch,
    Body(body): Body<UpdateProject>,
) -> Result<Changed<ProjectView>, AppError> {
    let revokes = body.status == Some(ProjectStatus::Suspended);
    let edit = ProjectEdit { name: body.name, status: body.status, audiences: body.audiences, config: body.config };
    let (changed, commit) = app::projects::update_project(&app, &principal, id, version, edit).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes })
}

/// Reads a project's settings.
#[utoipa::path(get, path = "/v1/projects/{id}/config", tag = "projects", params(("id" = String, Path)),
    responses((status = 200, body = ProjectConfigView)), security(("bearer" = [])))]
pub async fn read_project_config(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ProjectId>,
) -> Result<One<ProjectConfigView>, AppError> {
    let found = app::projects::read_project(&app, &principal, id).await?;
    Ok(One { version: found.version, body: ProjectConfigView { config: found.config } })
}

/// Replaces a project's settings: all of them.
#[utoipa::path(put, path = "/v1/projects/{id}/config", tag = "projects",
    params(("id" = String, Path), WaitQuery, IfMatch), request_body = PutProjectConfig,
    responses((status = 200, body = ProjectConfigView)), security(("bearer" = [])))]
pub async fn put_project_config(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ProjectId>,
    IfMatch(version): IfMatch,
    Body(body): Body<PutProjectConfig>,
) -> Result<Changed<ProjectConfigView>, AppError> {
    let edit = ProjectEdit { config: Some(serde_json::Value::Object(body.config)), ..ProjectEdit::default() };
    let (changed, commit) = app::projects::update_project(&app, &principal, id, version, edit).await?;
    let body = ProjectConfigView { config: changed.config };
    Ok(Changed { version: Some(changed.version), body, commit, revokes: false })
}
