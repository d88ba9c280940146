//! Members of a tenant: users of its project who may act in it. Staff only; a tenant's own administrators make users.

use authz::action::ManageUsers;
use domain::{
    TenantId, UserId,
    model::{Membership, MembershipSource, MembershipStatus},
};
use store::{
    Commit,
    list::{MemberList, Selection, Slice},
    read::*,
};

use super::role_bindings;
use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// A tenant's members.
pub async fn list_members(
    app: &App,
    principal: &Principal,
    tenant: TenantId,
    asked: &Selection<MemberList>,
) -> Result<Slice<Membership>, AppError> {
    let site = site(app, principal, tenant).await?;
    principal.may_in::<ManageUsers>(site, "list")?;
    Ok(app.store.within(site.scope()).list(tenant, asked).await?)
}

/// Makes a user of the tenant's project an active member, or leaves one as it is.
pub async fn put_member(
    app: &App,
    principal: &Principal,
    tenant: TenantId,
    user: UserId,
) -> Result<(Membership, Commit), AppError> {
    let site = site(app, principal, tenant).await?;
    let by = principal.may_in::<ManageUsers>(site, "create")?;
    let known = app.store.user(user).await?.filter(|it| it.project_id == site.project);
    known.ok_or(AppError::NotFound("user"))?;
    let id = new_id(&*app.clock);
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                match tx.membership(tenant, user).await? {
                    Some(member) if member.status == MembershipStatus::Active => Ok(store::Audited::unchanged(member)),
                    Some(_) => {
                        let change = tx.update_membership(&by, tenant, user, MembershipStatus::Active).await?;
                        Ok(tx.done("enabled", change).await?)
                    }
                    None => {
                        let new = Membership {
                            id,
                            project_id: site.project,
                            tenant_id: tenant,
                            user_id: user,
                            source: MembershipSource::Added,
                            status: MembershipStatus::Active,
                            default_ou_id: None,
                            created_at: app.now(),
                        };
                        Ok(tx.created(tx.insert_membership(&by, new).await?).await?)
                    }
                }
            }
        })
        .await
}

/// Ends a membership, with the roles, tokens and sessions the user has in the tenant. The user stays.
pub async fn delete_member(
    app: &App,
    principal: &Principal,
    tenant: TenantId,
    user: UserId,
) -> Result<Commit, AppError> {
    let site = site(app, principal, tenant).await?;
    let by = principal.may_in::<ManageUsers>(site, "delete")?;
    if user == principal.user {
        let detail = "nobody ends their own membership here".to_owned();
        return Err(AppError::Conflict { code: "user_is_self", detail });
    }
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            role_bindings::outranks(&tx, principal, site, user).await?;
            Ok::<_, AppError>(tx.deleted(tx.delete_membership(&by, tenant, user).await?).await?)
        }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// The tenant of a platform path.
async fn site(app: &App, principal: &Principal, tenant: TenantId) -> Result<Site, AppError> {
    if !principal.is_system() {
        return Err(AppError::ContextMismatch);
    }
    principal.site(app, Some(tenant)).await
}
