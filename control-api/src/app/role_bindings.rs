//! Role bindings: who holds which role. Nobody gives what they do not hold themselves, and has a say over nobody who
//! holds more.

use authz::{Caller, Context, action::ManageRoleBindings};
use domain::{
    GroupId, OrgUnitId, RoleBindingId, RoleId, UserId,
    model::{NewRoleBinding, Role, RoleBinding, RoleSubject, UnitRole},
    permission::EVERYTHING,
    snapshot::RoleScope,
};
use store::{
    Administrators, Commit,
    list::{RoleBindingList, Selection, Slice},
    read::*,
};

use super::break_glass;
use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// A page of a tenant's bindings.
pub async fn list_role_bindings(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<RoleBindingList>,
) -> Result<Slice<RoleBinding>, AppError> {
    principal.may_in::<ManageRoleBindings>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// Gives a role.
pub async fn create_role_binding(
    app: &App,
    principal: &Principal,
    site: Site,
    role_id: RoleId,
    subject: RoleSubject,
    ou_id: Option<OrgUnitId>,
) -> Result<(RoleBinding, Commit), AppError> {
    let by = principal.may_in::<ManageRoleBindings>(site, "create")?;
    let role = role_of(&app.store.within(site.scope()), site, role_id).await?;
    may_give(principal, &role, ou_id)?;
    if let Some(unit) = ou_id {
        may_give_in_unit(principal, UnitRole::of(role_id).unwrap_or(UnitRole::OuDefault), unit)?;
    }
    // The platform's roles are given by its staff, with the whole platform as their reach.
    let by = if role.scope == RoleScope::Platform { principal.may::<ManageRoleBindings>("create")? } else { by };
    let id = new_id(&*app.clock);
    let new = NewRoleBinding { id, role_id, subject, project_id: site.project, tenant_id: site.tenant, ou_id };
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move {
                spare_subject(&tx, principal, site, subject).await?;
                Ok(tx.created(tx.insert_role_binding(&by, new).await?).await?)
            }
        })
        .await
}

/// Takes a role back. Who may not give a role may not take it.
pub async fn delete_role_binding(
    app: &App,
    principal: &Principal,
    site: Site,
    id: RoleBindingId,
) -> Result<Commit, AppError> {
    let by = principal.may_in::<ManageRoleBindings>(site, "delete")?;
    let found = app.store.within(site.scope()).role_binding(id).await?;
    let binding = found.filter(|it| it.tenant_id == site.tenant).ok_or(AppError::NotFound("role-binding"))?;
    may_give(principal, &role_of(&app.store.within(site.scope()), site, binding.role_id).await?, binding.ou_id)?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            spare_subject(&tx, principal, site, binding.subject).await?;
            let administered = administered(&tx, site).await?;
            let deleted = tx.deleted(tx.delete_role_binding(&by, id).await?).await?;
            still_administered(&tx, principal, site, administered).await?;
            Ok::<_, AppError>(deleted)
        }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// Refuses a change of what an emergency administrator holds, of their own or by a group.
async fn spare_subject(
    reader: &(impl BreakGlasses + Groups),
    principal: &Principal,
    site: Site,
    subject: RoleSubject,
) -> Result<(), AppError> {
    match subject {
        RoleSubject::User(user) => break_glass::spare(reader, principal, user).await,
        RoleSubject::Group(group) => break_glass::spare_group(reader, principal, site, group).await,
        RoleSubject::ApiKey(_) => Ok(()),
    }
}

/// Whether the caller holds at least what these roles grant.
///
/// # Errors
/// [`AppError::Escalation`]; [`AppError::NotFound`] for a role the tenant does not have.
pub async fn covers(reader: &impl Roles, principal: &Principal, site: Site, roles: &[RoleId]) -> Result<(), AppError> {
    for id in roles {
        may_give(principal, &role_of(reader, site, *id).await?, None)?;
    }
    Ok(())
}

/// Whether the caller holds at least what is bound to a group, in units too.
///
/// # Errors
/// [`AppError::Escalation`].
pub async fn covers_group(
    reader: &(impl Roles + RoleBindings),
    principal: &Principal,
    site: Site,
    group: GroupId,
) -> Result<(), AppError> {
    for binding in reader.role_bindings_of_group(site.tenant, group).await? {
        may_give(principal, &role_of(reader, site, binding.role_id).await?, binding.ou_id)?;
    }
    Ok(())
}

/// Whether the caller holds at least what a user holds in a tenant, in its units too. Everybody does of themselves.
///
/// # Errors
/// [`AppError::Escalation`].
pub async fn outranks(
    reader: &(impl Roles + RoleBindings),
    principal: &Principal,
    site: Site,
    user: UserId,
) -> Result<(), AppError> {
    if user == principal.user {
        return Ok(());
    }
    let bindings = reader.bindings(site.tenant, user).await?;
    covers(reader, principal, site, &bindings.roles).await?;
    for (unit, role) in bindings.unit_roles {
        may_give(principal, &role_of(reader, site, role).await?, Some(unit))?;
    }
    Ok(())
}

/// Whether a tenant has somebody active who holds a role of administrators, of their own or by a group. An emergency
/// administrator is none.
pub async fn administered(reader: &impl RoleBindings, site: Site) -> Result<bool, AppError> {
    Ok(reader.is_administered(site.tenant, Administrators::Any).await?)
}

/// Refuses, after a change, that a tenant lost its last administrator by it; `before` is what [`administered`] said
/// before. The platform's staff, who can make another one, may.
///
/// # Errors
/// [`AppError::Conflict`] (`last_admin`).
pub async fn still_administered(
    reader: &impl RoleBindings,
    principal: &Principal,
    site: Site,
    before: bool,
) -> Result<(), AppError> {
    if before && !principal.is_system() && !administered(reader, site).await? {
        let detail = "the tenant would be left without an active administrator".to_owned();
        return Err(AppError::Conflict { code: "last_admin", detail });
    }
    Ok(())
}

/// A role as a tenant sees it: its own and the built-in ones.
pub(super) async fn role_of(reader: &impl Roles, site: Site, id: RoleId) -> Result<Role, AppError> {
    let role = reader.role(id).await?;
    role.filter(|role| role.tenant_id.is_none_or(|tenant| tenant == site.tenant)).ok_or(AppError::NotFound("role"))
}

/// Whether the caller may give or make a role, in a unit if one is named: administrators anything within their reach,
/// others what they hold.
///
/// # Errors
/// [`AppError::Escalation`].
pub fn may_give(principal: &Principal, role: &Role, unit: Option<OrgUnitId>) -> Result<(), AppError> {
    giveable(&principal.caller, role, unit.is_some_and(|unit| principal.administers_unit(unit)))
}

/// The same for what somebody is in a unit.
///
/// # Errors
/// [`AppError::Escalation`].
pub fn may_give_in_unit(principal: &Principal, role: UnitRole, unit: OrgUnitId) -> Result<(), AppError> {
    let caller = &principal.caller;
    let anything = caller.is_admin || caller.is_super_admin || principal.administers_unit(unit);
    match role {
        // Being in a unit opens its routes that ask for no permission.
        UnitRole::OuDefault if anything || principal.works_in(unit) => Ok(()),
        UnitRole::OuAdmin | UnitRole::OuAuditor if anything => Ok(()),
        UnitRole::OuAdmin | UnitRole::OuAuditor | UnitRole::OuDefault => Err(beyond(role)),
    }
}

fn beyond(role: UnitRole) -> AppError {
    let name = match role {
        UnitRole::OuAdmin => "everything in the unit",
        UnitRole::OuAuditor => "reading everything in the unit",
        UnitRole::OuDefault => "being in the unit",
    };
    AppError::Escalation { permission: name.into() }
}

/// Whether somebody with these rights may give a role; in a unit that is `own`, they hold everything.
///
/// # Errors
/// [`AppError::Escalation`].
pub(super) fn giveable(caller: &Caller, role: &Role, own: bool) -> Result<(), AppError> {
    let refuse = |permission: &str| Err(AppError::Escalation { permission: permission.into() });
    let system = caller.context == Context::System;
    if system && caller.is_super_admin {
        return Ok(());
    }
    if role.super_admin || (role.scope == RoleScope::Platform && !system) {
        return refuse(EVERYTHING);
    }
    if role.scope == RoleScope::Ou {
        match UnitRole::of(role.id) {
            _ if own => return Ok(()),
            Some(unit_role @ (UnitRole::OuAdmin | UnitRole::OuAuditor)) if !caller.is_admin => {
                return Err(beyond(unit_role));
            }
            Some(_) | None => {}
        }
    }
    if role.admin && !caller.is_admin {
        return refuse("tenant:*");
    }
    let lacks = role.permissions.iter().find(|permission| {
        let own = caller.is_admin && permission.as_str() != EVERYTHING && permission.module() != "platform";
        !own && !caller.may(permission)
    });
    lacks.map_or(Ok(()), |permission| refuse(permission.as_str()))
}
