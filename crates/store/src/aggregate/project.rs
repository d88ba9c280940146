//! Projects.

use authz::{Authorized, Scope, action::ManageProjects};
use domain::{
    ProjectId,
    model::{NewProject, Project, ProjectStatus, SigningKey, Version},
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, swap, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::publish::{self, Effect},
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM projects";

fn read(row: &Row) -> Result<Project, StoreError> {
    Ok(Project {
        id: row.at("id")?,
        slug: row.parsed("slug")?,
        name: row.at("name")?,
        kind: row.word("kind")?,
        status: row.word("status")?,
        issuer: row.at("issuer")?,
        audiences: row.json("audiences")?,
        config: row.at("config")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of projects.
#[derive(Debug)]
pub enum ProjectList {}

impl Listing for ProjectList {
    type Item = Project;
    type Of = ();
    const FILTERS: &'static [Filter] = &[
        Filter::search(
            "Whose slug or issuer holds this, in any case.",
            "(slug LIKE ? ESCAPE '!' OR LOWER(issuer) LIKE ? ESCAPE '!')",
        ),
        Filter::new("kind", "Of this kind.", Takes::Word(&["root", "dedicated", "shared"]), "kind = ?"),
        Filter::new("status", "In this state.", Takes::Word(&["active", "suspended"]), "status = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::new("slug", "slug"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE TRUE")
    }
    fn item(row: &Cells<'_>) -> Result<Project, StoreError> {
        read(row.0)
    }
}

/// Reads of projects.
pub trait Projects: Reader {
    /// The project of this id.
    fn project(&self, id: ProjectId) -> impl Future<Output = Result<Option<Project>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// The project of this slug.
    fn project_by_slug(&self, slug: &str) -> impl Future<Output = Result<Option<Project>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE slug = $1"), values![slug], read).await }
    }

    /// The project of the platform's staff.
    fn root_project(&self) -> impl Future<Output = Result<Option<Project>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE kind = 'root'"), Vec::new(), read).await }
    }
}
impl<R: Reader> Projects for R {}

impl Tx {
    /// Makes a project.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `projects(slug)`, `(issuer)`, or `(kind)` for a second root.
    pub async fn insert_project(
        &self,
        by: &Authorized<ManageProjects>,
        new: NewProject,
    ) -> Result<Unaudited<Project>, StoreError> {
        within(by, Scope::Platform)?;
        let now = self.work.now;
        let project = Project {
            id: new.id,
            slug: new.slug,
            name: new.name,
            kind: new.kind,
            status: ProjectStatus::Active,
            issuer: new.issuer,
            audiences: new.audiences,
            config: new.config,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let mut all = values![project.id];
        all.extend(columns(&project)?);
        all.extend([Value::word(&project.kind), now.into()]);
        self.work
            .view
            .execute(
                "INSERT INTO projects (id, slug, name, status, issuer, audiences, config, kind, created_at, updated_at,
                     version)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, 1)",
                all,
            )
            .await?;
        publish::project(&self.work, project.id, Effect::Widens).await?;
        Ok(self.unaudited(project))
    }

    /// Changes a project; its kind stays.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::Conflict`].
    pub async fn update_project(
        &self,
        by: &Authorized<ManageProjects>,
        mut changed: Project,
    ) -> Result<Unaudited<Project>, StoreError> {
        within(by, Scope::Platform)?;
        let before = needed(self.project(changed.id).await?, "project")?;
        changed.kind = before.kind;
        let mut all = columns(&changed)?;
        all.push(self.work.now.into());
        let assignments =
            "slug = $3, name = $4, status = $5, issuer = $6, audiences = $7, config = $8, updated_at = $9";
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "project", "projects", key, assignments, all).await?;
        changed.updated_at = self.work.now;
        let suspends = changed.status == ProjectStatus::Suspended && before.status != ProjectStatus::Suspended;
        let effect = if suspends { Effect::Narrows } else { Effect::Widens };
        publish::project(&self.work, changed.id, effect).await?;
        if (&before.issuer, &before.audiences) != (&changed.issuer, &changed.audiences) {
            publish::own_issuer(&self.work, changed.id, Effect::Narrows).await?;
        }
        Ok(self.unaudited(changed))
    }
}

/// From `slug` to `config`, in the order of the statements above.
fn columns(it: &Project) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        it.slug.as_str().into(),
        (&it.name).into(),
        Value::word(&it.status),
        (&it.issuer).into(),
        Value::json(&it.audiences)?,
        Value::json(&it.config)?,
    ])
}

/// A key set (RFC 7517 §5) of these keys.
pub(crate) fn jwks(keys: &[SigningKey]) -> serde_json::Value {
    serde_json::json!({ "keys": keys.iter().map(|key| &key.public_jwk).collect::<Vec<_>>() })
}
