//! Who is what in an organisational unit. Its administrators have a say over that beside the tenant's, and give there
//! whatever there is to give; its auditors see it.

use authz::{Authorized, action::ManageUnitMembers};
use domain::{
    OrgUnitId, UserId,
    model::{UnitMember, UnitRole},
};
use store::{Audited, Commit, Page, Tx, read::*};

use super::role_bindings::may_give_in_unit;
use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// A page of who is in a unit.
pub async fn list_unit_members(
    app: &App,
    principal: &Principal,
    site: Site,
    (unit, page): (OrgUnitId, Page),
) -> Result<Vec<UnitMember>, AppError> {
    if !principal.reads_unit(unit) {
        principal.may_in::<ManageUnitMembers>(site, "list")?;
    }
    let store = app.store.within(site.scope());
    store.org_unit(site.tenant, unit).await?.ok_or(AppError::NotFound("org-unit"))?;
    Ok(store.unit_members((site.tenant, unit), page).await?)
}

/// Brings a member of the tenant into a unit.
pub async fn create_unit_member(
    app: &App,
    principal: &Principal,
    site: Site,
    (unit, user, role): (OrgUnitId, UserId, UnitRole),
) -> Result<(UnitMember, Commit), AppError> {
    let by = authorized(principal, site, unit, "create")?;
    may_give_in_unit(principal, role, unit)?;
    let id = new_id(&*app.clock);
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                if tx.unit_member((site.tenant, unit), user).await?.is_some() {
                    let detail = "the user is in the unit already".to_owned();
                    return Err(AppError::Conflict { code: "already_exists", detail });
                }
                let change = tx.put_unit_member(&by, (site.tenant, unit, user), (id, role)).await?;
                Ok(tx.created(change).await?)
            }
        })
        .await
}

/// Says what a member of the tenant is in a unit.
pub async fn put_unit_member(
    app: &App,
    principal: &Principal,
    site: Site,
    (unit, user, role): (OrgUnitId, UserId, UnitRole),
) -> Result<(UnitMember, Commit), AppError> {
    let by = authorized(principal, site, unit, "update")?;
    may_give_in_unit(principal, role, unit)?;
    let id = new_id(&*app.clock);
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                match known(&tx, principal, site, (unit, user)).await? {
                    Some(known) if known.role == role => return Ok(Audited::unchanged(known)),
                    Some(_) | None => {}
                }
                let change = tx.put_unit_member(&by, (site.tenant, unit, user), (id, role)).await?;
                Ok(tx.updated(change).await?)
            }
        })
        .await
}

/// Takes a user out of a unit.
pub async fn delete_unit_member(
    app: &App,
    principal: &Principal,
    site: Site,
    (unit, user): (OrgUnitId, UserId),
) -> Result<Commit, AppError> {
    let by = authorized(principal, site, unit, "delete")?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            known(&tx, principal, site, (unit, user)).await?;
            let change = tx.delete_unit_member(&by, (site.tenant, unit, user)).await?;
            Ok::<_, AppError>(tx.deleted(change).await?)
        }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// What a user is in a unit, where the caller may take that away: who may not give it may not take it.
async fn known(
    tx: &Tx,
    principal: &Principal,
    site: Site,
    (unit, user): (OrgUnitId, UserId),
) -> Result<Option<UnitMember>, AppError> {
    let known = tx.unit_member((site.tenant, unit), user).await?;
    if let Some(known) = &known {
        may_give_in_unit(principal, known.role, unit)?;
    }
    Ok(known)
}

fn authorized(
    principal: &Principal,
    site: Site,
    unit: OrgUnitId,
    verb: &str,
) -> Result<Authorized<ManageUnitMembers>, AppError> {
    if principal.administers_unit(unit) { Ok(principal.caller.own_unit()) } else { principal.may_in(site, verb) }
}
