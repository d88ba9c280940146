//! Tenants.

use authz::{Authorized, Scope, action::ManageTenants};
use domain::{
    CustomerId, Fact, ProjectId, TenantId, Timestamp,
    model::{NewTenant, Tenant, TenantStateConflict, TenantTransition, Version},
    snapshot::TenantStatus,
};

use super::{
    list::{Filter, Listing, Sortable, Takes, folded, sealed::Cells},
    needed,
    page::Page,
    swap, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::publish::{self, Effect},
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM tenants";

fn read(row: &Row) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        customer_id: row.at("customer_id")?,
        slug: row.parsed("slug")?,
        name: row.at("name")?,
        status: row.word("status")?,
        resume_status: row.word_opt("resume_status")?,
        claim_state: row.word("claim_state")?,
        plan: row.at("plan")?,
        trial_ends_at: row.at("trial_ends_at")?,
        rate_limit: row.json_opt("rate_limit")?,
        principal_rate_limit: row.json_opt("principal_rate_limit")?,
        admission: row.json_opt("admission")?.unwrap_or_default(),
        branding: row.json_opt("branding")?.unwrap_or_default(),
        generation: row.at("generation")?,
        cutoff: row.at("cutoff")?,
        deleted_at: row.at("deleted_at")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// What tenants are looked for by.
const FILTERS: &[Filter] = &[
    Filter::search(
        "Whose slug or name holds this, in any case.",
        "(slug LIKE ? ESCAPE '!' OR name_fold LIKE ? ESCAPE '!'
                 OR name_fold = '' AND LOWER(name) LIKE ? ESCAPE '!')",
    ),
    Filter::new("status", "In this state.", Takes::Word(&["trial", "active", "frozen", "suspended"]), "status = ?"),
    Filter::new(
        "claim_state",
        "Claimed, or formed and not claimed yet.",
        Takes::Word(&["latent", "claimed"]),
        "claim_state = ?",
    ),
    Filter::new("plan", "On this plan.", Takes::Text, "plan = ?"),
    Filter::new("project_id", "Of this project.", Takes::Id, "project_id = ?"),
    Filter::since("created_at >= ?"),
    Filter::until("created_at < ?"),
];
const SORTS: &[Sortable] =
    &[Sortable::new("name", "name_fold"), Sortable::new("slug", "slug"), Sortable::time("created_at", "created_at")];

/// The list of all tenants.
#[derive(Debug)]
pub enum TenantList {}

impl Listing for TenantList {
    type Item = Tenant;
    type Of = ();
    const FILTERS: &'static [Filter] = FILTERS;
    const SORTS: &'static [Sortable] = SORTS;
    fn sql() -> String {
        format!("{SELECT} WHERE deleted_at IS NULL")
    }
    fn item(row: &Cells<'_>) -> Result<Tenant, StoreError> {
        read(row.0)
    }
}

/// The list of a customer's tenants.
#[derive(Debug)]
pub enum CustomerTenantList {}

impl Listing for CustomerTenantList {
    type Item = Tenant;
    type Of = CustomerId;
    const FILTERS: &'static [Filter] = FILTERS;
    const SORTS: &'static [Sortable] = SORTS;
    fn sql() -> String {
        format!("{SELECT} WHERE customer_id = $1 AND deleted_at IS NULL")
    }
    fn item(row: &Cells<'_>) -> Result<Tenant, StoreError> {
        read(row.0)
    }
}

/// Reads of tenants. Deleted ones are found until they are purged, and not listed.
pub trait Tenants: Reader {
    /// The tenant of this id.
    fn tenant(&self, id: TenantId) -> impl Future<Output = Result<Option<Tenant>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// The tenant of this slug.
    fn tenant_by_slug(&self, slug: &str) -> impl Future<Output = Result<Option<Tenant>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE slug = $1"), values![slug], read).await }
    }

    /// All tenants.
    fn tenants(&self, page: Page) -> impl Future<Output = Result<Vec<Tenant>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE deleted_at IS NULL AND id > $1 ORDER BY id LIMIT $2");
            self.view().await?.all(&sql, values![page.start(), page.limit()], read).await
        }
    }

    /// Tenants of a project.
    fn tenants_of_project(
        &self,
        project: ProjectId,
        page: Page,
    ) -> impl Future<Output = Result<Vec<Tenant>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE deleted_at IS NULL AND project_id = $1 AND id > $2 ORDER BY id LIMIT $3");
            self.view().await?.all(&sql, values![project, page.start(), page.limit()], read).await
        }
    }

    /// Whether a purged tenant of another customer's was known by this slug or issuer.
    fn was_anothers(
        &self,
        slug: &str,
        issuer: Option<&str>,
        customer: CustomerId,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move {
            let sql = "SELECT slug FROM released_slugs WHERE (slug = $1 OR issuer = $2) AND customer_id <> $3 LIMIT 1";
            Ok(!self.view().await?.query(sql, values![slug, issuer, customer]).await?.is_empty())
        }
    }

    /// Tenants of a customer.
    fn tenants_of_customer(
        &self,
        customer: CustomerId,
        page: Page,
    ) -> impl Future<Output = Result<Vec<Tenant>, StoreError>> + Send {
        async move {
            let sql =
                format!("{SELECT} WHERE deleted_at IS NULL AND customer_id = $1 AND id > $2 ORDER BY id LIMIT $3");
            self.view().await?.all(&sql, values![customer, page.start(), page.limit()], read).await
        }
    }

    /// Tenants whose trial has ended and that were not frozen yet, the longest over first.
    fn expired_trials(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<TenantId>, StoreError>> + Send {
        async move {
            let sql = "SELECT id FROM tenants WHERE status = 'trial' AND trial_ends_at IS NOT NULL
                           AND trial_ends_at <= $1 AND (left_alone_until IS NULL OR left_alone_until <= $1)
                       ORDER BY trial_ends_at, id LIMIT $2";
            self.view().await?.all(sql, values![now, limit], |row| row.at("id")).await
        }
    }
}
impl<R: Reader> Tenants for R {}

impl Tx {
    /// Makes a tenant.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `tenants(slug)`; [`StoreError::Reference`] without its project or customer;
    /// [`TenantStateConflict`] when it would not start in `Trial` or `Active`.
    pub async fn insert_tenant(
        &self,
        by: &Authorized<ManageTenants>,
        new: NewTenant,
    ) -> Result<Unaudited<Tenant>, StoreError> {
        within(by, Scope::Project(new.project_id))?;
        if !matches!(new.status, TenantStatus::Trial | TenantStatus::Active) {
            let conflict = TenantStateConflict { step: TenantTransition::Activate, from: new.status };
            return Err(conflict.into());
        }
        let now = self.work.now;
        let tenant = Tenant {
            id: new.id,
            project_id: new.project_id,
            customer_id: new.customer_id,
            slug: new.slug,
            name: new.name,
            status: new.status,
            resume_status: None,
            claim_state: new.claim_state,
            plan: new.plan,
            trial_ends_at: new.trial_ends_at,
            rate_limit: new.rate_limit,
            principal_rate_limit: new.principal_rate_limit,
            admission: new.admission,
            branding: new.branding,
            generation: 0,
            cutoff: None,
            deleted_at: None,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let mut all = values![tenant.id, tenant.project_id, tenant.customer_id, now];
        all.extend(columns(&tenant)?);
        self.work
            .view
            .execute(
                "INSERT INTO tenants (id, project_id, customer_id, created_at, updated_at, slug, name,
                     status, resume_status, claim_state, plan, trial_ends_at, rate_limit, deleted_at,
                     principal_rate_limit, admission, branding, name_fold, generation, version)
                 VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 0, 1)",
                all,
            )
            .await?;
        publish::tenant(&self.work, tenant.id, Effect::Widens).await?;
        Ok(self.unaudited(tenant))
    }

    /// Changes name, plan, trial end, claim state, limits and branding. The state changes by steps only, the slug never.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`].
    pub async fn update_tenant(
        &self,
        by: &Authorized<ManageTenants>,
        changed: Tenant,
    ) -> Result<Unaudited<Tenant>, StoreError> {
        let before = needed(self.tenant(changed.id).await?, "tenant")?;
        within(by, Scope::Tenant(before.project_id, before.id))?;
        let kept = Tenant {
            name: changed.name,
            plan: changed.plan,
            trial_ends_at: changed.trial_ends_at,
            claim_state: changed.claim_state,
            rate_limit: changed.rate_limit,
            principal_rate_limit: changed.principal_rate_limit,
            admission: changed.admission,
            branding: changed.branding,
            version: changed.version,
            ..before.clone()
        };
        // Whom an address list shuts out is out once every gateway has it.
        let effect = if kept.admission == before.admission { Effect::Widens } else { Effect::Narrows };
        self.save(kept, effect).await
    }

    /// Takes a step of the life cycle.
    ///
    /// # Errors
    /// [`StoreError::TenantState`] for a step the state does not allow, [`StoreError::NotFound`].
    pub async fn step_tenant(
        &self,
        by: &Authorized<ManageTenants>,
        id: TenantId,
        step: TenantTransition,
    ) -> Result<Unaudited<Tenant>, StoreError> {
        let mut tenant = needed(self.tenant(id).await?, "tenant")?;
        within(by, Scope::Tenant(tenant.project_id, id))?;
        (tenant.status, tenant.resume_status) = tenant.after(step)?;
        let narrows = matches!(tenant.status, TenantStatus::Frozen | TenantStatus::Suspended);
        self.save(tenant, if narrows { Effect::Narrows } else { Effect::Widens }).await
    }

    /// Freezes a tenant whose trial has ended; none when another did, or the trial goes on.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub async fn expire_trial(
        &self,
        by: &Authorized<ManageTenants>,
        id: TenantId,
    ) -> Result<Option<Unaudited<Tenant>>, StoreError> {
        let over = |tenant: &Tenant| {
            let ended = tenant.trial_ends_at.is_some_and(|end| end <= self.work.now);
            ended && tenant.status == TenantStatus::Trial
        };
        match self.tenant(id).await?.filter(over) {
            Some(_) => self.step_tenant(by, id, TenantTransition::ExpireTrial).await.map(Some),
            None => Ok(None),
        }
    }

    /// Puts a tenant on hold until it is purged. Deleting it again changes nothing but the audit trail.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_tenant(
        &self,
        by: &Authorized<ManageTenants>,
        id: TenantId,
    ) -> Result<Unaudited<Tenant>, StoreError> {
        let mut tenant = needed(self.tenant(id).await?, "tenant")?;
        within(by, Scope::Project(tenant.project_id))?;
        tenant.status = TenantStatus::Deleted;
        tenant.resume_status = None;
        tenant.deleted_at = tenant.deleted_at.or(Some(self.work.now));
        self.save(tenant, Effect::Narrows).await
    }

    /// Refuses every token and session of the tenant that was issued before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn revoke_tenant_tokens(
        &self,
        by: &Authorized<ManageTenants>,
        id: TenantId,
    ) -> Result<Unaudited<Tenant>, StoreError> {
        let tenant = needed(self.tenant(id).await?, "tenant")?;
        within(by, Scope::Tenant(tenant.project_id, id))?;
        let sql = "UPDATE tenants SET generation = generation + 1, cutoff = $2, updated_at = $2,
                       version = version + 1
                   WHERE id = $1 RETURNING *";
        let tenant = needed(self.work.view.first(sql, values![id, self.work.now], read).await?, "tenant")?;
        let Tenant { generation, cutoff, .. } = tenant;
        self.work.insert_fact(&Fact::TenantGeneration { tenant: id, generation, cutoff }).await?;
        publish::tenant(&self.work, id, Effect::Narrows).await?;
        Ok(self.unaudited(tenant))
    }

    async fn save(&self, mut tenant: Tenant, effect: Effect) -> Result<Unaudited<Tenant>, StoreError> {
        let mut all = columns(&tenant)?;
        all.push(self.work.now.into());
        let assignments = "slug = $3, name = $4, status = $5, resume_status = $6, claim_state = $7, plan = $8,
             trial_ends_at = $9, rate_limit = $10, deleted_at = $11, principal_rate_limit = $12, admission = $13,
             branding = $14, name_fold = $15, updated_at = $16";
        let key = (tenant.id.uuid(), tenant.version);
        tenant.version = swap(&self.work.view, "tenant", "tenants", key, assignments, all).await?;
        tenant.updated_at = self.work.now;
        publish::tenant(&self.work, tenant.id, effect).await?;
        Ok(self.unaudited(tenant))
    }
}

/// From `slug` to `name_fold`, in the order of the statements above.
fn columns(it: &Tenant) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        it.slug.as_str().into(),
        (&it.name).into(),
        Value::word(&it.status),
        it.resume_status.as_ref().map_or(Value::Null, Value::word),
        Value::word(&it.claim_state),
        it.plan.as_ref().into(),
        it.trial_ends_at.into(),
        Value::json_opt(it.rate_limit.as_ref())?,
        it.deleted_at.into(),
        Value::json_opt(it.principal_rate_limit.as_ref())?,
        Value::json(&it.admission)?,
        Value::json_opt(Some(&it.branding).filter(|branding| !branding.is_empty()))?,
        folded(&it.name),
    ])
}
