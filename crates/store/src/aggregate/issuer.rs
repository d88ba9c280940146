//! External issuers bound to projects.

use authz::{Authorized, Scope, action::ManageIssuers};
use domain::{
    IssuerId, ProjectId,
    model::{ExternalIssuer, Version},
};

use super::{
    issuer_fetch::no_keys,
    list::{Filter, Listing, Sortable, sealed::Cells},
    needed, one,
    project::Projects,
    swap, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::publish::{self, Effect},
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM issuers";

fn read(row: &Row) -> Result<ExternalIssuer, StoreError> {
    Ok(ExternalIssuer {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        issuer: row.at("issuer")?,
        audiences: row.json("audiences")?,
        algorithms: row.json("algorithms")?,
        binding: row.json("binding")?,
        jwks: row.at("jwks")?,
        jwks_url: row.at("jwks_url")?,
        version: Version(row.at("version")?),
    })
}

/// The list of a project's external issuers.
#[derive(Debug)]
pub enum IssuerList {}

impl Listing for IssuerList {
    type Item = ExternalIssuer;
    type Of = ProjectId;
    const FILTERS: &'static [Filter] = &[
        Filter::search("Whose name holds this, in any case.", "LOWER(issuer) LIKE ? ESCAPE '!'"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::new("issuer", "issuer"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE project_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<ExternalIssuer, StoreError> {
        read(row.0)
    }
}

/// Reads of external issuers.
pub trait Issuers: Reader {
    /// The issuer of this id.
    fn issuer(&self, id: IssuerId) -> impl Future<Output = Result<Option<ExternalIssuer>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// A project's external issuers.
    fn issuers(&self, project: ProjectId) -> impl Future<Output = Result<Vec<ExternalIssuer>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE project_id = $1 ORDER BY created_at, id");
            self.view().await?.all(&sql, values![project], read).await
        }
    }
}
impl<R: Reader> Issuers for R {}

impl Tx {
    /// Binds an external issuer.
    ///
    /// # Errors
    /// [`StoreError::Rule`]: `issuer_ambiguous` when another binding of the same `iss` accepts one of its audiences
    /// and neither requires a claim that tells them apart, or when it is a project's own issuer; `issuer_incomplete`
    /// without audience or algorithm.
    pub async fn insert_issuer(
        &self,
        by: &Authorized<ManageIssuers>,
        new: ExternalIssuer,
    ) -> Result<Unaudited<ExternalIssuer>, StoreError> {
        within(by, Scope::Project(new.project_id))?;
        let new = ExternalIssuer { version: Version(1), ..new };
        self.check(&new).await?;
        let mut all = values![new.id, new.project_id, self.work.now];
        all.extend(columns(&new)?);
        self.work
            .view
            .execute(
                "INSERT INTO issuers (id, project_id, created_at, issuer, audiences, algorithms, binding, jwks, jwks_url,
                     version)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)",
                all,
            )
            .await?;
        self.expect_fetches(&new, None).await?;
        publish::external_issuer(&self.work, new.id, Effect::Widens).await?;
        Ok(self.unaudited(new))
    }

    /// Changes a binding, or its key set.
    ///
    /// # Errors
    /// As [`Tx::insert_issuer`]; [`StoreError::VersionMismatch`], [`StoreError::NotFound`].
    pub async fn update_issuer(
        &self,
        by: &Authorized<ManageIssuers>,
        changed: ExternalIssuer,
    ) -> Result<Unaudited<ExternalIssuer>, StoreError> {
        let before = needed(self.issuer(changed.id).await?, "issuer")?;
        within(by, Scope::Project(before.project_id))?;
        let mut changed = ExternalIssuer { project_id: before.project_id, ..changed };
        if changed.jwks_url.is_some() {
            // What was fetched from a place is good for that place only.
            let fetched = changed.jwks_url == before.jwks_url;
            changed.jwks = if fetched { before.jwks.clone() } else { no_keys() };
        }
        self.check(&changed).await?;
        let assignments = "issuer = $3, audiences = $4, algorithms = $5, binding = $6, jwks = $7, jwks_url = $8";
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "issuer", "issuers", key, assignments, columns(&changed)?).await?;
        self.expect_fetches(&changed, before.jwks_url.as_ref()).await?;
        publish::external_issuer(&self.work, changed.id, Effect::Narrows).await?;
        Ok(self.unaudited(changed))
    }

    /// Ends a binding: its tokens are refused from then on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_issuer(
        &self,
        by: &Authorized<ManageIssuers>,
        id: IssuerId,
    ) -> Result<Unaudited<ExternalIssuer>, StoreError> {
        let issuer = needed(self.issuer(id).await?, "issuer")?;
        within(by, Scope::Project(issuer.project_id))?;
        one(&self.work.view, "issuer", "DELETE FROM issuers WHERE id = $1", values![id]).await?;
        publish::external_issuer(&self.work, id, Effect::Narrows).await?;
        Ok(self.unaudited(issuer))
    }

    async fn check(&self, new: &ExternalIssuer) -> Result<(), StoreError> {
        if new.audiences.is_empty() || new.algorithms.is_empty() {
            return Err(StoreError::rule("issuer_incomplete", "an issuer needs an audience and an algorithm"));
        }
        let ambiguous = |other: &str| {
            let detail = format!("issuer `{}` is bound already, by {other}, for one of these audiences", new.issuer);
            Err(StoreError::rule("issuer_ambiguous", detail))
        };
        let project = needed(self.project(new.project_id).await?, "project")?;
        if project.issuer == new.issuer {
            return ambiguous("the project itself");
        }
        for other in self.issuers(new.project_id).await? {
            let told_apart =
                other.binding.required_claims.iter().any(|(name, value)| {
                    new.binding.required_claims.get(name).is_some_and(|required| required != value)
                });
            let shared = other.audiences.iter().any(|audience| new.audiences.contains(audience));
            if other.id != new.id && other.issuer == new.issuer && shared && !told_apart {
                return ambiguous(&other.id.to_string());
            }
        }
        Ok(())
    }
}

/// From `issuer` to `jwks_url`, in the order of the statements above.
fn columns(it: &ExternalIssuer) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        (&it.issuer).into(),
        Value::json(&it.audiences)?,
        Value::json(&it.algorithms)?,
        Value::json(&it.binding)?,
        Value::json(&it.jwks)?,
        it.jwks_url.as_ref().into(),
    ])
}
