//! Who is what in an organisational unit. Its administrators have a say over that beside the tenant's, and give there
//! whatever there is to give; its auditors see it.

use authz::{Authorized, action::ManageUnitMembers};
use domain::{
    OrgUnitId, UserId,
    model::{UnitMember, UnitRole},
};
use store::{
    Audited, Commit, Tx,
    list::{Selection, Slice, UnitMemberList},
    read::*,
};

use super::{break_glass, role_bindings::may_give_in_unit};
use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// Who is in a unit.
pub async fn list_unit_members(
    app: &App,
    principal: &Principal,
    site: Site,
    (unit, asked): (OrgUnitId, &Selection<UnitMemberList>),
) -> Result<Slice<UnitMember>, AppError> {
    if !principal.reads_unit(unit) {
        principal.may_in::<ManageUnitMembers>(site, "list")?;
    }
    let store = app.store.within(site.scope());
    store.org_unit(site.tenant, unit).await?.ok_or(AppError::NotFound("org-unit"))?;
    Ok(store.list((site.tenant, unit), asked).await?)
}

/// What becomes of who is in the unit already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Known {
    /// They are left alone, and the caller is told.
    Refused,
    /// They become what is said now.
    Changed,
}

/// Brings a member of the tenant into a unit, or says what they are in it.
///
/// # Errors
/// [`AppError::Conflict`] (`already_exists`) for who is in it and is to be [`Known::Refused`].
pub async fn put_unit_member(
    app: &App,
    principal: &Principal,
    site: Site,
    (unit, user, role): (OrgUnitId, UserId, UnitRole),
    if_known: Known,
) -> Result<(UnitMember, Commit), AppError> {
    let verb = if if_known == Known::Refused { "create" } else { "update" };
    let by = authorized(principal, site, unit, verb)?;
    may_give_in_unit(principal, role, unit)?;
    let id = new_id(&*app.clock);
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                match (tx.unit_member((site.tenant, unit), user).await?, if_known) {
                    (Some(_), Known::Refused) => {
                        let detail = "the user is in the unit already".to_owned();
                        return Err(AppError::Conflict { code: "already_exists", detail });
                    }
                    (Some(known), Known::Changed) => {
                        takeable(&tx, principal, &known).await?;
                        if known.role == role {
                            return Ok(Audited::unchanged(known));
                        }
                    }
                    (None, _) => break_glass::spare(&tx, principal, user).await?,
                }
                let change = tx.put_unit_member(&by, (site.tenant, unit, user), (id, role)).await?;
                Ok(if if_known == Known::Refused { tx.created(change).await? } else { tx.updated(change).await? })
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
            if let Some(known) = tx.unit_member((site.tenant, unit), user).await? {
                takeable(&tx, principal, &known).await?;
            }
            let change = tx.delete_unit_member(&by, (site.tenant, unit, user)).await?;
            Ok::<_, AppError>(tx.deleted(change).await?)
        }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// Whether the caller may take away what a user is in a unit: who may not give it may not take it.
async fn takeable(tx: &Tx, principal: &Principal, known: &UnitMember) -> Result<(), AppError> {
    may_give_in_unit(principal, known.role, known.ou_id)?;
    break_glass::spare(tx, principal, known.user_id).await
}

fn authorized(
    principal: &Principal,
    site: Site,
    unit: OrgUnitId,
    verb: &str,
) -> Result<Authorized<ManageUnitMembers>, AppError> {
    if principal.administers_unit(unit) { Ok(principal.caller.own_unit()) } else { principal.may_in(site, verb) }
}
