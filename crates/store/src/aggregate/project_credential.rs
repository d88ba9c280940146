//! What names a project. No gateway is told of it: only the control API reads it.

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageProjectCredentials};
use domain::{
    ProjectCredentialId, ProjectId, Secret,
    model::{
        CredentialCertificate, NewProjectCredential, ProjectCredential,
        project_credential::{MAX_CREDENTIALS, USE_NOTED_EVERY},
    },
};

use super::{
    list::{Filter, Listing, Sortable, Takes, folded, sealed::Cells},
    needed, within,
};
use crate::{
    SessionTx, StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM project_credentials";

/// For how long one that was revoked is listed.
const LISTED: Duration = Duration::from_secs(90 * 24 * 3600);

fn read(row: &Row) -> Result<ProjectCredential, StoreError> {
    let hash: Option<[u8; 32]> = row.at("secret_hash")?;
    let sha256: Option<[u8; 32]> = row.at("certificate_sha256")?;
    let certificate = match sha256 {
        Some(sha256) => Some(CredentialCertificate::new(sha256, row.at("not_after")?)),
        None => None,
    };
    Ok(ProjectCredential {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        kind: row.word("kind")?,
        name: row.at("name")?,
        public_id: row.at("public_id")?,
        secret_hash: hash.map(Secret::new),
        certificate,
        created_at: row.at("created_at")?,
        last_used_at: row.at("last_used_at")?,
        revoked_at: row.at("revoked_at")?,
    })
}

/// The list of a project's credentials, those that were revoked among them.
#[derive(Debug)]
pub enum ProjectCredentialList {}

impl Listing for ProjectCredentialList {
    type Item = ProjectCredential;
    type Of = ProjectId;
    const FILTERS: &'static [Filter] = &[
        Filter::search("Whose name holds this, in any case.", "name_fold LIKE ? ESCAPE '!'"),
        Filter::new(
            "kind",
            "Of this kind.",
            Takes::Word(&["publishable", "secret", "directory_reader", "mtls"]),
            "kind = ?",
        ),
        Filter::new(
            "status",
            "In this state.",
            Takes::Word(&["active", "revoked"]),
            "CASE WHEN revoked_at IS NULL THEN 'active' ELSE 'revoked' END = ?",
        ),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("name", "name_fold"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE project_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<ProjectCredential, StoreError> {
        read(row.0)
    }
}

/// Reads of project credentials.
pub trait ProjectCredentials: Reader {
    /// The credential of this public part, unless it was revoked.
    fn project_credential(
        &self,
        public_id: &str,
    ) -> impl Future<Output = Result<Option<ProjectCredential>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE public_id = $1 AND revoked_at IS NULL");
            self.view().await?.first(&sql, values![public_id], read).await
        }
    }
}
impl<R: Reader> ProjectCredentials for R {}

impl SessionTx {
    /// Notes that a credential was shown, unless that was noted a moment ago.
    ///
    /// # Errors
    /// Of the database.
    pub async fn note_project_credential(&self, id: ProjectCredentialId) -> Result<(), StoreError> {
        let sql = "UPDATE project_credentials SET last_used_at = $2
                   WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)";
        let now = self.work.now;
        self.work.view.execute(sql, values![id, now, now - USE_NOTED_EVERY]).await.map(|_| ())
    }
}

impl Tx {
    /// Makes a credential.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`project_credentials_full`); [`StoreError::Reference`] without the project.
    pub async fn insert_project_credential(
        &self,
        by: &Authorized<ManageProjectCredentials>,
        new: NewProjectCredential,
    ) -> Result<Unaudited<ProjectCredential>, StoreError> {
        within(by, Scope::Platform)?;
        let (view, now) = (&self.work.view, self.work.now);
        let sql = "DELETE FROM project_credentials WHERE project_id = $1 AND revoked_at < $2";
        view.execute(sql, values![new.project_id, now - LISTED]).await?;
        // Those of the last day as well: making and revoking is no way around it.
        let sql = "SELECT COUNT(*) AS held FROM project_credentials
                   WHERE project_id = $1 AND (revoked_at IS NULL OR revoked_at > $2)";
        let day = now - Duration::from_secs(24 * 3600);
        let held = view.first(sql, values![new.project_id, day], |row| row.at::<u64>("held")).await?.unwrap_or(0);
        if held >= MAX_CREDENTIALS {
            let detail = format!("a project has {MAX_CREDENTIALS} credentials at most");
            return Err(StoreError::rule("project_credentials_full", detail));
        }
        let sql = "INSERT INTO project_credentials (id, project_id, kind, name, name_fold, public_id, secret_hash,
                       certificate_sha256, not_after, created_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *";
        let hash = new.secret_hash.as_ref().map(|hash| *hash.expose());
        let sha256 = new.certificate.as_ref().map(|it| *it.sha256());
        let not_after = new.certificate.as_ref().map(|it| it.not_after);
        let mut all = values![new.id, new.project_id];
        all.push(Value::word(&new.kind));
        all.extend(values![&new.name, folded(&new.name), &new.public_id, hash, sha256, not_after, now]);
        let made = needed(view.first(sql, all, read).await?, "project-credential")?;
        Ok(self.unaudited(made))
    }

    /// Has a credential name nothing any more.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also for one that was revoked.
    pub async fn revoke_project_credential(
        &self,
        by: &Authorized<ManageProjectCredentials>,
        (project, id): (ProjectId, ProjectCredentialId),
    ) -> Result<Unaudited<ProjectCredential>, StoreError> {
        within(by, Scope::Platform)?;
        let sql = "UPDATE project_credentials SET revoked_at = $3
                   WHERE project_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING *";
        let revoked = self.work.view.first(sql, values![project, id, self.work.now], read).await?;
        Ok(self.unaudited(needed(revoked, "project-credential")?))
    }
}
