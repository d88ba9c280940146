//! Groups of a tenant's users. Whoever comes into a group holds what is bound to it, so that bringing somebody in is giving
//! all of that, and taking them out is taking it.

use authz::action::ManageGroups;
use domain::{
    GroupId, UserId,
    model::{Group, GroupMember, NewGroup, Version},
};
use store::{
    Commit, Tx,
    list::{GroupList, GroupMemberList, Selection, Slice},
    read::*,
};

use super::{
    break_glass,
    role_bindings::{administered, covers_group, still_administered},
    text,
};
use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// What changes of a group.
#[derive(Clone, Debug, Default)]
pub struct GroupEdit {
    /// Its name.
    pub name: Option<String>,
    /// Free text.
    pub description: Option<String>,
}

/// A page of a tenant's groups.
pub async fn list_groups(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<GroupList>,
) -> Result<Slice<Group>, AppError> {
    principal.may_in::<ManageGroups>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// One of a tenant's groups.
pub async fn read_group(app: &App, principal: &Principal, site: Site, id: GroupId) -> Result<Group, AppError> {
    principal.may_in::<ManageGroups>(site, "get")?;
    app.store.within(site.scope()).group(site.tenant, id).await?.ok_or(AppError::NotFound("group"))
}

/// Makes a group. Nobody is in it, and nothing is bound to it.
pub async fn create_group(
    app: &App,
    principal: &Principal,
    site: Site,
    (name, description): (String, String),
) -> Result<(Group, Commit), AppError> {
    let by = principal.may_in::<ManageGroups>(site, "create")?;
    text::named(&name, &description)?;
    let id = new_id(&*app.clock);
    let new = NewGroup { id, project_id: site.project, tenant_id: site.tenant, name, description };
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_group(&by, new).await?).await?) }
        })
        .await
}

/// Changes what a group is called.
pub async fn update_group(
    app: &App,
    principal: &Principal,
    site: Site,
    (id, version): (GroupId, Option<Version>),
    edit: GroupEdit,
) -> Result<(Group, Commit), AppError> {
    let by = principal.may_in::<ManageGroups>(site, "update")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, edit) = (by.clone(), edit.clone());
            async move {
                let mut group = tx.group(site.tenant, id).await?.ok_or(AppError::NotFound("group"))?;
                group.version = version.unwrap_or(group.version);
                group.name = edit.name.unwrap_or(group.name);
                group.description = edit.description.unwrap_or(group.description);
                text::named(&group.name, &group.description)?;
                Ok(tx.updated(tx.update_group(&by, group).await?).await?)
            }
        })
        .await
}

/// Deletes a group: its members hold no more what was bound to it.
pub async fn delete_group(app: &App, principal: &Principal, site: Site, id: GroupId) -> Result<Commit, AppError> {
    let by = principal.may_in::<ManageGroups>(site, "delete")?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            let before = giveable(&tx, principal, site, id).await?;
            break_glass::spare_group(&tx, principal, site, id).await?;
            let deleted = tx.deleted(tx.delete_group(&by, site.tenant, id).await?).await?;
            still_administered(&tx, principal, site, before).await?;
            Ok::<_, AppError>(deleted)
        }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// A page of who is in a group.
pub async fn list_group_members(
    app: &App,
    principal: &Principal,
    site: Site,
    (id, asked): (GroupId, &Selection<GroupMemberList>),
) -> Result<Slice<GroupMember>, AppError> {
    principal.may_in::<ManageGroups>(site, "list")?;
    let store = app.store.within(site.scope());
    store.group(site.tenant, id).await?.ok_or(AppError::NotFound("group"))?;
    Ok(store.list((site.tenant, id), asked).await?)
}

/// Brings a member of the tenant into a group.
pub async fn create_group_member(
    app: &App,
    principal: &Principal,
    site: Site,
    (id, user): (GroupId, UserId),
) -> Result<(GroupMember, Commit), AppError> {
    let by = principal.may_in::<ManageGroups>(site, "update")?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                giveable(&tx, principal, site, id).await?;
                break_glass::spare(&tx, principal, user).await?;
                Ok(tx.created(tx.insert_group_member(&by, (site.tenant, id), user).await?).await?)
            }
        })
        .await
}

/// Takes somebody out of a group.
pub async fn delete_group_member(
    app: &App,
    principal: &Principal,
    site: Site,
    (id, user): (GroupId, UserId),
) -> Result<Commit, AppError> {
    let by = principal.may_in::<ManageGroups>(site, "update")?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            let before = giveable(&tx, principal, site, id).await?;
            break_glass::spare(&tx, principal, user).await?;
            let deleted = tx.deleted(tx.delete_group_member(&by, (site.tenant, id), user).await?).await?;
            still_administered(&tx, principal, site, before).await?;
            Ok::<_, AppError>(deleted)
        }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// Whether the tenant is administered now, where the caller may give and take what is bound to a group.
async fn giveable(tx: &Tx, principal: &Principal, site: Site, id: GroupId) -> Result<bool, AppError> {
    tx.group(site.tenant, id).await?.ok_or(AppError::NotFound("group"))?;
    covers_group(tx, principal, site, id).await?;
    administered(tx, site).await
}
