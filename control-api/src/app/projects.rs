//! Projects: identity shards, each with its own users, keys and issuer.

use authz::{
    Authorized,
    action::{ManageProjects, ManageSigningKeys},
};
use domain::{
    ProjectId,
    model::{NewProject, NewSigningKey, Project, ProjectKind, ProjectStatus, Version},
};
use store::{
    Audited, Commit, Tx,
    list::{ProjectList, Selection, Slice},
    read::*,
};

use super::{access_mode::Access, return_to::OauthSettings, signing_keys, text};
use crate::{
    App,
    caller::{Principal, Site},
    error::AppError,
    mail::templates,
};

/// A page of projects.
pub async fn list_projects(
    app: &App,
    principal: &Principal,
    asked: &Selection<ProjectList>,
) -> Result<Slice<Project>, AppError> {
    principal.may::<ManageProjects>("list")?;
    Ok(app.store.list((), asked).await?)
}

/// One project.
pub async fn read_project(app: &App, principal: &Principal, id: ProjectId) -> Result<Project, AppError> {
    principal.may::<ManageProjects>("get")?;
    app.store.project(id).await?.ok_or(AppError::NotFound("project"))
}

/// Makes a project with its first signing key.
pub async fn create_project(app: &App, principal: &Principal, new: NewProject) -> Result<(Project, Commit), AppError> {
    let by = principal.may::<ManageProjects>("create")?;
    let keys_by = principal.may::<ManageSigningKeys>("create")?;
    let key = signing_keys::fresh_key(app, new.id)?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, keys_by, new, key) = (by.clone(), keys_by.clone(), new.clone(), key.clone());
            async move { insert(&tx, &by, &keys_by, new, key).await }
        })
        .await
}

/// In a transaction: a project with its first signing key.
pub async fn insert(
    tx: &Tx,
    by: &Authorized<ManageProjects>,
    keys_by: &Authorized<ManageSigningKeys>,
    new: NewProject,
    key: NewSigningKey,
) -> Result<Audited<Project>, AppError> {
    let project = tx.created(tx.insert_project(by, new).await?).await?;
    let active = signing_keys::insert_active(tx, keys_by, key).await?;
    Ok(project.and(active).map(|(project, _)| project))
}

/// What changes of a project.
#[derive(Clone, Debug, Default)]
pub struct ProjectEdit {
    /// Display name.
    pub name: Option<String>,
    /// Whether it serves.
    pub status: Option<ProjectStatus>,
    /// `aud` of its tokens.
    pub audiences: Option<Vec<String>>,
    /// Settings.
    pub config: Option<serde_json::Value>,
}

/// Changes a project. Its issuer stays: it stands in every token and every relying party.
pub async fn update_project(
    app: &App,
    principal: &Principal,
    id: ProjectId,
    version: Option<Version>,
    edit: ProjectEdit,
) -> Result<(Project, Commit), AppError> {
    let by = principal.may::<ManageProjects>("update")?;
    if edit.audiences.as_ref().is_some_and(|list| list.is_empty() || list.iter().any(String::is_empty)) {
        return Err(AppError::field("/audiences", "required", "a token for anybody would be accepted"));
    }
    if let Some(config) = &edit.config {
        text::settings("/config", config)?;
        templates::of_config(config)?;
        Access::of_config(config)?;
        OauthSettings::of_config(config)?;
    }
    app.store
        .write(&by, app.now(), |tx| {
            let (by, edit) = (by.clone(), edit.clone());
            async move {
                let mut project = tx.project(id).await?.ok_or(AppError::NotFound("project"))?;
                if project.is_root() && edit.status == Some(ProjectStatus::Suspended) {
                    let detail = "the platform's own project cannot be suspended".to_owned();
                    return Err(AppError::Conflict { code: "project_is_root", detail });
                }
                project.version = version.unwrap_or(project.version);
                project.name = edit.name.unwrap_or(project.name);
                project.status = edit.status.unwrap_or(project.status);
                project.audiences = edit.audiences.unwrap_or(project.audiences);
                project.config = edit.config.unwrap_or(project.config);
                Ok(tx.updated(tx.update_project(&by, project).await?).await?)
            }
        })
        .await
}

/// In the shared project the platform says who comes, by which provider and with what passwords; a tenant's own principals
/// do not. Staff may.
///
/// # Errors
/// [`AppError::ManagedByPlatform`].
pub async fn is_tenants_own(app: &App, principal: &Principal, site: Site) -> Result<(), AppError> {
    let project = app.store.project(site.project).await?.ok_or(AppError::NotFound("project"))?;
    if project.kind == ProjectKind::Shared && !principal.is_system() {
        return Err(AppError::ManagedByPlatform("in the shared project, people join by invitation only"));
    }
    Ok(())
}
