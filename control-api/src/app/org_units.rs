//! Organisational units of a tenant. A deleted one is served no more at once, and can be restored for a while.

use authz::{Authorized, action::ManageOrgUnits};
use domain::{
    OrgUnitId, TenantId, UserId,
    model::{NewOrgUnit, OrgUnit, Version},
};
use store::{
    Audited, Commit, StoreError,
    list::{Listing, Selection, Slice, UserUnitList},
    read::*,
};

use super::text;
use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
    problem,
    upkeep::every,
};

/// Units removed for good before it is looked again which are due.
const PURGED_AT_ONCE: u32 = 100;

/// What a unit is called.
#[derive(Clone, Debug)]
pub struct UnitDraft {
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: String,
}

impl UnitDraft {
    fn check(&self) -> Result<(), AppError> {
        text::named(&self.name, &self.description)
    }
}

/// A page of a tenant's units: those that live, or those that were deleted and can still be restored.
pub async fn list_org_units<L: Listing<Item = OrgUnit, Of = TenantId>>(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<L>,
) -> Result<Slice<OrgUnit>, AppError> {
    principal.may_in::<ManageOrgUnits>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// One of a tenant's units that live.
pub async fn read_org_unit(app: &App, principal: &Principal, site: Site, id: OrgUnitId) -> Result<OrgUnit, AppError> {
    if !principal.administers_unit(id) {
        principal.may_in::<ManageOrgUnits>(site, "get")?;
    }
    app.store.within(site.scope()).org_unit(site.tenant, id).await?.ok_or(AppError::NotFound("org-unit"))
}

/// Makes a unit.
pub async fn create_org_unit(
    app: &App,
    principal: &Principal,
    site: Site,
    draft: UnitDraft,
) -> Result<(OrgUnit, Commit), AppError> {
    let by = principal.may_in::<ManageOrgUnits>(site, "create")?;
    draft.check()?;
    let new = NewOrgUnit {
        id: new_id(&*app.clock),
        project_id: site.project,
        tenant_id: site.tenant,
        name: draft.name,
        description: draft.description,
        created_by: Some(principal.user),
    };
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_org_unit(&by, new).await?).await?) }
        })
        .await
}

/// Changes what a unit is called.
pub async fn replace_org_unit(
    app: &App,
    principal: &Principal,
    site: Site,
    (id, version): (OrgUnitId, Option<Version>),
    draft: UnitDraft,
) -> Result<(OrgUnit, Commit), AppError> {
    let by = principal.may_in::<ManageOrgUnits>(site, "update")?;
    draft.check()?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, draft) = (by.clone(), draft.clone());
            async move {
                let mut unit = tx.org_unit(site.tenant, id).await?.ok_or(AppError::NotFound("org-unit"))?;
                unit.version = version.unwrap_or(unit.version);
                unit.name = draft.name;
                unit.description = draft.description;
                Ok(tx.updated(tx.update_org_unit(&by, unit).await?).await?)
            }
        })
        .await
}

/// Deletes a unit until its hold is over. One that is deleted already stays so.
pub async fn delete_org_unit(app: &App, principal: &Principal, site: Site, id: OrgUnitId) -> Result<Commit, AppError> {
    let by = principal.may_in::<ManageOrgUnits>(site, "delete")?;
    let purge_after = app.now() + app.config.org_units.hold.get();
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            let unit = tx.any_org_unit(site.tenant, id).await?.ok_or(AppError::NotFound("org-unit"))?;
            if unit.deleted_at.is_some() {
                return Ok(Audited::unchanged(unit));
            }
            Ok::<_, AppError>(tx.deleted(tx.delete_org_unit(&by, (site.tenant, id), purge_after).await?).await?)
        }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// Takes a deleted unit back, with the roles that were held in it.
pub async fn restore_org_unit(
    app: &App,
    principal: &Principal,
    site: Site,
    id: OrgUnitId,
) -> Result<(OrgUnit, Commit), AppError> {
    let by = principal.may_in::<ManageOrgUnits>(site, "restore")?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move { Ok(tx.done("restored", tx.restore_org_unit(&by, (site.tenant, id)).await?).await?) }
        })
        .await
}

/// The units in which one of a tenant's users holds a role.
pub async fn list_user_org_units(
    app: &App,
    principal: &Principal,
    site: Site,
    user: UserId,
    asked: &Selection<UserUnitList>,
) -> Result<Slice<super::my_units::UnitOfUser>, AppError> {
    principal.may_in::<ManageOrgUnits>(site, "list")?;
    let store = app.store.within(site.scope());
    store.user_of_tenant(site.tenant, user).await?.ok_or(AppError::NotFound("user"))?;
    super::my_units::units_of(app, site, user, asked).await
}

/// Removes for good what is due. Any replica may: of those that try at once, one removes a unit. Says how many it was here.
///
/// # Errors
/// Of the database.
pub async fn purge(app: &App) -> Result<usize, AppError> {
    let by = Authorized::<ManageOrgUnits>::system("org-unit-purge");
    let mut purged = 0;
    loop {
        let due = app.store.org_units_to_purge(app.now(), PURGED_AT_ONCE).await?;
        let mut here = 0;
        for unit in &due {
            match purge_one(app, &by, unit).await {
                Ok(()) => here += 1,
                // Another replica was faster.
                Err(StoreError::NotFound { .. }) => {}
                // The others are due all the same.
                Err(error) => {
                    tracing::error!(error = problem::chain(&error), org_unit.id = %unit.id, "a unit was not removed");
                }
            }
        }
        purged += here;
        if here == 0 {
            return Ok(purged);
        }
    }
}

async fn purge_one(app: &App, by: &Authorized<ManageOrgUnits>, unit: &OrgUnit) -> Result<(), StoreError> {
    app.store.clear_access_log(unit.tenant_id, unit.id).await?;
    let done = app.store.write(by, app.now(), |tx| async move {
        let change = tx.purge_org_unit(by, (unit.tenant_id, unit.id)).await?;
        tx.done("purged", change).await
    });
    done.await.map(drop)
}

/// Removes what is due again and again. Never ends.
pub async fn keep_purging(app: &App) {
    let pause = app.config.org_units.purge_every.get();
    every(pause, "deleted organisational units were not removed", || async move { purge(app).await.map(drop) }).await;
}
