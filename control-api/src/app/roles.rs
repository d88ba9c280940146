//! Roles: the built-in ones, and a tenant's own.

use authz::action::ManageRoles;
use domain::{
    RoleId,
    model::{NewRole, Role, Version},
};
use store::{
    Commit,
    list::{RoleList, Selection, Slice},
    read::*,
};

use super::{
    break_glass,
    role_bindings::{self, may_give},
};
use crate::{
    App,
    caller::{Principal, Site},
    error::AppError,
};

/// A page of the roles a tenant has.
pub async fn list_roles(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<RoleList>,
) -> Result<Slice<Role>, AppError> {
    principal.may_in::<ManageRoles>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// One of the roles a tenant has.
pub async fn read_role(app: &App, principal: &Principal, site: Site, id: RoleId) -> Result<Role, AppError> {
    principal.may_in::<ManageRoles>(site, "get")?;
    let role = app.store.within(site.scope()).role(id).await?;
    role.filter(|role| role.tenant_id.is_none_or(|tenant| tenant == site.tenant)).ok_or(AppError::NotFound("role"))
}

/// Makes a tenant's own role. Nobody makes one that holds more than themselves.
pub async fn create_role(
    app: &App,
    principal: &Principal,
    site: Site,
    new: NewRole,
) -> Result<(Role, Commit), AppError> {
    let by = principal.may_in::<ManageRoles>(site, "create")?;
    may_give(principal, &preview(app, &new), None)?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_role(&by, new).await?).await?) }
        })
        .await
}

/// The role as it would be.
pub(super) fn preview(app: &App, new: &NewRole) -> Role {
    Role {
        id: new.id,
        tenant_id: new.tenant_id,
        scope: new.scope,
        name: new.name.clone(),
        description: String::new(),
        permissions: new.permissions.clone(),
        admin: new.admin,
        super_admin: new.super_admin,
        builtin: false,
        created_at: app.now(),
        updated_at: app.now(),
        version: Version(1),
    }
}

/// Replaces a tenant's own role. One that the last administrator holds stays one of administrators.
pub async fn replace_role(
    app: &App,
    principal: &Principal,
    site: Site,
    version: Option<Version>,
    new: NewRole,
) -> Result<(Role, Commit), AppError> {
    let by = principal.may_in::<ManageRoles>(site, "update")?;
    may_give(principal, &preview(app, &new), None)?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move {
                let mut role = own(tx.role(new.id).await?, site)?;
                break_glass::spare_role(&tx, principal, role.id).await?;
                let administered = role_bindings::administered(&tx, site).await?;
                // What it holds now must be the caller's to take, too.
                may_give(principal, &role, None)?;
                role.version = version.unwrap_or(role.version);
                role.name = new.name;
                role.description = new.description;
                role.permissions = new.permissions;
                role.admin = new.admin;
                let replaced = tx.updated(tx.update_role(&by, role).await?).await?;
                role_bindings::still_administered(&tx, principal, site, administered).await?;
                Ok(replaced)
            }
        })
        .await
}

/// Deletes a tenant's own role that nobody has.
pub async fn delete_role(app: &App, principal: &Principal, site: Site, id: RoleId) -> Result<Commit, AppError> {
    let by = principal.may_in::<ManageRoles>(site, "delete")?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            own(tx.role(id).await?, site)?;
            Ok::<_, AppError>(tx.deleted(tx.delete_role(&by, id).await?).await?)
        }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// A role that is the tenant's own. Built-in ones are there to be seen, not to be changed.
fn own(role: Option<Role>, site: Site) -> Result<Role, AppError> {
    match role {
        Some(role) if role.tenant_id == Some(site.tenant) => Ok(role),
        Some(role) if role.tenant_id.is_none() => {
            Err(AppError::Conflict { code: "role_is_builtin", detail: "built-in roles are kept as they are".into() })
        }
        Some(_) | None => Err(AppError::NotFound("role")),
    }
}
